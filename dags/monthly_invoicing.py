"""The monthly cycle: wiring only, each task is one call into a service."""

from datetime import timedelta
from typing import Any

from airflow.sdk import CronPartitionTimetable, Param, TriggerRule, dag, task

from invoicing.on_airflow.approving import ApproveSending
from invoicing.on_airflow.connections import open_database
from invoicing.on_airflow.notice import notify_operator
from invoicing.on_airflow.tasks import (
    DAG_DEFAULTS,
    SCHEDULE,
    SETUP_RETRIES,
    TIMEZONE,
    MappedBatch,
    batches_to_xcom,
    current_dag_run,
    current_starter,
    current_wish,
    task_errors,
)
from invoicing.on_airflow.wiring import deliver_batches, document_unmailed


@dag(
    dag_display_name="Facturación mensual · Monthly invoicing",
    # No start date: a new installation bills its first month when the next one begins. A tick that was missed is made
    # up for, the first one within a day (docs/decisions/0016).
    schedule=CronPartitionTimetable(
        SCHEDULE, timezone=TIMEZONE, key_format="%Y-%m", run_immediately=timedelta(hours=24)
    ),
    start_date=None,
    is_paused_upon_creation=False,
    catchup=False,
    params={
        "period": Param(
            None,
            type=["null", "string"],
            pattern=r"^2[01][0-9]{2}-(0[1-9]|1[0-2])$",
            title="Month to bill",
            description="YYYY-MM, for example 2026-12. The one field to fill in here. Airflow's own Partition Key, "
            "which the schedule, backfills and the command line use, lies under the advanced options: leave it empty, "
            "for where both are given they must be the same.",
        ),
        "confirm_month": Param(
            None,
            type=["null", "string"],
            pattern=r"^2[01][0-9]{2}-(0[1-9]|1[0-2])([ ,;]+2[01][0-9]{2}-(0[1-9]|1[0-2]))*$",
            title="The month once more",
            description="Only for a month other than this one or the next that was not opened before: type it again. "
            "For a backfill, all of its months, with commas.",
        ),
    },
    default_args=DAG_DEFAULTS,
    tags=["invoicing", "monthly"],
    doc_md="""
### Monthly invoicing

Generates every lease's invoice of a month, decides by the agency's rules who gets it by e-mail, and sends it once.

* **The partition key is the period** (`YYYY-MM`). Run a month with *Trigger* and *Month to bill*, or with
  `bin/invoicing run --period 2026-11`. Without a month, or with two that differ, `open_cycle` fails and says so.
* **A month other than this one or the next**, not opened before, is asked for twice: *The month once more*.
* **Unpausing** runs the current month at once if its tick passed while the DAG was paused and had run before, or within
  a day of the tick. A month that passed altogether is not made up for: run it by hand.
* **Safe to repeat.** Clear, retry, backfill or trigger again: the ledger knows what was generated and what was
  accepted. Nothing is invoiced or sent twice.
* **A red `send_invoices` square is a tenant without mail**, or, in a month of more than 50, several: its name ends in
  them. Its log names each delivery and the relay's answer. Mend the cause (address, relay, template), then clear the
  square: just what is unsent is sent.
* **`approve_sending`** waits, where the setting `approval` says so, until somebody approves what is about to leave:
  under *Required Actions*, on the month's page, or by `bin/invoicing cycle approve`. The first answer counts.
* **`render_unmailed`**, after the mail, makes the PDFs of those who get none, where the setting `unmailed_documents`
  says so. A red square there names the invoices without a PDF; the run and its mail are well all the same.
* **In doubt** is a delivery whose outcome nobody learnt. It is never repeated by itself: see
  `bin/invoicing deliveries list --state in_doubt`.
""",
)
def monthly_invoicing() -> None:
    """Wire the tasks."""

    @task(**SETUP_RETRIES)
    def open_cycle() -> int:
        """Open the period's cycle and take the snapshot of settings and template that this run uses."""
        from invoicing.services.billing import runs

        dag_id, dag_run_id = current_dag_run()
        with task_errors(), open_database() as db:
            return runs.open_month(
                db, dag_id=dag_id, dag_run_id=dag_run_id, wish=current_wish(), starter=current_starter()
            )

    @task
    def generate_invoices(cycle_run: int) -> dict[str, Any]:
        """Issue one invoice for every lease active in the period that has none yet, all in one transaction."""
        from invoicing.services.billing import generate

        with task_errors(), open_database() as db:
            return generate.generate_invoices(db, cycle_run)

    @task
    def count_invoices(cycle_run: int) -> dict[str, Any]:
        """Count the period's invoices per tenant: the rules ask for more than one."""
        from invoicing.services.billing import count

        with task_errors(), open_database() as db:
            return count.count_invoices(db, cycle_run)

    @task.branch
    def choose_path(cycle_run: int) -> str:
        """The global rule: with sending off, nobody is written to."""
        from invoicing.services.billing import runs

        with task_errors(), open_database() as db:
            return "sending_disabled" if runs.is_sending_disabled(db, cycle_run) else "select_recipients"

    @task
    def sending_disabled(cycle_run: int) -> None:
        """Keep the decision, tenant by tenant, that nobody is written to, and why."""
        from invoicing.services.delivery import select

        with task_errors(), open_database() as db:
            select.select_recipients(db, cycle_run)

    @task
    def select_recipients(cycle_run: int) -> list[MappedBatch]:
        """Apply the rules to every tenant; keep each decision with its trace; make the deliveries that are due."""
        from invoicing.services.delivery import select

        with task_errors(), open_database() as db:
            return batches_to_xcom(select.select_recipients(db, cycle_run))

    @task(trigger_rule=TriggerRule.ALL_DONE, retries=0, on_failure_callback=notify_operator)
    def close_cycle(cycle_run: int) -> dict[str, Any]:
        """Whatever happened: check that the cycle balances and that all that was due is sent; fail otherwise."""
        from invoicing.services.audit import history
        from invoicing.services.delivery import closing

        with task_errors(), open_database() as db:
            history.seal(db)
            return closing.close_run(db, cycle_run)

    cycle_run = open_cycle()
    disabled = sending_disabled(cycle_run)
    batches = select_recipients(cycle_run)
    path = choose_path(cycle_run)
    # The switch is the snapshot's: nobody need wait for the count to ask for it.
    generate_invoices(cycle_run) >> count_invoices(cycle_run) >> [disabled, batches]
    path >> [disabled, batches]
    approval = ApproveSending(
        task_id="approve_sending",
        doc_md="Wait for a person, where the settings ask for one, to approve what is about to leave. "
        "Rejected, nothing is sent and the run ends well. A time-out never approves.",
    )
    sent = deliver_batches(batches, cycle_run, approval=approval)
    listed = document_unmailed(cycle_run, decided=[disabled, approval], sent=sent)
    [disabled, sent, listed] >> close_cycle(cycle_run)


monthly_invoicing()
