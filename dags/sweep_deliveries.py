"""Every few minutes: tidy up after workers that died, and tell the operator what no run tells. Wiring only."""

from airflow.sdk import TriggerRule, dag, task

from invoicing.on_airflow.connections import open_database
from invoicing.on_airflow.metrics import tell_monitor
from invoicing.on_airflow.notice import tell_operator
from invoicing.on_airflow.storage import open_journal
from invoicing.on_airflow.tasks import DAG_DEFAULTS, task_errors
from invoicing.on_airflow.wiring import INVOICES


@dag(
    dag_display_name="Limpieza y avisos · Sweep deliveries",
    schedule="*/5 * * * *",
    catchup=False,
    max_active_runs=1,
    is_paused_upon_creation=False,
    default_args={**DAG_DEFAULTS, "retries": 0},
    tags=["invoicing", "upkeep"],
    doc_md="""
### Sweep deliveries

Frees claims whose worker went silent, puts transmissions whose worker went silent **in doubt**, and writes down
outcomes that the database could not take. Never sends a delivery. Tells `send_new_invoices` of what it was not told of.

Tells the operator, once a day each, of a month that did not happen, of a cycle that nobody closed, and of what else
`bin/invoicing health` finds that no run tells; and sends the notices that could not be sent before.

With the setting `doubt_policy=resend_after`, what has been in doubt for `doubt_minutes` is released to
`send_new_invoices`, under the same Message-ID: at least once, and maybe twice.
""",
)
def sweep_deliveries() -> None:
    """Wire the sweep."""

    @task
    def sweep() -> dict[str, int]:
        """Settle from the journal, free, doubt; returns how many of each. Chain, and tell the monitor."""
        from invoicing.services.audit import history
        from invoicing.services.delivery import sweep

        with task_errors(), open_database(settle_journal=False) as db:
            counts = sweep.sweep_deliveries(db, open_journal())
            history.seal(db)
            tell_monitor(db, counts)
            return counts

    @task.short_circuit
    def anything_waiting(counts: dict[str, int]) -> bool:
        """Is there something that `send_new_invoices` has not taken up?"""
        return counts["waiting"] > 0

    @task(outlets=[INVOICES])
    def announce() -> None:
        """Tell `send_new_invoices`."""

    # Also where the sweep failed: then above all.
    @task(trigger_rule=TriggerRule.ALL_DONE)
    def raise_alarms() -> dict[str, int]:
        """Tell the operator; returns how many notices are new, left, and could not leave."""
        return tell_operator()

    swept = sweep()
    anything_waiting(swept) >> announce()
    swept >> raise_alarms()


sweep_deliveries()
