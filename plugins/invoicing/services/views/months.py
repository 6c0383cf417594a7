"""A month beside the one before it."""

from collections.abc import Mapping
from dataclasses import dataclass

from invoicing.db.connection import Database
from invoicing.db.statements import beside
from invoicing.domain.comparison import Month, TenantComparison, compare
from invoicing.domain.period import Period
from invoicing.services.billing.billed import load_month
from invoicing.services.views.cycles import load_cycle

_SQL = beside(__file__)


@dataclass(frozen=True, slots=True)
class MonthCompared:
    """What differs from the month before.

    Args:
        compared_with: The latest earlier month with invoices; None where there is none, and everything is new.
        before: As it was billed and decided; empty where there is none.
        tenants: By code, of every tenant that either month bills or decided on.
    """

    compared_with: Period | None
    before: Month
    now: Month
    tenants: Mapping[str, TenantComparison]


def compare_with_before(db: Database, period: Period) -> MonthCompared:
    """Compare the standing invoices and the decisions of ``period`` with those of the month before.

    Raises:
        NotFoundError: ``period`` has no cycle.
    """
    now = load_month(db, load_cycle(db, period).id)
    row = db.execute(_SQL["month_before"], {"period": str(period)}).fetchone()
    before = Month() if row is None else load_month(db, row["cycle_id"])
    return MonthCompared(Period.parse(row["period"]) if row else None, before, now, compare(before, now))
