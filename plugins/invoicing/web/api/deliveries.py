"""The JSON API of deliveries: what became of them, and what a person decides about them."""

from dataclasses import asdict
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import JSONResponse, Response

from invoicing.domain.period import Period
from invoicing.domain.task_address import TaskAddress
from invoicing.services.delivery import resolution
from invoicing.services.views import deliveries, report
from invoicing.services.views.deliveries import DeliveryShown
from invoicing.web.announcement import announce
from invoicing.web.database import DatabaseDep
from invoicing.web.door.duties import Duty, needs
from invoicing.web.door.turns import EXPENSIVE
from invoicing.web.door.visitor import VisitorDep

router = APIRouter()

_LARGEST_ID = 2**62


class ResendOrder(BaseModel):
    """Deliveries to be sent again; all of them or none."""

    model_config = ConfigDict(extra="forbid")

    deliveries: list[int] = Field(min_length=1, max_length=1000)
    reason: str = Field(max_length=500)
    words: Literal["then", "today"] = "then"


class Resolution(BaseModel):
    """What became of a delivery that is in doubt."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    verdict: Literal["sent", "failed", "retry"] = Field(alias="as")
    reason: str = Field(max_length=500)


class Cancellation(BaseModel):
    """Deliveries to be withdrawn; all of them or none."""

    model_config = ConfigDict(extra="forbid")

    deliveries: list[int] = Field(min_length=1, max_length=1000)
    reason: str = Field(max_length=500)


@router.get("/deliveries", response_model=list[dict[str, Any]], dependencies=[EXPENSIVE])
@needs(Duty.READ_AMOUNTS)
def get_deliveries(
    db: DatabaseDep,
    visitor: VisitorDep,
    period: str | None = None,
    state: str | None = None,
    limit: Annotated[int | None, Query(ge=1, le=_LARGEST_ID)] = None,
    after: Annotated[int, Query(ge=0, le=_LARGEST_ID)] = 0,
) -> Response:
    """One row per delivery, oldest first, as ``deliveries list --json`` prints them.

    ``after`` is the id of the last one on the page before; a page with fewer than ``limit`` is the last.
    """
    month = None if period is None else Period.parse(period)
    found = report.list_deliveries(db, period=month, state=state, after=after, limit=limit)
    return JSONResponse(report.rows_as_seen(found, with_personal=visitor.may(Duty.READ_PERSONAL)))


@router.get("/deliveries/{delivery_id}")
@needs(Duty.READ_AMOUNTS)
def get_delivery(db: DatabaseDep, visitor: VisitorDep, delivery_id: int) -> dict[str, Any]:
    """A delivery with its events and attempts, and the task instance that had it last."""
    return delivery_json(visitor.sees(deliveries.show_delivery(db, delivery_id)))


@router.post("/deliveries/resend")
@needs(Duty.ACT_ON_DELIVERIES)
def post_resend(request: Request, db: DatabaseDep, visitor: VisitorDep, order: ResendOrder) -> dict[str, Any]:
    """Send the same invoices again, with the words of then or of today. ``airflow_told``: whether Airflow was told."""
    ids = [min(each, _LARGEST_ID) for each in order.deliveries]
    made = resolution.resend(db, ids, reason=order.reason, actor=visitor.actor, words=order.words)
    return {"deliveries": made, "airflow_told": announce(request)}


@router.post("/deliveries/cancel")
@needs(Duty.ACT_ON_DELIVERIES)
def post_cancel(db: DatabaseDep, visitor: VisitorDep, order: Cancellation) -> dict[str, Any]:
    """Withdraw deliveries that have not left."""
    ids = list(dict.fromkeys(min(each, _LARGEST_ID) for each in order.deliveries))
    resolution.cancel(db, ids, reason=order.reason, actor=visitor.actor)
    return {"deliveries": ids}


@router.post("/deliveries/{delivery_id}/resolve")
@needs(Duty.ACT_ON_DELIVERIES)
def post_resolve(
    request: Request, db: DatabaseDep, visitor: VisitorDep, delivery_id: int, order: Resolution
) -> dict[str, Any]:
    """Settle a delivery that is in doubt."""
    resolution.resolve(
        db, min(delivery_id, _LARGEST_ID), order.verdict, reason=order.reason, actor=visitor.actor
    )
    told = announce(request) if order.verdict == "retry" else None
    return {"delivery": delivery_id, "as": order.verdict, "airflow_told": told}


def delivery_json(delivery: DeliveryShown) -> dict[str, Any]:
    """A delivery with its events and attempts."""
    task = TaskAddress.parse(delivery.claimed_by)
    return {
        "id": delivery.id,
        "period": delivery.period,
        "tenant": delivery.tenant,
        "state": delivery.state,
        "purpose": delivery.purpose,
        "generation": delivery.generation,
        "resend_of": delivery.resend_of,
        "message_id": delivery.message_id,
        "to": delivery.to_addresses,
        "cc": delivery.cc_addresses,
        "invoices": delivery.invoices,
        "attempts": delivery.attempts,
        "last_reply": delivery.last_reply,
        "actor": delivery.actor,
        "reason": delivery.reason,
        "updated_at": delivery.updated_at,
        "task_instance": None if task is None else asdict(task),
        "events": [asdict(event) for event in delivery.events],
        "tries": [asdict(attempt) for attempt in delivery.tries],
    }
