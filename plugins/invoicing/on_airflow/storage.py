"""Where this installation keeps documents and what the database could not take."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from airflow.sdk import ObjectStoragePath

from invoicing.services.delivery.archive import Archive, FolderArchive
from invoicing.services.delivery.journal import Journal, journal_folder
from invoicing.services.delivery.notices import NoticeFolder


class ObjectStorageArchive:
    """Documents under a URL that `ObjectStoragePath` knows; on a local disk they are `FolderArchive`'s."""

    def __init__(self, root: str) -> None:
        self.root = root.rstrip("/")

    def is_away(self) -> bool:
        """Whether there is nothing at all under the root."""
        with _faults():
            root = ObjectStoragePath(self.root)
            # Else it would say what it found when it was asked first. Of what works for the path: the path's own `fs`
            # is another one where the URL names no connection, and none where no provider knows its scheme.
            root.__wrapped__.fs.invalidate_cache()
            try:
                return next(root.iterdir(), None) is None
            except (FileNotFoundError, NotADirectoryError):
                # A bucket has no folders: a prefix that nothing begins with is none.
                return True

    def store(self, key: str, content: bytes) -> None:
        """Keep ``content`` under ``key``."""
        with _faults():
            (ObjectStoragePath(self.root) / key).write_bytes(content)

    def fetch(self, key: str) -> bytes:
        """The bytes under ``key``."""
        return self.fetch_absolute(f"{self.root}/{key}")

    def fetch_absolute(self, uri: str) -> bytes:
        """The bytes at ``uri``."""
        with _faults():
            content = ObjectStoragePath(uri).read_bytes()
        assert isinstance(content, bytes)
        return content


class _LocalArchive(FolderArchive):
    """A folder of this host, beside documents that may once have been kept anywhere."""

    def fetch_absolute(self, uri: str) -> bytes:
        """The bytes at ``uri``, of whatever kind of storage."""
        return ObjectStorageArchive("").fetch_absolute(uri)


@contextmanager
def _faults() -> Iterator[None]:
    """Each store has errors of its own; to us they are `OSError`: one document must not stop its batch."""
    try:
        yield
    except OSError:
        raise
    except Exception as error:
        raise OSError(f"{type(error).__name__}: {error}") from error


def open_archive() -> Archive:
    """The archive of issued documents, under ``INVOICING_ARCHIVE``."""
    root = os.environ.get("INVOICING_ARCHIVE") or f"file://{_state_folder() / 'archive'}"
    path = ObjectStoragePath(root)
    return _LocalArchive(Path(path.path)) if path.protocol in ("", "file") else ObjectStorageArchive(root)


def open_journal() -> Journal:
    """Where this machine's workers keep outcomes that the database could not take."""
    return Journal(journal_folder(os.environ))


def open_notice_folder() -> NoticeFolder:
    """Where this machine's workers keep notices that the database could not take."""
    return NoticeFolder(journal_folder(os.environ).parent / "notices")


def _state_folder() -> Path:
    return Path(os.environ.get("INVOICING_STATE", "var")).absolute()
