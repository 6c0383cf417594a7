"""What a batch asks the database, and how often it waits for it: by what libpq says of its connection."""

from pathlib import Path

import pytest

from invoicing.domain.delivery import Batch
from invoicing.domain.task_address import TaskAddress
from invoicing.services.delivery import deliver, render
from invoicing.services.delivery.archive import FolderArchive, StorageFaultError
from invoicing.services.delivery.journal import Journal
from invoicing.services.delivery.ledger import Ledger, Worker
from support.agency import Agency
from support.archive import archive_in
from support.month import open_inbox
from support.round_trips import RoundTrips

MANY = 12
MOST_A_DOCUMENT = 3
MOST_A_MESSAGE = 7


def test_a_document_and_a_message_wait_for_the_database_a_few_times_each(
    agency: Agency, journal: Journal, tmp_path: Path
) -> None:
    """Also what a batch asks once, and what psycopg prepares, is counted: in a batch of twelve."""
    for number in range(MANY):
        agency.add_tenant(f"T{number}")
    run_id, (*batches,) = agency.run()
    batch = Batch("all", tuple(id_ for each in batches for id_ in each.delivery_ids))
    worker = Worker(TaskAddress("monthly_invoicing", "run-1", "send_invoices", 0), "0", "try 1")
    archive = archive_in(tmp_path)

    with RoundTrips(agency.db) as of_documents:
        assert render.render_batch(agency.db, archive, run_id, batch) == MANY
    with open_inbox() as (inbox, connect), connect() as relay, RoundTrips(agency.db) as of_messages:
        assert deliver.send_batch(agency.db, relay, archive, journal, batch, worker) == {"sent": MANY}

    assert len(inbox.messages) == MANY
    assert of_documents.count / MANY <= MOST_A_DOCUMENT
    assert of_messages.count / MANY <= MOST_A_MESSAGE


class FullDisk(FolderArchive):
    """Has room for one document."""

    def store(self, key: str, content: bytes) -> None:
        if any(self._folder.rglob("*.pdf")):
            raise OSError(28, "No space left on device")
        super().store(key, content)


def test_a_document_that_cannot_be_kept_is_said_though_the_next_was_begun(
    agency: Agency, tmp_path: Path
) -> None:
    for number in range(3):
        agency.add_tenant(f"T{number}")
    run_id, (batch,) = agency.run()

    with pytest.raises(StorageFaultError, match="FV-2"):
        render.render_batch(agency.db, FullDisk(tmp_path), run_id, batch)

    kept = agency.db.execute("SELECT count(*) AS n FROM invoicing.invoice_document").fetchone()
    assert kept == {"n": 1}


def test_who_did_not_look_up_todays_versions_has_no_claim_where_they_are_wanted(
    agency: Agency, journal: Journal
) -> None:
    """Another execution took it and put it back between the look at it and the claim."""
    agency.add_tenant("A")
    _, (batch,) = agency.run()
    (delivery_id,) = batch.delivery_ids
    worker = Worker(TaskAddress("monthly_invoicing", "run-1", "send_invoices", 0), "this/0", "try 1")
    ledger = Ledger(agency.db, journal, worker, lambda _: None, 60.0)
    seen = ledger.find(delivery_id)
    agency.db.execute("UPDATE invoicing.delivery SET execution = 'another/0'")

    assert ledger.claim(seen) is None
    assert agency.deliveries() == [("A", "pending", 1)]
    assert ledger.claim(ledger.find(delivery_id))
