"""The end of a run: does the cycle balance, and is all that was due sent?"""

from typing import Any

from invoicing.db.connection import Database
from invoicing.db.statements import beside
from invoicing.domain.errors import PermanentFailureError
from invoicing.services.billing import runs
from invoicing.services.billing.runs import Run
from invoicing.words.failures import Fault

_SQL = beside(__file__)
_STAGES = ("generated", "counted", "decided")
_UNSENT = ("failed", "in_doubt", "pending", "claimed", "transmitting")


def close_run(db: Database, run_id: int) -> dict[str, Any]:
    """End the run, and close its cycle, where the cycle balances and every delivery due was sent.

    Returns:
        ``deliveries``: how many are in each state.

    Raises:
        PermanentFailureError: Every fault that was found. The run is kept as failed, its cycle stays open.
    """
    run = runs.load_run(db, run_id)
    row = db.execute(_SQL["stages_of_run"], {"run_id": run_id}).fetchone()
    assert row is not None
    faults: list[Fault] = [
        Fault("run_stage_missing", stage=stage)
        for stage in _STAGES
        if row[f"{stage}_at"] is None and (run.cycle_id is not None or stage == "decided")
    ]
    states = delivery_counts(db, run)
    faults += imbalances(db, run.cycle_id) if run.cycle_id is not None else []
    faults += [_unsent(state, states[state]) for state in _UNSENT if states.get(state)]
    with db.transaction():
        db.execute(_SQL["end_run"], {"run_id": run_id, "state": "failed" if faults else "success"})
        if run.cycle_id is not None and not faults:
            db.execute(_SQL["close_cycle"], {"cycle_id": run.cycle_id})
    if faults:
        raise PermanentFailureError("run_failed", faults=faults)
    return {"deliveries": states}


def delivery_counts(db: Database, run: Run) -> dict[str, int]:
    """Deliveries by state: of the run's cycle; of the run itself where it belongs to none."""
    if run.cycle_id is None:
        tasks = f"{run.name}/"
        rows = db.execute(_SQL["delivery_counts_of_run"], {"run_id": run.id, "tasks": tasks})
    else:
        rows = db.execute(_SQL["first_delivery_counts"], {"cycle_id": run.cycle_id})
    return {row["state"]: row["deliveries"] for row in rows}


def imbalances(db: Database, cycle_id: int) -> list[Fault]:
    """Why the cycle does not balance; empty where it does. At most 50 faults are named."""
    return [
        Fault(
            row["code"], **{key: value for key, value in row.items() if key != "code" and value is not None}
        )
        for row in db.execute(_SQL["imbalances"], {"cycle_id": cycle_id})
    ]


def _unsent(state: str, count: int) -> Fault:
    if count == 1:
        return Fault("one_delivery_unsent", state=state)
    return Fault("several_deliveries_unsent", count=count, state=state)
