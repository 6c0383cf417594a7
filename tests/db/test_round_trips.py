"""How often a batch waits for the database: by what libpq says of its connection."""

from pathlib import Path

from invoicing.domain.delivery import Batch
from invoicing.domain.task_address import TaskAddress
from invoicing.services.delivery import deliver, render
from invoicing.services.delivery.journal import Journal
from invoicing.services.delivery.ledger import Worker
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
