"""Invoices one by one: their facts, and the document as it is kept."""

from fastapi import APIRouter, Request
from starlette.responses import Response

from invoicing.domain.errors import NotFoundError
from invoicing.rendering.errors import RenderFailedError
from invoicing.rendering.pictures import draw_pages
from invoicing.services.delivery import archive
from invoicing.services.delivery.archive import (
    DocumentDamagedError,
    DocumentRecord,
    KeptDocument,
    StorageFaultError,
)
from invoicing.services.views.invoices import InvoiceShown, show_invoice
from invoicing.web.database import PoolDep
from invoicing.web.door.duties import Duty, needs
from invoicing.web.door.turns import EXPENSIVE, IN_FRAME
from invoicing.web.html.frames import pdf_response, pictures_frame, problem_frame
from invoicing.web.html.i18n import TranslatorDep
from invoicing.web.html.templating import PagesDep

router = APIRouter(prefix="/invoices")

_PAGES_SHOWN = 6


@router.get("/{number}")
@needs(Duty.READ_AMOUNTS)
def show(request: Request, pool: PoolDep, pages: PagesDep, t: TranslatorDep, number: str) -> Response:
    """An invoice's facts, and its document as it is kept."""
    invoice, records = _find(pool, number)
    problem = ""
    if invoice.sha256:
        try:
            _read(request, invoice, records)
        except (DocumentDamagedError, StorageFaultError) as error:
            problem = t.failure(error)
    created = request.query_params.get("created", "") if invoice.origin == "single" else ""
    return pages.respond(request, "issued_invoice.html", invoice=invoice, problem=problem, created=created)


@router.get("/{number}/document.pdf", dependencies=[EXPENSIVE])
@needs(Duty.READ_PERSONAL)
def download_document(request: Request, pool: PoolDep, number: str, download: str = "") -> Response:
    """The PDF from the archive, its checksum verified."""
    kept = _read(request, *_find(pool, number))
    return pdf_response(kept.content, kept.filename, download=download == "yes")


@router.get("/{number}/pages", dependencies=[IN_FRAME, EXPENSIVE])
@needs(Duty.READ_PERSONAL)
def frame_document(
    request: Request, pool: PoolDep, pages: PagesDep, t: TranslatorDep, number: str
) -> Response:
    """The document's pages as pictures: browsers show no PDF in a sandboxed frame."""
    found = _find(pool, number)
    try:
        kept = _read(request, *found)
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


def _find(pool: PoolDep, number: str) -> tuple[InvoiceShown, list[DocumentRecord]]:
    """The invoice and where its document is; the connection is given back before the archive is asked."""
    with pool.connection() as db:
        invoice = show_invoice(db, number)
        return invoice, archive.find(db, [invoice.id])


def _read(request: Request, invoice: InvoiceShown, records: list[DocumentRecord]) -> KeptDocument:
    if not invoice.sha256:
        raise NotFoundError("invoice_without_document", number=invoice.number)
    (kept,) = archive.read(request.app.state.outside.open_archive(), records)
    return kept
