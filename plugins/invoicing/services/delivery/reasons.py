"""Why a person decides something: never empty, and short, for it is kept for good and shown with what it is about."""

from invoicing.domain.errors import InputError

LONGEST_REASON = 500
"""Characters; the JSON API's bodies have the same limit."""


def given_reason(reason: str) -> str:
    """``reason`` without the space around it.

    Raises:
        InputError: There is none, or more than `LONGEST_REASON` characters.
    """
    reason = reason.strip()
    if not reason:
        raise InputError("reason_missing", field="reason")
    if len(reason) > LONGEST_REASON:
        raise InputError("reason_too_long", field="reason", most=LONGEST_REASON)
    return reason
