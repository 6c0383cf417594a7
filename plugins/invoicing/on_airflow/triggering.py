"""From the API server: having Airflow run a month, as its own API does it."""

from itertools import count

from airflow.api.common.trigger_dag import trigger_dag
from airflow.exceptions import DagNotFound, DagRunAlreadyExists, ParamValidationError
from airflow.models import DagModel, DagRun
from airflow.utils.session import create_session
from airflow.utils.types import DagRunTriggeredByType
from sqlalchemy import select

from invoicing.domain.errors import WorkFailedError
from invoicing.domain.names import MONTHLY_DAG
from invoicing.domain.period import Period
from invoicing.web.outside import Triggered


def run_month(period: Period, is_confirmed: bool, by: str) -> Triggered:
    """Trigger the monthly DAG for ``period``; its runs are named as the command line names them: ``2026-12 manual 1``.

    Args:
        is_confirmed: A person confirmed a month that has to be.
        by: Who asks, as Airflow shows it beside the run.

    Raises:
        WorkFailedError: Airflow knows no such DAG, or refuses the run.
    """
    name = f"{period} manual"
    with create_session() as session:
        named = select(DagRun.run_id).where(
            DagRun.dag_id == MONTHLY_DAG, DagRun.run_id.startswith(f"{name} ")
        )
        taken = set(session.scalars(named))
        paused = session.scalar(select(DagModel.is_paused).where(DagModel.dag_id == MONTHLY_DAG))
    for number in count(1):
        dag_run_id = f"{name} {number}"
        if dag_run_id in taken:
            continue
        try:
            trigger_dag(
                MONTHLY_DAG,
                triggered_by=DagRunTriggeredByType.UI,
                triggering_user_name=by,
                run_id=dag_run_id,
                partition_key=str(period),
                conf={"confirm_month": str(period)} if is_confirmed else {},
            )
        except DagRunAlreadyExists:
            # Somebody else has taken the number in between.
            continue
        except DagNotFound:
            raise WorkFailedError("airflow_dag_absent", dag=MONTHLY_DAG) from None
        except (ParamValidationError, ValueError) as error:
            raise WorkFailedError("airflow_run_refused", dag=MONTHLY_DAG, reason=str(error)) from None
        break
    return Triggered(dag_run_id, is_paused=bool(paused))
