"""Where issued PDFs are kept."""

from typing import Protocol


class Archive(Protocol):
    """A store of documents by URI; a folder, a bucket, whatever ``INVOICING_ARCHIVE`` names."""

    def store(self, name: str, content: bytes) -> str:
        """Keep ``content`` durably under ``name`` (a relative path) and return its URI."""

    def fetch(self, uri: str) -> bytes:
        """The bytes kept at ``uri``; raises `FileNotFoundError` or `OSError`."""
