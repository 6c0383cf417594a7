"""From the API server: having Airflow do tasks of a run again, as its own clear does."""

from collections.abc import Sequence

from airflow.api_fastapi.common.dagbag import create_dag_bag
from airflow.api_fastapi.core_api.datamodels.task_instances import ClearTaskInstancesBody
from airflow.api_fastapi.core_api.routes.public.task_instances import post_clear_task_instances
from airflow.models import DagRun
from airflow.utils.session import create_session
from airflow.utils.state import State
from fastapi import HTTPException, status
from sqlalchemy import select

from invoicing.domain.errors import NotFoundError, WorkFailedError
from invoicing.on_airflow.answering import Person
from invoicing.web.door.visitor import Visitor


class Clearing:
    """Airflow's clear, by the function behind its own endpoint, in the visitor's name.

    Who may was asked at our door.
    """

    def __init__(self, visitor: Visitor) -> None:
        self._person = Person(visitor)

    def clear_tasks(
        self, dag_id: str, dag_run_id: str, task_ids: Sequence[str], *, only_failed: bool
    ) -> list[tuple[str, int]]:
        """Have tasks of a run done again; each instance's task and map index.

        Raises:
            NotFoundError: Airflow knows no such run (any more).
            WorkFailedError: It refuses.
        """
        body = ClearTaskInstancesBody(
            dry_run=False, only_failed=only_failed, dag_run_id=dag_run_id, task_ids=list(task_ids)
        )
        try:
            with create_session() as session:
                cleared = post_clear_task_instances(
                    dag_id=dag_id, dag_bag=create_dag_bag(), body=body, session=session, user=self._person
                )
        except HTTPException as error:
            if error.status_code == status.HTTP_404_NOT_FOUND:
                raise NotFoundError("airflow_knows_nothing", reason=error.detail) from None
            raise WorkFailedError(
                "airflow_clear_refused", dag_run_id=dag_run_id, reason=error.detail
            ) from None
        return [(each.task_id, each.map_index) for each in cleared.task_instances]

    def is_at_work(self, dag_id: str, dag_run_id: str) -> bool:
        """Whether the run goes on, or is about to; raises `NotFoundError` for one that Airflow does not know."""
        with create_session() as session:
            found = session.scalar(
                select(DagRun.state).where(DagRun.dag_id == dag_id, DagRun.run_id == dag_run_id)
            )
        if found is None:
            raise NotFoundError("airflow_knows_nothing", reason=dag_run_id)
        return found in State.unfinished_dr_states
