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
    "cycle_unknown": (
        "no existe el ciclo {period}: revise el mes en la lista de ciclos",
        "there is no cycle {period}",
    ),
    "cycle_not_opened": (
        "todavía no existe el ciclo {period}: lo abre bin/invoicing run --period {period}",
        "there is no cycle {period} yet: bin/invoicing run --period {period} makes it",
    ),
    "tenant_unknown": (
        "no existe el tercero {tenant!r}: revise el código",
        "there is no tenant {tenant!r}",
    ),
    "tenant_code_with_nul": (
        "no existe un tercero con un NUL en su código: revise el código",
        "there is no tenant with a NUL in its code",
    ),
    "tenant_not_in_cycle": (
        "el tercero {tenant} no tiene ninguna factura en el ciclo {period}",
        "tenant {tenant} has no invoice in cycle {period}",
    ),
    "delivery_unknown": (
        "no existe el envío {delivery}: revise el número",
        "there is no delivery {delivery}",
    ),
    "delivery_state_unknown": (
        "no existe el estado de envío {state!r}; use uno de estos: {known}",
        "there is no delivery state {state!r}; known are {known}",
    ),
    "invoice_unknown": (
        "no existe la factura {number!r}: revise el número",
        "there is no invoice {number!r}",
    ),
    "invoice_without_document": (
        "la factura {number} todavía no tiene documento: se genera antes de enviarla",
        "invoice {number} has no document yet",
    ),
    "run_unknown": (
        "no existe la ejecución {run!r}: revise el enlace",
        "there is no run {run!r}",
    ),
    "tenant_without_invoice": (
        "el tercero {tenant} no tiene factura en {period}, ni se le generaría: elija otro mes u otro tercero",
        "tenant {tenant} has no invoice in {period}, and would have none",
    ),
    "previews_busy": (
        "se están haciendo otras vistas previas: intente de nuevo en un momento",
        "other previews are being made: try again in a moment",
    ),
    "trial_without_address": (
        "escriba la dirección a la que se envía la prueba",
        "type the address to send the test to",
    ),
    "trial_address_invalid": (
        "{address!r} no es una dirección de correo: escriba una sola, y válida",
        "{why}",
    ),
    "trial_without_sender": (
        "no hay dirección de remitente: ponga from_email en los ajustes o en la conexión",
        "there is no sender's address: set from_email, or from_email in the connection",
    ),
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
