"""The settings as a form and as JSON: what they are called, and what is wrong with what was typed."""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from invoicing.db.connection import Database
from invoicing.domain.settings import Settings
from invoicing.rendering.validation import validate_subject
from invoicing.services.agency.templates import current_template, template_names
from invoicing.web.html.template_problems import spoken
from invoicing.words import Text

LABELS: Mapping[str, Text] = {
    "auto_send": ("Habilitar envío automático", "Enable automatic sending"),
    "subject": ("Asunto", "Subject"),
    "template": ("Plantilla", "Template"),
    "recipients": ("Destinatarios", "Recipients"),
    "grouping": ("Agrupación", "Grouping"),
    "due_days": ("Días para el vencimiento", "Days until due"),
    "invoice_prefix": ("Prefijo de las facturas", "Invoice prefix"),
    "agency_name": ("Nombre de la agencia", "Agency's name"),
    "agency_nit": ("NIT", "Tax number (NIT)"),
    "agency_address": ("Dirección", "Address"),
    "agency_city": ("Ciudad", "City"),
    "agency_phone": ("Teléfono", "Phone"),
    "agency_email": ("Correo de la agencia", "Agency's e-mail"),
    "agency_logo": ("Logotipo", "Logo"),
    "payment_instructions": ("Instrucciones de pago", "Payment instructions"),
    "from_email": ("Dirección del remitente", "Sender's address"),
    "from_name": ("Nombre del remitente", "Sender's name"),
    "reply_to": ("Responder a", "Reply to"),
    "per_minute_limit": ("Límite por minuto", "Limit per minute"),
    "messages_per_connection": ("Mensajes por conexión", "Messages per connection"),
    "doubt_policy": ("Si no se sabe si un envío llegó", "When it is unknown whether a delivery arrived"),
    "doubt_minutes": ("Minutos en duda antes de reenviar", "Minutes in doubt before sending again"),
    "operator_email": ("Avisar de fallas a", "Tell about failures"),
}

VALUES: Mapping[str, Mapping[str, Text]] = {
    "recipients": {
        "all": ("Todos los terceros con facturas", "All tenants with invoices"),
        "multiple_only": ("Solo los que tienen más de una factura", "Only those with more than one invoice"),
    },
    "grouping": {
        "per_tenant": ("Un mensaje por tercero", "One message a tenant"),
        "per_invoice": ("Un mensaje por factura", "One message an invoice"),
    },
    "doubt_policy": {
        "hold": (
            "Queda en duda hasta que alguien lo resuelva",
            "It stays in doubt until somebody settles it",
        ),
        "resend_after": ("Se envía otra vez después de un tiempo", "It is sent again after a while"),
    },
}

_NO_TEXT: Text = (
    "Contiene un carácter que no es texto (NUL): escríbalo de nuevo.",
    "It contains a character that is no text (NUL): type it again.",
)

_SUBJECT_MISSING: Text = (
    "Escriba un asunto: con el envío automático habilitado no puede quedar vacío.",
    "Give a subject: with automatic sending enabled it cannot be empty.",
)


def find_problems(db: Database, before: Settings, typed: Mapping[str, Any]) -> dict[str, Text]:
    """What is wrong with the settings that ``typed`` would make: field to what to do. Empty: they can be saved.

    `Settings.changed` asks the same in one message; a form needs it field by field, in its own language.
    """
    problems: dict[str, Text] = {
        key: (f"No existe el ajuste «{key}».", f"There is no setting {key!r}.")
        for key in typed
        if key not in Settings.model_fields
    }
    known = {key: value for key, value in typed.items() if key not in problems}
    problems |= {key: _NO_TEXT for key, value in known.items() if isinstance(value, str) and "\0" in value}
    try:
        after = Settings.model_validate(before.model_dump() | known)
    except ValidationError as error:
        complaints = {
            str(each["loc"][0]): _in_words(each["type"], each.get("ctx") or {}, each["msg"])
            for each in error.errors()
        }
        problems = complaints | problems
        # What else is wrong is told at once, not after the first mistakes are mended.
        sound = {key: value for key, value in known.items() if key not in problems}
        after = Settings.model_validate(before.model_dump() | sound)
    if after.template not in template_names(db):
        problems["template"] = (
            f"No existe la plantilla «{after.template}»: elija otra.",
            f"There is no template {after.template!r}: choose another one.",
        )
    elif "subject" not in problems:
        problems |= _subject_problem(db, before, after)
    # In the order of the form.
    return {key: problems[key] for key in sorted(problems, key=[*Settings.model_fields, *problems].index)}


def _subject_problem(db: Database, before: Settings, after: Settings) -> dict[str, Text]:
    if after.auto_send and not after.subject:
        return {"subject": _SUBJECT_MISSING}
    if not after.subject or (after.subject, after.template) == (before.subject, before.template):
        return {}
    template = current_template(db, after.template).template
    found = [
        spoken(each.message) for each in validate_subject(after.subject, template) if not each.is_warning
    ]
    if not found:
        return {}
    es, en = ("; ".join(texts) for texts in zip(*found, strict=True))
    return {"subject": (f"No se puede usar: {es}", f"It cannot be used: {en}")}


def _in_words(kind: str, context: Mapping[str, Any], message: str) -> Text:
    """One of pydantic's complaints, as a person is told."""
    most, least = context.get("max_length"), context.get("min_length")
    texts: dict[str, Text] = {
        "string_too_long": (
            f"Es demasiado largo: máximo {most} caracteres.",
            f"It is too long: at most {most} characters.",
        ),
        "string_too_short": (f"Escriba al menos {least} carácter.", f"Type at least {least} character."),
        "string_pattern_mismatch": (
            "Contiene caracteres que aquí no se admiten (saltos de línea o signos).",
            "It contains characters that are not allowed here (line breaks or signs).",
        ),
        "greater_than_equal": (
            f"Debe ser {context.get('ge')} o más.",
            f"It must be {context.get('ge')} or more.",
        ),
        "less_than_equal": (
            f"Debe ser {context.get('le')} o menos.",
            f"It must be {context.get('le')} or less.",
        ),
        "int_parsing": ("Escriba un número entero.", "Type a whole number."),
        "int_from_float": ("Escriba un número entero.", "Type a whole number."),
        "bool_parsing": ("Debe ser sí o no.", "It must be yes or no."),
        "literal_error": ("Elija una de las opciones.", "Choose one of the options."),
        "value_error": (
            "No es una dirección de correo válida (ejemplo: nombre@dominio.com).",
            message.removeprefix("Value error, "),
        ),
    }
    return texts.get(kind, (f"No es válido: {message}", f"It is not valid: {message}"))
