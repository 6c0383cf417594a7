"""The archive of issued documents as the tasks have it on a local disk, in a folder of a test's."""

from pathlib import Path
from urllib.parse import unquote, urlsplit

from invoicing.services.delivery.archive import FolderArchive


def archive_in(folder: Path) -> FolderArchive:
    """The archive that keeps its documents in ``folder``."""
    return FolderArchive(folder)


def file_of(uri: str) -> Path:
    """The file that a document's address in such an archive names."""
    return Path(unquote(urlsplit(uri).path))
