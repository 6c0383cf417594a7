"""A tenant's e-mail addresses: as a person types them, and those that stop its mail."""

from collections.abc import Iterable
from functools import lru_cache

from invoicing.domain import address
from invoicing.domain.address import AddressProblem


def split_addresses(text: str) -> list[str]:
    """Addresses as a person types them: one a line, or split by ``;`` or ``,``; each only once."""
    for separator in (";", ","):
        text = text.replace(separator, "\n")
    return list(dict.fromkeys(filter(None, (line.strip() for line in text.split("\n")))))


def invalid_addresses(addresses: Iterable[str]) -> list[AddressProblem]:
    """Those of ``addresses`` that are invalid, in their order, each with the reason."""
    return [problem for each in addresses for problem in _problems(each)]


# The same addresses are asked about on every page.
@lru_cache(maxsize=50_000)
def _problems(text: str) -> tuple[AddressProblem, ...]:
    return address.invalid_addresses([text])
