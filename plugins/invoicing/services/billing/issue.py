"""Invoices, their lines and their documents."""

import datetime
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from psycopg.rows import DictRow

from invoicing.db.connection import Database
from invoicing.db.statements import load
from invoicing.domain.invoice import InvoiceDraft
from invoicing.domain.period import Period
from invoicing.domain.taxes import TaxRate, TaxTable

_SQL = load("invoice")


@dataclass(frozen=True, slots=True)
class NewInvoice:
    """A draft, and the rest of what an invoice's row says."""

    draft: InvoiceDraft
    origin: str
    reference: str | None
    cycle_id: int | None
    run_id: int | None
    tenant_id: int
    lease_id: int | None
    settings_version_id: int
    period: Period
    issued_on: datetime.date
    due_on: datetime.date
    tenant_name: str
    tenant_document_type: str
    tenant_document_number: str
    tenant_city: str
    language: str
    property: str
    property_city: str
    use: str


def leases_to_invoice(db: Database, period: Period) -> list[DictRow]:
    """Leases active in ``period`` that have no standing invoice for it, by code, with their tenant."""
    return db.execute(
        _SQL["leases_to_invoice"],
        {"period": str(period), "first_day": period.first_day, "last_day": period.last_day},
    ).fetchall()


def charges_due(db: Database, lease_ids: Sequence[int], period: Period) -> dict[int, list[DictRow]]:
    """Charges billed in ``period``, by lease id, in the order of their file."""
    charges: defaultdict[int, list[DictRow]] = defaultdict(list)
    for row in db.execute(_SQL["charges_due"], {"lease_ids": list(lease_ids), "period": str(period)}):
        charges[row["lease_id"]].append(row)
    return charges


def tax_table(db: Database, day: datetime.date) -> TaxTable:
    """The tax rates in force on ``day``."""
    return TaxTable((TaxRate(**row) for row in db.execute(_SQL["tax_rates_in_force"], {"day": day})), on=day)


def issue(db: Database, invoices: Sequence[NewInvoice], *, prefix: str) -> list[int]:
    """Number and store ``invoices``, in their order, within the caller's transaction.

    Numbers are gapless: where the transaction is undone, so are they.

    Returns:
        The invoices' ids.
    """
    if not invoices:
        return []
    row = db.execute(_SQL["take_serials"], {"prefix": prefix, "count": len(invoices)}).fetchone()
    assert row is not None
    first_serial = row["last_serial"] - len(invoices) + 1
    ids = [row["id"] for row in db.execute(_SQL["take_ids"], {"count": len(invoices)})]
    numbered = list(zip(ids, range(first_serial, first_serial + len(invoices)), invoices, strict=True))
    _copy(db, "copy_invoices", (_invoice_row(*each, prefix) for each in numbered))
    _copy(db, "copy_lines", (row for id_, _, invoice in numbered for row in _line_rows(id_, invoice.draft)))
    _copy(
        db,
        "copy_withholdings",
        (
            (id_, kept.tax, kept.rate, kept.base, kept.amount)
            for id_, _, invoice in numbered
            for kept in invoice.draft.withholdings
        ),
    )
    return ids


def _copy(db: Database, statement: str, rows: Iterable[tuple[Any, ...]]) -> None:
    with db.cursor() as cursor, cursor.copy(_SQL[statement]) as copy:
        for row in rows:
            copy.write_row(row)


def _invoice_row(id_: int, serial: int, invoice: NewInvoice, prefix: str) -> tuple[Any, ...]:
    draft = invoice.draft
    return (
        id_,
        prefix,
        serial,
        invoice.origin,
        invoice.reference,
        invoice.cycle_id,
        invoice.run_id,
        invoice.tenant_id,
        invoice.lease_id,
        invoice.settings_version_id,
        str(invoice.period),
        invoice.issued_on,
        invoice.due_on,
        draft.currency,
        draft.subtotal,
        draft.tax,
        draft.withholding,
        draft.total,
        invoice.tenant_name,
        invoice.tenant_document_type,
        invoice.tenant_document_number,
        invoice.tenant_city,
        invoice.language,
        invoice.property,
        invoice.property_city,
        invoice.use,
    )


def _line_rows(invoice_id: int, draft: InvoiceDraft) -> Iterable[tuple[Any, ...]]:
    for position, line in enumerate(draft.lines, start=1):
        yield (
            invoice_id,
            position,
            line.concept,
            line.description,
            line.amount,
            line.tax_rate,
            line.tax,
            line.active.active if line.active else None,
            line.active.total if line.active else None,
        )
