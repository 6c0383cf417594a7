"""Numbers, dates and amounts in words, as Colombians and English readers write them.

Every function takes the document's language last (``es`` or ``en``); templates leave it out, it comes with
the document. Days, months and rates are the same on most documents of a month, and remembered.
"""

import datetime
import re
from decimal import Decimal
from functools import lru_cache

from babel.dates import format_date, format_skeleton
from babel.numbers import format_currency, format_decimal, get_currency_name, get_currency_precision
from num2words import num2words

from invoicing.domain.period import Period

LOCALES = {"es": "es_CO", "en": "en_US"}
NO_BREAK_SPACE = "\N{NO-BREAK SPACE}"

# The peso's CLDR precision is 2; nobody has seen a centavo since 1990.
PRECISION = {"COP": 0}


def money(amount: Decimal, currency: str, language: str) -> str:
    """``$ 1.234.567`` for pesos in Spanish, ``COP 1,234,567`` in English, other currencies alike.

    Decimals are shown where the currency has them, and in any currency where leaving them out would hide part
    of the amount.
    """
    digits = PRECISION.get(currency, get_currency_precision(currency))
    if amount != round(amount, digits):
        digits = max(2, -int(amount.normalize().as_tuple().exponent))
    number = "#,##0" + ("." + "0" * digits if digits else "")
    sign = "¤" if language == "es" else "¤¤"
    pattern = f"{sign}{NO_BREAK_SPACE}{number};-{sign}{NO_BREAK_SPACE}{number}"
    return format_currency(amount, currency, pattern, locale=LOCALES[language], currency_digits=False)


@lru_cache(maxsize=256)
def date(day: datetime.date, language: str) -> str:
    """``1 de noviembre de 2026``, ``November 1, 2026``."""
    return str(format_date(day, "long", locale=LOCALES[language]))


@lru_cache(maxsize=256)
def short_date(day: datetime.date, language: str) -> str:
    """``1 nov 2026``, ``Nov 1, 2026``: for narrow columns."""
    pattern = "d MMM y" if language == "es" else "MMM d, y"
    return str(format_date(day, pattern, locale=LOCALES[language])).replace(".", "")


@lru_cache(maxsize=256)
def month_name(period: Period | None, language: str) -> str:
    """``noviembre de 2026``, ``November 2026``; empty for an invoice without a period."""
    if period is None:
        return ""
    return str(format_skeleton("yMMMM", period.first_day, locale=LOCALES[language]))


@lru_cache(maxsize=256)
def percent(rate: Decimal, language: str) -> str:
    """``19 %`` and ``0,966 %`` of a fraction, ``19%`` in English."""
    gap = NO_BREAK_SPACE if language == "es" else ""
    return f"{format_decimal(rate * 100, '#,##0.####', locale=LOCALES[language])}{gap}%"


def grouped(number: str, _language: str) -> str:
    """An identity number in threes, ``43.123.456``; whatever is not all digits stays as it is."""
    if not re.fullmatch("[0-9]{5,12}", number):
        return number
    return str(format_decimal(int(number), "#,##0", locale=LOCALES["es"]))


def in_words(amount: Decimal, currency: str, language: str) -> str:
    """``Un millón doscientos mil pesos m/cte``, ``One million, two hundred thousand Colombian pesos``.

    "M/cte" (moneda corriente) is how Colombian documents close an amount in pesos. A fraction follows as
    hundredths: ``con 50/100``.
    """
    whole = int(amount)
    hundredths = int(abs(amount - whole) * 100)
    words = num2words(whole, lang=language)
    name = get_currency_name(currency, count=whole, locale=LOCALES[language])
    if language == "es":
        words = _before_a_noun(words)
        if currency == "COP":
            name = ("peso" if abs(whole) == 1 else "pesos") + " m/cte"
        # "un millón de pesos", yet "un millón doscientos mil pesos".
        if re.search(r"(ill[óo]n|illones)$", words):
            name = f"de {name}"
    fraction = ""
    if hundredths:
        fraction = f" {'con' if language == 'es' else 'and'} {hundredths:02}/100"
    text = f"{words} {name}{fraction}"
    return text[0].upper() + text[1:]


def _before_a_noun(words: str) -> str:
    """Shorten "uno" as Spanish does before mil, millones and the currency: "veintiún mil un pesos"."""
    return re.sub(r"\buno\b", "un", re.sub(r"\bveintiuno\b", "veintiún", words))
