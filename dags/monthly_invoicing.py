"""The monthly cycle: wiring only, each task is one call into a service."""

from datetime import timedelta
from typing import Any

from airflow.sdk import CronPartitionTimetable, Param, TriggerRule, dag, task

from invoicing.on_airflow.connections import open_database
from invoicing.on_airflow.notice import notify_operator
from invoicing.on_airflow.tasks import (
    DAG_DEFAULTS,
    TIMEZONE,
    MappedBatch,
    batches_to_xcom,
    current_dag_run,
    current_period,
    task_errors,
)
from invoicing.on_airflow.wiring import deliver_batches


@dag(
    # No start date, and no tick of the past: a new installation bills its first month when the next one begins.
    schedule=CronPartitionTimetable(
        "0 6 1 * *", timezone=TIMEZONE, key_format="%Y-%m", run_immediately=timedelta(0)
    ),
    start_date=None,
    is_paused_upon_creation=False,
    catchup=False,
    params={
        "period": Param(
            None,
            type=["null", "string"],
            pattern=r"^2[01][0-9]{2}-(0[1-9]|1[0-2])$",
            title="Period",
            description="YYYY-MM; only asked where the run has no partition key",
        )
    },
    default_args=DAG_DEFAULTS,
    tags=["invoicing"],
    doc_md="""
### Monthly invoicing

Generates every lease's invoice of a month, decides by the agency's rules who gets it by e-mail, and sends it once.

* **The partition key is the period** (`YYYY-MM`). Run a month with *Trigger* and its key, or with
  `bin/invoicing run --period 2026-11`.
* **Unpausing** runs the current month at once if its tick passed while the DAG was paused and had run before. A month
  that passed altogether is not made up for: run it by hand.
* **Safe to repeat.** Clear, retry, backfill or trigger again: the ledger knows what was generated and what was
  accepted. Nothing is invoiced or sent twice.
* **A red `send_invoices` square is a tenant without mail.** Its log names the delivery and the relay's answer. Mend
  the cause (address, relay, template), then clear the square: just that is sent.
* **In doubt** is a delivery whose outcome nobody learnt. It is never repeated by itself: see
  `bin/invoicing deliveries list --state in_doubt`.
""",
)
def monthly_invoicing() -> None:
    """Wire the tasks."""

    @task
    def open_cycle() -> int:
        """Open the period's cycle and take the snapshot of settings and template that this run uses."""
        from invoicing.services.billing import runs

        dag_id, dag_run_id = current_dag_run()
        with task_errors(), open_database() as db:
            return runs.open_run(db, dag_id=dag_id, dag_run_id=dag_run_id, period=current_period())

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
        from invoicing.services.delivery import closing

        with task_errors(), open_database() as db:
            return closing.close_run(db, cycle_run)

    cycle_run = open_cycle()
    disabled = sending_disabled(cycle_run)
    batches = select_recipients(cycle_run)
    path = choose_path(cycle_run)
    generate_invoices(cycle_run) >> count_invoices(cycle_run) >> path >> [disabled, batches]
    [disabled, deliver_batches(batches, cycle_run)] >> close_cycle(cycle_run)


monthly_invoicing()
