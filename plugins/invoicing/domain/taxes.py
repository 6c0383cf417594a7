"""Tax rates in force, and rounding."""

import datetime
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from typing import Literal

from invoicing.domain.errors import InputError

TaxName = Literal["iva", "retefuente", "reteiva", "reteica"]

# Smallest unit in which an amount of a currency is billed (docs/contract.md, section 5: 1 for COP).
# The pesos below have cents in ISO 4217 that nobody pays in; the rest are ISO 4217's minor units.
_ROUNDING_UNIT = {
    "COP": Decimal(1),
    "CLP": Decimal(1),
    "PYG": Decimal(1),
    "USD": Decimal("0.01"),
    "EUR": Decimal("0.01"),
    "MXN": Decimal("0.01"),
    "PEN": Decimal("0.01"),
    "BRL": Decimal("0.01"),
}
CURRENCIES = frozenset(_ROUNDING_UNIT)


def round_money(amount: Decimal, currency: str) -> Decimal:
    """Round half up (halves away from zero) to the rounding unit of ``currency``."""
    try:
        unit = _ROUNDING_UNIT[currency]
    except KeyError:
        raise InputError("currency_unknown", currency=currency, known=", ".join(sorted(CURRENCIES))) from None
    rounded = amount.quantize(unit, rounding=ROUND_HALF_UP)
    return rounded + 0  # a discount that rounds to nothing is 0, not -0


@dataclass(frozen=True, slots=True)
class TaxRate:
    """A rate and the days it is in force.

    Args:
        city: For ``reteica``, the city that levies it; empty for the others.
        rate: A fraction, 0.19 for 19 %.
        minimum_base: The smallest base that the rate applies to, inclusive.
        valid_from: First day in force, inclusive.
        valid_to: Last day in force, inclusive; None is open-ended.
    """

    tax: TaxName
    city: str
    rate: Decimal
    minimum_base: Decimal
    valid_from: datetime.date
    valid_to: datetime.date | None

    def is_in_force(self, day: datetime.date) -> bool:
        """Whether the rate is in force on ``day``."""
        return self.valid_from <= day and (self.valid_to is None or day <= self.valid_to)


class TaxTable:
    """The rates in force on one day."""

    def __init__(self, rates: Iterable[TaxRate], on: datetime.date) -> None:
        self.on = on
        self._rates = {(rate.tax, rate.city): rate for rate in rates if rate.is_in_force(on)}
        self._sorted = tuple(rate for _, rate in sorted(self._rates.items()))

    @property
    def rates(self) -> tuple[TaxRate, ...]:
        """All of them, by tax and city."""
        return self._sorted

    def find(self, tax: TaxName, city: str = "") -> TaxRate | None:
        """The rate of ``tax`` in ``city``, or None where none is in force."""
        return self._rates.get((tax, city))

    def iva(self) -> TaxRate:
        """The IVA rate.

        Raises:
            InputError: No rate is in force: an invoice without its IVA would be wrong, so none is made.
        """
        rate = self.find("iva")
        if rate is None:
            raise InputError("iva_rate_missing", on=self.on)
        return rate
