"""What a person does before the mail leaves: hold a tenant or a month, let it go, send one tenant now."""

from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import quote

from fastapi import APIRouter, Request
from starlette.responses import Response

from invoicing.domain.errors import InputError, NotFoundError
from invoicing.domain.period import Period
from invoicing.services.delivery import holds, send_now
from invoicing.web.announcement import announce
from invoicing.web.database import DatabaseDep
from invoicing.web.door.duties import Duty, needs
from invoicing.web.door.visitor import VisitorDep
from invoicing.web.html.forms import SubmittedDep, see_other
from invoicing.web.html.i18n import TranslatorDep
from invoicing.web.html.templating import PagesDep
from invoicing.web.pages.cycles import month_page, tenant_page

router = APIRouter(prefix="/cycles")


@dataclass(frozen=True, slots=True)
class RefusedHold:
    """What was asked for on a month's page, or a tenant's, and cannot be done.

    Args:
        action: ``hold``, ``release``, ``send``, ``stop`` or ``resume``.
        reason: As typed.
        text: What is wrong with it.
    """

    action: str
    reason: str
    text: str
    delivery: int = 0


@router.post("/{period}/tenants/{code}/hold")
@needs(Duty.ACT_ON_DELIVERIES)
def hold(
    request: Request,
    db: DatabaseDep,
    pages: PagesDep,
    visitor: VisitorDep,
    t: TranslatorDep,
    submitted: SubmittedDep,
    period: str,
    code: str,
) -> Response:
    """No mail to this tenant for this month until it is released."""
    month, reason = Period.parse(period), submitted["reason"]
    try:
        held = holds.hold(db, code, month, reason=reason, actor=visitor.actor)
    except NotFoundError:
        raise
    except InputError as error:
        refused = RefusedHold("hold", reason, t.failure(error))
        return _refused(request, db, pages, month, code, refused, error)
    return _to_tenant(request, month, code, "held-late" if held.under_way else "held")


@router.post("/{period}/tenants/{code}/release")
@needs(Duty.ACT_ON_DELIVERIES)
def release(
    request: Request,
    db: DatabaseDep,
    pages: PagesDep,
    visitor: VisitorDep,
    t: TranslatorDep,
    submitted: SubmittedDep,
    period: str,
    code: str,
) -> Response:
    """Let a tenant go; what is unsent is offered to be sent."""
    month, reason = Period.parse(period), submitted["reason"]
    try:
        released = holds.release(db, code, month, reason=reason, actor=visitor.actor)
    except NotFoundError:
        raise
    except InputError as error:
        refused = RefusedHold("release", reason, t.failure(error))
        return _refused(request, db, pages, month, code, refused, error)
    told = not released.resumed or announce(request)
    return _to_tenant(request, month, code, "released" if told else "resent-untold")


@router.post("/{period}/tenants/{code}/send")
@needs(Duty.ACT_ON_DELIVERIES)
def send(
    request: Request,
    db: DatabaseDep,
    pages: PagesDep,
    visitor: VisitorDep,
    t: TranslatorDep,
    period: str,
    code: str,
) -> Response:
    """Decide anew on this tenant alone, and send what it is due."""
    month = Period.parse(period)
    try:
        (decided,) = send_now.send_now(db, month, [code], actor=visitor.actor)
    except NotFoundError:
        raise
    except InputError as error:
        refused = RefusedHold("send", "", t.failure(error))
        return _refused(request, db, pages, month, code, refused, error)
    if decided.reason:
        return _to_tenant(request, month, code, "not-due")
    if not decided.deliveries:
        return _to_tenant(request, month, code, "nothing-unsent")
    return _to_tenant(request, month, code, "resent" if announce(request) else "resent-untold")


@router.post("/{period}/stop")
@needs(Duty.ACT_ON_DELIVERIES)
def stop(
    request: Request,
    db: DatabaseDep,
    pages: PagesDep,
    visitor: VisitorDep,
    t: TranslatorDep,
    submitted: SubmittedDep,
    period: str,
) -> Response:
    """Nothing more of the month leaves until it is resumed."""

    def act(month: Period, reason: str) -> str:
        held = holds.stop_month(db, month, reason=reason, actor=visitor.actor)
        return "stopped-late" if held.under_way else "stopped"

    return _on_month(request, db, pages, t, Period.parse(period), "stop", submitted["reason"], act)


@router.post("/{period}/resume")
@needs(Duty.ACT_ON_DELIVERIES)
def resume(
    request: Request,
    db: DatabaseDep,
    pages: PagesDep,
    visitor: VisitorDep,
    t: TranslatorDep,
    submitted: SubmittedDep,
    period: str,
) -> Response:
    """A stopped month goes on."""

    def act(month: Period, reason: str) -> str:
        resumed = holds.resume_month(db, month, reason=reason, actor=visitor.actor)
        told = not resumed.deliveries or announce(request)
        return "resumed" if told else "resent-untold"

    return _on_month(request, db, pages, t, Period.parse(period), "resume", submitted["reason"], act)


def _on_month(
    request: Request,
    db: DatabaseDep,
    pages: PagesDep,
    t: TranslatorDep,
    month: Period,
    action: str,
    reason: str,
    act: Callable[[Period, str], str],
) -> Response:
    try:
        done = act(month, reason)
    except NotFoundError:
        raise
    except InputError as error:
        refused = RefusedHold(action, reason, t.failure(error))
        return month_page(request, db, pages, month, 422, problem=refused)
    return see_other(request, f"/cycles/{month}?done={done}")


def _refused(
    request: Request,
    db: DatabaseDep,
    pages: PagesDep,
    month: Period,
    code: str,
    refused: RefusedHold,
    error: InputError,
) -> Response:
    """The tenant's page of the month, with the refusal; by itself where the tenant has no page in that month."""
    try:
        return tenant_page(request, db, pages, month, code, 422, problem=refused)
    except NotFoundError:
        raise error from None


def _to_tenant(request: Request, month: Period, code: str, done: str) -> Response:
    return see_other(request, f"/cycles/{month}/tenants/{quote(code, safe='')}?done={done}")
