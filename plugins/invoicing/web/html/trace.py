"""Why a tenant gets mail or does not, in words: the trace of a decision, rule by rule."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from invoicing.words import Text

_NO_MAIL: Text = (" → sin correo", " → no mail")


@dataclass(frozen=True, slots=True)
class Step:
    """One rule that was asked.

    Args:
        text: What it looked at, and what follows where it objects.
    """

    rule: str
    objects: bool
    text: Text


def steps(trace: Sequence[Mapping[str, Any]]) -> list[Step]:
    """The rules in their order, in words."""
    return [_step(answer) for answer in trace]


def explain(trace: Sequence[Mapping[str, Any]], reason: str | None) -> Text:
    """The decision in one sentence: the rule that objected first, or that none did."""
    if reason is None:
        return "Ninguna regla se opone → se le envía", "No rule objects → mail is sent"
    for answer in trace:
        if answer.get("rule") == reason:
            return _step({**answer, "objects": True}).text
    return reason, reason


def _step(answer: Mapping[str, Any]) -> Step:
    rule, objects = str(answer.get("rule", "")), bool(answer.get("objects"))
    describe = _RULES.get(rule)
    es, en = describe(answer.get("inputs") or {}, objects) if describe else (rule, rule)
    return Step(rule, objects, (es + _NO_MAIL[0], en + _NO_MAIL[1]) if objects else (es, en))


def _sending(_: Mapping[str, Any], objects: bool) -> Text:
    if objects:
        return "Regla global: el envío automático está apagado", "Global rule: automatic sending is off"
    return "Regla global: el envío automático está habilitado", "Global rule: automatic sending is on"


def _tenant_switch(_: Mapping[str, Any], objects: bool) -> Text:
    if objects:
        return (
            "Regla del arrendatario: tiene el envío automático apagado",
            "Tenant’s rule: automatic sending is off",
        )
    return (
        "Regla del arrendatario: tiene el envío automático habilitado",
        "Tenant’s rule: automatic sending is on",
    )


def _global_multiple(inputs: Mapping[str, Any], objects: bool) -> Text:
    if inputs.get("recipients") != "multiple_only" and not objects:
        return "Regla global: todos los que tienen facturas", "Global rule: everybody with invoices"
    es, en = _count(inputs)
    return (
        f"Regla global: solo múltiples. Este arrendatario tiene {es}",
        f"Global rule: only multiple. This tenant has {en}",
    )


def _tenant_multiple(inputs: Mapping[str, Any], objects: bool) -> Text:
    if not inputs.get("tenant_only_multiple") and not objects:
        return "Regla del arrendatario: cualquier número de facturas", "Tenant’s rule: any number of invoices"
    es, en = _count(inputs)
    return (
        f"Regla del arrendatario: solo múltiples. Tiene {es}",
        f"Tenant’s rule: only multiple. There is {en}"
        if en.startswith("1 ")
        else f"Tenant’s rule: only multiple. There are {en}",
    )


def _addresses(inputs: Mapping[str, Any], objects: bool) -> Text:
    number = inputs.get("emails", 0)
    if objects:
        return "No tiene dirección de correo", "There is no e-mail address"
    if number == 1:
        return "Tiene 1 dirección de correo", "There is 1 e-mail address"
    return f"Tiene {number} direcciones de correo", f"There are {number} e-mail addresses"


def _validity(inputs: Mapping[str, Any], objects: bool) -> Text:
    if not objects:
        return "Todas las direcciones son válidas", "All addresses are valid"
    invalid = [str(each) for each in inputs.get("invalid", [])]
    addresses = ", ".join(each.partition(": ")[0] for each in invalid)
    return f"Dirección no válida: {addresses}", f"Invalid address: {'; '.join(invalid)}"


def _count(inputs: Mapping[str, Any]) -> Text:
    number = inputs.get("invoices", 0)
    return ("1 factura", "1 invoice") if number == 1 else (f"{number} facturas", f"{number} invoices")


_RULES: Mapping[str, Callable[[Mapping[str, Any], bool], Text]] = {
    "sending_disabled": _sending,
    "tenant_disabled": _tenant_switch,
    "global_only_multiple": _global_multiple,
    "tenant_only_multiple": _tenant_multiple,
    "no_email": _addresses,
    "invalid_email": _validity,
}
