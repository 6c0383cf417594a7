"""What of a tenant is unsent, and who holds it: for the buttons that send it, hold it and let it go."""

import datetime
from collections.abc import Sequence
from dataclasses import dataclass

from invoicing.db.connection import Database
from invoicing.db.statements import beside, fetch_all, fetch_one
from invoicing.domain.discretion import Said
from invoicing.domain.period import Period

_SQL = beside(__file__)


@dataclass(frozen=True, slots=True)
class HoldShown:
    """A hold in force; ``is_of_month``: of everybody."""

    reason: Said[str]
    actor: str
    held_at: datetime.datetime
    is_of_month: bool


@dataclass(frozen=True, slots=True)
class UnsentMonth:
    """A month of which a tenant has invoices that nobody sends; ``is_held``: by a person, until released."""

    period: str
    invoices: int
    is_held: bool


def hold_of(db: Database, period: Period, tenant_id: int | None = None) -> HoldShown | None:
    """Who holds the tenant for ``period``, or the whole month; without a tenant, the month alone."""
    which = {"period": str(period), "tenant_id": tenant_id}
    return fetch_one(db, HoldShown, _SQL["hold_of"], which)


def unsent_of_tenant(db: Database, tenant_id: int, period: Period | None = None) -> Sequence[UnsentMonth]:
    """The newest months, at most three, of which the tenant has invoices that are unsent and not on their way."""
    which = {"tenant_id": tenant_id, "period": None if period is None else str(period)}
    return fetch_all(db, UnsentMonth, _SQL["unsent_of_tenant"], which)
