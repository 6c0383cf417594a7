"""Where issued PDFs are kept."""

import os
from pathlib import Path
from typing import Protocol

from invoicing.services.delivery.journal import wait_for_disk


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
