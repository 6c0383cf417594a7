"""Single invoices, sent once they are created: wiring only."""

from typing import Any

from airflow.sdk import TriggerRule, dag, task

from invoicing.on_airflow.connections import open_database
from invoicing.on_airflow.notice import notify_operator
from invoicing.on_airflow.tasks import (
    DAG_DEFAULTS,
    SETUP_RETRIES,
    MappedBatch,
    batches_to_xcom,
    current_dag_run,
    current_starter,
    task_errors,
)
from invoicing.on_airflow.wiring import INVOICES, deliver_batches, document_unmailed


@dag(
    dag_display_name="Facturas sueltas y reenvíos · Send new invoices",
    schedule=[INVOICES],
    catchup=False,
    # One at a time: what a second event asks for, the run that it starts finds in the ledger.
    max_active_runs=1,
    is_paused_upon_creation=False,
    default_args=DAG_DEFAULTS,
    tags=["invoicing", "single"],
    doc_md="""
### Single invoices

Sends invoices made outside the monthly job (`bin/invoicing invoices create FILE`) once they are created, and what a
person sends again (`bin/invoicing deliveries resend`). So are credit notes, and what replaces a credited invoice, in
one message (`bin/invoicing invoices credit`, `invoices replace`).

* Runs on the asset `invoices`. **What is sent is what the ledger says is new**: a lost event is made up for by the
  next one, a doubled one does no harm.
* The global switch and the tenant's own decide; the two "only multiple" rules speak of the monthly job.
* A red `send_invoices` square is an invoice without mail: fix the cause, then clear it.
* `render_unmailed` makes the PDFs of those that the rules mail to nobody; a red square there costs no mail.
""",
)
def send_new_invoices() -> None:
    """Wire the tasks."""

    @task(**SETUP_RETRIES)
    def open_run() -> int:
        """Take the snapshot of settings and template that this run uses."""
        from invoicing.services.billing import runs

        dag_id, dag_run_id = current_dag_run()
        with task_errors(), open_database() as db:
            return runs.open_run(
                db, dag_id=dag_id, dag_run_id=dag_run_id, period=None, starter=current_starter()
            )

    @task
    def select_new_invoices(cycle_run: int) -> list[MappedBatch]:
        """Decide on each invoice that is new, keep the decision, and make the deliveries that are due."""
        from invoicing.services.delivery import select

        with task_errors(), open_database() as db:
            return batches_to_xcom(select.select_new_invoices(db, cycle_run))

    @task(trigger_rule=TriggerRule.ALL_DONE, retries=0, on_failure_callback=notify_operator)
    def close_run(cycle_run: int) -> dict[str, Any]:
        """Whatever happened: check that all that was due is sent; fail otherwise."""
        from invoicing.services.delivery import closing

        with task_errors(), open_database() as db:
            return closing.close_run(db, cycle_run)

    cycle_run = open_run()
    selected = select_new_invoices(cycle_run)
    sent = deliver_batches(selected, cycle_run)
    [sent, document_unmailed(cycle_run, decided=[selected], sent=sent)] >> close_run(cycle_run)


send_new_invoices()
