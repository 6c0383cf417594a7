"""E-mail addresses: which ones are taken, why the others are not, and how one travels.

Only a bare ``local@domain`` is an address here. Whatever could end as a second recipient or a second
header further down (a display name, a list, a quoted local part, a comment, an encoded word, an address
literal, a control character) is invalid: https://www.rfc-editor.org/rfc/rfc5321#section-4.1.2 allows more
than any tenant needs.
"""

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass

from email_validator import EmailNotValidError, ValidatedEmail, validate_email

from invoicing.domain.errors import InputError

MAX_LENGTH = 254
"""Characters of the longest address an SMTP path can carry (RFC 3696, erratum 1690)."""


@dataclass(frozen=True, slots=True)
class AddressProblem:
    """An address that gets no mail, and why."""

    address: str
    reason: str


def problem(address: str) -> str | None:
    """Say why no mail can go to ``address``; None where it is valid.

    Syntax only: whether the domain exists or receives mail is the relay's to say.
    """
    try:
        _validated(address)
    except EmailNotValidError as error:
        return str(error)
    return None


def invalid_addresses(addresses: Iterable[str]) -> tuple[AddressProblem, ...]:
    """List those of ``addresses`` that are invalid, in their order, each with the reason."""
    answers = ((address, problem(address)) for address in addresses)
    return tuple(AddressProblem(address, reason) for address, reason in answers if reason is not None)


def to_envelope(address: str) -> str:
    """Give the form of ``address`` that travels: its domain in ASCII (IDNA, ``xn--…``).

    The local part is only brought to Unicode's composed form. Where it is not ASCII it can travel with
    SMTPUTF8 alone (RFC 6531), which is for the transmission to find out.

    Raises:
        InputError: The address is invalid.
    """
    try:
        valid = _validated(address)
    except EmailNotValidError as error:
        raise InputError(f"{address!a} is not an e-mail address: {error}") from None
    return f"{valid.local_part}@{valid.ascii_domain}"


def _validated(address: str) -> ValidatedEmail:
    # Asked first: the validator's own words about these name code points, not the danger.
    if any(unicodedata.category(character) in {"Cc", "Cs", "Zl", "Zp"} for character in address):
        raise EmailNotValidError("The address contains a line break or another control character.")
    if "=?" in address:
        # '=' and '?' may stand in a local part, but a reader of the header would decode what is between them.
        raise EmailNotValidError("The address contains an encoded word ('=?').")
    if len(address) > MAX_LENGTH:
        raise EmailNotValidError(f"The address is too long: {len(address)} characters, at most {MAX_LENGTH}.")
    # test_environment admits the top-level domain .test, which no mail leaves for anyhow.
    return validate_email(address, strict=True, check_deliverability=False, test_environment=True)
