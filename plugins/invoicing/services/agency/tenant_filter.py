"""Which tenants are meant: by the words in them, by their switches, by what is wrong with their addresses."""

from dataclasses import dataclass
from typing import Any

from invoicing.db.connection import Database
from invoicing.db.statements import beside
from invoicing.services.agency import searching
from invoicing.services.agency.addresses import invalid_addresses

_SQL = beside(__file__)

PROBLEMS = ("no_email", "invalid_email")


@dataclass(frozen=True, slots=True)
class TenantFilter:
    """Which tenants are meant; all of them where nothing is given.

    Args:
        search: Words that must all occur in code, name, document or addresses; case and accents do not count.
        auto_send: The tenant's own switch.
        only_multiple: The tenant's other switch.
        problem: ``no_email``: nowhere to send to; ``invalid_email``: an address that stops the mail.
    """

    search: str = ""
    auto_send: bool | None = None
    only_multiple: bool | None = None
    problem: str | None = None

    def parameters(self, db: Database) -> dict[str, Any]:
        """What the conditions of a statement need."""
        return {
            "patterns": searching.patterns(self.search),
            "auto_send": self.auto_send,
            "only_multiple": self.only_multiple,
            "without_address": self.problem == "no_email",
            "ids": ids_with_invalid_address(db) if self.problem == "invalid_email" else None,
        }


def ids_with_invalid_address(db: Database) -> list[int]:
    """The tenants whose mail an address stops.

    The database knows which addresses may be invalid; whether they are is asked of those alone.
    """
    return [
        row["id"]
        for row in db.execute(_SQL["tenants_with_doubtful_address"])
        if invalid_addresses(row["addresses"])
    ]
