"""What a person does before the mail leaves: hold a tenant or a month, let it go, send one tenant now."""

from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import quote

from fastapi import APIRouter, Request
from starlette.responses import Response

from invoicing.domain.errors import InputError, NotFoundError
from invoicing.domain.period import Period
from invoicing.services.agency.addresses import split_addresses
from invoicing.services.delivery import holds, send_now
from invoicing.web.announcement import announce
from invoicing.web.database import DatabaseDep
from invoicing.web.door.duties import Duty, needs
from invoicing.web.door.visitor import VisitorDep
from invoicing.web.html.forms import SubmittedDep, attempt, see_other
from invoicing.web.html.i18n import TranslatorDep
from invoicing.web.html.templating import PagesDep
from invoicing.web.pages.cycles import month_page, tenant_page

router = APIRouter(prefix="/cycles")


@dataclass(frozen=True, slots=True)
class RefusedHold:
    """What was asked for on a month's page, or a tenant's, and cannot be done.

    Args:
        action: ``hold``, ``release``, ``send``, ``stop``, ``resume`` or ``address``.
        reason: As typed: the reason, or the addresses.
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

    def act(month: Period, reason: str) -> str:
        held = holds.hold(db, code, month, reason=reason, actor=visitor.actor)
        return "held-late" if held.under_way else "held"

    return _on_tenant(request, db, pages, t, period, code, "hold", submitted["reason"], act)


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

    def act(month: Period, reason: str) -> str:
        released = holds.release(db, code, month, reason=reason, actor=visitor.actor)
        told = not released.resumed or announce(request)
        return "released" if told else "resent-untold"

    return _on_tenant(request, db, pages, t, period, code, "release", submitted["reason"], act)


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

    def act(month: Period, _reason: str) -> str:
        (sent,) = send_now.send_now(db, month, [code], actor=visitor.actor)
        return _done(request, sent)

    return _on_tenant(request, db, pages, t, period, code, "send", "", act)


@router.post("/{period}/tenants/{code}/address")
@needs(Duty.CHANGE_TENANTS, Duty.READ_PERSONAL, Duty.ACT_ON_DELIVERIES)
def mend_address(
    request: Request,
    db: DatabaseDep,
    pages: PagesDep,
    visitor: VisitorDep,
    t: TranslatorDep,
    submitted: SubmittedDep,
    period: str,
    code: str,
) -> Response:
    """Give the tenant other addresses, and send what it is due: both or neither."""

    def act(month: Period, typed: str) -> str:
        emails, seen_at = split_addresses(typed), submitted.instant("seen_at")
        return _done(
            request,
            send_now.mend_address(db, month, code, emails, actor=visitor.actor, seen_at=seen_at),
        )

    return _on_tenant(request, db, pages, t, period, code, "address", submitted["emails"], act)


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


def _done(request: Request, sent: send_now.SentNow) -> str:
    """What the tenant's page says of what was sent by name."""
    if sent.reason:
        return "not-due"
    if not sent.deliveries:
        return "nothing-unsent"
    return "resent" if announce(request) else "resent-untold"


def _on_tenant(
    request: Request,
    db: DatabaseDep,
    pages: PagesDep,
    t: TranslatorDep,
    period: str,
    code: str,
    action: str,
    typed: str,
    act: Callable[[Period, str], str],
) -> Response:
    """Do what is asked for on a tenant's page of a month; ``act`` gets what was typed, and says what is done."""
    month = Period.parse(period)

    def refused(error: InputError) -> Response:
        problem = RefusedHold(action, typed, t.failure(error))
        try:
            return tenant_page(request, db, pages, month, code, 422, problem=problem)
        except NotFoundError:
            # The tenant has no page in that month: the refusal stands by itself.
            raise error from None

    def done() -> Response:
        place = f"/cycles/{month}/tenants/{quote(code, safe='')}"
        return see_other(request, f"{place}?done={act(month, typed)}")

    return attempt(done, refused)


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

    def refused(error: InputError) -> Response:
        problem = RefusedHold(action, reason, t.failure(error))
        return month_page(request, db, pages, month, 422, problem=problem)

    return attempt(lambda: see_other(request, f"/cycles/{month}?done={act(month, reason)}"), refused)
