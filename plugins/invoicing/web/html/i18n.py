"""The pages' two languages.

As in the documents' templates, both stand side by side: ``t('Guardar', 'Save')``. Who edits a text sees its
translation and cannot lose it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal, TypeAlias

from fastapi import Depends, Request

Language: TypeAlias = Literal["es", "en"]

COOKIE = "invoicing_language"

Text: TypeAlias = tuple[str, str]
"""Spanish and English."""

REASONS: Mapping[str, Text] = {
    "sending_disabled": ("El envío automático está apagado", "Automatic sending is off"),
    "tenant_disabled": ("El tercero tiene el envío apagado", "The tenant's own switch is off"),
    "global_only_multiple": (
        "La agencia solo envía a quien tiene varias facturas",
        "The agency writes only to tenants with several invoices",
    ),
    "tenant_only_multiple": (
        "El tercero solo recibe si tiene varias facturas",
        "The tenant wants mail only for several invoices",
    ),
    "no_email": ("Sin dirección de correo", "No e-mail address"),
    "invalid_email": ("Dirección de correo no válida", "Invalid e-mail address"),
}

STATES: Mapping[str, Text] = {
    "pending": ("Por enviar", "To send"),
    "claimed": ("Tomado", "Claimed"),
    "transmitting": ("Transmitiendo", "Transmitting"),
    "sent": ("Enviado", "Sent"),
    "failed": ("Fallido", "Failed"),
    "in_doubt": ("En duda", "In doubt"),
    "held": ("Retenido", "Held"),
    "cancelled": ("Cancelado", "Cancelled"),
    "open": ("Abierto", "Open"),
    "closed": ("Cerrado", "Closed"),
    "running": ("En curso", "Running"),
    "success": ("Terminado", "Finished"),
    "issued": ("Emitida", "Issued"),
    "void": ("Anulada", "Void"),
}

VERDICTS: Mapping[str, Text] = {
    "accepted": ("Aceptado", "Accepted"),
    "refused_temporarily": ("Rechazado por ahora", "Refused for now"),
    "refused_permanently": ("Rechazado", "Refused"),
    "not_sent": ("No salió", "Not sent"),
    "in_doubt": ("En duda", "In doubt"),
}


@dataclass(frozen=True, slots=True)
class Translator:
    """Chooses the visitor's language."""

    language: Language

    def __call__(self, es: str, en: str) -> str:
        """One of both."""
        return en if self.language == "en" else es

    def text(self, text: Text) -> str:
        """One of both."""
        return self(*text)

    def reason(self, reason: str) -> str:
        """Why a tenant gets no mail, in words."""
        return self(*REASONS.get(reason, (reason, reason)))

    def verdict(self, verdict: str | None) -> str:
        """What one attempt came to, in words; None is one that nobody lived to tell of."""
        return self(*VERDICTS.get(verdict or "", (verdict or "Desconocido", verdict or "Unknown")))

    def state(self, state: str) -> str:
        """A state of a delivery, cycle, run or invoice, in words."""
        return self(*STATES.get(state, (state, state)))


def chosen_language(request: Request) -> Language:
    """What was asked for: by ``?lang=``, by the cookie it left, by the browser; else Spanish."""
    for asked in (request.query_params.get("lang"), request.cookies.get(COOKIE)):
        if asked in ("es", "en"):
            return "en" if asked == "en" else "es"
    accepted = request.headers.get("accept-language", "")
    for part in accepted.split(","):
        language = part.split(";")[0].strip().lower().partition("-")[0]
        if language in ("es", "en"):
            return "en" if language == "en" else "es"
    return "es"


def _translator(request: Request) -> Translator:
    return Translator(chosen_language(request))


TranslatorDep = Annotated[Translator, Depends(_translator)]
