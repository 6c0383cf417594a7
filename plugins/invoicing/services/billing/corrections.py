"""Corrections of issued invoices: what is voided, credited, and issued again. What is sent of it is not decided here.

All of it in the caller's transaction, which holds the lock of the invoice's month (or of single invoices).
"""

import builtins
import datetime
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from invoicing.db.connection import Database
from invoicing.db.statements import beside, fetch_all, fetch_one
from invoicing.domain.correction import (
    Creditable,
    IssuedLine,
    IssuedWithholding,
    LineAmount,
    draft_credit,
)
from invoicing.domain.errors import InputError, NotFoundError
from invoicing.domain.invoice import InvoiceDraft, InvoiceLine, Withholding
from invoicing.domain.lease import Language, Use
from invoicing.domain.period import Period
from invoicing.domain.proration import ActiveDays
from invoicing.domain.taxes import TaxName, TaxTable
from invoicing.services.agency import clock
from invoicing.services.agency import settings as settings_service
from invoicing.services.billing import issue, leases
from invoicing.services.billing.basis import basis_of_lease
from invoicing.services.billing.issue import Issued
from invoicing.services.billing.leases import BilledLease, BilledTenant

_SQL = beside(__file__)

Act = Literal["void", "credit", "replace"]


@dataclass(frozen=True, slots=True)
class InvoiceNamed:
    """An invoice as far as one has to know it before its locks are taken."""

    id: int
    number: str
    kind: str
    origin: str
    period: str
    cycle_id: int | None
    state: str


@dataclass(frozen=True, slots=True)
class IssuedInvoice:
    """An issued invoice, locked against any other correction.

    Args:
        cycle_id: None for a single invoice.
        lease_id: None, as ``lease_code``, where it belongs to no lease.
        credited: Sum of its credit notes' totals.
        replaced_by: Number of what was issued in its place.
    """

    id: int
    number: str
    kind: str
    origin: str
    period: str
    cycle_id: int | None
    state: str
    currency: str
    total: Decimal
    sent_apart: bool
    tenant_id: int
    tenant_code: str
    tenant_name: str
    tenant_document_type: str
    tenant_document_number: str
    tenant_city: str
    language: Language
    lease_id: int | None
    lease_code: str | None
    property: str
    property_city: str
    use: Use
    credited: Decimal
    replaced_by: str | None

    @builtins.property  # `property` is a field here
    def stands(self) -> bool:
        """Whether it is neither void nor credited whole."""
        return self.state in ("issued", "partly_credited")

    @builtins.property  # `property` is a field here
    def tenant(self) -> BilledTenant:
        """Whom it was made out to, as it says."""
        return BilledTenant(
            id=self.tenant_id,
            code=self.tenant_code,
            name=self.tenant_name,
            document_type=self.tenant_document_type,
            document_number=self.tenant_document_number,
            city=self.tenant_city,
            language=self.language,
        )

    @builtins.property  # `property` is a field here
    def premises(self) -> issue.Premises | None:
        """What it says of its lease."""
        if self.lease_id is None:
            return None
        return issue.Premises(self.lease_id, self.property, self.property_city, self.use)


@dataclass(frozen=True, slots=True)
class CreditNote:
    """A credit note that was issued, and what its invoice is now."""

    issued: Issued
    draft: InvoiceDraft
    state: str


@dataclass(frozen=True, slots=True)
class Replacement:
    """An invoice that was issued in the place of another."""

    issued: Issued
    draft: InvoiceDraft
    tenant_id: int


@dataclass(frozen=True, slots=True)
class _LineRow:
    position: int
    concept: str
    description: str
    amount: Decimal
    tax_rate: Decimal
    tax: Decimal
    active_days: int | None
    period_days: int | None
    credited: Decimal
    credited_tax: Decimal

    def issued(self) -> IssuedLine:
        days = None
        if self.active_days is not None and self.period_days is not None:
            days = ActiveDays(self.active_days, self.period_days)
        line = InvoiceLine(self.concept, self.description, self.amount, self.tax_rate, self.tax, days)
        return IssuedLine(self.position, line, self.credited, self.credited_tax)


@dataclass(frozen=True, slots=True)
class _WithholdingRow:
    tax: TaxName
    rate: Decimal
    base: Decimal
    amount: Decimal
    credited: Decimal
    credited_base: Decimal

    def issued(self) -> IssuedWithholding:
        return IssuedWithholding(Withholding(self.tax, self.rate, self.base, self.amount), self.credited)


@dataclass(frozen=True, slots=True)
class ReplacementDraft:
    """What an invoice's lease comes to now: not issued yet."""

    lease: BilledLease
    draft: InvoiceDraft
    taxes: TaxTable


def find(db: Database, numbers: Sequence[str]) -> dict[str, InvoiceNamed]:
    """Invoices by their numbers, not locked; raises `NotFoundError` for the first that there is not."""
    asked = [number.replace("\0", "") for number in numbers]
    found = fetch_all(db, InvoiceNamed, _SQL["invoices_by_number"], {"numbers": asked})
    by_number = {each.number: each for each in found}
    for number in numbers:
        if number not in by_number:
            raise NotFoundError("invoice_unknown", number=number)
    return by_number


def lock(db: Database, number: str) -> IssuedInvoice:
    """The invoice, locked until the caller's transaction ends.

    Raises:
        InputError: It is a credit note: that is final.
    """
    found = fetch_one(db, IssuedInvoice, _SQL["lock_invoice"], {"number": number})
    if found is None:
        raise NotFoundError("invoice_unknown", number=number)
    if found.kind != "invoice":
        raise InputError("credit_note_is_final", number=number)
    return found


def void(db: Database, invoice: IssuedInvoice, *, reason: str, actor: str) -> None:
    """Void an invoice of which nothing has left; the database refuses any other."""
    db.execute(_SQL["set_state"], {"id": invoice.id, "state": "void"})
    _keep(db, invoice, "void", None, reason, actor)


def credit(
    db: Database, invoice: IssuedInvoice, asked: Sequence[LineAmount] | None, *, reason: str, actor: str
) -> CreditNote:
    """Issue a credit note of an invoice that stands, today, in the credit notes' own series.

    Args:
        asked: Lines and how much of each; None for all that is left.

    Raises:
        InputError: As `draft_credit`; or the series cannot give a number.
    """
    settings = settings_service.current_settings(db)
    prefix = settings.settings.credit_prefix
    if prefix == settings.settings.invoice_prefix:
        raise InputError("prefixes_equal", prefix=prefix)
    made = draft_credit(_creditable(db, invoice), asked)
    today = clock.today()
    note = issue.NewInvoice(
        draft=made.draft,
        origin="correction",
        reference=None,
        cycle_id=invoice.cycle_id,
        run_id=None,
        tenant=invoice.tenant,
        premises=invoice.premises,
        settings_version_id=settings.id,
        period=Period.parse(invoice.period),
        issued_on=today,
        due_on=today,
        corrects=invoice.id,
        positions=made.positions,
    )
    (issued,) = issue.issue(db, [note], prefix=prefix)
    state = "credited" if made.is_rest else "partly_credited"
    db.execute(_SQL["set_state"], {"id": invoice.id, "state": state})
    _keep(db, invoice, "credit", issued.id, reason, actor)
    return CreditNote(issued, made.draft, state)


def draft_replacement(db: Database, invoice: IssuedInvoice) -> ReplacementDraft:
    """Work out what the lease of a monthly invoice comes to now, for the same month.

    Raises:
        InputError: It is a single invoice; it was replaced before; its lease is not active in the month, or comes to
            nothing or less, or to just what stands already.
    """
    if invoice.origin != "monthly" or invoice.lease_id is None:
        raise InputError("replace_single", number=invoice.number)
    if invoice.replaced_by is not None:
        raise InputError("replaced_already", number=invoice.number, by=invoice.replaced_by)
    period = Period.parse(invoice.period)
    named = {"number": invoice.number, "lease": invoice.lease_code, "period": period}
    lease = leases.leases_by_id(db, [invoice.lease_id], period).get(invoice.lease_id)
    taxes = leases.tax_table(db, period.first_day)
    draft = None if lease is None else leases.draft_lease(lease, period, taxes)
    if lease is None or draft is None:
        raise InputError("replace_lease_not_active", **named)
    if draft.total <= 0:
        raise InputError("replace_total_not_positive", **named, total=draft.total)
    if invoice.stands and _is_same(db, invoice, lease, draft):
        raise InputError("replace_same", **named, total=draft.total)
    return ReplacementDraft(lease, draft, taxes)


def issue_replacement(
    db: Database, invoice: IssuedInvoice, made: ReplacementDraft, *, was_sent: bool, reason: str, actor: str
) -> Replacement:
    """Issue, today, what takes the place of an invoice that was voided or credited whole.

    Args:
        was_sent: Whether the other was credited: then this one is sent by itself, with what says so. Else it goes with
            its month.
    """
    settings = settings_service.current_settings(db)
    today = clock.today()
    lease = made.lease
    new = issue.NewInvoice(
        draft=made.draft,
        origin="monthly",
        reference=None,
        cycle_id=invoice.cycle_id,
        run_id=None,
        tenant=lease.tenant,
        premises=issue.Premises.of(lease),
        settings_version_id=settings.id,
        period=Period.parse(invoice.period),
        issued_on=today,
        due_on=today + datetime.timedelta(days=settings.settings.due_days),
        replaces=invoice.id,
        sent_apart=was_sent or invoice.sent_apart,
        basis=basis_of_lease(lease, made.taxes),
    )
    (issued,) = issue.issue(db, [new], prefix=settings.settings.invoice_prefix)
    _keep(db, invoice, "replace", issued.id, reason, actor)
    return Replacement(issued, made.draft, lease.tenant.id)


def _creditable(db: Database, invoice: IssuedInvoice) -> Creditable:
    which = {"id": invoice.id}
    return Creditable(
        number=invoice.number,
        lease_code=invoice.lease_code,
        currency=invoice.currency,
        lines=[row.issued() for row in fetch_all(db, _LineRow, _SQL["lines_of_invoice"], which)],
        withholdings=[
            row.issued() for row in fetch_all(db, _WithholdingRow, _SQL["withholdings_of_invoice"], which)
        ],
        total=invoice.total,
        credited=invoice.credited,
    )


def _is_same(db: Database, invoice: IssuedInvoice, lease: BilledLease, draft: InvoiceDraft) -> bool:
    """Whether a replacement would say what the invoice says, after its credit notes."""
    which = {"id": invoice.id}
    lines = [
        (row.concept, row.description, row.amount - row.credited, row.tax_rate, row.tax - row.credited_tax)
        for row in fetch_all(db, _LineRow, _SQL["lines_of_invoice"], which)
    ]
    kept = {
        (row.tax, row.rate, row.amount - row.credited)
        for row in fetch_all(db, _WithholdingRow, _SQL["withholdings_of_invoice"], which)
    }
    return (
        (invoice.tenant, invoice.premises, invoice.currency)
        == (lease.tenant, issue.Premises.of(lease), draft.currency)
        and lines
        == [(each.concept, each.description, each.amount, each.tax_rate, each.tax) for each in draft.lines]
        and kept == {(each.tax, each.rate, each.amount) for each in draft.withholdings}
    )


def _keep(
    db: Database, invoice: IssuedInvoice, act: Act, made_id: int | None, reason: str, actor: str
) -> None:
    made = {"invoice_id": invoice.id, "act": act, "made_id": made_id, "reason": reason, "actor": actor}
    db.execute(_SQL["add_correction"], made)
