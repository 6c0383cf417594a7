"""Retry all that failed of a month: first who would get what, at which address, by which template; then one button."""

from dataclasses import replace
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from invoicing.domain.errors import WorkFailedError
from invoicing.domain.period import Period
from invoicing.services.delivery import retries
from invoicing.web.announcement import announce
from invoicing.web.database import DatabaseDep
from invoicing.web.door.duties import Duty, needs
from invoicing.web.door.visitor import VisitorDep
from invoicing.web.html.forms import see_other
from invoicing.web.html.i18n import TranslatorDep
from invoicing.web.html.templating import PagesDep
from invoicing.words.ledger import LEFT_ALONE

router = APIRouter(prefix="/cycles")

_MOST_SHOWN = 200


@router.get("/{period}/retry")
@needs(Duty.READ_AMOUNTS)
def show_retry(request: Request, db: DatabaseDep, pages: PagesDep, period: str) -> Response:
    """What a retry would do now. Changes nothing."""
    return _page(request, db, pages, Period.parse(period))


@router.post("/{period}/retry")
@needs(Duty.ACT_ON_DELIVERIES)
def retry(
    request: Request,
    db: DatabaseDep,
    pages: PagesDep,
    visitor: VisitorDep,
    t: TranslatorDep,
    period: str,
) -> Response:
    """Try all that is unsent and may be sent once more."""
    month = Period.parse(period)
    try:
        retried = retries.retry(db, month, request.app.state.outside.scheduler(visitor), actor=visitor.actor)
    except WorkFailedError as error:
        return _page(request, db, pages, month, 503, problem=t.failure(error))
    if not retried.plan.to_retry:
        done = "nothing-unsent"
    elif retried.requested and not announce(request):
        done = "resent-untold"
    else:
        done = "retried"
    return see_other(request, f"/cycles/{month}?done={done}")


def _page(
    request: Request, db: DatabaseDep, pages: PagesDep, month: Period, status: int = 200, **context: Any
) -> Response:
    plan = retries.plan_retry(db, month)
    return pages.respond(
        request,
        "cycle_retry.html",
        status,
        period=str(month),
        plan=replace(plan, to_retry=plan.to_retry[:_MOST_SHOWN], left_alone=plan.left_alone[:_MOST_SHOWN]),
        count=len(plan.to_retry),
        left_count=len(plan.left_alone),
        sender=plan.sender or request.app.state.outside.relay_sender() or "",
        left_words=LEFT_ALONE,
        **{"problem": None, **context},
    )
