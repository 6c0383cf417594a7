"""Invoices as people look at them: one by its number, and those made outside the monthly job."""

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from invoicing.db.connection import Database, OpenDatabase
from invoicing.db.statements import beside, fetch_all, fetch_one, fetch_page
from invoicing.domain.discretion import Personal, PersonalTrace, Said
from invoicing.domain.errors import NotFoundError
from invoicing.domain.refusal import refusal_of
from invoicing.rendering.invoice import InvoiceRenderer
from invoicing.services.agency.searching import patterns
from invoicing.services.agency.settings import current_settings
from invoicing.services.agency.templates import current_template, show_version
from invoicing.services.delivery import documents
from invoicing.services.delivery.archive import KeptDocument

_SQL = beside(__file__)


@dataclass(frozen=True, slots=True)
class DeliveryOfInvoice:
    """A delivery that carries the invoice."""

    id: int
    state: str
    purpose: str
    updated_at: datetime.datetime
    to_addresses: Personal[Sequence[str]]
    period: str
    cycle_id: int | None


@dataclass(frozen=True, slots=True)
class CorrectionOfInvoice:
    """What somebody corrected of it.

    Args:
        act: ``void``, ``credit`` or ``replace``.
        made: Number of the credit note, or of what replaced it; None, like its total, for a void.
    """

    act: str
    made: str | None
    total: Decimal | None
    currency: str | None
    reason: Said[str]
    actor: str
    at: datetime.datetime


@dataclass(frozen=True, slots=True)
class LineOfInvoice:
    """A line, and what of its amount no credit note has taken."""

    position: int
    concept: str
    description: Personal[str]
    amount: Decimal
    tax: Decimal
    tax_rate: Decimal
    left: Decimal


@dataclass(frozen=True, slots=True)
class InvoiceShown:
    """An invoice, what is known of its document, and its deliveries.

    Args:
        cycle_id: None, as ``reference`` is not, for a single invoice.
        lease: Its code; None for an invoice that belongs to none.
        sha256: Of the document; None, like all up to ``template_number``, as long as there is none.
        kind: ``invoice`` or ``credit_note``.
        corrects: Number of the invoice that a credit note credits.
        replaced_by: Number of what was issued in its place; ``replaces``: in whose place it was issued.
        deliveries: Newest first.
        corrections: Oldest first.
        lines: By position.
    """

    id: int
    number: str
    origin: str
    reference: str | None
    period: str
    cycle_id: int | None
    tenant: str
    tenant_name: Personal[str]
    lease: str | None
    property: Personal[str]
    property_city: Personal[str]
    issued_on: datetime.date
    due_on: datetime.date
    subtotal: Decimal
    tax: Decimal
    withholding: Decimal
    total: Decimal
    currency: str
    state: str
    kind: str
    corrects: str | None
    replaced_by: str | None
    replaces: str | None
    settings_version_id: int
    sha256: str | None
    size_bytes: int | None
    rendered_at: datetime.datetime | None
    template_name: str | None
    template_number: int | None
    deliveries: Sequence[DeliveryOfInvoice] = ()
    corrections: Sequence[CorrectionOfInvoice] = ()
    lines: Sequence[LineOfInvoice] = ()


@dataclass(frozen=True, slots=True)
class SingleInvoice:
    """An invoice made outside the monthly job, what was decided on it, and its newest delivery.

    Args:
        decision_id: None, as ``trace`` is, as long as nobody decided.
        reason: Why it is not sent; None where it is.
        delivery_id: None, like all that follows, where there is no delivery.
    """

    number: str
    reference: str
    issued_on: datetime.date
    due_on: datetime.date
    amount: Decimal
    currency: str
    tenant: str
    name: Personal[str]
    decision_id: int | None
    reason: str | None
    trace: PersonalTrace[Sequence[Mapping[str, Any]] | None]
    delivery_id: int | None
    state: str | None
    purpose: str | None
    attempts: int | None
    last_reply: Said[str | None]
    updated_at: datetime.datetime | None
    refusal: str | None = None


def show_invoice(db: Database, number: str) -> InvoiceShown:
    """An invoice, what is known of its document, its deliveries and corrections; raises `NotFoundError`."""
    found = fetch_one(db, InvoiceShown, _SQL["invoice_by_number"], {"number": number.replace("\0", "")})
    if found is None:
        raise NotFoundError("invoice_unknown", number=number)
    deliveries = fetch_all(db, DeliveryOfInvoice, _SQL["deliveries_of_invoice"], {"id": found.id})
    return replace(
        found,
        deliveries=deliveries,
        corrections=fetch_all(db, CorrectionOfInvoice, _SQL["corrections_of_invoice"], {"id": found.id}),
        lines=fetch_all(db, LineOfInvoice, _SQL["lines_of_invoice"], {"id": found.id}),
    )


def draw_void(open_database: OpenDatabase, invoice: InvoiceShown) -> KeptDocument:
    """The document of a voided invoice, which says so: the one that is kept, if any, was made before.

    Raises:
        RenderFailedError: Its template cannot be rendered.
    """
    with open_database() as db:
        (document,) = documents.load_invoices(db, [invoice.id])
        if invoice.template_name is not None and invoice.template_number is not None:
            template = show_version(db, invoice.template_name, invoice.template_number)
        else:
            template = current_template(db, current_settings(db).settings.template)
    with InvoiceRenderer(template.template) as renderer:
        return KeptDocument(documents.filename(invoice.number), renderer.render(document))


def find_single_invoices(
    db: Database, search: str = "", *, limit: int = 25, offset: int = 0
) -> tuple[list[SingleInvoice], int]:
    """Invoices made outside the monthly job, newest first, and how many fit."""
    which = {"patterns": patterns(search), "limit": limit, "offset": offset}
    found, total = fetch_page(db, SingleInvoice, _SQL["single_invoices_found"], which)
    return [replace(each, refusal=refusal_of(each.state, each.last_reply)) for each in found], total
