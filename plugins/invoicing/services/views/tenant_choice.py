"""A tenant as a person names it on a form, by code or by words of its name, and its leases to choose from."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from invoicing.db.connection import Database
from invoicing.db.statements import beside, fetch_all
from invoicing.domain.discretion import Personal
from invoicing.services.agency import searching

_SQL = beside(__file__)

MOST_CHOICES = 8


@dataclass(frozen=True, slots=True)
class LeaseChoice:
    """A lease of the tenant; ``currency``: of its invoices."""

    code: str
    property: Personal[str]
    currency: str


@dataclass(frozen=True, slots=True)
class TenantChoice:
    """A tenant that may be meant.

    Args:
        leases: By code; only where one tenant alone was asked for.
    """

    id: int
    code: str
    name: Personal[str]
    leases: Sequence[LeaseChoice] = ()


def choose_tenant(db: Database, typed: str) -> list[TenantChoice]:
    """Who may be meant: the one with the code, else those in whose code, name, document or addresses the words occur.

    Args:
        typed: A code, words, or ``T00001 · Name`` as lists of suggestions write it.

    Returns:
        At most 8, by name; a single one comes with its leases.
    """
    typed = typed.replace("\0", " ").strip()[:200]
    if not typed:
        return []
    code = typed.partition(" · ")[0].strip()
    found = fetch_all(db, TenantChoice, _SQL["tenant_by_code"], {"code": code})
    if not found:
        which = {"patterns": searching.patterns(typed), "limit": MOST_CHOICES}
        found = fetch_all(db, TenantChoice, _SQL["tenants_by_words"], which)
    if len(found) == 1:
        leases = fetch_all(db, LeaseChoice, _SQL["leases_of_tenant"], {"id": found[0].id})
        return [replace(found[0], leases=leases)]
    return found
