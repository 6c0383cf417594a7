"""Issue invoices: numbered without gaps, stored with their lines and withholdings."""

import datetime
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from invoicing.db.connection import Database
from invoicing.db.statements import beside
from invoicing.domain.invoice import InvoiceDraft
from invoicing.domain.lease import Use
from invoicing.domain.period import Period
from invoicing.services.billing import series
from invoicing.services.billing.basis import Basis
from invoicing.services.billing.leases import BilledLease, BilledTenant

_SQL = beside(__file__)


@dataclass(frozen=True, slots=True)
class Premises:
    """What an invoice says of the lease that it belongs to."""

    lease_id: int
    property: str
    city: str
    use: Use

    @classmethod
    def of(cls, lease: BilledLease) -> "Premises":
        """As the lease has them now."""
        return cls(lease.id, lease.terms.property, lease.terms.city, lease.terms.use)


@dataclass(frozen=True, slots=True)
class NewInvoice:
    """A draft, and the rest of what an invoice's row says.

    Args:
        reference: Of a single invoice; None for any other.
        cycle_id: None for a single invoice and its credit notes.
        run_id: None, too, for what a person corrects.
        premises: None for a single invoice that belongs to no lease.
        corrects: Id of the invoice that this credit note credits; None for an invoice.
        positions: Of the lines that a credit note credits, line by line of ``draft``; None for an invoice.
        replaces: Id of the invoice in whose place this one is issued.
        sent_apart: A replacement is decided on and sent by itself, not with its month.
        basis: What ``draft`` was worked out from; a credit note's is the invoice that it credits.
    """

    draft: InvoiceDraft
    origin: Literal["monthly", "single", "correction"]
    reference: str | None
    cycle_id: int | None
    run_id: int | None
    tenant: BilledTenant
    premises: Premises | None
    settings_version_id: int
    period: Period
    issued_on: datetime.date
    due_on: datetime.date
    corrects: int | None = None
    positions: tuple[int, ...] | None = None
    replaces: int | None = None
    sent_apart: bool = False
    basis: Basis | None = None


@dataclass(frozen=True, slots=True)
class Issued:
    """What was made of a `NewInvoice`."""

    id: int
    number: str


def issue(db: Database, invoices: Sequence[NewInvoice], *, prefix: str) -> list[Issued]:
    """Number and store ``invoices``, in their order, within the caller's transaction.

    Numbers are gapless: where the transaction is undone, so are they.

    Args:
        invoices: All issued on the same day.

    Raises:
        InputError: The series is used up, or not valid on that day. No number was taken.
    """
    if not invoices:
        return []
    first_serial = series.take(db, prefix, len(invoices), invoices[0].issued_on)
    ids = [row["id"] for row in db.execute(_SQL["take_ids"], {"count": len(invoices)})]
    numbered = list(zip(ids, range(first_serial, first_serial + len(invoices)), invoices, strict=True))
    _copy(db, _SQL["copy_invoices"], (_invoice_row(*each, prefix) for each in numbered))
    _copy(
        db,
        _SQL["copy_lines"],
        (row for id_, _, invoice in numbered for row in _line_rows(id_, invoice)),
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
    _copy(
        db,
        _SQL["copy_bases"],
        (
            (id_, json.dumps(invoice.basis, ensure_ascii=False))
            for id_, _, invoice in numbered
            if invoice.basis is not None
        ),
    )
    return [Issued(id_, f"{prefix}{serial}") for id_, serial, _ in numbered]


def _copy(db: Database, statement: bytes, rows: Iterable[tuple[Any, ...]]) -> None:
    with db.cursor() as cursor, cursor.copy(statement) as copy:
        for row in rows:
            copy.write_row(row)


def _invoice_row(id_: int, serial: int, invoice: NewInvoice, prefix: str) -> tuple[Any, ...]:
    draft, tenant, premises = invoice.draft, invoice.tenant, invoice.premises
    return (
        id_,
        prefix,
        serial,
        invoice.origin,
        invoice.reference,
        invoice.cycle_id,
        invoice.run_id,
        tenant.id,
        premises.lease_id if premises else None,
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
        premises.property if premises else "",
        premises.city if premises else "",
        premises.use if premises else "",
        "invoice" if invoice.corrects is None else "credit_note",
        invoice.corrects,
        invoice.replaces,
        invoice.sent_apart,
    )


def _line_rows(invoice_id: int, invoice: NewInvoice) -> Iterable[tuple[Any, ...]]:
    lines = invoice.draft.lines
    positions = range(1, len(lines) + 1) if invoice.positions is None else invoice.positions
    for position, line in zip(positions, lines, strict=True):
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
