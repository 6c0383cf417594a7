"""The JSON API of cycles, invoices and deliveries, beside what repeats the command line's own documents."""

from decimal import Decimal
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, ConfigDict, Field

from invoicing.domain.period import Period
from invoicing.domain.task_address import TaskAddress
from invoicing.services.delivery import resolution
from invoicing.services.views import cycles as cycle_pages
from invoicing.services.views import report
from invoicing.web.announcement import announce
from invoicing.web.database import DatabaseDep
from invoicing.web.door.visitor import VisitorDep
from invoicing.web.html.trace import steps

router = APIRouter()

_MOST_ROWS = 500
_LARGEST_ID = 2**62


class ResendOrder(BaseModel):
    """Deliveries to be sent again; all of them or none."""

    model_config = ConfigDict(extra="forbid")

    deliveries: list[int] = Field(min_length=1, max_length=1000)
    reason: str = Field(max_length=500)


class Resolution(BaseModel):
    """What became of a delivery that is in doubt."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    verdict: Literal["sent", "failed", "retry"] = Field(alias="as")
    reason: str = Field(max_length=500)


@router.get("/cycles")
def get_cycles(
    db: DatabaseDep,
    limit: Annotated[int, Query(ge=1, le=60)] = 12,
    offset: Annotated[int, Query(ge=0, le=10_000)] = 0,
) -> dict[str, Any]:
    """Months with their figures, newest first, and how many there are."""
    rows, total = cycle_pages.list_months(db, limit=limit, offset=offset)
    return {"total": total, "cycles": [_plain(row) for row in rows]}


@router.get("/cycles/{period}/progress")
def get_progress(db: DatabaseDep, period: str) -> dict[str, Any]:
    """Few figures, cheap to ask for while a run goes on; ``running`` says whether to ask again."""
    return cycle_pages.show_progress(db, Period.parse(period))


@router.get("/cycles/{period}/tenants/{code}")
def get_cycle_tenant(db: DatabaseDep, period: str, code: str) -> dict[str, Any]:
    """A tenant in a month: decision, invoices, deliveries with events and attempts."""
    shown = cycle_pages.show_tenant(db, Period.parse(period), code)
    return {
        "tenant": shown["code"],
        "name": shown["name"],
        "decision": None if shown["decided_at"] is None else "skip" if shown["reason"] else "send",
        "reason": shown["reason"],
        "trace": shown["trace"] or [],
        "explanation": [
            {"rule": step.rule, "es": step.text[0], "en": step.text[1]}
            for step in steps(shown["trace"] or [])
        ],
        "invoices": [_plain(row) for row in shown["invoices"]],
        "deliveries": [_delivery(row) for row in shown["deliveries"]],
    }


@router.get("/invoices/{number}")
def get_invoice(db: DatabaseDep, number: str) -> dict[str, Any]:
    """An invoice, its document's checksum, and its deliveries."""
    shown = cycle_pages.show_invoice(db, number)
    hidden = ("id", "cycle_id", "uri", "deliveries")
    return _plain({key: value for key, value in shown.items() if key not in hidden}) | {
        "deliveries": [{"id": each["id"], "state": each["state"]} for each in shown["deliveries"]]
    }


@router.get("/single-invoices")
def get_single_invoices(
    db: DatabaseDep,
    q: str = "",
    limit: Annotated[int, Query(ge=1, le=_MOST_ROWS)] = 100,
    offset: Annotated[int, Query(ge=0, le=10_000_000)] = 0,
) -> dict[str, Any]:
    """Invoices made outside the monthly job, newest first, and how many fit."""
    rows, total = cycle_pages.find_single_invoices(db, q[:200], limit=limit, offset=offset)
    return {"total": total, "invoices": [_plain(row, without=("total",)) for row in rows]}


@router.get("/deliveries/{delivery_id}")
def get_delivery(db: DatabaseDep, delivery_id: int) -> dict[str, Any]:
    """A delivery with its events and attempts, and the task instance that had it last."""
    return _delivery(cycle_pages.show_delivery(db, delivery_id))


@router.post("/deliveries/resend")
def post_resend(request: Request, db: DatabaseDep, visitor: VisitorDep, order: ResendOrder) -> dict[str, Any]:
    """Send the same invoices again. ``airflow_told``: whether `send_new_invoices` was told."""
    ids = [min(each, _LARGEST_ID) for each in order.deliveries]
    made = resolution.resend(db, ids, reason=order.reason, actor=visitor.actor)
    return {"deliveries": made, "airflow_told": announce(request)}


@router.post("/deliveries/{delivery_id}/resolve")
def post_resolve(
    request: Request, db: DatabaseDep, visitor: VisitorDep, delivery_id: int, order: Resolution
) -> dict[str, Any]:
    """Settle a delivery that is in doubt."""
    resolution.resolve(
        db, min(delivery_id, _LARGEST_ID), order.verdict, reason=order.reason, actor=visitor.actor
    )
    told = announce(request) if order.verdict == "retry" else None
    return {"delivery": delivery_id, "as": order.verdict, "airflow_told": told}


def _delivery(row: dict[str, Any]) -> dict[str, Any]:
    found = TaskAddress.parse(row["claimed_by"])
    return {
        "id": row["id"],
        "period": row["period"],
        "tenant": row["tenant"],
        "state": row["state"],
        "purpose": row["purpose"],
        "generation": row["generation"],
        "resend_of": row["resend_of"],
        "message_id": row["message_id"],
        "to": row["to_addresses"],
        "cc": row["cc_addresses"],
        "invoices": row["invoices"],
        "attempts": row["attempts"],
        "last_reply": row["last_reply"],
        "actor": row["actor"],
        "reason": row["reason"],
        "updated_at": row["updated_at"],
        "task_instance": found
        and {
            "dag_id": found.dag_id,
            "dag_run_id": found.dag_run_id,
            "task_id": found.task_id,
            "map_index": found.map_index,
        },
        "events": row["events"],
        "tries": row["tries"],
    }


def _plain(row: dict[str, Any], without: tuple[str, ...] = ()) -> dict[str, Any]:
    """A row for JSON: amounts as decimal strings."""
    return {
        key: report.money(value) if isinstance(value, Decimal) else value
        for key, value in row.items()
        if key not in without
    }
