"""A person approves what a month is about to send, or rejects it, on the month's page."""

from typing import Literal

from fastapi import APIRouter, Request
from starlette.responses import Response

from invoicing.domain.errors import InputError
from invoicing.domain.period import Period
from invoicing.services.delivery import approvals
from invoicing.web.announcement import tell_waiting
from invoicing.web.database import DatabaseDep
from invoicing.web.door.duties import Duty, needs
from invoicing.web.door.visitor import Visitor, VisitorDep
from invoicing.web.html.forms import Submitted, SubmittedDep, attempt, see_other
from invoicing.web.html.i18n import Translator, TranslatorDep
from invoicing.web.html.templating import Pages, PagesDep
from invoicing.web.pages.cycles import month_page
from invoicing.web.pages.holds import RefusedHold

router = APIRouter(prefix="/cycles")


@router.post("/{period}/approve")
@needs(Duty.ACT_ON_DELIVERIES)
def approve(
    request: Request,
    db: DatabaseDep,
    pages: PagesDep,
    visitor: VisitorDep,
    t: TranslatorDep,
    submitted: SubmittedDep,
    period: str,
) -> Response:
    """Let what was shown leave."""
    return _answer(request, db, pages, visitor, t, submitted, period, "approved")


@router.post("/{period}/reject")
@needs(Duty.ACT_ON_DELIVERIES)
def reject(
    request: Request,
    db: DatabaseDep,
    pages: PagesDep,
    visitor: VisitorDep,
    t: TranslatorDep,
    submitted: SubmittedDep,
    period: str,
) -> Response:
    """Nothing of it leaves; the run ends, a later one takes it up."""
    return _answer(request, db, pages, visitor, t, submitted, period, "rejected")


def _answer(
    request: Request,
    db: DatabaseDep,
    pages: Pages,
    visitor: Visitor,
    t: Translator,
    submitted: Submitted,
    period: str,
    wanted: Literal["approved", "rejected"],
) -> Response:
    month, reason = Period.parse(period), submitted["reason"]

    def act() -> Response:
        answered = approvals.answer(db, month, wanted, reason=reason, actor=visitor.actor, via="page")
        is_told = tell_waiting(request, answered, visitor)
        answered.raise_if_refused()
        return see_other(request, f"/cycles/{month}?done={wanted if is_told else wanted + '-untold'}")

    def refused(error: InputError) -> Response:
        problem = RefusedHold("approval", reason, t.failure(error))
        return month_page(request, db, pages, month, 422, problem=problem)

    return attempt(act, refused)
