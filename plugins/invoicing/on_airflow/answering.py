"""From the API server: telling a run that waits in Airflow that a person answered."""

from airflow.api_fastapi.auth.managers.models.base_user import BaseUser
from airflow.api_fastapi.core_api.datamodels.hitl import UpdateHITLDetailPayload
from airflow.api_fastapi.core_api.routes.public.hitl import update_hitl_detail
from airflow.utils.session import create_session
from fastapi import HTTPException, status

from invoicing.domain.approval import OPTIONS
from invoicing.domain.names import APPROVAL_TASK
from invoicing.services.delivery.approvals import Answered, WaitingRun
from invoicing.web.door.visitor import Visitor

_DOES_NOT_WAIT = (status.HTTP_404_NOT_FOUND, status.HTTP_409_CONFLICT)


class Person(BaseUser):
    """Who answered, as Airflow's own endpoint asks for them."""

    def __init__(self, visitor: Visitor) -> None:
        self.id = visitor.id
        self.name = visitor.name

    def get_id(self) -> str:
        """As the auth manager knows them."""
        return self.id

    def get_name(self) -> str:
        """As they are shown."""
        return self.name


def resume_run(run: WaitingRun, answered: Answered, visitor: Visitor) -> None:
    """Answer Airflow's request by the function behind its own endpoint, in the person's name; nothing where none waits.

    Who may was asked at our door; what counts is our ledger, which the task asks when it goes on.
    """
    payload = UpdateHITLDetailPayload(
        chosen_options=[OPTIONS[answered.state]], params_input={"reason": answered.reason[:500]}
    )
    try:
        with create_session() as session:
            update_hitl_detail(
                dag_id=run.dag_id,
                dag_run_id=run.dag_run_id,
                task_id=APPROVAL_TASK,
                update_hitl_detail_payload=payload,
                user=Person(visitor),
                session=session,
            )
    except HTTPException as error:
        if error.status_code not in _DOES_NOT_WAIT:
            raise
