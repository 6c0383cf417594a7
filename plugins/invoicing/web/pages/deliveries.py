"""Deliveries one by one: what happened, the message as sent, and what a person decides."""

import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from fastapi import APIRouter, Request
from starlette.responses import Response

from invoicing.domain.errors import InvoicingError, NotFoundError
from invoicing.domain.period import Period
from invoicing.domain.refusal import is_about_the_address
from invoicing.services.audit.story import Story, as_json, tell_story
from invoicing.services.delivery import resolution
from invoicing.services.views.deliveries import show_delivery
from invoicing.services.views.messages import BuiltMessage, build_message
from invoicing.web.announcement import announce
from invoicing.web.database import DatabaseDep, PoolDep
from invoicing.web.door.duties import Duty, needs
from invoicing.web.door.turns import EXPENSIVE, IN_FRAME
from invoicing.web.door.visitor import VisitorDep
from invoicing.web.html.forms import SubmittedDep, attempt, see_other
from invoicing.web.html.frames import html_frame, problem_frame, text_frame
from invoicing.web.html.i18n import TranslatorDep, tell_visitor
from invoicing.web.html.templating import PagesDep
from invoicing.web.html.trace import explain, steps
from invoicing.web.pages.cycles import tenant_page
from invoicing.words import Text
from invoicing.words.ledger import APPROVALS, VERDICTS

router = APIRouter(prefix="/deliveries")

_NO_REASON: Text = (
    "Escriba el motivo: queda con lo que usted decide.",
    "Give a reason: it is kept with what you decide.",
)
# A resend has its own.
_OF_ITS_MAKING = frozenset({"message-id", "date", "x-invoice-delivery"})
_NO_VERDICT: Text = ("Elija qué fue de él.", "Choose what became of it.")


@dataclass(frozen=True, slots=True)
class RefusedAction:
    """What was asked for on a delivery's page and cannot be done.

    Args:
        action: ``resend``, ``cancel`` or ``resolve``.
        back: The page that the form was on: ``cycle`` or ``delivery``.
        reason: As typed, like ``verdict``, which is of a resolution; of a resend, its words.
        text: What is wrong with it.
    """

    delivery: int
    action: str
    back: str
    reason: str
    text: str
    verdict: str = ""


@router.get("/{delivery_id}")
@needs(Duty.READ_AMOUNTS)
def show(request: Request, db: DatabaseDep, pages: PagesDep, delivery_id: int) -> Response:
    """A delivery with all that happened to it."""
    return _page(request, db, pages, delivery_id)


@router.post("/{delivery_id}/resend")
@needs(Duty.ACT_ON_DELIVERIES)
def resend(
    request: Request,
    db: DatabaseDep,
    pages: PagesDep,
    visitor: VisitorDep,
    t: TranslatorDep,
    submitted: SubmittedDep,
    delivery_id: int,
) -> Response:
    """Send the same invoices again; what failed is taken up as it is."""
    reason, back, words = submitted["reason"], submitted["back"], submitted["words"] or "then"

    def refused(text: str) -> Response:
        return _refused(request, db, pages, RefusedAction(delivery_id, "resend", back, reason, text, words))

    if not reason.strip():
        return refused(t.text(_NO_REASON))

    def act() -> Response:
        made = resolution.resend(db, [delivery_id], reason=reason, actor=visitor.actor, words=words)
        told = announce(request)
        return _back(request, db, made[0], back, "resent" if told else "resent-untold")

    return attempt(act, lambda error: refused(t.failure(error)))


@router.post("/{delivery_id}/cancel")
@needs(Duty.ACT_ON_DELIVERIES)
def cancel(
    request: Request,
    db: DatabaseDep,
    pages: PagesDep,
    visitor: VisitorDep,
    t: TranslatorDep,
    submitted: SubmittedDep,
    delivery_id: int,
) -> Response:
    """Withdraw what has not left."""
    reason, back = submitted["reason"], submitted["back"]

    def refused(text: str) -> Response:
        return _refused(request, db, pages, RefusedAction(delivery_id, "cancel", back, reason, text))

    if not reason.strip():
        return refused(t.text(_NO_REASON))

    def act() -> Response:
        resolution.cancel(db, [delivery_id], reason=reason, actor=visitor.actor)
        return _back(request, db, delivery_id, back, "cancelled")

    return attempt(act, lambda error: refused(t.failure(error)))


@router.post("/{delivery_id}/resolve")
@needs(Duty.ACT_ON_DELIVERIES)
def resolve(
    request: Request,
    db: DatabaseDep,
    pages: PagesDep,
    visitor: VisitorDep,
    t: TranslatorDep,
    submitted: SubmittedDep,
    delivery_id: int,
) -> Response:
    """Settle a delivery that is in doubt."""
    reason, verdict, back = submitted["reason"], submitted["as"], submitted["back"]

    def refused(text: str) -> Response:
        action = RefusedAction(delivery_id, "resolve", back, reason, text, verdict)
        return _refused(request, db, pages, action)

    if not reason.strip():
        return refused(t.text(_NO_REASON))
    if not verdict:
        return refused(t.text(_NO_VERDICT))

    def act() -> Response:
        resolution.resolve(db, delivery_id, verdict, reason=reason, actor=visitor.actor)
        told = verdict != "retry" or announce(request)
        return _back(request, db, delivery_id, back, "resolved" if told else "resolved-untold")

    return attempt(act, lambda error: refused(t.failure(error)))


@router.get("/{delivery_id}/story", dependencies=[EXPENSIVE])
@needs(Duty.READ_PERSONAL)
def show_story(
    request: Request, pool: PoolDep, pages: PagesDep, visitor: VisitorDep, delivery_id: int
) -> Response:
    """All there is to know of it: its documents are read, its message is built again."""
    story = visitor.sees(_story(request, pool, delivery_id))
    return pages.respond(
        request,
        "delivery_story.html",
        story=story,
        decisions=[{"row": row, "steps": steps(row["trace"])} for row in story.decisions],
        attempts=[
            {"attempt": attempt, "sha256": sha256}
            for attempt, sha256 in zip(story.delivery.tries, story.payloads.values(), strict=False)
        ],
        explain=explain,
        approvals=APPROVALS,
        verdicts=VERDICTS,
    )


@router.get("/{delivery_id}/story.json", dependencies=[EXPENSIVE])
@needs(Duty.READ_PERSONAL)
def download_story(request: Request, pool: PoolDep, visitor: VisitorDep, delivery_id: int) -> Response:
    """The same as one JSON document, the message whole: as ``audit show --json``, but for the server's places."""
    story = visitor.sees(_story(request, pool, delivery_id))
    document = json.dumps(
        as_json(story, lambda fault: tell_visitor(fault, "en")), ensure_ascii=False, indent=2, default=str
    )
    return Response(
        document.encode(errors="replace"),
        media_type="application/json",
        headers={"Content-Disposition": f'attachment; filename="delivery-{delivery_id}.json"'},
    )


@router.get("/{delivery_id}/message")
@needs(Duty.READ_PERSONAL)
def show_message(request: Request, db: DatabaseDep, pages: PagesDep, delivery_id: int) -> Response:
    """The page around the message; the message itself is in a frame."""
    return pages.respond(
        request, "delivery_message.html", delivery=show_delivery(db, delivery_id), of_today=False
    )


@router.get("/{delivery_id}/message.html", dependencies=[IN_FRAME, EXPENSIVE])
@needs(Duty.READ_PERSONAL)
def frame_message(
    request: Request, pool: PoolDep, pages: PagesDep, t: TranslatorDep, delivery_id: int
) -> Response:
    """The message's HTML, built again."""
    built = _build(request, pool, delivery_id)
    if isinstance(built, InvoicingError):
        return problem_frame(pages, request, _not_built(t, built))
    return html_frame(built.html)


@router.get("/{delivery_id}/message.txt", dependencies=[IN_FRAME, EXPENSIVE])
@needs(Duty.READ_PERSONAL)
def frame_message_text(
    request: Request, pool: PoolDep, pages: PagesDep, t: TranslatorDep, delivery_id: int
) -> Response:
    """The message's headers, its plain text and the names of what is attached."""
    built = _build(request, pool, delivery_id)
    if isinstance(built, InvoicingError):
        return problem_frame(pages, request, _not_built(t, built), themed=True)
    lead = {
        None: t("Aún no se ha transmitido.", "Not transmitted yet."),
        True: t(
            "Idéntico, byte por byte, a lo que se transmitió (SHA-256).",
            "The same bytes as were transmitted (SHA-256).",
        ),
        False: t(
            "Reconstruido; no es idéntico byte por byte a lo que se transmitió.",
            "Built again; not the same bytes as were transmitted.",
        ),
    }[built.is_as_transmitted]
    return text_frame(pages, request, _in_plain_text(built), lead, themed=True)


@router.get("/{delivery_id}/message-of-today")
@needs(Duty.READ_PERSONAL)
def show_message_of_today(request: Request, db: DatabaseDep, pages: PagesDep, delivery_id: int) -> Response:
    """The page around what a resend with the words of today would send; the message itself is in a frame."""
    return pages.respond(
        request, "delivery_message.html", delivery=show_delivery(db, delivery_id), of_today=True
    )


@router.get("/{delivery_id}/message-of-today.html", dependencies=[IN_FRAME, EXPENSIVE])
@needs(Duty.READ_PERSONAL)
def frame_message_of_today(
    request: Request, pool: PoolDep, pages: PagesDep, t: TranslatorDep, delivery_id: int
) -> Response:
    """Its HTML."""
    built = _build(request, pool, delivery_id, of_today=True)
    if isinstance(built, InvoicingError):
        return problem_frame(pages, request, _not_built(t, built))
    return html_frame(built.html)


@router.get("/{delivery_id}/message-of-today.txt", dependencies=[IN_FRAME, EXPENSIVE])
@needs(Duty.READ_PERSONAL)
def frame_message_of_today_text(
    request: Request, pool: PoolDep, pages: PagesDep, t: TranslatorDep, delivery_id: int
) -> Response:
    """Its headers but for those that it gets when it is made, its plain text, the names of what is attached."""
    built = _build(request, pool, delivery_id, of_today=True)
    if isinstance(built, InvoicingError):
        return problem_frame(pages, request, _not_built(t, built), themed=True)
    lead = t("Así saldría hoy.", "It would leave like this today.")
    return text_frame(pages, request, _in_plain_text(built, without=_OF_ITS_MAKING), lead, themed=True)


@router.get("/{delivery_id}/message.eml", dependencies=[EXPENSIVE])
@needs(Duty.READ_PERSONAL)
def download_message(request: Request, pool: PoolDep, delivery_id: int) -> Response:
    """The whole message, to be opened in a mail reader."""
    built = _build(request, pool, delivery_id)
    if isinstance(built, InvoicingError):
        raise built
    return Response(
        built.payload,
        media_type="message/rfc822",
        headers={"Content-Disposition": f'attachment; filename="delivery-{delivery_id}.eml"'},
    )


def _page(
    request: Request,
    db: DatabaseDep,
    pages: PagesDep,
    delivery_id: int,
    status: int = 200,
    **context: Any,
) -> Response:
    return pages.respond(
        request,
        "delivery.html",
        status,
        delivery=show_delivery(db, delivery_id),
        about_the_address=is_about_the_address,
        **{"acted": request.query_params.get("done", ""), "problem": None, **context},
    )


def _refused(request: Request, db: DatabaseDep, pages: PagesDep, refused: RefusedAction) -> Response:
    """The page that the form was on, with what was typed and what is wrong with it."""
    delivery = show_delivery(db, refused.delivery)
    if refused.back == "cycle" and delivery.cycle_id is not None:
        month = Period.parse(delivery.period)
        return tenant_page(request, db, pages, month, delivery.tenant, 422, problem=refused)
    return _page(request, db, pages, refused.delivery, 422, problem=refused)


def _back(request: Request, db: DatabaseDep, delivery_id: int, back: str, done: str) -> Response:
    delivery = show_delivery(db, delivery_id)
    if back == "cycle" and delivery.cycle_id is not None:
        code = quote(delivery.tenant, safe="")
        return see_other(request, f"/cycles/{delivery.period}/tenants/{code}?done={done}")
    return see_other(request, f"/deliveries/{delivery_id}?done={done}")


def _story(request: Request, pool: PoolDep, delivery_id: int) -> Story:
    outside = request.app.state.outside
    return tell_story(pool.connection, outside.open_archive(), delivery_id, sender=outside.relay_sender())


def _in_plain_text(built: BuiltMessage, *, without: frozenset[str] = frozenset()) -> str:
    head = "\n".join(f"{name}: {value}" for name, value in built.headers if name.lower() not in without)
    attached = "\n".join(f"[{name}]" for name in built.attachments)
    return f"{head}\n\n{built.text}\n{attached}"


def _build(
    request: Request, pool: PoolDep, delivery_id: int, *, of_today: bool = False
) -> BuiltMessage | InvoicingError:
    outside = request.app.state.outside
    try:
        return build_message(
            pool.connection,
            outside.open_archive(),
            delivery_id,
            sender=outside.relay_sender(),
            of_today=of_today,
        )
    except NotFoundError:
        raise
    except InvoicingError as error:
        return error


def _not_built(t: TranslatorDep, error: InvoicingError) -> str:
    lead = t("Todavía no se puede armar el mensaje", "The message cannot be built yet")
    return f"{lead}: {t.failure(error)}"
