"""Amounts, dates and words as people write them."""

import datetime
from decimal import Decimal

import pytest

from invoicing.domain.period import Period
from invoicing.rendering import formats

NBSP = "\N{NO-BREAK SPACE}"


@pytest.mark.parametrize(
    ("amount", "currency", "language", "written"),
    [
        ("1234567", "COP", "es", "$ 1.234.567"),
        ("0", "COP", "es", "$ 0"),
        ("-40572", "COP", "es", "-$ 40.572"),
        ("1234567.00", "COP", "es", "$ 1.234.567"),
        ("1234567.5", "COP", "es", "$ 1.234.567,50"),
        ("1234567.5", "USD", "es", "US$ 1.234.567,50"),
        ("1200", "JPY", "en", "JPY 1,200"),
        ("1234567", "COP", "en", "COP 1,234,567"),
        ("-1234.5", "USD", "en", "-USD 1,234.50"),
        ("0.125", "USD", "en", "USD 0.125"),
        ("999999999999999999", "COP", "es", "$ 999.999.999.999.999.999"),
    ],
)
def test_money_is_written_as_in_the_language(amount: str, currency: str, language: str, written: str) -> None:
    assert formats.money(Decimal(amount), currency, language) == written.replace(" ", NBSP)


def test_dates_and_months_are_written_out() -> None:
    day = datetime.date(2026, 11, 1)

    assert formats.date(day, "es") == "1 de noviembre de 2026"
    assert formats.date(day, "en") == "November 1, 2026"
    assert formats.short_date(day, "es") == "1 nov 2026"
    assert formats.short_date(day, "en") == "Nov 1, 2026"
    assert formats.month_name(Period(2026, 11), "es") == "noviembre de 2026"
    assert formats.month_name(Period(2026, 11), "en") == "November 2026"
    assert formats.month_name(None, "es") == ""


def test_rates_keep_the_decimals_that_they_have() -> None:
    assert formats.percent(Decimal("0.19"), "es") == f"19{NBSP}%"
    assert formats.percent(Decimal("0.00966"), "es") == f"0,966{NBSP}%"
    assert formats.percent(Decimal("0.035"), "en") == "3.5%"


def test_identity_numbers_are_grouped_where_they_are_numbers() -> None:
    assert formats.grouped("43123456", "es") == "43.123.456"
    assert formats.grouped("901.234.567-8", "es") == "901.234.567-8"
    assert formats.grouped("PK4471820", "en") == "PK4471820"


@pytest.mark.parametrize(
    ("amount", "words"),
    [
        ("0", "Cero pesos m/cte"),
        ("1", "Un peso m/cte"),
        ("21", "Veintiún pesos m/cte"),
        ("100", "Cien pesos m/cte"),
        ("121", "Ciento veintiún pesos m/cte"),
        ("1000", "Mil pesos m/cte"),
        ("21000", "Veintiún mil pesos m/cte"),
        ("31001", "Treinta y un mil un pesos m/cte"),
        ("189000", "Ciento ochenta y nueve mil pesos m/cte"),
        ("1000000", "Un millón de pesos m/cte"),
        ("1200000", "Un millón doscientos mil pesos m/cte"),
        ("21000000", "Veintiún millones de pesos m/cte"),
        ("1021000000", "Mil veintiún millones de pesos m/cte"),
        ("1000000000000", "Un billón de pesos m/cte"),
        (
            "16338412",
            "Dieciséis millones trescientos treinta y ocho mil cuatrocientos doce pesos m/cte",
        ),
    ],
)
def test_pesos_in_words_follow_spanish_grammar(amount: str, words: str) -> None:
    assert formats.in_words(Decimal(amount), "COP", "es") == words


@pytest.mark.parametrize(
    ("amount", "currency", "language", "words"),
    [
        ("1200000", "COP", "en", "One million, two hundred thousand Colombian pesos"),
        ("1", "COP", "en", "One Colombian peso"),
        ("1200.50", "USD", "es", "Mil doscientos dólares estadounidenses con 50/100"),
        ("1200.05", "USD", "en", "One thousand, two hundred US dollars and 05/100"),
        ("1000000", "EUR", "es", "Un millón de euros"),
    ],
)
def test_other_currencies_and_english_in_words(amount: str, currency: str, language: str, words: str) -> None:
    assert formats.in_words(Decimal(amount), currency, language) == words
