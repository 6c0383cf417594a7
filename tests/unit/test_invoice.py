"""The amounts of an invoice (docs/contract.md, section 5)."""

import datetime
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from invoicing.domain.errors import InputError
from invoicing.domain.invoice import InvoiceDraft, draft_lease_invoice, draft_single_invoice
from invoicing.domain.lease import Charge, Lease
from invoicing.domain.period import Period
from invoicing.domain.proration import active_days
from invoicing.domain.taxes import TaxRate, TaxTable, round_money

NOVEMBER = Period(2026, 11)
EVER = datetime.date(2000, 1, 1)
RATES = (
    TaxRate("iva", "", Decimal("0.16"), Decimal(0), EVER, datetime.date(2016, 12, 31)),
    TaxRate("iva", "", Decimal("0.19"), Decimal(0), datetime.date(2017, 1, 1), None),
    TaxRate("retefuente", "", Decimal("0.035"), Decimal(498_000), EVER, None),
    TaxRate("reteiva", "", Decimal("0.15"), Decimal(0), EVER, None),
    TaxRate("reteica", "Bogotá", Decimal("0.00966"), Decimal(0), EVER, None),
)
TAXES = TaxTable(RATES, NOVEMBER.first_day)

amounts = st.decimals(min_value=0, max_value=10**9, places=2)
days = st.dates(datetime.date(2026, 9, 1), datetime.date(2027, 1, 31))


def lease(
    rent: Decimal | int = 1_000_000,
    use: str = "residential",
    start: str = "2024-01-01",
    end: str | None = None,
    charges: tuple[Charge, ...] = (),
    agent: bool = False,
    currency: str = "COP",
    city: str = "Bogotá",
) -> Lease:
    return Lease(
        code="L1",
        property="Calle 1",
        city=city,
        use=use,  # type: ignore[arg-type]
        start_date=datetime.date.fromisoformat(start),
        end_date=datetime.date.fromisoformat(end) if end else None,
        rent=Decimal(rent),
        currency=currency,
        withholding_agent=agent,
        charges=charges,
    )


def draft(of: Lease, period: Period = NOVEMBER) -> InvoiceDraft:
    made = draft_lease_invoice(of, period, TaxTable(RATES, period.first_day))
    assert made is not None
    return made


@pytest.mark.parametrize(
    ("amount", "rounded"),
    [("0.5", "1"), ("-0.5", "-1"), ("2.5", "3"), ("-2.5", "-3"), ("2.4999", "2"), ("-0.4", "0")],
)
def test_halves_are_rounded_away_from_zero(amount: str, rounded: str) -> None:
    assert str(round_money(Decimal(amount), "COP")) == rounded


def test_an_unknown_currency_is_refused() -> None:
    with pytest.raises(InputError, match="'XXX' is not one of"):
        round_money(Decimal(1), "XXX")


@pytest.mark.parametrize(
    ("start", "end", "active"),
    [
        ("2024-01-01", None, 30),
        ("2026-11-16", None, 15),
        ("2024-01-01", "2026-11-01", 1),
        ("2026-11-30", "2026-11-30", 1),
        ("2026-12-01", None, 0),
        ("2024-01-01", "2026-10-31", 0),
    ],
)
def test_both_dates_of_a_lease_are_inclusive(start: str, end: str | None, active: int) -> None:
    days_active = active_days(
        datetime.date.fromisoformat(start), datetime.date.fromisoformat(end) if end else None, NOVEMBER
    )
    assert (days_active.active, days_active.total) == (active, 30)


@given(start=days, end=st.one_of(st.none(), days))
def test_active_days_are_the_days_of_the_month_within_the_lease(
    start: datetime.date, end: datetime.date | None
) -> None:
    month = [NOVEMBER.first_day + datetime.timedelta(days=offset) for offset in range(30)]
    expected = sum(start <= day and (end is None or day <= end) for day in month)
    assert active_days(start, end, NOVEMBER).active == expected


def test_a_lease_not_active_in_the_period_has_no_invoice() -> None:
    assert draft_lease_invoice(lease(start="2026-12-01"), NOVEMBER, TAXES) is None


def test_iva_is_on_commercial_rent_and_on_charges_that_say_so() -> None:
    charges = (
        Charge("parking", "Parqueadero", Decimal(100_000), "iva", prorated=False),
        Charge("repair", "Reparación", Decimal(50_000), "none", prorated=False),
    )
    assert draft(lease(use="residential", charges=charges)).tax == 19_000
    assert draft(lease(use="commercial", charges=charges)).tax == 209_000


def test_the_rate_is_that_of_the_first_day_of_the_period() -> None:
    assert draft(lease(use="commercial", start="2010-01-01"), Period(2016, 12)).tax == 160_000
    assert draft(lease(use="commercial", start="2010-01-01"), Period(2017, 1)).tax == 190_000


def test_without_an_iva_rate_no_invoice_is_made() -> None:
    with pytest.raises(InputError, match=r"no iva rate is in force on 2026-11-01.*tax_rates.csv"):
        draft_lease_invoice(lease(use="commercial"), NOVEMBER, TaxTable((), NOVEMBER.first_day))


def test_withholdings_are_a_commercial_agents_only_and_from_their_minimum() -> None:
    full = draft(lease(use="commercial", agent=True))
    assert {each.tax: each.amount for each in full.withholdings} == {
        "retefuente": 35_000,
        "reteiva": 28_500,
        "reteica": 9_660,
    }
    assert full.total == 1_000_000 + 190_000 - 73_160
    assert draft(lease(use="commercial", agent=False)).withholding == 0
    assert draft(lease(use="residential", agent=True)).withholding == 0
    at_minimum = draft(lease(rent=498_000, use="commercial", agent=True, city="Cali"))
    below = draft(lease(rent=497_999, use="commercial", agent=True, city="Cali"))
    assert "retefuente" in {each.tax for each in at_minimum.withholdings}
    assert "retefuente" not in {each.tax for each in below.withholdings}
    assert "reteica" not in {each.tax for each in at_minimum.withholdings}


def test_charges_are_billed_in_their_periods_only_both_inclusive() -> None:
    def charge(first: str | None, last: str | None) -> Charge:
        return Charge(
            "extra",
            "Extra",
            Decimal(1),
            "none",
            prorated=False,
            from_period=Period.parse(first) if first else None,
            to_period=Period.parse(last) if last else None,
        )

    billed = [("2026-11", "2026-11"), (None, None), ("2026-10", None), (None, "2026-11")]
    not_billed = [("2026-12", None), (None, "2026-10"), ("2025-01", "2026-10")]
    assert draft(lease(charges=tuple(charge(*each) for each in billed))).subtotal == 1_000_004
    assert draft(lease(charges=tuple(charge(*each) for each in not_billed))).subtotal == 1_000_000


@given(
    rent=amounts,
    start=st.integers(1, 30),
    charge=amounts,
    prorated=st.booleans(),
    use=st.sampled_from(["residential", "commercial"]),
)
def test_every_line_and_tax_is_the_exact_amount_rounded_once(
    rent: Decimal, start: int, charge: Decimal, prorated: bool, use: str
) -> None:
    made = draft(
        lease(
            rent=rent,
            use=use,
            start=f"2026-11-{start:02}",
            charges=(Charge("c", "C", charge, "iva", prorated=prorated),),
        )
    )
    share = Fraction(31 - start, 30)

    def half_up(value: Fraction) -> int:
        return int(value + Fraction(1, 2)) if value >= 0 else -int(-value + Fraction(1, 2))

    rent_line, charge_line = made.lines
    assert rent_line.amount == half_up(Fraction(rent) * share)
    assert charge_line.amount == half_up(Fraction(charge) * (share if prorated else 1))
    assert charge_line.tax == half_up(Fraction(charge_line.amount) * Fraction(19, 100))
    assert rent_line.tax == (
        half_up(Fraction(rent_line.amount) * Fraction(19, 100)) if use == "commercial" else 0
    )
    assert made.total == made.subtotal + made.tax - made.withholding
    assert made.total == made.total.to_integral_value()


def test_a_discount_may_leave_nothing_to_bill() -> None:
    gift = Charge("discount", "Mes de gracia", Decimal(-1_000_000), "none", prorated=False)
    assert draft(lease(charges=(gift,))).total == 0


def test_dollars_have_cents() -> None:
    assert draft(lease(rent=Decimal("100.10"), start="2026-11-21", currency="USD")).total == Decimal("33.37")


def test_a_single_invoice_has_iva_and_no_withholdings() -> None:
    made = draft_single_invoice(
        None, "COP", [("Llaves", Decimal(50_000), "iva"), ("Multa", Decimal(10_000), "none")], TAXES
    )
    assert (made.subtotal, made.tax, made.withholding, made.total) == (60_000, 9_500, 0, 69_500)
