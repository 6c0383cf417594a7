"""A month of the real stack that waits for a person's approval."""

from pathlib import Path

import psycopg

from invoicing.airflow_api import AirflowApi
from support.project import DEMO
from support.running_stack import Stack, wait_for

DAG, TASK = "monthly_invoicing", "approve_sending"
_HEADERS = {path.stem: path.read_text(encoding="utf-8").splitlines()[0] for path in DEMO.glob("*.csv")}


def make_agency(stack: Stack, folder: Path) -> None:
    """Two tenants, A and B; whatever a month sends has to be approved.

    Args:
        folder: Empty, for the files to import.
    """
    rows = {
        "tenants": [f"{c},CC,1,{c},{c.lower()}@correo.test,,es,Bogotá,no,yes,no" for c in ("A", "B")],
        "leases": [f"L-{c},{c},Calle 1,Bogotá,residential,2020-01-01,,1000000,COP" for c in ("A", "B")],
    }
    for name, lines in rows.items():
        (folder / f"{name}.csv").write_text("\n".join([_HEADERS[name], *lines]) + "\n", encoding="utf-8")
    stack.run("import", str(folder))
    stack.run("settings", "set", "auto_send=yes", "approval=always", "from_email=facturas@agencia.test")


def begin(api: AirflowApi, period: str) -> str:
    """Start a run of the month; its id."""
    return api.trigger(DAG, partition_key=period, params={"confirm_month": period})


def state_of(api: AirflowApi, run_id: str, task: str = TASK) -> str | None:
    """Of a task of the run."""
    found = [each.state for each in api.task_instances(DAG, run_id) if each.task_id == task]
    return found[0] if found else None


def wait_until_asked(api: AirflowApi, run_id: str) -> None:
    """Until the run waits for a person."""
    wait_for(lambda: state_of(api, run_id) == "awaiting_input", "the run waits for a person", 240)


def end(api: AirflowApi, run_id: str) -> str:
    """Wait for the run's end; its state then."""
    ended: str = wait_for(
        lambda: (run := api.dag_run(DAG, run_id)).is_over and run.state, "the run ends", 200
    )
    return ended


def answers(stack: Stack, period: str) -> list[tuple[str | None, str | None]]:
    """What was answered and where, of each time that the month was asked about; None where nobody has yet."""
    with psycopg.connect(stack.dsn, autocommit=True) as db:
        return db.execute(
            "SELECT a.answer, a.via FROM invoicing.approval_request q"
            " JOIN invoicing.billing_cycle c ON c.id = q.cycle_id"
            " LEFT JOIN invoicing.approval_answer a ON a.request_id = q.id WHERE c.period = %s ORDER BY q.id",
            [period],
        ).fetchall()
