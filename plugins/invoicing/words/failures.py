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

    @property
    def code(self) -> str:
        """A key of `FAILURES`."""

    @property
    def values(self) -> Mapping[str, object]:
        """What the words speak of, by name."""


FAILURES: Mapping[str, Text] = {
    # domain
    "period_malformed": (
        "el período {text!r} no tiene la forma AAAA-MM, por ejemplo 2026-11",
        "period {text!r} is not of the form YYYY-MM, for example 2026-11",
    ),
    # services.agency
    # services.billing
    # services.delivery
    "no_sender": (
        "no hay dirección de remitente: bin/invoicing settings set from_email=…, o dé un from_email a la conexión "
        "invoicing_smtp",
        "there is no sender's address: bin/invoicing settings set from_email=…, "
        "or give the connection invoicing_smtp a from_email",
    ),
    "address_invalid": (
        "la dirección {address!r} no es válida: corríjala",
        "invalid address {address!r}: {why}",
    ),
    "claim_lost": (
        "otro proceso tomó el envío {delivery}",
        "delivery {delivery} was taken over by another worker",
    ),
    "mark_too_late": (
        "la marca del envío {delivery} volvió demasiado tarde",
        "the mark of delivery {delivery} came back too late",
    ),
    "delivery_gone": (
        "no existe el envío {delivery}: limpie select_recipients en Airflow",
        "there is no delivery {delivery}: clear select_recipients",
    ),
    "outcome_in_journal": (
        "la base de datos dejó de responder al cerrar el envío {delivery}; que está {verdict} queda en {folder} y lo "
        "escribirá el próximo proceso o barrido",
        "the database went away while delivery {delivery} was settled; that it is {verdict} is kept in {folder} and "
        "will be written by the next worker or sweep",
    ),
    "outcome_lost": (
        "la base de datos dejó de responder al cerrar el envío {delivery}; que está {verdict} tampoco se pudo guardar: "
        "quedará en duda",
        "the database went away while delivery {delivery} was settled; that it is {verdict} could not be kept either: "
        "it will end in doubt",
    ),
    "deliveries_unsent": (
        "{unsent} de {all} sin enviar: {listing}",
        "{unsent} of {all} unsent: {listing}",
    ),
    "document_missing": (
        "la factura {invoice} no tiene documento: limpie su tarea render_invoices y después esta",
        "invoice {invoice} has no document: clear its render_invoices task, then this one",
    ),
    "document_unreadable": (
        "el documento de la factura {invoice} no se puede leer en {uri} ({why}): restaure el archivo",
        "the document of invoice {invoice} cannot be read at {uri} ({why}): restore the file",
    ),
    "document_altered": (
        "el documento de la factura {invoice} en {uri} no es el que se guardó (su SHA-256 es otro): "
        "restaure el archivo",
        "the document of invoice {invoice} at {uri} is not the one that was kept (its SHA-256 differs): "
        "restore the file",
    ),
    "invoices_not_rendered": (
        "{failed} de {all} facturas no se generaron en PDF: {listing}",
        "{failed} of {all} invoices were not rendered: {listing}",
    ),
    "ruling_unknown": (
        "{ruling!r} no resuelve nada; se conocen {known}",
        "{ruling!r} settles nothing; known are {known}",
    ),
    "delivery_not_in_doubt": (
        "el envío {delivery} está {state:state}, no en duda: no se cambió nada",
        "delivery {delivery} is {state}, not in doubt: nothing was changed",
    ),
    "deliveries_unknown": (
        "no existe el envío {listing}: no se cambió nada",
        "there is no delivery {listing}: nothing was changed",
    ),
    "resend_in_doubt": (
        "el envío {delivery} está en duda: resuélvalo primero, con deliveries resolve {delivery} "
        "--as sent|failed|retry; no se cambió nada",
        "delivery {delivery} is in doubt: settle it first, with deliveries resolve {delivery} "
        "--as sent|failed|retry; nothing was changed",
    ),
    "resend_too_early": (
        "el envío {delivery} está {state:state}: solo se repite lo enviado o lo fallido; no se cambió nada",
        "delivery {delivery} is {state}: only what was sent or failed is sent again; nothing was changed",
    ),
    "resend_invalid_address": (
        "envío {delivery}: el tercero {tenant} no puede recibir correo (la dirección {address!r} no es válida); "
        "no se cambió nada",
        "delivery {delivery}: tenant {tenant} cannot get mail ({address!r}: {why}); nothing was changed",
    ),
    "resend_no_address": (
        "envío {delivery}: el tercero {tenant} no puede recibir correo (sin dirección); no se cambió nada",
        "delivery {delivery}: tenant {tenant} cannot get mail (no address); nothing was changed",
    ),
    "resend_unfinished": (
        "el envío {delivery} de las mismas facturas está {state:state}: espere a que termine, o resuélvalo, antes de "
        "repetirlas; no se cambió nada",
        "delivery {delivery} of the same invoices is {state}: wait for it, or settle it, before they are sent again; "
        "nothing was changed",
    ),
    "resend_sending_disabled": (
        "envío {delivery}: el envío automático está apagado y nada sale: enciéndalo primero; no se cambió nada",
        "delivery {delivery}: automatic sending is off and nothing leaves: turn it on first; nothing was changed",
    ),
    "resend_tenant_disabled": (
        "envío {delivery}: el tercero {tenant} tiene el envío apagado: enciéndalo primero; no se cambió nada",
        "delivery {delivery}: tenant {tenant} has sending switched off: switch it on first; nothing was changed",
    ),
    "cancel_too_late": (
        "el envío {delivery} está {state:state}: solo se cancela lo que no ha salido; no se cambió nada",
        "delivery {delivery} is {state}: only what has not left is cancelled; nothing was changed",
    ),
    "cancel_may_have_left": (
        "el envío {delivery} está {state:state} y es posible que un intento haya llegado: solo la prueba del servidor "
        "de correo lo resuelve (deliveries resolve, si está en duda); no se cambió nada",
        "delivery {delivery} is {state}, and an attempt of it may have been accepted: only proof settles that "
        "(deliveries resolve, where it is in doubt); nothing was changed",
    ),
    "reason_missing": (
        "escriba el motivo: queda con lo que usted decide",
        "give a reason: it is kept with what you decide",
    ),
    "run_failed": ("la ejecución falló: {faults}", "the run has failed: {faults}"),
    "run_stage_missing": (
        "la ejecución no llegó a la etapa {stage}",
        "the run never got as far as {stage}",
    ),
    "one_delivery_unsent": ("1 envío está {state:state}", "1 delivery is {state}"),
    "several_deliveries_unsent": ("{count} envíos están {state:state}", "{count} deliveries are {state}"),
    "tenant_undecided": (
        "el tercero {tenant} tiene facturas y ninguna decisión",
        "tenant {tenant} has invoices and no decision",
    ),
    "decision_without_invoice": (
        "el tercero {tenant} tiene una decisión y ninguna factura",
        "tenant {tenant} has a decision and no invoice",
    ),
    "decided_on_fewer": (
        "la decisión sobre el tercero {tenant} cuenta {decided_on} de sus {standing} facturas",
        "tenant {tenant} was decided on with {decided_on} of its {standing} invoices",
    ),
    "invoice_undelivered": (
        "la factura {invoice} se debe enviar y no está en ningún envío",
        "invoice {invoice} is to be sent and is in no delivery",
    ),
    "delivery_unwanted": (
        "el envío {delivery} está {state:state} aunque su tercero no recibe correo",
        "delivery {delivery} is {state} though its tenant gets no mail",
    ),
    "delivery_of_void_invoice": (
        "el envío {delivery} lleva una factura que ya no vale",
        "delivery {delivery} carries an invoice that does not stand",
    ),
    # services.views
    # rendering
    # mail
    # db, stack, Airflow's API
    # command line
    # web
}


def tell(failure: Failure, language: Language = "en") -> str:
    """The failure in words."""
    if failure.code not in FAILURES:  # not yet a code: the words themselves
        return failure.code
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
