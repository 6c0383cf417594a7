"""Where issued PDFs are kept: the bytes in an archive, their checksums in the database."""

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from invoicing.db.connection import Database
from invoicing.db.statements import beside
from invoicing.domain.errors import PermanentFailureError
from invoicing.services.delivery.documents import filename
from invoicing.services.delivery.journal import wait_for_disk

_SQL = beside(__file__)


class DocumentDamagedError(PermanentFailureError):
    """A kept document is missing, or is not what was kept: it is not sent."""


@dataclass(frozen=True, slots=True)
class KeptDocument:
    """A PDF from the archive, its checksum verified."""

    filename: str
    content: bytes


class Archive(Protocol):
    """A store of documents by URI; a folder, a bucket, whatever ``INVOICING_ARCHIVE`` names."""

    def store(self, name: str, content: bytes) -> str:
        """Keep ``content`` durably under ``name`` (a relative path) and return its URI."""

    def fetch(self, uri: str) -> bytes:
        """The bytes kept at ``uri``; raises `FileNotFoundError` or `OSError`."""


class FolderArchive:
    """An archive on a local disk.

    Args:
        root: Made when it is first needed.
    """

    def __init__(self, root: Path) -> None:
        self._root = root

    def store(self, name: str, content: bytes) -> str:
        """Keep ``content`` whole or not at all: a full disk or a crash leaves no half of it under its name."""
        path = self._root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            with draft.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(path)
            wait_for_disk(path.parent)
        finally:
            draft.unlink(missing_ok=True)
        return f"file://{path}"

    def fetch(self, uri: str) -> bytes:
        """The bytes of the file that ``uri`` (``file://…``) names."""
        return Path(uri.removeprefix("file://")).read_bytes()


def keep(db: Database, archive: Archive, invoice_id: int, template_version_id: int, pdf: bytes) -> None:
    """Store a rendered invoice and its checksum; where another worker was first, its document stands.

    The file is stored before the row says so: an interrupted store leaves a file that nothing refers to.
    """
    row = db.execute(_SQL["invoice_to_keep"], {"id": invoice_id}).fetchone()
    assert row is not None
    sha256 = hashlib.sha256(pdf).hexdigest()
    uri = archive.store(f"{row['period']}/{sha256[:12]}-{filename(row['number'])}", pdf)
    db.execute(
        _SQL["add_document"],
        {
            "invoice_id": invoice_id,
            "uri": uri,
            "sha256": sha256,
            "size_bytes": len(pdf),
            "template_version_id": template_version_id,
        },
    )


def fetch(db: Database, archive: Archive, invoice_ids: Sequence[int]) -> list[KeptDocument]:
    """The kept documents of invoices, in the order of their numbers, checksums verified.

    Raises:
        DocumentDamagedError: One was never rendered, is missing, or was altered.
    """
    kept = []
    for document in db.execute(_SQL["documents"], {"ids": list(invoice_ids)}).fetchall():
        number, uri = document["number"], document["uri"]
        if uri is None:
            raise DocumentDamagedError("document_missing", invoice=number)
        try:
            content = archive.fetch(uri)
        except OSError as error:
            why = error.strerror or str(error)
            raise DocumentDamagedError("document_unreadable", invoice=number, uri=uri, why=why) from error
        if hashlib.sha256(content).hexdigest() != document["sha256"]:
            raise DocumentDamagedError("document_altered", invoice=number, uri=uri)
        kept.append(KeptDocument(filename(number), content))
    return kept
