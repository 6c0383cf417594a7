"""When a person has to look at a month, by how much differs from the month before."""

from decimal import Decimal

import pytest

from invoicing.domain.approval import difference, reasons_to_ask
from invoicing.domain.comparison import Bill, Month


def month(*totals: int, outcomes: int = 10) -> Month:
    bills = [Bill(f"L{n}", f"T{n}", Decimal(total), "COP") for n, total in enumerate(totals) if total]
    return Month(bills, {f"T{n}": "send" for n in range(outcomes)})


TEN = month(*[100] * 10)


@pytest.mark.parametrize(
    ("now", "why"),
    [
        (TEN, []),
        (month(120, *[100] * 9), []),
        (month(121, *[100] * 9), ["invoice"]),
        (month(79, *[100] * 9), ["invoice"]),
        (month(*[100] * 12), []),
        (month(*[100] * 13), ["total"]),
        (month(*[100] * 8), []),
        (month(*[100] * 7), ["total"]),
        (month(*[100] * 10, outcomes=12), []),
        (month(*[100] * 10, outcomes=13), ["recipients"]),
        (month(*[100] * 10, outcomes=7), ["recipients"]),
        (month(*[100] * 3, *[200] * 10, outcomes=20), ["total", "recipients", "invoice"]),
    ],
)
def test_what_changed_by_more_than_a_fifth_is_looked_at(now: Month, why: list[str]) -> None:
    assert reasons_to_ask("changed", 20, TEN, now) == why


def test_the_first_month_is_looked_at() -> None:
    assert reasons_to_ask("changed", 20, None, TEN) == ["first_month"]
    assert reasons_to_ask("changed", 20, Month(), TEN) == ["first_month"]


def test_always_and_never_ask_for_no_comparison() -> None:
    assert reasons_to_ask("always", 20, TEN, TEN) == ["always"]
    assert reasons_to_ask("never", 0, None, month(10**9)) == []


def test_another_currency_is_looked_at() -> None:
    other = Month([*TEN.bills[1:], Bill("L0", "T0", Decimal(100), "USD")], TEN.outcomes)
    assert "invoice" in reasons_to_ask("changed", 1000, TEN, other)


def test_what_changed_most_comes_first() -> None:
    found = difference(TEN, month(101, 100, 150, 0, *[100] * 6))
    assert [each.lease for each in found.leases] == ["L3", "L2", "L0"]
    assert found.totals == {"COP": (Decimal(1000), Decimal(951))}
