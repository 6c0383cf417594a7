"""Where Airflow shows what our rows speak of: paths below Airflow's root."""

from urllib.parse import quote

from invoicing.domain.names import MONTHLY_DAG
from invoicing.domain.task_address import TaskAddress


def run_place(dag_run_id: str, dag_id: str = MONTHLY_DAG) -> str:
    """The page of a DAG run."""
    return f"dags/{_part(dag_id)}/runs/{_part(dag_run_id)}"


def task_place(claimed_by: str | None) -> str | None:
    """The page of the task instance that a delivery names: ``dag/run/task/map index``; None where it names none."""
    task = TaskAddress.parse(claimed_by)
    if task is None:
        return None
    place = f"{run_place(task.dag_run_id, task.dag_id)}/tasks/{_part(task.task_id)}"
    return place if task.map_index < 0 else f"{place}/mapped/{task.map_index}"


def _part(text: str) -> str:
    return quote(text, safe="")
