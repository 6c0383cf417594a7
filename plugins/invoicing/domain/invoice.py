"""An invoice's lines, taxes, withholdings and total."""

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

from invoicing.domain.lease import ChargeTax, Lease
from invoicing.domain.period import Period
from invoicing.domain.proration import ActiveDays, active_days
from invoicing.domain.taxes import TaxName, TaxTable, round_money

RENT = "rent"


@dataclass(frozen=True, slots=True)
class InvoiceLine:
    """One line: an amount and the IVA on it, both rounded.

    Args:
        concept: ``rent``, or the charge's concept.
        active: Days billed of the month where the amount is prorated, else None.
    """

    concept: str
    description: str
    amount: Decimal
    tax_rate: Decimal
    tax: Decimal
    active: ActiveDays | None = None


@dataclass(frozen=True, slots=True)
class Withholding:
    """What a withholding agent keeps back of ``base``, rounded."""

    tax: TaxName
    rate: Decimal
    base: Decimal
    amount: Decimal


@dataclass(frozen=True, slots=True)
class InvoiceDraft:
    """An invoice that has its amounts and not yet its number."""

    lease_code: str | None
    currency: str
    lines: tuple[InvoiceLine, ...]
    withholdings: tuple[Withholding, ...]

    @property
    def subtotal(self) -> Decimal:
        """Sum of the lines before taxes."""
        return sum((line.amount for line in self.lines), Decimal(0))

    @property
    def tax(self) -> Decimal:
        """Sum of the lines' IVA."""
        return sum((line.tax for line in self.lines), Decimal(0))

    @property
    def withholding(self) -> Decimal:
        """Sum of the withholdings."""
        return sum((kept.amount for kept in self.withholdings), Decimal(0))

    @property
    def total(self) -> Decimal:
        """What is to be paid: subtotal + tax − withholding."""
        return self.subtotal + self.tax - self.withholding


def draft_lease_invoice(lease: Lease, period: Period, taxes: TaxTable) -> InvoiceDraft | None:
    """Work out the invoice of ``lease`` for ``period`` (docs/contract.md, section 5).

    Args:
        lease: With its charges and whether its tenant is a withholding agent.
        period: The month billed.
        taxes: The rates in force on the first day of ``period``.

    Returns:
        None where the lease is not active for a single day of the period. The total may be ≤ 0: the
        caller reports such an invoice instead of issuing it.

    Raises:
        InputError: IVA is due and no rate is in force.
    """
    days = active_days(lease.start_date, lease.end_date, period)
    if days.active == 0:
        return None
    rent = _line(
        RENT,
        lease.property,
        lease.rent,
        "iva" if lease.use == "commercial" else "none",
        days,
        lease.currency,
        taxes,
    )
    charges = [
        _line(
            charge.concept,
            charge.description,
            charge.amount,
            charge.tax,
            days if charge.prorated else None,
            lease.currency,
            taxes,
        )
        for charge in lease.charges
        if charge.is_due(period)
    ]
    lines = (rent, *charges)
    withholdings = (
        tuple(_withholdings(lease.city, rent.amount, lines, lease.currency, taxes))
        if lease.use == "commercial" and lease.withholding_agent
        else ()
    )
    return InvoiceDraft(lease.code, lease.currency, lines, withholdings)


def draft_single_invoice(
    lease_code: str | None, currency: str, items: Iterable[tuple[str, Decimal, ChargeTax]], taxes: TaxTable
) -> InvoiceDraft:
    """Work out an invoice made outside the monthly job: its lines and their IVA, no withholdings.

    Withholdings are the monthly rent's; a single invoice has no rent line (docs/contract.md, section 5).

    Args:
        items: Description, amount and tax of each line, at least one.
        taxes: The rates in force on the day of issue.
    """
    lines = tuple(
        _line("single", description, amount, tax, None, currency, taxes) for description, amount, tax in items
    )
    return InvoiceDraft(lease_code, currency, lines, ())


def _line(
    concept: str,
    description: str,
    amount: Decimal,
    tax: ChargeTax,
    days: ActiveDays | None,
    currency: str,
    taxes: TaxTable,
) -> InvoiceLine:
    billed = round_money(amount if days is None else days.share_of(amount), currency)
    rate = taxes.iva().rate if tax == "iva" else Decimal(0)
    return InvoiceLine(
        concept=concept,
        description=description,
        amount=billed,
        tax_rate=rate,
        tax=round_money(billed * rate, currency),
        active=None if days is None or days.is_whole else days,
    )


def _withholdings(
    city: str, rent: Decimal, lines: Iterable[InvoiceLine], currency: str, taxes: TaxTable
) -> Iterable[Withholding]:
    iva = sum((line.tax for line in lines), Decimal(0))
    bases: tuple[tuple[TaxName, str, Decimal], ...] = (
        ("retefuente", "", rent),
        ("reteiva", "", iva),
        ("reteica", city, rent),
    )
    for tax, levied_by, base in bases:
        rate = taxes.find(tax, levied_by)
        if rate is not None and base >= rate.minimum_base:
            amount = round_money(base * rate.rate, currency)
            if amount:
                yield Withholding(tax, rate.rate, base, amount)
