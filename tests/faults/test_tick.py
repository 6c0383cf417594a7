"""The scheduler is away when the month's run is due: the run happens all the same, with the real scheduler."""

import datetime
import time
from collections.abc import Iterator

import pytest

from invoicing.airflow_api import AirflowApi
from invoicing.services.agency import clock
from support.running_stack import Stack, wait_for

pytestmark = [pytest.mark.faults, pytest.mark.e2e, pytest.mark.long, pytest.mark.timeout(1200)]

DAG = "monthly_invoicing"
# Airflow reads the DAG anew, and works out its next run, every half a minute.
REREAD = datetime.timedelta(seconds=60)


@pytest.fixture
def tick(one_stack: Stack) -> Iterator[datetime.datetime]:
    """The stack with its month's run due in some minutes, once a month; as it was afterwards."""
    at = datetime.datetime.now(clock.zone()).replace(second=0, microsecond=0) + datetime.timedelta(minutes=5)
    one_stack.up(INVOICING_SCHEDULE=f"{at.minute} {at.hour} {at.day} * *")
    one_stack.clear()
    try:
        yield at
    finally:
        one_stack.run("down")
        del one_stack.environ["INVOICING_SCHEDULE"]
        one_stack.run("up")


def next_due(api: AirflowApi) -> datetime.datetime | None:
    """When Airflow means to run the month next."""
    due = api._get(f"/dags/{DAG}")["next_dagrun_run_after"]
    return due and datetime.datetime.fromisoformat(due)


def test_a_scheduler_that_was_away_at_the_tick_runs_the_month(
    one_stack: Stack, tick: datetime.datetime
) -> None:
    """Nothing ran on schedule before, which is where a recompute after the tick would skip to the next month."""
    with one_stack.airflow() as api:
        scheduled = [run for run in api.dag_runs(DAG) if run.dag_run_id.startswith("scheduled")]
        assert scheduled == []
        wait_for(lambda: next_due(api) == tick, "Airflow knows the schedule")
        assert datetime.datetime.now(clock.zone()) < tick
        one_stack.kill("scheduler")

        time.sleep((tick + REREAD - datetime.datetime.now(clock.zone())).total_seconds())
        assert next_due(api) == tick
        one_stack.run("up")

        run = wait_for(
            lambda: next(
                (run for run in api.dag_runs(DAG) if run.dag_run_id.startswith("scheduled") and run.is_over),
                None,
            ),
            "the month's run ends",
        )

    month = f"{tick:%Y-%m}"
    assert (run.partition_key, run.state) == (month, "success")
    assert one_stack.json("cycle", "show", month)["state"] == "closed"
