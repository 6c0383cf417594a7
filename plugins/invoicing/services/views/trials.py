"""Test messages of a template, as its page shows them."""

import datetime
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from invoicing.db.connection import Database
from invoicing.db.statements import beside, fetch_all

_SQL = beside(__file__)
_SHOWN = 10


@dataclass(frozen=True, slots=True)
class TrialShown:
    """One test message.

    Args:
        version: Of the template, that its text was typed over.
        outcome: ``accepted``, ``refused``, ``not_sent``, or ``unknown``: also where nobody lived to learn it.
    """

    asked_at: datetime.datetime
    actor: str
    to_address: str
    version: int
    outcome: Literal["accepted", "refused", "not_sent", "unknown"]
    code: int | None
    reply: str | None


@dataclass(frozen=True, slots=True)
class TrialsShown:
    """The latest test messages of a template, newest first.

    Args:
        of_template: How many there were in all.
        within_the_hour: How many the person who looks has had within the last hour, of any template.
    """

    latest: Sequence[TrialShown]
    of_template: int
    within_the_hour: int


def show_trials(db: Database, template: str, *, user_id: str) -> TrialsShown:
    """The test messages of a template, and how many ``user_id`` has had within the hour."""
    row = db.execute(_SQL["trial_counts"], {"name": template, "user_id": user_id}).fetchone()
    assert row is not None
    latest = fetch_all(db, TrialShown, _SQL["trials_of_template"], {"name": template, "limit": _SHOWN})
    return TrialsShown(latest, **row)
