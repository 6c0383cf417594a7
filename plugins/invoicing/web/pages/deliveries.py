"""Deliveries and invoices one by one: the message as sent, the document as kept, and what a person decides."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from fastapi import APIRouter, Request
from starlette.responses import Response

from invoicing.domain.errors import InputError, InvoicingError, NotFoundError
from invoicing.domain.period import Period
from invoicing.rendering.errors import RenderFailedError
from invoicing.rendering.pictures import draw_pages
from invoicing.services.delivery import archive, resolution
from invoicing.services.delivery.archive import DocumentDamagedError, KeptDocument
from invoicing.services.views import cycles as cycle_pages
from invoicing.services.views.messages import BuiltMessage, build_message
from invoicing.web.announcement import announce
from invoicing.web.database import DatabaseDep
from invoicing.web.door.visitor import VisitorDep
from invoicing.web.html.forms import SubmittedDep, see_other
from invoicing.web.html.frames import html_frame, pdf_response, pictures_frame, problem_frame, text_frame
from invoicing.web.html.i18n import TranslatorDep
from invoicing.web.html.templating import PagesDep
from invoicing.web.pages.cycles import tenant_page
from invoicing.words import Text

router = APIRouter()

_PAGES_SHOWN = 6
NO_REASON: Text = (
    "Escriba el motivo: queda con lo que usted decide.",
    "Give a reason: it is kept with what you decide.",
)


@router.get("/deliveries/{delivery_id}")
def show_delivery(request: Request, db: DatabaseDep, pages: PagesDep, delivery_id: int) -> Response:
    """A delivery with all that happened to it."""
    return _page(request, db, pages, delivery_id)


@router.post("/deliveries/{delivery_id}/resend")
def resend(
    request: Request,
    db: DatabaseDep,
    pages: PagesDep,
    visitor: VisitorDep,
    submitted: SubmittedDep,
    delivery_id: int,
) -> Response:
    """Send the same invoices again; what failed is taken up as it is."""
    reason = submitted["reason"]
    if not reason.strip():
        return _refused(request, db, pages, delivery_id, submitted["back"], "resend", reason, NO_REASON)
    try:
        made = resolution.resend(db, [delivery_id], reason=reason, actor=visitor.actor)
    except NotFoundError:
        raise
    except InputError as error:
        return _refused(
            request, db, pages, delivery_id, submitted["back"], "resend", reason, (str(error), str(error))
        )
    told = announce(request)
    return _back(request, db, made[0], submitted["back"], "resent" if told else "resent-untold")


@router.post("/deliveries/{delivery_id}/resolve")
def resolve(
    request: Request,
    db: DatabaseDep,
    pages: PagesDep,
    visitor: VisitorDep,
    submitted: SubmittedDep,
    delivery_id: int,
) -> Response:
    """Settle a delivery that is in doubt."""
    reason, verdict = submitted["reason"], submitted["as"]
    problem: Text | None = None
    if not reason.strip():
        problem = NO_REASON
    elif not verdict:
        problem = ("Elija qué fue de él.", "Choose what became of it.")
    else:
        try:
            resolution.resolve(db, delivery_id, verdict, reason=reason, actor=visitor.actor)
        except NotFoundError:
            raise
        except InputError as error:
            problem = (str(error), str(error))
    if problem:
        return _refused(
            request, db, pages, delivery_id, submitted["back"], "resolve", reason, problem, verdict
        )
    told = verdict != "retry" or announce(request)
    return _back(request, db, delivery_id, submitted["back"], "resolved" if told else "resolved-untold")


@router.get("/deliveries/{delivery_id}/message")
def show_message(request: Request, db: DatabaseDep, pages: PagesDep, delivery_id: int) -> Response:
    """The page around the message; the message itself is in a frame."""
    return pages.respond(
        request, "delivery_message.html", delivery=cycle_pages.show_delivery(db, delivery_id)
    )


@router.get("/deliveries/{delivery_id}/message.html")
def frame_message(
    request: Request, db: DatabaseDep, pages: PagesDep, t: TranslatorDep, delivery_id: int
) -> Response:
    """The message's HTML, built again."""
    built = _build(request, db, delivery_id)
    if isinstance(built, InvoicingError):
        return problem_frame(pages, request, _not_built(t, built))
    return html_frame(built.html)


@router.get("/deliveries/{delivery_id}/message.txt")
def frame_message_text(
    request: Request, db: DatabaseDep, pages: PagesDep, t: TranslatorDep, delivery_id: int
) -> Response:
    """The message's headers, its plain text and the names of what is attached."""
    built = _build(request, db, delivery_id)
    if isinstance(built, InvoicingError):
        return problem_frame(pages, request, _not_built(t, built))
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
    head = "\n".join(f"{name}: {value}" for name, value in built.headers)
    attached = "\n".join(f"[{name}]" for name in built.attachments)
    return text_frame(pages, request, f"{head}\n\n{built.text}\n{attached}", lead)


@router.get("/deliveries/{delivery_id}/message.eml")
def download_message(request: Request, db: DatabaseDep, delivery_id: int) -> Response:
    """The whole message, to be opened in a mail reader."""
    built = _build(request, db, delivery_id)
    if isinstance(built, InvoicingError):
        raise built
    return Response(
        built.payload,
        media_type="message/rfc822",
        headers={"Content-Disposition": f'attachment; filename="delivery-{delivery_id}.eml"'},
    )


@router.get("/invoices/{number}")
def show_invoice(request: Request, db: DatabaseDep, pages: PagesDep, number: str) -> Response:
    """An invoice's facts, and its document as it is kept."""
    invoice = cycle_pages.show_invoice(db, number)
    problem = ""
    if invoice["sha256"]:
        try:
            _kept(request, db, invoice)
        except DocumentDamagedError as error:
            problem = str(error)
    return pages.respond(request, "issued_invoice.html", invoice=invoice, problem=problem)


@router.get("/invoices/{number}/document.pdf")
def download_document(request: Request, db: DatabaseDep, number: str, download: str = "") -> Response:
    """The PDF from the archive, its checksum verified."""
    kept = _kept(request, db, cycle_pages.show_invoice(db, number))
    return pdf_response(kept.content, kept.filename, download=download == "yes")


@router.get("/invoices/{number}/pages")
def frame_document(
    request: Request, db: DatabaseDep, pages: PagesDep, t: TranslatorDep, number: str
) -> Response:
    """The document's pages as pictures: browsers show no PDF in a sandboxed frame."""
    invoice = cycle_pages.show_invoice(db, number)
    try:
        kept = _kept(request, db, invoice)
        drawn = draw_pages(kept.content, f"invoice {number}", most=_PAGES_SHOWN)
    except (DocumentDamagedError, RenderFailedError) as error:
        return problem_frame(pages, request, str(error))
    more = (
        t("Se muestran {} de {} páginas.", "{} of {} pages are shown.").format(
            len(drawn.pictures), drawn.pages
        )
        if drawn.pages > len(drawn.pictures)
        else ""
    )
    pictures = [
        (t("Página {} de {}", "Page {} of {}").format(at, drawn.pages), picture)
        for at, picture in enumerate(drawn.pictures, start=1)
    ]
    return pictures_frame(pages, request, pictures, more)


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
        delivery=cycle_pages.show_delivery(db, delivery_id),
        **{"acted": request.query_params.get("done", ""), "problem": None, **context},
    )


def _refused(
    request: Request,
    db: DatabaseDep,
    pages: PagesDep,
    delivery_id: int,
    back: str,
    action: str,
    reason: str,
    problem: Text,
    verdict: str = "",
) -> Response:
    """The page that the form was on, with what was typed and what is wrong with it."""
    typed: Mapping[str, Any] = {
        "problem": {
            "delivery": delivery_id,
            "action": action,
            "reason": reason,
            "text": problem,
            "verdict": verdict,
        }
    }
    delivery = cycle_pages.show_delivery(db, delivery_id)
    if back == "cycle" and delivery["cycle_id"] is not None:
        month = Period.parse(delivery["period"])
        return tenant_page(request, db, pages, month, delivery["tenant"], 422, **typed)
    return _page(request, db, pages, delivery_id, 422, **typed)


def _back(request: Request, db: DatabaseDep, delivery_id: int, back: str, done: str) -> Response:
    delivery = cycle_pages.show_delivery(db, delivery_id)
    if back == "cycle" and delivery["cycle_id"] is not None:
        code = quote(delivery["tenant"], safe="")
        return see_other(request, f"/cycles/{delivery['period']}/tenants/{code}?done={done}")
    return see_other(request, f"/deliveries/{delivery_id}?done={done}")


def _build(request: Request, db: DatabaseDep, delivery_id: int) -> BuiltMessage | InvoicingError:
    outside = request.app.state.outside
    try:
        return build_message(db, outside.open_archive(), delivery_id, sender=outside.relay_sender())
    except NotFoundError:
        raise
    except InvoicingError as error:
        return error


def _not_built(t: TranslatorDep, error: InvoicingError) -> str:
    return t(f"Todavía no se puede armar el mensaje: {error}", f"The message cannot be built yet: {error}")


def _kept(request: Request, db: DatabaseDep, invoice: Mapping[str, Any]) -> KeptDocument:
    if not invoice["sha256"]:
        raise NotFoundError(f"invoice {invoice['number']} has no document yet")
    (kept,) = archive.fetch(db, request.app.state.outside.open_archive(), [invoice["id"]])
    return kept
