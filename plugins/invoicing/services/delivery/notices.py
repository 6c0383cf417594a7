"""What the operator is to be told: kept until it is, since the relay and the database fail it too."""

import datetime
import json
import logging
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from psycopg.types.json import Jsonb

from invoicing.db.connection import Database
from invoicing.db.statements import beside, fetch_one
from invoicing.services.delivery.journal import keep_document

log = logging.getLogger(__name__)

_SQL = beside(__file__)
_LONGEST_PROBLEM = 500


@dataclass(frozen=True, slots=True)
class Notice:
    """Something to tell the operator.

    Args:
        cause: What happened, in one word: ``run_failed``, or the check of `bin/invoicing health` that found it.
        texts: What its words are made of, by name.
        alarm_on: The day of an alarm, in the agency's time zone: its cause is told once that day. None: it happened
            once and is told once.
    """

    cause: str
    texts: Mapping[str, str]
    alarm_on: datetime.date | None = None


@dataclass(frozen=True, slots=True)
class KeptNotice:
    """A notice that was not sent yet."""

    id: int
    cause: str
    texts: Mapping[str, str]
    attempts: int


def keep_notice(db: Database, notice: Notice) -> int | None:
    """Keep what is to be told; its id, None where the alarm was kept before on its day."""
    row = db.execute(
        _SQL["keep"],
        {"cause": notice.cause, "texts": Jsonb(dict(notice.texts)), "alarm_on": notice.alarm_on},
    ).fetchone()
    return None if row is None else int(row["id"])


def take_notice(db: Database, *, after: int = 0, only: int | None = None) -> KeptNotice | None:
    """The oldest notice of the last week that was not sent, kept from others until the caller's transaction ends.

    Args:
        after: Its id is larger.
        only: Its id.
    """
    return fetch_one(db, KeptNotice, _SQL["take"], {"after": after, "only": only})


def mark_sent(db: Database, notice_id: int) -> None:
    """Keep that it was sent."""
    db.execute(_SQL["sent"], {"id": notice_id})


def mark_unsent(db: Database, notice_id: int, problem: str) -> None:
    """Keep that it could not be sent, and why."""
    db.execute(_SQL["unsent"], {"id": notice_id, "problem": problem[:_LONGEST_PROBLEM]})


class NoticeFolder:
    """Notices that the database could not take: a folder beside the journal, one file each.

    Args:
        folder: Made when it is first needed.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def keep(self, notice: Notice) -> bool:
        """Write ``notice`` and wait until the disk has it; False where the day's alarm is there already."""
        when = str(notice.alarm_on or uuid.uuid4().hex)
        path = self.folder / f"{notice.cause}-{when}.json"
        if path.exists():
            return False
        alarm_on = notice.alarm_on and notice.alarm_on.isoformat()
        keep_document(path, {"cause": notice.cause, "texts": dict(notice.texts), "alarm_on": alarm_on})
        return True

    def waiting(self) -> int:
        """How many are kept."""
        return len(list(self.folder.glob("*.json")))

    def move_to(self, db: Database) -> int:
        """Have the database keep them; how many. A file that cannot be read is left for a person."""
        moved = 0
        for path, notice in self._read():
            keep_notice(db, notice)
            path.unlink(missing_ok=True)
            moved += 1
        return moved

    def _read(self) -> Iterator[tuple[Path, Notice]]:
        for path in sorted(self.folder.glob("*.json")):
            try:
                kept = json.loads(path.read_text(encoding="utf-8"))
                day = kept["alarm_on"] and datetime.date.fromisoformat(kept["alarm_on"])
                yield path, Notice(kept["cause"], {**kept["texts"]}, day or None)
            except FileNotFoundError:
                continue  # another worker moved it just now
            except (ValueError, TypeError, KeyError) as error:
                log.error("notice %s cannot be read, look at it: %s", path, error)
