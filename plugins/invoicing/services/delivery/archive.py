"""Where issued PDFs are kept: the bytes in an archive, their keys and checksums in the database."""

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from invoicing.db.connection import Database
from invoicing.db.statements import beside, fetch_all
from invoicing.domain.errors import PermanentFailureError, TemporaryFailureError
from invoicing.services.delivery.documents import filename
from invoicing.services.delivery.journal import wait_for_disk

_SQL = beside(__file__)


class DocumentDamagedError(PermanentFailureError):
    """A kept document is not there, or is not what was kept: it is not sent."""


class StorageFaultError(TemporaryFailureError):
    """The archive did not answer, or not as it should: another try may find it well."""


class ArchiveAwayError(StorageFaultError):
    """Nothing is where the archive should be, as where a disk is not mounted: no document can be read or kept."""


class Archive(Protocol):
    """A store of documents by key, under a root that may move: a folder, a bucket, what ``INVOICING_ARCHIVE`` names.

    A key is a relative path, ``PERIOD/xxxx-FV-1.pdf``.
    """

    @property
    def root(self) -> str:
        """Where it is, for people to read."""

    def is_away(self) -> bool:
        """Whether there is nothing at all at the root; raises `OSError`."""

    def store(self, key: str, content: bytes) -> None:
        """Keep ``content`` durably under ``key``; raises `OSError`."""

    def fetch(self, key: str) -> bytes:
        """The bytes kept under ``key``; raises `FileNotFoundError` where there are none, else `OSError`."""

    def fetch_absolute(self, uri: str) -> bytes:
        """The bytes at ``uri``, wherever that is: documents had absolute addresses once. Raises as `fetch` does."""


class FolderArchive:
    """An archive on a local disk.

    Args:
        folder: Made when it is first needed.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @property
    def root(self) -> str:
        """The folder."""
        return f"file://{self._folder}"

    def is_away(self) -> bool:
        """Whether the folder is missing or empty: where a disk is not mounted, its empty mount point is left."""
        try:
            with os.scandir(self._folder) as entries:
                return next(entries, None) is None
        except FileNotFoundError:
            return True

    def store(self, key: str, content: bytes) -> None:
        """Keep ``content`` whole or not at all: a full disk or a crash leaves no half of it under its key."""
        path = self._folder / key
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

    def fetch(self, key: str) -> bytes:
        """The bytes of the file."""
        return (self._folder / key).read_bytes()

    def fetch_absolute(self, uri: str) -> bytes:
        """The bytes of the file that ``uri`` (``file://…``) names."""
        return Path(uri.removeprefix("file://")).read_bytes()


@dataclass(frozen=True, slots=True)
class KeptDocument:
    """A PDF from the archive, its checksum verified."""

    filename: str
    content: bytes


class Keeper:
    """Keeps what was rendered; where another worker was first, its document stands.

    Args:
        template_version_id: Of all documents that it is given.
    """

    def __init__(self, db: Database, archive: Archive, template_version_id: int) -> None:
        self._db = db
        self._archive = archive
        self._template_version_id = template_version_id
        self._is_in_use = False

    def keep(self, invoice_id: int, number: str, period: str, pdf: bytes) -> None:
        """Store an invoice's document, its key and its checksum.

        The file is stored before the row says so: an interrupted store leaves a file that nothing refers to.

        Raises:
            StorageFaultError: It could not be stored.
            ArchiveAwayError: Documents were kept under this root and nothing is there: what is kept now would be lost
                as soon as it comes back.
        """
        root = self._archive.root
        # What was in use stays so; until then it is asked each time, for others keep documents too.
        if not self._is_in_use:
            row = self._db.execute(_SQL["is_in_use"], {"root": root}).fetchone()
            self._is_in_use = row is not None and row["is_in_use"]
        sha256 = hashlib.sha256(pdf).hexdigest()
        key = f"{period}/{sha256[:12]}-{filename(number)}"
        try:
            if self._is_in_use and self._archive.is_away():
                raise ArchiveAwayError("archive_away", root=root)
            self._archive.store(key, pdf)
        except OSError as error:
            raise StorageFaultError(
                "document_not_stored", invoice=number, root=root, why=_why(error)
            ) from error
        self._db.execute(
            _SQL["add_document"],
            {
                "invoice_id": invoice_id,
                "key": key,
                "sha256": sha256,
                "size_bytes": len(pdf),
                "template_version_id": self._template_version_id,
            },
        )


@dataclass(frozen=True, slots=True)
class DocumentRecord:
    """What the database knows of an invoice's document; all None where there is none."""

    number: str
    key: str | None
    former_uri: str | None
    sha256: str | None


def fetch(db: Database, archive: Archive, invoice_ids: Sequence[int]) -> list[KeptDocument]:
    """The kept documents of invoices, in the order of their numbers, checksums verified.

    Raises:
        DocumentDamagedError, StorageFaultError, ArchiveAwayError: As `read`.
    """
    return read(archive, find(db, invoice_ids))


def find(db: Database, invoice_ids: Sequence[int]) -> list[DocumentRecord]:
    """Where the documents of invoices are, in the order of their numbers."""
    return fetch_all(db, DocumentRecord, _SQL["documents"], {"ids": list(invoice_ids)})


def read(archive: Archive, records: Sequence[DocumentRecord]) -> list[KeptDocument]:
    """Read documents, checksums verified. It asks no database: an archive may be far away.

    Raises:
        DocumentDamagedError: One was never rendered, is not there, or was altered.
        StorageFaultError: The archive could not be asked.
        ArchiveAwayError: There is no archive to ask.
    """
    kept = []
    for document in records:
        number = document.number
        if document.sha256 is None:
            raise DocumentDamagedError("document_missing", invoice=number)
        uri = f"{archive.root}/{document.key}" if document.key else document.former_uri
        try:
            content = _read(archive, document.key, document.former_uri)
        except FileNotFoundError as error:
            why = _why(error)
            raise DocumentDamagedError("document_unreadable", invoice=number, uri=uri, why=why) from error
        except OSError as error:
            raise StorageFaultError(
                "document_out_of_reach", invoice=number, uri=uri, why=_why(error)
            ) from error
        if hashlib.sha256(content).hexdigest() != document.sha256:
            raise DocumentDamagedError("document_altered", invoice=number, uri=uri)
        kept.append(KeptDocument(filename(number), content))
    return kept


def _read(archive: Archive, key: str | None, former_uri: str | None) -> bytes:
    """Under the root, wherever that is by now; else where the document was before it had a key."""
    if key is None:
        assert former_uri is not None
        return archive.fetch_absolute(former_uri)
    try:
        return archive.fetch(key)
    except OSError:
        if former_uri is not None:
            try:
                return archive.fetch_absolute(former_uri)
            except OSError:
                pass  # what is wrong with the archive is what a person has to know
        if archive.is_away():
            raise ArchiveAwayError("archive_away", root=archive.root) from None
        raise


def _why(error: OSError) -> str:
    return error.strerror or str(error)
