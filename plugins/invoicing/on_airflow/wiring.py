"""What several DAGs wire alike."""

from functools import partial
from typing import Any

from airflow.sdk import Asset, TriggerRule, task

from invoicing.domain.names import INVOICES_ASSET, RENDERING_POOL, SENDING_POOL
from invoicing.on_airflow.connections import open_database, open_relay, relay_sender
from invoicing.on_airflow.metrics import counting_deliveries
from invoicing.on_airflow.storage import open_archive, open_journal
from invoicing.on_airflow.tasks import (
    SETUP_RETRIES,
    MappedBatch,
    batches_from_xcom,
    batches_to_xcom,
    current_worker,
    documents_to_xcom,
    mapped_batch,
    mapped_documents,
    name_failed,
    task_errors,
)

INVOICES = Asset(INVOICES_ASSET)


def deliver_batches(batches: Any, cycle_run: Any, *, approval: Any = None) -> Any:
    """Wire what every DAG that sends has in common: render, check the relay, send.

    Args:
        batches: Output of the task that selected them: a list of `MappedBatch`, one a rendering instance.
        cycle_run: Output of the task that opened the run: its id.
        approval: The task that waits for a person once the documents are there, and skips what follows where they
            reject it; None for what a person asked to be sent.

    Returns:
        The last task, to be followed by the one that closes the run.
    """

    @task(pool=RENDERING_POOL, map_index_template="{{ label }}")
    def render_invoices(batch: MappedBatch, cycle_run: int) -> int:
        """Render the PDFs that the batch's deliveries lack, and keep them in the archive."""
        from invoicing.services.delivery import render

        own = mapped_batch(batch)
        with task_errors(), open_database() as db:
            return render.render_batch(
                db,
                open_archive(),
                cycle_run,
                own,
                is_repeated=current_worker().is_repeated,
                on_failed=partial(name_failed, own),
            )

    # A document that could not be rendered costs its own tenant the mail; the others go on.
    after_rendering = TriggerRule.ALL_DONE_MIN_ONE_SUCCESS

    @task(trigger_rule=after_rendering if approval is None else TriggerRule.ALL_SUCCESS, **SETUP_RETRIES)
    def check_mail_server(batches: list[MappedBatch], cycle_run: int) -> list[MappedBatch]:
        """Connect and log in once: what is wrong with the set-up must not cost any delivery an attempt.

        Then share out what is to be sent: an instance each, or, in a large month, by what it costs.
        """
        from invoicing.services.agency import settings
        from invoicing.services.delivery import deliver, shares

        if not batches:
            return []
        with task_errors(), open_database() as db, open_relay() as relay:
            named = settings.current_settings(db).settings.from_email
            deliver.check_relay(db, relay, sender=relay_sender(is_needed=not named))
            return batches_to_xcom(shares.for_sending(db, cycle_run, batches_from_xcom(batches)))

    # The last retry comes later than the end of the claim of a worker that died: after half an hour.
    @task(pool=SENDING_POOL, retries=6, map_index_template="{{ label }}")
    def send_invoices(batch: MappedBatch, cycle_run: int) -> dict[str, int]:
        """Send what is still to be sent in the batch. Safe to repeat: the ledger knows what was accepted."""
        from invoicing.services.billing import runs as cycles
        from invoicing.services.delivery import deliver

        own = mapped_batch(batch)
        with task_errors(), counting_deliveries() as count, open_database(settle_journal=False) as db:
            settings = cycles.load_run(db, cycle_run).settings.settings
            with open_relay(settings.messages_per_connection) as relay:
                return deliver.send_batch(
                    db,
                    relay,
                    open_archive(),
                    open_journal(),
                    own,
                    current_worker(),
                    sender=relay_sender(is_needed=not settings.from_email),
                    on_settled=count,
                    on_unsent=partial(name_failed, own),
                )

    rendered = render_invoices.partial(cycle_run=cycle_run).expand(batch=batches)
    checked = check_mail_server(batches, cycle_run)
    if approval is None:
        rendered >> checked
    else:
        # The batches too: where no document could be made, that is still to be told of below.
        approval.trigger_rule = after_rendering
        [rendered, batches] >> approval >> checked
    return send_invoices.partial(cycle_run=cycle_run).expand(batch=checked)


def document_unmailed(cycle_run: Any, *, decided: Any, sent: Any) -> Any:
    """Wire what makes, after the mail, the documents that nobody is mailed.

    No step more on the way to the mail, and none to the account of it: the list is made while the relay is checked, and
    what makes them is a *teardown* to Airflow, whose failure is red and leaves the run's state alone.

    Args:
        cycle_run: Output of the task that opened the run: its id.
        decided: The tasks of which one settles who gets mail and that it may leave; the others are skipped.
        sent: What `deliver_batches` gave: the documents are made when it is over, however it ended.

    Returns:
        The task that makes the list, to be followed by the one that closes the run: were it a leaf, the run would fail
        with it.
    """

    @task(trigger_rule=TriggerRule.NONE_FAILED_MIN_ONE_SUCCESS)
    def list_unmailed(cycle_run: int) -> list[MappedBatch]:
        """Write down which documents nobody is mailed and nobody made, where the settings ask for them."""
        from invoicing.services.delivery import unmailed

        with task_errors(), open_database() as db:
            return documents_to_xcom(unmailed.ask_for_unmailed(db, cycle_run))

    @task(pool=RENDERING_POOL, map_index_template="{{ label }}")
    def render_unmailed(batch: MappedBatch, cycle_run: int) -> int:
        """Make the PDFs that nobody is mailed, to be printed and downloaded. No mail and no run fails with it."""
        from invoicing.services.delivery import unmailed

        own = mapped_documents(batch)
        with task_errors(), open_database() as db:
            return unmailed.render_unmailed(
                db,
                open_archive(),
                cycle_run,
                own,
                is_repeated=current_worker().is_repeated,
                on_failed=partial(name_failed, own),
            )

    listed = list_unmailed(cycle_run)
    decided >> listed
    made = render_unmailed.partial(cycle_run=cycle_run).expand(batch=listed)
    sent >> made.as_teardown()
    return listed
