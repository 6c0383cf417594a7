"""The archive of issued documents as the tasks have it, durable writing included, on a folder of a test's."""

from pathlib import Path
from urllib.parse import unquote, urlsplit

from invoicing.airflow_io import ObjectStorageArchive


def archive_in(folder: Path) -> ObjectStorageArchive:
    """The archive that keeps its documents in ``folder``."""
    return ObjectStorageArchive(f"file://{folder}")


def file_of(uri: str) -> Path:
    """The file that a document's address in such an archive names."""
    return Path(unquote(urlsplit(uri).path))
