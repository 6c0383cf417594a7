"""Which invoices of a month somebody may want to correct together."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from invoicing.db.connection import Database
from invoicing.db.statements import beside, fetch_page
from invoicing.domain.discretion import Personal
from invoicing.domain.period import Period
from invoicing.services.agency.searching import patterns

_SQL = beside(__file__)

ONLY = ("drifted", "sent", "unsent")
"""Filters: would come out differently today; left, or may have; did not."""


@dataclass(frozen=True, slots=True)
class Correctable:
    """An invoice of the month that stands.

    Args:
        has_left: It was sent, or may have been: what takes it back is a credit note.
        is_drifted: It would come out differently today, as of the last import or run.
    """

    number: str
    tenant: str
    name: Personal[str]
    lease: str
    property: Personal[str]
    amount: Decimal
    currency: str
    state: str
    has_left: bool
    is_drifted: bool


def find_correctable(
    db: Database, period: Period, search: str, only: str | None, *, most: int
) -> tuple[Sequence[Correctable], int]:
    """The first ``most`` invoices that fit, by number, and how many fit.

    Args:
        only: One of `ONLY`; None for all that stand.
    """
    which = {"period": str(period), "patterns": patterns(search), "only": only, "limit": most}
    return fetch_page(db, Correctable, _SQL["correctable"], which)
