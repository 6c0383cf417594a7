"""Outcomes that the database could not take: kept on disk, durably, until it can.

A worker that knows what became of a transmission and loses the database before it could say so must not lose
the knowledge: an accepted message whose delivery stays `transmitting` would end in doubt for no reason.
"""

import json
import logging
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Settlement:
    """The end of one attempt, as the database is to be told.

    Args:
        token: Of the claim under which the attempt was made; without it the settlement counts for nothing.
        verdict, phase, code, reply, reason: As in the attempt's outcome.
        actor: The worker.
    """

    delivery_id: int
    token: int
    verdict: str
    phase: str
    code: int | None
    reply: str
    reason: str | None
    actor: str


class Journal:
    """A folder with one file a settlement, written whole or not at all.

    Args:
        folder: Made when it is first needed.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def keep(self, settlement: Settlement) -> None:
        """Write ``settlement`` and wait until the disk has it."""
        keep_document(self._path(settlement), asdict(settlement))

    def settlements(self) -> Iterator[Settlement]:
        """What is kept; a file that cannot be read is reported and left for a person."""
        for path in sorted(self.folder.glob("*.json")):
            try:
                yield Settlement(**json.loads(path.read_text(encoding="utf-8")))
            except FileNotFoundError:
                continue  # another worker settled it just now
            except (ValueError, TypeError) as error:
                log.error("journal file %s cannot be read, look at it: %s", path, error)

    def waiting(self) -> int:
        """How many are kept."""
        return len(list(self.folder.glob("*.json")))

    def forget(self, settlement: Settlement) -> None:
        """Remove what the database has taken."""
        self._path(settlement).unlink(missing_ok=True)

    def _path(self, settlement: Settlement) -> Path:
        return self.folder / f"{settlement.delivery_id}-{settlement.token}.json"


def journal_folder(environ: Mapping[str, str]) -> Path:
    """This host's journal: ``INVOICING_JOURNAL``, else a folder of ``INVOICING_STATE``."""
    return Path(
        environ.get("INVOICING_JOURNAL") or Path(environ.get("INVOICING_STATE", "var"), "journal")
    ).absolute()


def keep_document(path: Path, document: Mapping[str, Any]) -> None:
    """Write ``document`` as JSON, whole or not at all, its folder too, and wait until the disk has it."""
    if not path.parent.is_dir():
        path.parent.mkdir(parents=True, exist_ok=True)
        wait_for_disk(path.parent.parent)
    draft = path.with_suffix(".tmp")
    with draft.open("w", encoding="utf-8") as file:
        json.dump(document, file, ensure_ascii=False)
        file.flush()
        os.fsync(file.fileno())
    draft.rename(path)
    wait_for_disk(path.parent)


def wait_for_disk(folder: Path) -> None:
    """Return when the disk has the folder's entries."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
