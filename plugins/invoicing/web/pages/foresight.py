"""What a run of a month would do now: looked at before it is done, and done from here."""

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any
from urllib.parse import quote, urlencode

from fastapi import APIRouter, Request
from starlette.responses import Response

from invoicing.domain.comparison import LeaseChange
from invoicing.domain.errors import InputError, InvoicingError, WorkFailedError
from invoicing.domain.names import MONTHLY_DAG
from invoicing.domain.period import Period
from invoicing.rendering.document import InvoiceDocument
from invoicing.rendering.errors import RenderFailedError
from invoicing.rendering.pictures import draw_pages
from invoicing.rendering.templates import Template
from invoicing.services.agency import clock
from invoicing.services.billing import runs
from invoicing.services.delivery import documents
from invoicing.services.views import preview
from invoicing.services.views.foresight import (
    ADDRESSES,
    CHANGES_ASKED,
    OUTCOMES,
    SORTS,
    ForeseenInvoice,
    ForeseenTenant,
    ForesightQuery,
    find,
)
from invoicing.services.views.simulate import MonthAtWorkError
from invoicing.web.database import DatabaseDep, Pool, PoolDep
from invoicing.web.door.duties import Duty, needs
from invoicing.web.door.turns import EXPENSIVE, IN_FRAME
from invoicing.web.door.visitor import VisitorDep, current_visitor
from invoicing.web.foresights import RETRY_AFTER_SECONDS, Foresights, ForesightsBusyError, Underway
from invoicing.web.html.forms import SubmittedDep, lead_to, see_other
from invoicing.web.html.frames import pdf_response, pictures_frame, problem_frame
from invoicing.web.html.i18n import Translator, TranslatorDep
from invoicing.web.html.spreadsheet import csv_response
from invoicing.web.html.table import TablePage, TableQuery
from invoicing.web.html.templating import Pages, PagesDep
from invoicing.web.html.trace import explain
from invoicing.words import Text
from invoicing.words.failures import Fault
from invoicing.words.ledger import CHANGES

router = APIRouter(prefix="/foresight")

# A page says how far it is after this long; a file is waited for.
_PAGE_PATIENCE_SECONDS = 1.0
_FILE_PATIENCE_SECONDS = 60.0
_PAGES_SHOWN = 6
_FILTERS: Mapping[str, tuple[str, ...]] = {
    "change": CHANGES_ASKED,
    "outcome": OUTCOMES,
    "address": ADDRESSES,
}


@router.get("")
@needs(Duty.READ_AMOUNTS)
def show_next(request: Request) -> Response:
    """The next month, or the one that was typed."""
    typed = request.query_params.get("period", "").strip()
    month = Period.parse(typed) if typed else Period.containing(clock.today()).following
    return lead_to(request, f"/foresight/{month}")


@router.get("/{period}")
@needs(Duty.READ_AMOUNTS)
def show(request: Request, pages: PagesDep, t: TranslatorDep, period: str) -> Response:
    """A month as a run would leave it; how far that is worked out, where it takes longer; or why it cannot be."""
    return _page(request, pages, t, Period.parse(period))


@router.get("/{period}/invoices.csv", dependencies=[EXPENSIVE])
@needs(Duty.READ_PERSONAL)
def export(request: Request, t: TranslatorDep, period: str) -> Response:
    """One row an invoice that fits, and one a lease that ended, as a table for spreadsheet programs."""
    month = Period.parse(period)
    known = _foresights(request).ask(month, patience_seconds=_FILE_PATIENCE_SECONDS)
    if isinstance(known, Underway):
        raise WorkFailedError("foresight_underway", period=month)
    query = _query(request)
    found, _ = find(known, _asked(query), sort=query.sort, descending=query.descending)
    name = t("proximo-mes", "next-month")
    return csv_response(f"{name}-{month}.csv", [t(*text) for text in _HEAD], _lines(t, found))


@router.get("/{period}/leases/{lease}")
@needs(Duty.READ_PERSONAL)
def show_invoice(request: Request, pool: PoolDep, pages: PagesDep, period: str, lease: str) -> Response:
    """An invoice that a run would issue; where it is issued, that one."""
    month = Period.parse(period)
    foreseen = _foreseen(request, month, lease)
    if foreseen is not None and foreseen.is_issued:
        return lead_to(request, f"/invoices/{quote(foreseen.number, safe='')}")
    with pool.connection() as db:
        document = _document(request, db, month, lease)
    return pages.respond(
        request, "foresight_invoice.html", period=str(month), invoice=document, foreseen=foreseen
    )


@router.get("/{period}/leases/{lease}/invoice.pdf", dependencies=[EXPENSIVE])
@needs(Duty.READ_PERSONAL)
def download_invoice(request: Request, pool: PoolDep, period: str, lease: str) -> Response:
    """Its PDF, made for looking at: it is kept nowhere."""
    document, template = _gathered(request, pool, Period.parse(period), lease)
    return pdf_response(_pdf(template, document), documents.filename(document.number), download=True)


@router.get("/{period}/leases/{lease}/pages", dependencies=[IN_FRAME, EXPENSIVE])
@needs(Duty.READ_PERSONAL)
def frame_invoice(
    request: Request, pool: PoolDep, pages: PagesDep, t: TranslatorDep, period: str, lease: str
) -> Response:
    """Its pages as pictures: browsers show no PDF in a sandboxed frame."""
    document, template = _gathered(request, pool, Period.parse(period), lease)
    try:
        drawn = draw_pages(_pdf(template, document), document.label, most=_PAGES_SHOWN)
    except RenderFailedError as error:
        return problem_frame(pages, request, t.failure(error))
    pictures = [
        (t("Página {} de {}", "Page {} of {}").format(number, drawn.pages), picture)
        for number, picture in enumerate(drawn.pictures, start=1)
    ]
    lead = t("Vista previa: esta factura no se ha emitido.", "Preview: this invoice has not been issued.")
    return pictures_frame(pages, request, pictures, lead)


@router.post("/{period}/run")
@needs(Duty.ACT_ON_DELIVERIES)
def run(
    request: Request,
    db: DatabaseDep,
    pages: PagesDep,
    t: TranslatorDep,
    visitor: VisitorDep,
    submitted: SubmittedDep,
    period: str,
) -> Response:
    """Have Airflow run the month. One that the contract wants confirmed is typed once more."""
    month = Period.parse(period)
    typed, is_asked = submitted["confirm_month"].strip(), _asks_to_confirm(db, month)
    if is_asked and typed != str(month):
        problem = t.failure(Fault("month_not_retyped", period=month, today=clock.today()))
        return _page(request, pages, t, month, 422, problem=problem, typed=typed)
    try:
        triggered = request.app.state.outside.run_month(month, is_asked, visitor.name)
    except InvoicingError as error:
        return _page(request, pages, t, month, 503, problem=t.failure(error), typed=typed)
    done = {"run": triggered.dag_run_id} | ({"paused": "yes"} if triggered.is_paused else {})
    return see_other(request, f"/foresight/{month}?{urlencode(done)}")


def _page(
    request: Request,
    pages: Pages,
    t: Translator,
    month: Period,
    status: int = 200,
    *,
    problem: str = "",
    typed: str = "",
) -> Response:
    context: dict[str, Any] = {
        "period": month,
        "before": _neighbour(month, "preceding"),
        "after": _neighbour(month, "following"),
        "change_words": CHANGES,
    }
    absent: dict[str, Any] = {"underway": None, "busy": "", "refused": "", "seconds": 0}
    try:
        known = _foresights(request).ask(
            month, patience_seconds=_PAGE_PATIENCE_SECONDS, awaited=request.query_params.get("of", "")[:64]
        )
    except ForesightsBusyError as error:
        return _come_back(request, pages, 429, **(context | absent | {"busy": t.failure(error)}))
    except MonthAtWorkError as error:
        return _come_back(request, pages, 503, **(context | absent | {"busy": t.failure(error)}))
    except InputError as error:
        # What stops the run too: an invoice that cannot be worked out.
        refused = {"refused": t.failure(error)}
        return pages.respond(request, "foresight_none.html", 422, **(context | absent | refused))
    if isinstance(known, Underway):
        return pages.respond(request, "foresight_none.html", 202, **(context | absent | {"underway": known}))
    query = _query(request)
    found, total = find(
        known,
        _asked(query),
        sort=query.sort,
        descending=query.descending,
        limit=query.size,
        offset=query.offset,
    )
    with request.app.state.pool.connection() as db:
        asks_to_confirm = _asks_to_confirm(db, month)
    return pages.respond(
        request,
        "foresight.html",
        status,
        # Of the whole, the page shows figures and codes.
        foresight=known,
        table=TablePage(query, current_visitor(request).sees(found), total),
        explain=_explain,
        asks_to_confirm=asks_to_confirm,
        problem=problem,
        typed=typed,
        triggered=request.query_params.get("run", "")[:200],
        is_paused=request.query_params.get("paused") == "yes",
        dag=MONTHLY_DAG,
        **context,
    )


def _come_back(request: Request, pages: Pages, status: int, **context: Any) -> Response:
    answer = pages.respond(
        request, "foresight_none.html", status, **(context | {"seconds": RETRY_AFTER_SECONDS})
    )
    answer.headers["Retry-After"] = str(RETRY_AFTER_SECONDS)
    return answer


def _foresights(request: Request) -> Foresights:
    foresights = request.app.state.foresights
    assert isinstance(foresights, Foresights)
    return foresights


def _query(request: Request) -> TableQuery:
    return TableQuery.of(request, sorts=SORTS, filters=_FILTERS)


def _asked(query: TableQuery) -> ForesightQuery:
    return ForesightQuery(
        query.search, query.filters.get("change"), query.filters.get("outcome"), query.filters.get("address")
    )


def _neighbour(month: Period, which: str) -> Period | None:
    """The month before or after; None past the calendar's end."""
    try:
        neighbour: Period = getattr(month, which)
    except InputError:
        return None
    return neighbour


def _asks_to_confirm(db: DatabaseDep, month: Period) -> bool:
    """Whether a run of the month has to be confirmed (docs/contract.md, section 5)."""
    return not runs.is_opened(db, month) and not month.is_near(clock.today())


def _explain(tenant: ForeseenTenant) -> Text:
    return explain([tenant.objection] if tenant.objection else [], tenant.reason)


def _foreseen(request: Request, month: Period, lease: str) -> ForeseenInvoice | None:
    """The invoice as the page that leads here shows it, where this process still has that."""
    known = _foresights(request).kept(month)
    return None if known is None else known.invoice_of(lease)


def _gathered(request: Request, pool: Pool, month: Period, lease: str) -> tuple[InvoiceDocument, Template]:
    """The document and its look; no connection is held while they are rendered."""
    with pool.connection() as db:
        return _document(request, db, month, lease), preview.current_look(db)


def _document(request: Request, db: DatabaseDep, month: Period, lease: str) -> InvoiceDocument:
    foreseen = _foreseen(request, month, lease)
    return preview.would_be_issued(db, lease, month, foreseen.number if foreseen else "")


def _pdf(template: Template, document: InvoiceDocument) -> bytes:
    (pdf,) = preview.render_invoices(template, [document])
    return pdf


_HEAD: tuple[Text, ...] = (
    ("código", "code"),
    ("nombre", "name"),
    ("contrato", "lease"),
    ("factura", "invoice"),
    ("ya emitida", "already issued"),
    ("subtotal", "subtotal"),
    ("IVA", "tax"),
    ("retenciones", "withholdings"),
    ("total", "total"),
    ("mes anterior", "month before"),
    # No cell begins with a sign: it would be taken for a formula.
    ("aumento", "increase"),
    ("disminución", "decrease"),
    ("% del mes anterior", "% of the month before"),
    ("moneda", "currency"),
    ("vence", "due"),
    ("qué cambia", "what changes"),
    ("decisión", "decision"),
    ("motivo", "reason"),
    ("explicación", "explanation"),
    ("decisión anterior", "decision before"),
    ("para", "to"),
    ("copia", "copy"),
)


def _lines(t: Translator, tenants: Sequence[ForeseenTenant]) -> Iterator[tuple[Any, ...]]:
    for tenant in tenants:
        end = _decision_cells(t, tenant)
        for invoice in tenant.invoices:
            yield (
                tenant.code,
                tenant.name,
                invoice.lease,
                invoice.number,
                t("sí", "yes") if invoice.is_issued else "no",
                *(invoice.subtotal, invoice.tax, invoice.withholding, invoice.total),
                *_change_cells(invoice.change, invoice.total),
                invoice.currency,
                invoice.due_on.isoformat(),
                t(*CHANGES[invoice.change.kind]) if invoice.change else "",
                *end,
            )
        for change in tenant.ended:
            yield (
                *(tenant.code, tenant.name, change.lease, "", "", "", "", "", ""),
                *_change_cells(change, Decimal(0)),
                change.currency,
                "",
                t(*CHANGES["ended"]),
                *end,
            )


def _change_cells(change: LeaseChange | None, total: Decimal) -> tuple[Any, ...]:
    """The month before, by how much it rose or fell, and what part of the month before it is, in hundredths."""
    if change is None:
        return total, "", "", 100
    before, difference = change.before and change.before.total, change.difference
    rose = difference if difference is not None and difference > 0 else ""
    fell = -difference if difference is not None and difference < 0 else ""
    part = "" if change.ratio is None else round(100 * (1 + change.ratio), 1)
    return before, rose, fell, part


def _decision_cells(t: Translator, tenant: ForeseenTenant) -> tuple[Any, ...]:
    was = tenant.comparison.outcome_before
    outcomes = {None: "", "send": t("con correo", "mail")}
    return (
        outcomes.get(tenant.outcome, t("sin correo", "no mail")),
        tenant.reason,
        t.text(_explain(tenant)) if tenant.outcome else "",
        was if was not in (None, "send") else outcomes[was],
        "; ".join(tenant.to),
        "; ".join(tenant.cc),
    )
