"""Invoices one by one: their facts, and the document as it is kept."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from fastapi import APIRouter, Request
from starlette.responses import Response

from invoicing.domain.correction import LineAmount
from invoicing.domain.errors import InputError, NotFoundError
from invoicing.rendering.errors import RenderFailedError
from invoicing.rendering.pictures import draw_pages
from invoicing.services.delivery import archive, corrections
from invoicing.services.delivery.archive import (
    DocumentDamagedError,
    DocumentRecord,
    KeptDocument,
    StorageFaultError,
)
from invoicing.services.delivery.corrections import Order
from invoicing.services.views.invoices import InvoiceShown, draw_void, show_invoice
from invoicing.web.announcement import announce
from invoicing.web.database import PoolDep
from invoicing.web.door.duties import Duty, needs
from invoicing.web.door.turns import EXPENSIVE, IN_FRAME
from invoicing.web.door.visitor import VisitorDep
from invoicing.web.html.forms import SubmittedDep, see_other
from invoicing.web.html.frames import pdf_response, pictures_frame, problem_frame
from invoicing.web.html.i18n import TranslatorDep
from invoicing.web.html.templating import PagesDep

router = APIRouter(prefix="/invoices")

_PAGES_SHOWN = 6
_DONE = ("corrected", "corrected-untold")


@dataclass(frozen=True, slots=True)
class Asked:
    """A correction as it was typed.

    Args:
        lines: Amounts by position; none for the whole invoice.
    """

    action: str = ""
    reason: str = ""
    lines: Mapping[str, str] = field(default_factory=dict)

    def order(self, number: str) -> Order:
        """What is asked for; raises `InputError` where that is nothing."""
        amounts = [LineAmount.parse(f"{position}={text}") for position, text in self.lines.items()]
        match self.action:
            case "void" | "replace":
                if amounts:
                    raise InputError("correction_lines_unexpected")
                return Order(number, self.action, self.reason)
            case "credit":
                return Order(number, "credit", self.reason, amounts or None)
        raise InputError("correction_not_chosen")


@router.get("/{number}")
@needs(Duty.READ_AMOUNTS)
def show(request: Request, pool: PoolDep, pages: PagesDep, t: TranslatorDep, number: str) -> Response:
    """An invoice's facts, and its document as it is kept."""
    done = request.query_params.get("done", "")
    return _page(request, pool, pages, t, number, acted=done if done in _DONE else "")


@router.post("/{number}/correct")
@needs(Duty.ACT_ON_DELIVERIES)
def correct(
    request: Request,
    pool: PoolDep,
    pages: PagesDep,
    visitor: VisitorDep,
    t: TranslatorDep,
    submitted: SubmittedDep,
    number: str,
) -> Response:
    """Void, credit or replace it: what would come out first, then, by another click, what comes out."""
    with pool.connection() as db:
        invoice = show_invoice(db, number)
    given = {str(each.position): submitted[f"line-{each.position}"].strip() for each in invoice.lines}
    asked = Asked(submitted["action"], submitted["reason"], {at: text for at, text in given.items() if text})
    is_final = submitted["step"] == "do"
    try:
        with pool.connection() as db:
            (done,) = corrections.correct(
                db, [asked.order(invoice.number)], actor=visitor.actor, dry_run=not is_final
            )
    except NotFoundError:
        raise
    except InputError as error:
        return _page(request, pool, pages, t, number, 422, asked=asked, refused=t.failure(error))
    if not is_final:
        return _page(request, pool, pages, t, number, asked=asked, foreseen=done)
    told = not done.is_to_be_sent or announce(request)
    return see_other(
        request, f"/invoices/{quote(number, safe='')}?done={'corrected' if told else 'corrected-untold'}"
    )


@router.get("/{number}/document.pdf", dependencies=[EXPENSIVE])
@needs(Duty.READ_PERSONAL)
def download_document(request: Request, pool: PoolDep, number: str, download: str = "") -> Response:
    """The PDF from the archive, its checksum verified."""
    kept = _document(request, pool, number)
    return pdf_response(kept.content, kept.filename, download=download == "yes")


@router.get("/{number}/pages", dependencies=[IN_FRAME, EXPENSIVE])
@needs(Duty.READ_PERSONAL)
def frame_document(
    request: Request, pool: PoolDep, pages: PagesDep, t: TranslatorDep, number: str
) -> Response:
    """The document's pages as pictures: browsers show no PDF in a sandboxed frame."""
    try:
        kept = _document(request, pool, number)
        drawn = draw_pages(kept.content, f"invoice {number}", most=_PAGES_SHOWN)
    except (DocumentDamagedError, StorageFaultError, RenderFailedError) as error:
        return problem_frame(pages, request, t.failure(error))
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
    pool: PoolDep,
    pages: PagesDep,
    t: TranslatorDep,
    number: str,
    status: int = 200,
    **context: Any,
) -> Response:
    invoice, records = _find(pool, number)
    problem = ""
    if invoice.sha256 and invoice.state != "void":
        try:
            _read(request, invoice, records)
        except (DocumentDamagedError, StorageFaultError) as error:
            problem = t.failure(error)
    created = request.query_params.get("created", "") if invoice.origin == "single" else ""
    shown = {
        "acted": "",
        "asked": Asked(),
        "foreseen": None,
        "refused": "",
        "created": created,
        **context,
    }
    return pages.respond(request, "issued_invoice.html", status, invoice=invoice, problem=problem, **shown)


def _find(pool: PoolDep, number: str) -> tuple[InvoiceShown, list[DocumentRecord]]:
    """The invoice and where its document is; the connection is given back before the archive is asked."""
    with pool.connection() as db:
        invoice = show_invoice(db, number)
        return invoice, archive.find(db, [invoice.id])


def _document(request: Request, pool: PoolDep, number: str) -> KeptDocument:
    """As it is kept; of a voided invoice, made now, with the word across it."""
    invoice, records = _find(pool, number)
    if invoice.state == "void":
        return draw_void(pool.connection, invoice)
    return _read(request, invoice, records)


def _read(request: Request, invoice: InvoiceShown, records: list[DocumentRecord]) -> KeptDocument:
    if not invoice.sha256:
        raise NotFoundError("invoice_without_document", number=invoice.number)
    (kept,) = archive.read(request.app.state.outside.open_archive(), records)
    return kept
