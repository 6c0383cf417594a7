"""The JSON API of cycles: what the command line prints of a month, and what its page asks for."""

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Query
from starlette.responses import JSONResponse, Response

from invoicing.domain.period import Period
from invoicing.services.views import cycle_tenants, cycles, report
from invoicing.web.api.amounts import as_json
from invoicing.web.api.deliveries import delivery_json
from invoicing.web.database import DatabaseDep
from invoicing.web.door.duties import Duty, needs
from invoicing.web.door.turns import EXPENSIVE
from invoicing.web.door.visitor import VisitorDep
from invoicing.web.html.trace import steps

router = APIRouter()


@router.get("/cycles")
@needs(Duty.READ_AMOUNTS)
def get_cycles(
    db: DatabaseDep,
    limit: Annotated[int, Query(ge=1, le=60)] = 12,
    offset: Annotated[int, Query(ge=0, le=10_000)] = 0,
) -> dict[str, Any]:
    """Months with their figures, newest first, and how many there are."""
    months, total = cycles.list_months(db, limit=limit, offset=offset)
    return {"total": total, "cycles": [as_json(month) for month in months]}


@router.get("/cycles/{period}")
@needs(Duty.READ_AMOUNTS)
def get_cycle(db: DatabaseDep, period: str) -> dict[str, Any]:
    """Counts and sums, as ``cycle show --json`` prints them."""
    return report.cycle_report(db, Period.parse(period))


@router.get("/cycles/{period}/progress")
@needs(Duty.READ_AMOUNTS)
def get_progress(db: DatabaseDep, period: str) -> dict[str, Any]:
    """Few figures, cheap to ask for while a run goes on; ``running`` says whether to ask again."""
    return asdict(cycles.show_progress(db, Period.parse(period)))


@router.get("/cycles/{period}/tenants", response_model=list[dict[str, Any]], dependencies=[EXPENSIVE])
@needs(Duty.READ_AMOUNTS)
def get_cycle_tenants(db: DatabaseDep, visitor: VisitorDep, period: str) -> Response:
    """One row per tenant, as ``cycle tenants --json`` prints them."""
    # An answer, not rows: FastAPI would write ten thousand of them on the event loop.
    found = report.cycle_tenants(db, Period.parse(period))
    return JSONResponse(report.rows_as_seen(found, with_personal=visitor.may(Duty.READ_PERSONAL)))


@router.get("/cycles/{period}/tenants/{code}")
@needs(Duty.READ_AMOUNTS)
def get_cycle_tenant(db: DatabaseDep, visitor: VisitorDep, period: str, code: str) -> dict[str, Any]:
    """A tenant in a month: decision, invoices, deliveries with events and attempts."""
    tenant = visitor.sees(cycle_tenants.cycle_tenant(db, Period.parse(period), code))
    trace = tenant.trace or []
    return {
        "tenant": tenant.code,
        "name": tenant.name,
        "decision": None if tenant.decided_at is None else "skip" if tenant.reason else "send",
        "reason": tenant.reason,
        "trace": trace,
        "explanation": [{"rule": step.rule, "es": step.text[0], "en": step.text[1]} for step in steps(trace)],
        "invoices": [as_json(invoice) for invoice in tenant.invoices],
        "deliveries": [delivery_json(delivery) for delivery in tenant.deliveries],
    }


@router.get("/cycles/{period}/invoices", response_model=list[dict[str, Any]], dependencies=[EXPENSIVE])
@needs(Duty.READ_AMOUNTS)
def get_cycle_invoices(db: DatabaseDep, period: str) -> Response:
    """One row per invoice, as ``cycle invoices --json`` prints them."""
    return JSONResponse(report.cycle_invoices(db, Period.parse(period)))
