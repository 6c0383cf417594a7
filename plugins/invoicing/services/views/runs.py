"""Runs as people look at them: what a DAG run of Airflow's was for us."""

import datetime
from dataclasses import dataclass

from invoicing.db.connection import Database
from invoicing.db.statements import beside, fetch_one

_SQL = beside(__file__)
_LARGEST_ID = 2**62


@dataclass(frozen=True, slots=True)
class RunShown:
    """A run.

    Args:
        period: ``YYYY-MM``; None for a run that sends what lies outside of the months.
    """

    id: int
    dag_id: str
    dag_run_id: str
    state: str
    started_at: datetime.datetime
    ended_at: datetime.datetime | None
    period: str | None


def run_of(db: Database, dag_id: str, dag_run_id: str) -> RunShown | None:
    """What a DAG run of Airflow's was for us; None where it was nothing."""
    which = {"dag_id": dag_id.replace("\0", ""), "dag_run_id": dag_run_id.replace("\0", "")}
    return fetch_one(db, RunShown, _SQL["run_by_dag_run"], which)


def show_run(db: Database, run_id: int) -> RunShown | None:
    """A run by its id."""
    return fetch_one(db, RunShown, _SQL["run_by_id"], {"id": min(run_id, _LARGEST_ID)})
