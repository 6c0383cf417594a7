"""The address of a task instance in Airflow, as the ledger keeps it: ``dag/run/task/map index``."""

from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True, slots=True)
class TaskAddress:
    """Which task instance claimed a delivery.

    Args:
        dag_run_id: May have slashes of its own.
        map_index: -1 for a task that is not mapped.
    """

    dag_id: str
    dag_run_id: str
    task_id: str
    map_index: int

    def __str__(self) -> str:
        return f"{self.dag_id}/{self.dag_run_id}/{self.task_id}/{self.map_index}"

    @classmethod
    def parse(cls, text: str | None) -> Self | None:
        """Read what ``str`` writes, maybe followed by `` try N``; None for what is no task instance's address."""
        if not text:
            return None
        address = text.rpartition(" try ")[0] or text
        dag_id, _, rest = address.partition("/")
        run_and_task, _, map_index = rest.rpartition("/")
        dag_run_id, _, task_id = run_and_task.rpartition("/")
        if not (dag_id and dag_run_id and task_id and map_index.removeprefix("-").isdecimal()):
            return None
        return cls(dag_id, dag_run_id, task_id, int(map_index))
