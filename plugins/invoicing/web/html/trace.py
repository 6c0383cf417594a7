"""Why a tenant gets mail or does not, in words: the trace of a decision, rule by rule."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias
from urllib.parse import quote

from invoicing.words import Text
from invoicing.words.trace import NO_MAIL, NO_OBJECTION, RULES

Inputs: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Step:
    """One rule that was asked.

    Args:
        text: What it looked at, and what follows where it objects.
    """

    rule: str
    objects: bool
    text: Text


def steps(trace: Sequence[Inputs]) -> list[Step]:
    """The rules in their order, in words."""
    return [_step(answer) for answer in trace]


def explain(trace: Sequence[Inputs], reason: str | None) -> Text:
    """The decision in one sentence: the rule that objected first, or that none did."""
    if reason is None:
        return NO_OBJECTION
    for answer in trace:
        if answer.get("rule") == reason:
            return _step({**answer, "objects": True}).text
    return reason, reason


def place_of(reason: str, code: str, period: str) -> str | None:
    """Where the switch or the address is that made a decision: a path of this app; None where there is none.

    Args:
        reason: The rule that objected.
        code: The tenant's.
    """
    place = _PLACES.get(reason)
    return None if place is None else place.format(tenant=quote(code, safe=""), period=period)


_PLACES = {
    "sending_disabled": "/automation#auto_send",
    "global_only_multiple": "/automation#recipients",
    "tenant_disabled": "/tenants/{tenant}#auto_send",
    "tenant_only_multiple": "/tenants/{tenant}#only_multiple",
    "no_email": "/tenants/{tenant}#emails",
    "invalid_email": "/tenants/{tenant}#emails",
    "tenant_held": "/cycles/{period}/tenants/{tenant}#decision",
}


def _step(answer: Inputs) -> Step:
    rule, objects = str(answer.get("rule", "")), bool(answer.get("objects"))
    es, en = rule, rule  # what this version does not know is called by its name
    if rule in _CASES:
        case, values = _CASES[rule](answer.get("inputs") or {}, objects)
        es, en = (text.format(**values) for text in RULES[rule][case])
    return Step(rule, objects, (es + NO_MAIL[0], en + NO_MAIL[1]) if objects else (es, en))


Case: TypeAlias = tuple[str, dict[str, object]]
"""Which of a rule's sentences, and what goes into it."""


def _switch(_: Inputs, objects: bool) -> Case:
    return "objects" if objects else "agrees", {}


def _global_multiple(inputs: Inputs, objects: bool) -> Case:
    if inputs.get("recipients") != "multiple_only" and not objects:
        return "everybody", {}
    return _counted(inputs.get("invoices", 0))


def _tenant_multiple(inputs: Inputs, objects: bool) -> Case:
    if not inputs.get("tenant_only_multiple") and not objects:
        return "everybody", {}
    return _counted(inputs.get("invoices", 0))


def _addresses(inputs: Inputs, objects: bool) -> Case:
    return ("objects", {}) if objects else _counted(inputs.get("emails", 0))


def _validity(inputs: Inputs, objects: bool) -> Case:
    if not objects:
        return "agrees", {}
    invalid = [str(each) for each in inputs.get("invalid", [])]
    addresses = ", ".join(each.partition(": ")[0] for each in invalid)
    return "objects", {"addresses": addresses, "addresses_and_why": "; ".join(invalid)}


def _counted(count: Any) -> Case:
    return ("one", {}) if count == 1 else ("several", {"count": count})


_CASES: Mapping[str, Callable[[Inputs, bool], Case]] = {
    "sending_disabled": _switch,
    "tenant_disabled": _switch,
    "global_only_multiple": _global_multiple,
    "tenant_only_multiple": _tenant_multiple,
    "no_email": _addresses,
    "invalid_email": _validity,
    "tenant_held": _switch,
}
