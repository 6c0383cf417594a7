"""Cycles: the months, one month's figures and tenants, a tenant's history in it, and what lies outside of them."""

import datetime
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

from babel.dates import format_date
from fastapi import APIRouter, Request
from starlette.responses import Response

from invoicing.domain.errors import NotFoundError
from invoicing.domain.period import Period
from invoicing.domain.refusal import is_about_the_address
from invoicing.rendering.formats import LOCALES
from invoicing.services.agency import clock
from invoicing.services.agency.settings import current_settings
from invoicing.services.views import deliveries, invoices, runs
from invoicing.services.views.approvals import approval_of, earlier_answers
from invoicing.services.views.attention import needs_attention
from invoicing.services.views.cycle_tenants import (
    OUTCOMES,
    SORTS,
    STATES,
    CycleInvoice,
    CycleTenantFound,
    CycleTenantQuery,
    all_cycle_invoices,
    all_cycle_tenants,
    cycle_tenant,
    find_cycle_tenants,
)
from invoicing.services.views.cycles import MOST_OUT_OF_STEP, cycle_overview, list_months, show_progress
from invoicing.services.views.health import is_unheard
from invoicing.services.views.phases import run_phases
from invoicing.services.views.remembering import Remembered
from invoicing.services.views.runs import RunShown
from invoicing.services.views.unsent import hold_of, unsent_of_tenant
from invoicing.web.database import DatabaseDep, PoolDep
from invoicing.web.door.duties import Duty, needs
from invoicing.web.door.turns import EXPENSIVE
from invoicing.web.door.visitor import VisitorDep
from invoicing.web.html.chart import months_chart
from invoicing.web.html.i18n import TranslatorDep
from invoicing.web.html.spreadsheet import csv_stream
from invoicing.web.html.table import TablePage, TableQuery
from invoicing.web.html.templating import PagesDep
from invoicing.web.html.trace import explain, steps
from invoicing.words.ledger import APPROVALS, PHASE_STATES, PHASES, WHY_ASKED

router = APIRouter(prefix="/cycles")

_MONTHS_A_PAGE = 12
_FILTERS: Mapping[str, tuple[str, ...]] = {"outcome": OUTCOMES, "state": STATES}


@router.get("")
@needs(Duty.READ_AMOUNTS)
def show_months(request: Request, db: DatabaseDep, pages: PagesDep) -> Response:
    """The months as a chart and as a table."""
    asked = request.query_params.get("page", "1")
    page = max(1, int(asked)) if asked.isascii() and asked.isdecimal() and len(asked) < 6 else 1
    remembered: Remembered = request.app.state.remembered_of_ledger
    offset = (page - 1) * _MONTHS_A_PAGE
    months, total = remembered.read(
        db, ("months", page), lambda: list_months(db, limit=_MONTHS_A_PAGE, offset=offset)
    )
    now = datetime.datetime.now(datetime.UTC)
    return pages.respond(
        request,
        "cycles.html",
        months=months,
        chart=months_chart(months),
        page=page,
        pages=max(1, -(-total // _MONTHS_A_PAGE)),
        total=total,
        month_short=_month_short,
        attention=remembered.read(db, "attention", lambda: needs_attention(db, now)) if page == 1 else None,
        is_unheard=is_unheard(current_settings(db).settings, request.app.state.outside.has_notifier),
    )


@router.get("/singles")
@needs(Duty.READ_AMOUNTS)
def show_singles(request: Request, db: DatabaseDep, pages: PagesDep) -> Response:
    """Invoices made outside the monthly job, and what was sent again."""
    run = _run(db, request.query_params.get("run", ""))
    task = request.query_params.get("task", "").replace("\0", "")[:1000]
    query = TableQuery.of(
        request,
        sorts=("newest",),
        filters={
            "kind": ("invoices", "resends"),
            "run": () if run is None else (str(run.id),),
            "task": (task,) if task else (),
        },
    )
    if run is not None or task or query.filters.get("kind") == "resends":
        kind = "resends"
        resent, total = deliveries.find_other_deliveries(
            db,
            query.search,
            run_id=run.id if run else None,
            owner=task or None,
            limit=query.size,
            offset=query.offset,
        )
        table = TablePage(query, resent, total)
    else:
        kind = "invoices"
        singles, total = invoices.find_single_invoices(
            db, query.search, limit=query.size, offset=query.offset
        )
        table = TablePage(query, singles, total)
    return pages.respond(
        request,
        "cycles_singles.html",
        table=table,
        kind=kind,
        run=run,
        task=task,
        explain=explain,
    )


@router.get("/{period}")
@needs(Duty.READ_AMOUNTS)
def show(request: Request, db: DatabaseDep, pages: PagesDep, period: str) -> Response:
    """A month: the figures, what needs a person, the runs, the tenants."""
    return month_page(request, db, pages, Period.parse(period))


def month_page(
    request: Request, db: DatabaseDep, pages: PagesDep, month: Period, status: int = 200, **context: Any
) -> Response:
    """The page of `show`; ``context`` has what became of an action that was asked for on it."""
    return pages.respond(
        request,
        "cycle.html",
        status,
        **_month(request, db, month),
        **{"acted": request.query_params.get("done", ""), "problem": None, **context},
    )


@router.get("/{period}/overview")
@needs(Duty.READ_AMOUNTS)
def show_overview(request: Request, db: DatabaseDep, pages: PagesDep, period: str) -> Response:
    """What changes on the month's page while a run goes on: the figures and the same rows of the same table."""
    return pages.respond(request, "cycle_fresh.html", **_month(request, db, Period.parse(period)))


@router.get("/{period}/tenants.csv", dependencies=[EXPENSIVE])
@needs(Duty.READ_PERSONAL)
def export_tenants(
    request: Request, pool: PoolDep, t: TranslatorDep, visitor: VisitorDep, period: str
) -> Response:
    """The month's tenants that fit, as a table for spreadsheet programs."""
    month = Period.parse(period)
    query = TableQuery.of(request, sorts=SORTS, filters=_FILTERS)
    batches = map(visitor.sees, all_cycle_tenants(pool.connection, month, _tenants_of(query)))
    zone = clock.TIMEZONE
    head = [
        t(*text)
        for text in (
            *(("código", "code"), ("nombre", "name"), ("facturas", "invoices"), ("números", "numbers")),
            *(("valor", "amount"), ("moneda", "currency"), ("vence", "due"), ("decisión", "decision")),
            *(
                ("motivo", "reason"),
                ("explicación", "explanation"),
                ("envío", "delivery"),
                ("estado", "state"),
            ),
            *(
                ("intentos", "attempts"),
                ("última respuesta", "last reply"),
                ("para", "to"),
                ("copia", "copy"),
            ),
            *(("Message-ID", "Message-ID"), (f"actualizado ({zone})", f"updated ({zone})")),
        )
    ]

    def lines(found: Sequence[CycleTenantFound]) -> Iterator[tuple[Any, ...]]:
        for row in found:
            yield (
                row.tenant,
                row.name,
                row.invoices,
                "; ".join(row.numbers),
                "; ".join(map(_plain, row.totals)),
                "; ".join(row.currencies),
                row.due_on,
                t("sin correo", "no mail") if row.reason else t("con correo", "mail"),
                row.reason,
                t.text(explain(row.trace, row.reason)),
                row.delivery_id,
                t.state(row.state) if row.state else "",
                row.attempts,
                row.last_reply,
                "; ".join(row.to_addresses or ()),
                "; ".join(row.cc_addresses or ()),
                row.message_id,
                _local(row.updated_at),
            )

    return csv_stream(f"{t('ciclo', 'cycle')}-{month}.csv", head, map(lines, batches))


@router.get("/{period}/invoices.csv", dependencies=[EXPENSIVE])
@needs(Duty.READ_PERSONAL)
def export_invoices(
    request: Request, pool: PoolDep, t: TranslatorDep, visitor: VisitorDep, period: str
) -> Response:
    """The invoices of the month's tenants that fit, one a line."""
    month = Period.parse(period)
    query = TableQuery.of(request, sorts=SORTS, filters=_FILTERS)
    batches = map(visitor.sees, all_cycle_invoices(pool.connection, month, _tenants_of(query)))
    zone = clock.TIMEZONE
    head = [
        t(*text)
        for text in (
            *(("número", "number"), ("contrato", "lease"), ("inmueble", "property"), ("código", "code")),
            *(("nombre", "name"), ("emitida", "issued"), ("vence", "due"), ("subtotal", "subtotal")),
            *(
                ("impuestos", "tax"),
                ("retenciones", "withholding"),
                ("total", "total"),
                ("moneda", "currency"),
            ),
            *(("factura", "invoice"), ("decisión", "decision"), ("motivo", "reason"), ("envío", "delivery")),
            *(("estado", "state"), ("para", "to"), ("Message-ID", "Message-ID")),
            (f"actualizado ({zone})", f"updated ({zone})"),
            ("corrige", "corrects"),
        )
    ]

    def lines(found: Sequence[CycleInvoice]) -> Iterator[tuple[Any, ...]]:
        for row in found:
            yield (
                row.number,
                row.lease,
                row.property,
                row.tenant,
                row.name,
                row.issued_on,
                row.due_on,
                *(map(_plain, (row.subtotal, row.tax, row.withholding, row.total))),
                row.currency,
                t.state(row.invoice_state),
                t("sin correo", "no mail") if row.reason else t("con correo", "mail"),
                row.reason,
                row.delivery_id,
                t.state(row.state) if row.state else "",
                "; ".join(row.to_addresses or ()),
                row.message_id,
                _local(row.updated_at),
                row.corrects,
            )

    return csv_stream(f"{t('facturas', 'invoices')}-{month}.csv", head, map(lines, batches))


@router.get("/{period}/tenants/{code}")
@needs(Duty.READ_AMOUNTS)
def show_cycle_tenant(request: Request, db: DatabaseDep, pages: PagesDep, period: str, code: str) -> Response:
    """A tenant in a month: the decision rule by rule, and every delivery with all that happened to it."""
    month = Period.parse(period)
    return tenant_page(request, db, pages, month, code)


def tenant_page(
    request: Request,
    db: DatabaseDep,
    pages: PagesDep,
    month: Period,
    code: str,
    status: int = 200,
    **context: Any,
) -> Response:
    """The page of `show_cycle_tenant`; ``context`` has what became of an action that was asked for on it."""
    tenant = cycle_tenant(db, month, code)
    return pages.respond(
        request,
        "cycle_tenant.html",
        status,
        period=str(month),
        tenant=tenant,
        hold=hold_of(db, month, tenant.tenant_id),
        unsent=unsent_of_tenant(db, tenant.tenant_id, month),
        steps=steps(tenant.trace or ()),
        explain=explain,
        about_the_address=is_about_the_address,
        **{"acted": request.query_params.get("done", ""), "problem": None, **context},
    )


def _plain(amount: Decimal) -> str:
    """``1000000``, ``1250.5``: for programs."""
    return f"{amount.normalize():f}"


def _local(instant: datetime.datetime | None) -> str:
    """``2026-11-28 20:38:05`` in the agency's zone, which the column's head names."""
    return "" if instant is None else f"{instant.astimezone(clock.zone()):%Y-%m-%d %H:%M:%S}"


def _month(request: Request, db: DatabaseDep, month: Period) -> dict[str, Any]:
    """What the month's page shows: the figures, and the rows of the table that the address asks for."""
    query = TableQuery.of(request, sorts=SORTS, filters=_FILTERS)
    rows, total = find_cycle_tenants(
        db,
        month,
        _tenants_of(query),
        sort=query.sort,
        descending=query.descending,
        limit=query.size,
        offset=query.offset,
        near=query.beside,
    )
    return {
        "table": TablePage(
            query, rows, total, key="tenant" if query.sort in ("code", "name") else None, is_capped=True
        ),
        "explain": explain,
        "states": STATES,
        **_overview(request, db, month),
    }


def _overview(request: Request, db: DatabaseDep, month: Period) -> dict[str, Any]:
    remembered: Remembered = request.app.state.remembered_of_ledger
    progress = remembered.read(db, ("progress", month), lambda: show_progress(db, month))
    return {
        "period": str(month),
        "overview": remembered.read(
            db, ("overview", month), lambda: cycle_overview(db, month), may_lag=progress.running
        ),
        "hold": hold_of(db, month),
        "approval": (approval := approval_of(db, month)),
        "earlier_answers": earlier_answers(db, month, approval),
        "whys": WHY_ASKED,
        "approvals": APPROVALS,
        "progress": progress,
        "run": run_phases(db, month) if progress.running else None,
        "phases": PHASES,
        "phase_states": PHASE_STATES,
        "about_the_address": is_about_the_address,
        "most_out_of_step": MOST_OUT_OF_STEP,
        "duration": _duration,
        "now": datetime.datetime.now(datetime.UTC),
    }


def _tenants_of(query: TableQuery) -> CycleTenantQuery:
    return CycleTenantQuery(query.search, query.filters.get("outcome"), query.filters.get("state"))


def _run(db: DatabaseDep, text: str) -> RunShown | None:
    if not text:
        return None
    is_id = text.isascii() and text.isdecimal() and len(text) < 19
    run = runs.show_run(db, int(text)) if is_id else None
    if run is None:
        raise NotFoundError("run_unknown", run=text[:40])
    return run


def _month_short(period: str, language: str) -> str:
    """``nov 26``: below a column of the chart."""
    locale = LOCALES[language]
    return str(format_date(Period.parse(period).first_day, "LLL yy", locale=locale)).replace(".", "")


def _duration(first: datetime.datetime, last: datetime.datetime) -> str:
    """``1 h 04 min``, ``2 min 05 s``, ``8 s``."""
    seconds = round(max((last - first).total_seconds(), 0))
    hours, minutes, rest = seconds // 3600, seconds % 3600 // 60, seconds % 60
    if hours:
        return f"{hours} h {minutes:02} min"
    return f"{minutes} min {rest:02} s" if minutes else f"{rest} s"
