"""What a person or a program typed, where pydantic refuses it: its complaints as faults of ours."""

from collections.abc import Mapping

from pydantic_core import ErrorDetails, PydanticCustomError

from invoicing.words.failures import Fault

FAULTS: Mapping[str, tuple[str, Mapping[str, str]]] = {
    "string_too_long": ("value_too_long", {"most": "max_length"}),
    "string_too_short": ("value_too_short", {"least": "min_length"}),
    "string_pattern_mismatch": ("value_malformed", {}),
    "greater_than_equal": ("value_too_small", {"least": "ge"}),
    "less_than_equal": ("value_too_large", {"most": "le"}),
    "int_parsing": ("value_not_whole", {}),
    "int_from_float": ("value_not_whole", {}),
    "bool_parsing": ("value_not_yes_or_no", {}),
    "literal_error": ("value_not_a_choice", {}),
    "missing": ("value_missing", {}),
    "extra_forbidden": ("value_unknown", {}),
    "value_not_an_address": ("value_not_an_address", {"reason": "reason"}),
    "value_not_a_domain": ("value_not_a_domain", {"domain": "domain"}),
    "prefix_ends_in_digit": ("prefix_ends_in_digit", {"prefix": "prefix"}),
    "prefixes_equal": ("prefixes_equal", {"prefix": "prefix"}),
}
"""Pydantic's type of an error to our code, and to what our words call the values of its context."""


def fault_of(complaint: ErrorDetails) -> Fault:
    """What is wrong with one value."""
    if complaint["type"] not in FAULTS:
        return Fault("value_refused", message=complaint["msg"])
    code, names = FAULTS[complaint["type"]]
    context = complaint.get("ctx") or {}
    return Fault(code, **{ours: context[theirs] for ours, theirs in names.items()})


def not_an_address(why: Fault) -> PydanticCustomError:
    """What a validator of ours raises; its English is the reason's."""
    return PydanticCustomError("value_not_an_address", "Value error, {reason}", {"reason": str(why)})
