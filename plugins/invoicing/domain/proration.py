"""How much of a month a lease was active."""

import datetime
from dataclasses import dataclass
from decimal import Decimal

from invoicing.domain.period import Period


@dataclass(frozen=True, slots=True)
class ActiveDays:
    """``active`` of the ``total`` days of a month; 0 ≤ active ≤ total."""

    active: int
    total: int

    @property
    def is_whole(self) -> bool:
        """The whole month."""
        return self.active == self.total

    def share_of(self, amount: Decimal) -> Decimal:
        """``amount`` × active ÷ total, unrounded (at the context's precision)."""
        return amount if self.is_whole else amount * self.active / self.total


def active_days(start: datetime.date, end: datetime.date | None, period: Period) -> ActiveDays:
    """Count the days of ``period`` within ``start`` to ``end``, both inclusive; ``end`` None is open."""
    first = max(start, period.first_day)
    last = period.last_day if end is None else min(end, period.last_day)
    return ActiveDays(max(0, (last - first).days + 1), period.days)
