"""The JSON API of cycles: what the command line prints of a month, and what its page asks for."""

from dataclasses import asdict
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import JSONResponse, Response

from invoicing.domain.period import Period
from invoicing.services.delivery import approvals, holds, retries, send_now
from invoicing.services.views import cycle_tenants, cycles, phases, report
from invoicing.services.views.approvals import approval_of
from invoicing.web.announcement import announce, tell_waiting
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
def get_cycle(db: DatabaseDep, visitor: VisitorDep, period: str) -> dict[str, Any]:
    """Counts and sums, as ``cycle show --json`` prints them."""
    shown = report.cycle_report(db, Period.parse(period))
    return report.cycle_as_seen(shown, with_personal=visitor.may(Duty.READ_PERSONAL))


@router.get("/cycles/{period}/progress")
@needs(Duty.READ_AMOUNTS)
def get_progress(db: DatabaseDep, period: str) -> dict[str, Any]:
    """Few figures, cheap to ask for while a run goes on; ``running`` says whether to ask again; ``run``: its steps."""
    month = Period.parse(period)
    progress = cycles.show_progress(db, month)
    run = phases.run_phases(db, month) if progress.running else None
    return {**asdict(progress), "run": run and as_json(run)}


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


class SendOrder(BaseModel):
    """Tenants of a month to be decided on anew, and sent what they are due."""

    model_config = ConfigDict(extra="forbid")

    tenants: list[str] = Field(min_length=1, max_length=1000)


class Reason(BaseModel):
    """Why; kept for the audit."""

    model_config = ConfigDict(extra="forbid")

    reason: str = Field(max_length=500)


class Answer(BaseModel):
    """An answer to what the month waits for; ``reason`` may be empty where it is approved."""

    model_config = ConfigDict(extra="forbid")

    reason: str = Field("", max_length=500)


@router.post("/cycles/{period}/send")
@needs(Duty.ACT_ON_DELIVERIES)
def post_send(
    request: Request, db: DatabaseDep, visitor: VisitorDep, period: str, order: SendOrder
) -> dict[str, Any]:
    """Decide anew on these tenants alone, and send what they are due. ``airflow_told``: whether Airflow was told."""
    decided = send_now.send_now(db, Period.parse(period), order.tenants, actor=visitor.actor)
    return {
        "tenants": report.sent_now_report(decided),
        "airflow_told": any(each.deliveries for each in decided) and announce(request),
    }


@router.get("/cycles/{period}/retry", dependencies=[EXPENSIVE])
@needs(Duty.READ_AMOUNTS)
def get_retry(db: DatabaseDep, visitor: VisitorDep, period: str) -> dict[str, Any]:
    """What a retry would do now, as ``cycle retry --dry-run --json`` prints it. Changes nothing."""
    return report.retry_report(visitor.sees(retries.plan_retry(db, Period.parse(period))))


@router.post("/cycles/{period}/retry")
@needs(Duty.ACT_ON_DELIVERIES)
def post_retry(request: Request, db: DatabaseDep, visitor: VisitorDep, period: str) -> dict[str, Any]:
    """Try all that is unsent and may be sent once more.

    ``airflow_told``: whether `send_new_invoices` was told of what no task of the month's covers; null where all is.
    """
    scheduler = request.app.state.outside.scheduler(visitor)
    retried = visitor.sees(retries.retry(db, Period.parse(period), scheduler, actor=visitor.actor))
    told = announce(request) if retried.requested else None
    return {**report.retry_report(retried.plan, retried), "airflow_told": told}


@router.post("/cycles/{period}/approve")
@needs(Duty.ACT_ON_DELIVERIES)
def post_approve(
    request: Request, db: DatabaseDep, visitor: VisitorDep, period: str, order: Answer
) -> dict[str, Any]:
    """Let the month leave as it was shown. ``airflow_told``: whether its run goes on at once."""
    return _answer(request, db, visitor, period, "approved", order.reason)


@router.post("/cycles/{period}/reject")
@needs(Duty.ACT_ON_DELIVERIES)
def post_reject(
    request: Request, db: DatabaseDep, visitor: VisitorDep, period: str, order: Answer
) -> dict[str, Any]:
    """Nothing of the month leaves: its deliveries are held, its run ends."""
    return _answer(request, db, visitor, period, "rejected", order.reason)


def _answer(
    request: Request,
    db: DatabaseDep,
    visitor: VisitorDep,
    period: str,
    wanted: Literal["approved", "rejected"],
    reason: str,
) -> dict[str, Any]:
    month = Period.parse(period)
    answered = approvals.answer(db, month, wanted, reason=reason, actor=visitor.actor, via="api")
    told = tell_waiting(request, answered, visitor)
    answered.raise_if_refused()
    return {"approval": report.approval_report(approval_of(db, month)), "airflow_told": told}


@router.post("/cycles/{period}/stop")
@needs(Duty.ACT_ON_DELIVERIES)
def post_stop(db: DatabaseDep, visitor: VisitorDep, period: str, order: Reason) -> dict[str, Any]:
    """Nothing more of the month leaves until it is resumed; ``under_way``: too late for these."""
    return asdict(holds.stop_month(db, Period.parse(period), reason=order.reason, actor=visitor.actor))


@router.post("/cycles/{period}/resume")
@needs(Duty.ACT_ON_DELIVERIES)
def post_resume(
    request: Request, db: DatabaseDep, visitor: VisitorDep, period: str, order: Reason
) -> dict[str, Any]:
    """A stopped month goes on: its deliveries are sent now."""
    resumed = holds.resume_month(db, Period.parse(period), reason=order.reason, actor=visitor.actor)
    return {
        "deliveries": list(resumed.deliveries),
        "airflow_told": bool(resumed.deliveries) and announce(request),
    }
