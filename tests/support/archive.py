"""The archive of issued documents as the tasks have it on a local disk, in a folder of a test's."""

from pathlib import Path

from invoicing.services.delivery.archive import FolderArchive


def archive_in(folder: Path) -> FolderArchive:
    """The archive that keeps its documents in ``folder``."""
    return FolderArchive(folder)
