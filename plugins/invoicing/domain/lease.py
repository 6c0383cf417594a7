"""Leases, their charges and their tenants, as imported."""

import datetime
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from invoicing.domain.period import Period

Use = Literal["residential", "commercial"]
Language = Literal["es", "en"]
ChargeTax = Literal["iva", "none"]


@dataclass(frozen=True, slots=True)
class Tenant:
    """Who is billed.

    Args:
        code: The agency's own code, unique.
        emails: As imported, malformed ones included.
        cc_emails: Copied on every message.
        withholding_agent: Withholds retefuente, reteiva and reteica from what it pays.
        auto_send: The tenant's own "send automatically?".
        only_multiple: The tenant's own "only multiple invoices?".
        is_held: A person holds the tenant for the period that is decided on.
    """

    code: str
    name: str
    emails: tuple[str, ...] = ()
    cc_emails: tuple[str, ...] = ()
    language: Language = "es"
    withholding_agent: bool = False
    auto_send: bool = False
    only_multiple: bool = False
    is_held: bool = False


@dataclass(frozen=True, slots=True)
class Charge:
    """A recurring or single charge on a lease; a negative ``amount`` is a discount.

    Args:
        from_period: First period it is billed in, inclusive; None is unbounded.
        to_period: Last period it is billed in, inclusive; None is unbounded.
    """

    concept: str
    description: str
    amount: Decimal
    tax: ChargeTax
    prorated: bool
    from_period: Period | None = None
    to_period: Period | None = None

    def is_due(self, period: Period) -> bool:
        """Whether the charge is billed in ``period``."""
        return (self.from_period is None or self.from_period <= period) and (
            self.to_period is None or period <= self.to_period
        )


@dataclass(frozen=True, slots=True)
class Lease:
    """A rented property.

    Args:
        start_date: First day of the lease, inclusive.
        end_date: Last day of the lease, inclusive; None is open-ended.
        rent: For a whole month, in ``currency``.
    """

    code: str
    property: str
    city: str
    use: Use
    start_date: datetime.date
    end_date: datetime.date | None
    rent: Decimal
    currency: str
    withholding_agent: bool = False
    charges: tuple[Charge, ...] = ()
