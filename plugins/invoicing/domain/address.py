"""E-mail addresses: which ones are taken, why the others are not, and how one travels.

Only a bare ``local@domain`` is an address here. Whatever could end as a second recipient or a second
header further down (a display name, a list, a quoted local part, a comment, an encoded word, an address
literal, a control character) is invalid: https://www.rfc-editor.org/rfc/rfc5321#section-4.1.2 allows more
than any tenant needs.
"""

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass

from email_validator import EmailNotValidError, ValidatedEmail, validate_email

from invoicing.domain.errors import InputError
from invoicing.words.failures import Fault

MAX_LENGTH = 254
"""Characters of the longest address an SMTP path can carry (RFC 3696, erratum 1690)."""

# Valid for sure, and nearly all of them: the validator takes fifty times as long, half a second for 10,000 tenants.
# Shorter than any part of an address may be. Names of a special use (RFC 6761) are the validator's.
_PLAIN_LENGTH = 60
_PLAIN = re.compile(
    r"[A-Za-z0-9]+(?:[._+-][A-Za-z0-9]+)*@(?:[A-Za-z0-9]+(?:-[A-Za-z0-9]+)*\.)+"
    r"(?!(?:arpa|invalid|local|localhost|onion)\Z)[A-Za-z]{2,12}",
    re.IGNORECASE | re.ASCII,
)


@dataclass(frozen=True, slots=True)
class AddressProblem:
    """An address that gets no mail, and why."""

    address: str
    fault: Fault

    @property
    def reason(self) -> str:
        """Why, in English: for what is kept."""
        return str(self.fault)


def problem(address: str) -> Fault | None:
    """Say why no mail can go to ``address``; None where it is valid.

    Syntax only: whether the domain exists or receives mail is the relay's to say.
    """
    if len(address) <= _PLAIN_LENGTH and _PLAIN.fullmatch(address):
        return None
    found = _validated(address)
    return found if isinstance(found, Fault) else None


def invalid_addresses(addresses: Iterable[str]) -> tuple[AddressProblem, ...]:
    """List those of ``addresses`` that are invalid, in their order, each with the reason."""
    answers = ((address, problem(address)) for address in addresses)
    return tuple(AddressProblem(address, fault) for address, fault in answers if fault is not None)


def to_envelope(address: str) -> str:
    """Give the form of ``address`` that travels: its domain in ASCII (IDNA, ``xn--…``).

    The local part is only brought to Unicode's composed form. Where it is not ASCII it can travel with
    SMTPUTF8 alone (RFC 6531), which is for the transmission to find out.

    Raises:
        InputError: The address is invalid.
    """
    valid = _validated(address)
    if isinstance(valid, Fault):
        raise InputError("address_invalid", address=address, reason=valid)
    return f"{valid.local_part}@{valid.ascii_domain}"


def domain_of(address: str) -> str:
    """The domain of a valid address as it travels, in small letters: two that are one are written alike.

    Raises:
        InputError: The address is invalid.
    """
    return to_envelope(address).rpartition("@")[2].lower()


def _validated(address: str) -> ValidatedEmail | Fault:
    # Asked first: the validator's own words about these name code points, not the danger.
    if any(unicodedata.category(character) in {"Cc", "Cs", "Zl", "Zp"} for character in address):
        return Fault("address_control_character")
    if "=?" in address:
        # '=' and '?' may stand in a local part, but a reader of the header would decode what is between them.
        return Fault("address_encoded_word")
    if len(address) > MAX_LENGTH:
        return Fault("address_too_long", characters=len(address), most=MAX_LENGTH)
    try:
        # test_environment admits the top-level domain .test, which no mail leaves for anyhow.
        return validate_email(address, strict=True, check_deliverability=False, test_environment=True)
    except EmailNotValidError as error:
        return Fault("address_syntax", reason=str(error))
