"""Issue invoices: numbered without gaps, stored with their lines and withholdings."""

import datetime
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from invoicing.db.connection import Database
from invoicing.db.statements import beside
from invoicing.domain.invoice import InvoiceDraft
from invoicing.domain.period import Period
from invoicing.services.billing.leases import BilledLease, BilledTenant

_SQL = beside(__file__)


@dataclass(frozen=True, slots=True)
class NewInvoice:
    """A draft, and the rest of what an invoice's row says.

    Args:
        reference: Of a single invoice; None for one of the monthly job.
        cycle_id: None, like ``run_id``, for a single invoice.
        lease: None for a single invoice that belongs to no lease.
    """

    draft: InvoiceDraft
    origin: Literal["monthly", "single"]
    reference: str | None
    cycle_id: int | None
    run_id: int | None
    tenant: BilledTenant
    lease: BilledLease | None
    settings_version_id: int
    period: Period
    issued_on: datetime.date
    due_on: datetime.date


def issue(db: Database, invoices: Sequence[NewInvoice], *, prefix: str) -> None:
    """Number and store ``invoices``, in their order, within the caller's transaction.

    Numbers are gapless: where the transaction is undone, so are they.
    """
    if not invoices:
        return
    row = db.execute(_SQL["take_serials"], {"prefix": prefix, "count": len(invoices)}).fetchone()
    assert row is not None
    first_serial = row["last_serial"] - len(invoices) + 1
    ids = [row["id"] for row in db.execute(_SQL["take_ids"], {"count": len(invoices)})]
    numbered = list(zip(ids, range(first_serial, first_serial + len(invoices)), invoices, strict=True))
    _copy(db, _SQL["copy_invoices"], (_invoice_row(*each, prefix) for each in numbered))
    _copy(
        db,
        _SQL["copy_lines"],
        (row for id_, _, invoice in numbered for row in _line_rows(id_, invoice.draft)),
    )
    _copy(
        db,
        _SQL["copy_withholdings"],
        (
            (id_, kept.tax, kept.rate, kept.base, kept.amount)
            for id_, _, invoice in numbered
            for kept in invoice.draft.withholdings
        ),
    )


def last_serial(db: Database, prefix: str) -> int:
    """The last number taken of ``prefix``, 0 where none is. The next may be somebody else's by the time it is taken."""
    row = db.execute(_SQL["last_serial"], {"prefix": prefix}).fetchone()
    return 0 if row is None else int(row["last_serial"])


def _copy(db: Database, statement: bytes, rows: Iterable[tuple[Any, ...]]) -> None:
    with db.cursor() as cursor, cursor.copy(statement) as copy:
        for row in rows:
            copy.write_row(row)


def _invoice_row(id_: int, serial: int, invoice: NewInvoice, prefix: str) -> tuple[Any, ...]:
    draft, tenant, lease = invoice.draft, invoice.tenant, invoice.lease
    return (
        id_,
        prefix,
        serial,
        invoice.origin,
        invoice.reference,
        invoice.cycle_id,
        invoice.run_id,
        tenant.id,
        lease.id if lease else None,
        invoice.settings_version_id,
        str(invoice.period),
        invoice.issued_on,
        invoice.due_on,
        draft.currency,
        draft.subtotal,
        draft.tax,
        draft.withholding,
        draft.total,
        tenant.name,
        tenant.document_type,
        tenant.document_number,
        tenant.city,
        tenant.language,
        lease.terms.property if lease else "",
        lease.terms.city if lease else "",
        lease.terms.use if lease else "",
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
