"""From Airflow to the ledger: what its own views of a run and of a task instance lead to."""

from urllib.parse import urlencode

from fastapi import APIRouter, Request
from starlette.responses import Response

from invoicing.services.views.deliveries import find_other_deliveries
from invoicing.services.views.runs import run_of
from invoicing.web.database import DatabaseDep
from invoicing.web.door.duties import Duty, needs
from invoicing.web.html.forms import lead_to
from invoicing.web.html.templating import PagesDep

router = APIRouter(prefix="/runs")


@router.get("/{dag_id}/{dag_run_id}")
@needs(Duty.READ_AMOUNTS)
def show(request: Request, db: DatabaseDep, pages: PagesDep, dag_id: str, dag_run_id: str) -> Response:
    """The run's cycle, or what it sent outside of the months; a page that says so where there is neither."""
    run = run_of(db, dag_id, dag_run_id)
    if run is None:
        return pages.respond(request, "run_without_cycle.html", dag_id=dag_id, dag_run_id=dag_run_id)
    if run.period is None:
        return lead_to(request, f"/cycles/singles?run={run.id}")
    return lead_to(request, f"/cycles/{run.period}")


@router.get("/{dag_id}/{dag_run_id}/tasks/{task_id}/{map_index}")
@needs(Duty.READ_AMOUNTS)
def show_task(
    request: Request,
    db: DatabaseDep,
    dag_id: str,
    dag_run_id: str,
    task_id: str,
    map_index: str,
) -> Response:
    """The delivery that the task instance had last; their list where they are several, or none."""
    owner = f"{dag_id}/{dag_run_id}/{task_id}/{map_index}".replace("\0", "")
    found, total = find_other_deliveries(db, owner=owner, limit=1)
    if total == 1:
        return lead_to(request, f"/deliveries/{found[0].delivery_id}")
    return lead_to(request, f"/cycles/singles?{urlencode({'task': owner})}")
