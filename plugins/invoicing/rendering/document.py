"""What a template sees: plain, frozen data, complete before the template runs.

Amounts are `Decimal` in the document's currency, rates are fractions (``0.19``), days are dates. ``language``
is ``es`` or ``en``.
"""

import builtins
import datetime
from dataclasses import dataclass
from decimal import Decimal

from invoicing.domain.period import Period
from invoicing.words.failures import Fault


@dataclass(frozen=True, slots=True)
class Agency:
    """The issuer, as the settings of the run describe it.

    Args:
        logo: A ``data:`` URI (PNG, JPEG or SVG), or empty.
        payment_instructions: May have several lines.
    """

    name: str
    nit: str = ""
    address: str = ""
    city: str = ""
    phone: str = ""
    email: str = ""
    logo: str = ""
    payment_instructions: str = ""


@dataclass(frozen=True, slots=True)
class Party:
    """The tenant that is billed."""

    code: str
    name: str
    document_type: str = ""
    document_number: str = ""
    city: str = ""
    language: str = "es"


@dataclass(frozen=True, slots=True)
class Line:
    """One line of an invoice.

    Args:
        concept: ``rent``, ``single`` or the charge's own concept.
        amount: Before tax; negative for a discount.
        tax_rate: IVA as a fraction, 0 where none applies.
        active_days: Days billed where the amount is a part of the month's, else None.
        period_days: Days of the month, where ``active_days`` is given.
    """

    concept: str
    description: str
    amount: Decimal
    tax_rate: Decimal = Decimal(0)
    tax: Decimal = Decimal(0)
    active_days: int | None = None
    period_days: int | None = None

    @property
    def total(self) -> Decimal:
        """Amount and IVA."""
        return self.amount + self.tax


@dataclass(frozen=True, slots=True)
class Withholding:
    """What the tenant keeps back: ``tax`` is ``retefuente``, ``reteiva`` or ``reteica``."""

    tax: str
    rate: Decimal
    base: Decimal
    amount: Decimal


@dataclass(frozen=True, slots=True)
class InvoiceDocument:
    """An issued invoice.

    Args:
        lease_code: None for an invoice that belongs to no lease; so ``property`` and its city may be empty.
        use: ``residential``, ``commercial`` or empty.
        period: The month billed; None for a single invoice.
        subtotal: Sum of the lines before tax.
        tax: Sum of the lines' IVA.
        withholding: Sum of the withholdings.
        total: ``subtotal + tax − withholding``.
        void: Whether the invoice was voided; it then says so, whatever its template.
        corrects: Number of the invoice that this is a credit note of, issued on ``corrects_on``; None for an invoice.
        replaces: Number of the invoice, which the tenant has, in whose place this one was issued.
    """

    number: str
    language: str
    agency: Agency
    tenant: Party
    lease_code: str | None
    property: str
    property_city: str
    use: str
    period: Period | None
    lines: tuple[Line, ...]
    subtotal: Decimal
    tax: Decimal
    withholdings: tuple[Withholding, ...]
    withholding: Decimal
    total: Decimal
    currency: str
    issued_on: datetime.date
    due_on: datetime.date
    void: bool = False
    corrects: str | None = None
    corrects_on: datetime.date | None = None
    replaces: str | None = None

    @builtins.property  # `property` is a field here
    def label(self) -> Fault:
        """How messages about this document name it."""
        return Fault("invoice_document", number=self.number)


@dataclass(frozen=True, slots=True)
class MailInvoice:
    """An invoice attached to a message, under ``filename``.

    Args:
        corrects: Number of the invoice that this is a credit note of; None for an invoice.
        left: What that invoice comes to after this note; None for an invoice.
        replaces: Number of the invoice, which the tenant has, in whose place this one was issued.
    """

    number: str
    property: str
    total: Decimal
    currency: str
    due_on: datetime.date
    filename: str
    corrects: str | None = None
    left: Decimal | None = None
    replaces: str | None = None


@dataclass(frozen=True, slots=True)
class CurrencyTotal:
    """Sum of a message's invoices in one currency."""

    currency: str
    amount: Decimal


@dataclass(frozen=True, slots=True)
class MailDocument:
    """A message to a tenant with at least one invoice.

    Args:
        period: The month billed; None where the invoices are single ones.
    """

    language: str
    agency: Agency
    tenant: Party
    period: Period | None
    invoices: tuple[MailInvoice, ...]

    @property
    def totals(self) -> tuple[CurrencyTotal, ...]:
        """One sum a currency, in the order in which the invoices bring them up."""
        sums: dict[str, Decimal] = {}
        for invoice in self.invoices:
            sums[invoice.currency] = sums.get(invoice.currency, Decimal(0)) + invoice.total
        return tuple(CurrencyTotal(currency, amount) for currency, amount in sums.items())

    @property
    def is_correction(self) -> bool:
        """Whether it tells a tenant that an invoice which they have was wrong."""
        return any(invoice.corrects or invoice.replaces for invoice in self.invoices)

    @property
    def first_due_on(self) -> datetime.date:
        """The earliest day on which one of the invoices falls due."""
        return min(invoice.due_on for invoice in self.invoices)

    @property
    def label(self) -> Fault:
        """How messages about this document name it."""
        numbers = ", ".join(invoice.number for invoice in self.invoices)
        return Fault("mail_document", tenant=self.tenant.code, numbers=numbers)
