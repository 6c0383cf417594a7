import datetime

import pytest

from invoicing.domain.errors import InputError
from invoicing.domain.period import Period


@pytest.mark.parametrize(
    "text", ["2026-13", "2026-00", "26-11", "2026-1", "2026-11-01", "", "noviembre", "1999-12", "２０２６-11"]
)
def test_what_is_no_month_is_refused(text: str) -> None:
    with pytest.raises(InputError, match=r"period"):
        Period.parse(text)


def test_a_period_is_its_text() -> None:
    period = Period.parse("2028-02")
    assert (str(period), period.days, period.last_day.isoformat()) == ("2028-02", 29, "2028-02-29")
    assert Period.parse("2026-12") < Period.parse("2027-01")


@pytest.mark.parametrize(
    ("text", "is_near"),
    [("2026-11", False), ("2026-12", True), ("2027-01", True), ("2027-02", False), ("2025-12", False)],
)
def test_this_month_and_the_next_are_near(text: str, is_near: bool) -> None:
    assert Period.parse(text).is_near(datetime.date(2026, 12, 31)) is is_near


def test_the_year_ends_with_december() -> None:
    assert [str(Period(2026, month).following) for month in (1, 11, 12)] == ["2026-02", "2026-12", "2027-01"]
