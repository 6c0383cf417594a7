"""What went wrong, in words: each failure has a code, and its values go where the braces are.

``{name!r}`` quotes a value, ``{name:state}`` gives a state of the ledger in words. A value may be a failure itself,
or several: it is told in the same language.
"""

import string
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from invoicing.words import Language, Text, choose
from invoicing.words.ledger import STATES


@runtime_checkable
class Failure(Protocol):
    """Anything with a code and values: an error, or one of the problems that an error lists."""

    code: str
    values: Mapping[str, object]


FAILURES: Mapping[str, Text] = {
    # domain
    "period_malformed": (
        "el período {text!r} no tiene la forma AAAA-MM, por ejemplo 2026-11",
        "period {text!r} is not of the form YYYY-MM, for example 2026-11",
    ),
    # services.agency
    # services.billing
    # services.delivery
    # services.views
    # rendering
    # mail
    # db, stack, Airflow's API
    # command line
    # web
}


def tell(failure: Failure, language: Language = "en") -> str:
    """The failure in words."""
    return _Formatter(language).vformat(choose(FAILURES[failure.code], language), (), failure.values)


class _Formatter(string.Formatter):
    def __init__(self, language: Language) -> None:
        self._language = language

    def convert_field(self, value: Any, conversion: str | None) -> Any:
        if isinstance(value, Failure):
            return tell(value, self._language)
        if (
            isinstance(value, Sequence)
            and not isinstance(value, str)
            and value
            and isinstance(value[0], Failure)
        ):
            return "; ".join(tell(each, self._language) for each in value)
        return super().convert_field(value, conversion)

    def format_field(self, value: Any, format_spec: str) -> str:
        if format_spec == "state":
            return choose(STATES.get(str(value), (str(value), str(value))), self._language).lower()
        formatted: str = super().format_field(value, format_spec)
        return formatted
