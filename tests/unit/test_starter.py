"""Who started a DAG run, of what Airflow tells a task."""

from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.api.datamodels._generated import DagRunType

from invoicing.on_airflow.tasks import starter_of
from invoicing.services.billing.runs import Starter


def run(kind: DagRunType, user: str | None = None, conf: Any = None) -> SimpleNamespace:
    return SimpleNamespace(run_type=kind, triggering_user_name=user, conf=conf)


@pytest.mark.parametrize(
    ("dag_run", "starter"),
    [
        (run(DagRunType.SCHEDULED), Starter("schedule")),
        (run(DagRunType.BACKFILL, "admin"), Starter("backfill", "admin")),
        (run(DagRunType.MANUAL, "ana"), Starter("airflow", "ana")),
        (run(DagRunType.MANUAL, "admin", {"started_by": "beto"}), Starter("command", "beto, admin")),
        (run(DagRunType.MANUAL, None, {"started_by": "beto"}), Starter("command", "beto")),
        # What is typed there is anybody's: only a short text counts, and only where a person started the run.
        (run(DagRunType.MANUAL, "ana", {"started_by": 7}), Starter("airflow", "ana")),
        (run(DagRunType.MANUAL, "ana", {"started_by": " "}), Starter("airflow", "ana")),
        (run(DagRunType.MANUAL, "ana", {"started_by": "x" * 900}), Starter("command", "x" * 100 + ", ana")),
        (run(DagRunType.SCHEDULED, None, {"started_by": "beto"}), Starter("schedule")),
        (run(DagRunType.ASSET_TRIGGERED), Starter("asset")),
        (run(DagRunType.ASSET_MATERIALIZATION), Starter(None)),
    ],
)
def test_airflow_tells_who_started_a_run(dag_run: SimpleNamespace, starter: Starter) -> None:
    assert starter_of(dag_run) == starter
