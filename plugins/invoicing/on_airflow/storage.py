"""Where this installation keeps documents and what the database could not take."""

import os
from pathlib import Path

from airflow.sdk import ObjectStoragePath

from invoicing.services.delivery.archive import Archive, FolderArchive
from invoicing.services.delivery.journal import Journal, journal_folder
from invoicing.services.delivery.notices import NoticeFolder


class ObjectStorageArchive:
    """Documents under ``INVOICING_ARCHIVE``, any URL that `ObjectStoragePath` knows."""

    def __init__(self, root: str) -> None:
        self._root = ObjectStoragePath(root)

    def store(self, name: str, content: bytes) -> str:
        """Keep ``content`` under ``name``; on a local disk, wait until the disk has it."""
        if self._root.protocol in ("", "file"):
            return FolderArchive(Path(self._root.path)).store(name, content)
        path = self._root / name
        path.write_bytes(content)
        return str(path)

    def fetch(self, uri: str) -> bytes:
        """The bytes at ``uri``."""
        try:
            content = ObjectStoragePath(uri).read_bytes()
        except OSError:
            raise
        except Exception as error:
            # Each store has errors of its own; one document that cannot be read must not stop its batch.
            raise OSError(f"{type(error).__name__}: {error}") from error
        assert isinstance(content, bytes)
        return content


def open_archive() -> Archive:
    """The archive of issued documents."""
    root = os.environ.get("INVOICING_ARCHIVE") or f"file://{_state_folder() / 'archive'}"
    return ObjectStorageArchive(root)


def open_journal() -> Journal:
    """Where this machine's workers keep outcomes that the database could not take."""
    return Journal(journal_folder(os.environ))


def open_notice_folder() -> NoticeFolder:
    """Where this machine's workers keep notices that the database could not take."""
    return NoticeFolder(journal_folder(os.environ).parent / "notices")


def _state_folder() -> Path:
    return Path(os.environ.get("INVOICING_STATE", "var")).absolute()
