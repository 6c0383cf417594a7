"""What an invoice's amounts were worked out from, kept with it: an import changes leases, charges and rates."""

import datetime
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from invoicing.domain.invoice import InvoiceDraft, draft_lease_invoice, draft_single_invoice
from invoicing.domain.lease import Charge, ChargeTax, Lease
from invoicing.domain.period import Period
from invoicing.domain.taxes import TaxRate, TaxTable
from invoicing.services.billing.leases import BilledLease

Basis = Mapping[str, Any]
"""Plain JSON; amounts and rates as decimal strings, days in ISO 8601."""

Item = tuple[str, Decimal, ChargeTax]
"""Description, amount and tax of a line of a single invoice."""


def basis_of_lease(lease: BilledLease, taxes: TaxTable) -> Basis:
    """Of a monthly invoice.

    Args:
        lease: With the charges due in the month.
        taxes: The rates in force on the month's first day.
    """
    terms = lease.terms
    return {
        "tenant": {"code": lease.tenant.code, "withholding_agent": terms.withholding_agent},
        "lease": {
            "code": terms.code,
            "property": terms.property,
            "city": terms.city,
            "use": terms.use,
            "start_date": terms.start_date.isoformat(),
            "end_date": terms.end_date and terms.end_date.isoformat(),
            "rent": str(terms.rent),
            "currency": terms.currency,
        },
        "charges": [
            {
                "concept": each.concept,
                "description": each.description,
                "amount": str(each.amount),
                "tax": each.tax,
                "prorated": each.prorated,
            }
            for each in terms.charges
        ],
        "rates": _rates(taxes, ("", terms.city)),
        "rates_on": taxes.on.isoformat(),
    }


def basis_of_items(tenant: str, items: Iterable[Item], taxes: TaxTable) -> Basis:
    """Of a single invoice; ``taxes`` are in force on the day of issue."""
    return {
        "tenant": {"code": tenant},
        "items": [
            {"description": description, "amount": str(amount), "tax": tax}
            for description, amount, tax in items
        ],
        "rates": _rates(taxes, ("",)),
        "rates_on": taxes.on.isoformat(),
    }


def draft_again(
    basis: Basis, *, period: Period, lease_code: str | None, currency: str
) -> InvoiceDraft | None:
    """Work the invoice out once more, as it was on the day of issue.

    Returns:
        None where the lease was not active in ``period``.

    Raises:
        InputError: IVA was due, and no rate of it is there.
        KeyError, ValueError, ArithmeticError: It is no basis.
    """
    taxes = TaxTable(map(_rate, basis["rates"]), on=datetime.date.fromisoformat(basis["rates_on"]))
    if "items" in basis:
        items = [(each["description"], Decimal(each["amount"]), each["tax"]) for each in basis["items"]]
        return draft_single_invoice(lease_code, currency, items, taxes)
    lease = basis["lease"]
    terms = Lease(
        code=lease["code"],
        property=lease["property"],
        city=lease["city"],
        use=lease["use"],
        start_date=datetime.date.fromisoformat(lease["start_date"]),
        end_date=None if lease["end_date"] is None else datetime.date.fromisoformat(lease["end_date"]),
        rent=Decimal(lease["rent"]),
        currency=lease["currency"],
        withholding_agent=basis["tenant"]["withholding_agent"],
        charges=tuple(
            Charge(
                each["concept"], each["description"], Decimal(each["amount"]), each["tax"], each["prorated"]
            )
            for each in basis["charges"]
        ),
    )
    return draft_lease_invoice(terms, period, taxes)


def _rates(taxes: TaxTable, cities: Sequence[str]) -> list[dict[str, Any]]:
    return [
        {
            "tax": each.tax,
            "city": each.city,
            "rate": str(each.rate),
            "minimum_base": str(each.minimum_base),
            "valid_from": each.valid_from.isoformat(),
            "valid_to": each.valid_to and each.valid_to.isoformat(),
        }
        for each in taxes.rates
        if each.city in cities
    ]


def _rate(row: Mapping[str, Any]) -> TaxRate:
    return TaxRate(
        tax=row["tax"],
        city=row["city"],
        rate=Decimal(row["rate"]),
        minimum_base=Decimal(row["minimum_base"]),
        valid_from=datetime.date.fromisoformat(row["valid_from"]),
        valid_to=None if row["valid_to"] is None else datetime.date.fromisoformat(row["valid_to"]),
    )
