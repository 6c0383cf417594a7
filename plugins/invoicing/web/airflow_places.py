"""Where Airflow shows what our rows speak of: paths below Airflow's root."""

from urllib.parse import quote


def run_place(dag_run_id: str, dag_id: str = "monthly_invoicing") -> str:
    """The page of a DAG run."""
    return f"dags/{_part(dag_id)}/runs/{_part(dag_run_id)}"


def task_place(claimed_by: str | None) -> str | None:
    """The page of the task instance that a delivery names: ``dag/run/task/map index``; None where it names none."""
    dag_id, _, rest = (claimed_by or "").partition("/")
    # A run's id is free text and may hold a slash.
    run_and_task, _, map_index = rest.rpartition("/")
    run_id, _, task_id = run_and_task.rpartition("/")
    if not (dag_id and run_id and task_id and map_index.removeprefix("-").isdecimal()):
        return None
    place = f"{run_place(run_id, dag_id)}/tasks/{_part(task_id)}"
    return place if map_index.startswith("-") else f"{place}/mapped/{map_index}"


def _part(text: str) -> str:
    return quote(text, safe="")
