"""An archive in an object store: its faults are told as a disk's are, and what it was asked once is asked again."""

from collections.abc import Iterator

import httpx
import pytest

from invoicing.on_airflow.storage import open_archive
from invoicing.services.delivery.archive import Archive
from support.object_store import BUCKET, ObjectStore

# Importing Amazon's provider takes longer than the tests.
pytestmark = [pytest.mark.faults, pytest.mark.long]

KEY = "2026-11/0123456789ab-FV-1.pdf"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectStore]:
    with ObjectStore(tmp_path_factory.mktemp("store")) as running:
        yield running


@pytest.fixture
def archive(store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> Iterator[Archive]:
    monkeypatch.setenv("AIRFLOW_CONN_INVOICING_ARCHIVE", store.connection)
    monkeypatch.setenv("INVOICING_ARCHIVE", f"s3://invoicing_archive@{BUCKET}/documents")
    yield open_archive()
    store.recover()
    store.empty()


def test_documents_are_kept_under_their_keys(archive: Archive, store: ObjectStore) -> None:
    archive.store(KEY, b"%PDF")

    assert archive.fetch(KEY) == b"%PDF"
    assert store.keys() == [f"documents/{KEY}"]
    with pytest.raises(FileNotFoundError):
        archive.fetch("2026-11/other.pdf")


def test_a_store_that_lost_everything_since_it_was_asked_is_away(
    archive: Archive, store: ObjectStore
) -> None:
    assert archive.is_away()
    archive.store(KEY, b"%PDF")
    assert not archive.is_away()
    store.empty()
    assert archive.is_away()


def test_a_store_that_is_unwell_is_a_fault_of_storage_and_not_a_lost_document(
    archive: Archive, store: ObjectStore
) -> None:
    archive.store(KEY, b"%PDF")
    store.fall_ill()
    for asked in (lambda: archive.fetch(KEY), lambda: archive.store(KEY, b"%PDF"), archive.is_away):
        with pytest.raises(OSError, match=r"SlowDown|Unavailable") as caught:
            asked()
        assert not isinstance(caught.value, FileNotFoundError)
    store.recover()
    assert archive.fetch(KEY) == b"%PDF"


def test_without_a_key_the_store_refuses_and_that_is_said(
    archive: Archive, store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive.store(KEY, b"%PDF")
    monkeypatch.setenv(
        "AIRFLOW_CONN_A_STRANGER", store.connection.replace("invoicing-tests", "somebody-else")
    )
    monkeypatch.setenv("INVOICING_ARCHIVE", f"s3://a_stranger@{BUCKET}/documents")
    with pytest.raises(PermissionError, match=r"Denied|Forbidden"):
        open_archive().fetch(KEY)
    assert httpx.get(f"{store.url}/{BUCKET}").status_code == 403
