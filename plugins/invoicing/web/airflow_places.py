"""Where Airflow shows what our rows speak of: paths below Airflow's root."""

from urllib.parse import quote

from invoicing.services.cycle_pages import task_instance


def run_place(dag_run_id: str, dag_id: str = "monthly_invoicing") -> str:
    """The page of a DAG run."""
    return f"dags/{_part(dag_id)}/runs/{_part(dag_run_id)}"


def task_place(claimed_by: str | None) -> str | None:
    """The page of the task instance that a delivery names: ``dag/run/task/map index``; None where it names none."""
    task = task_instance(claimed_by)
    if task is None:
        return None
    place = f"{run_place(task.run_id, task.dag_id)}/tasks/{_part(task.task_id)}"
    return place if task.map_index < 0 else f"{place}/mapped/{task.map_index}"


def _part(text: str) -> str:
    return quote(text, safe="")
