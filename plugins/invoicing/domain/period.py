"""The calendar month that is billed."""

import calendar
import datetime
import re
from dataclasses import dataclass
from typing import Self

from invoicing.domain.errors import InputError


@dataclass(frozen=True, slots=True, order=True)
class Period:
    """One calendar month, billed in advance (docs/contract.md, section 5).

    Args:
        year: 2000 to 2199.
        month: 1 to 12.
    """

    year: int
    month: int

    def __post_init__(self) -> None:
        if not (2000 <= self.year <= 2199 and 1 <= self.month <= 12):
            raise InputError("period_out_of_range", year=self.year, month=self.month)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``YYYY-MM``; raises `InputError` for anything else."""
        match = re.fullmatch(r"([0-9]{4})-([0-9]{2})", text)
        if match is None:
            raise InputError("period_malformed", text=text)
        return cls(int(match[1]), int(match[2]))

    @classmethod
    def containing(cls, day: datetime.date) -> Self:
        """The month that ``day`` falls in."""
        return cls(day.year, day.month)

    @property
    def first_day(self) -> datetime.date:
        """First day of the month."""
        return datetime.date(self.year, self.month, 1)

    @property
    def last_day(self) -> datetime.date:
        """Last day of the month, inclusive."""
        return datetime.date(self.year, self.month, self.days)

    @property
    def days(self) -> int:
        """Days of the month, 28 to 31."""
        return calendar.monthrange(self.year, self.month)[1]

    @property
    def following(self) -> Self:
        """The month after this one."""
        return type(self)(self.year + self.month // 12, self.month % 12 + 1)

    @property
    def preceding(self) -> Self:
        """The month before this one; raises `InputError` before 2000-02."""
        return type(self)(self.year - (self.month == 1), (self.month - 2) % 12 + 1)

    def is_near(self, day: datetime.date) -> bool:
        """Whether it is the month of ``day`` or the next: what is billed without a question."""
        month = Period.containing(day)
        return self in (month, month.following)

    def __str__(self) -> str:
        return f"{self.year:04}-{self.month:02}"
