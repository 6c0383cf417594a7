"""What a month waits for, or who let it leave: for its page, the command line and the JSON API."""

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from invoicing.db.connection import Database
from invoicing.db.statements import beside, fetch_all, fetch_one
from invoicing.domain.approval import ApprovalState
from invoicing.domain.discretion import Said
from invoicing.domain.period import Period

_SQL = beside(__file__)


@dataclass(frozen=True, slots=True)
class ApprovalShown:
    """The newest question about a month.

    Args:
        summary: The figures that were shown, as `services.delivery.approvals` makes them.
        fingerprint: SHA-256 over all that would leave.
        actor: Who answered; None, as all that follows, while it waits.
        via: Where: ``page``, ``api``, ``command``, ``airflow``, ``rule`` or ``run``.
    """

    id: int
    state: ApprovalState
    asked_at: datetime.datetime
    asked_by: str
    summary: Mapping[str, Any]
    fingerprint: str
    actor: str | None
    reason: Said[str | None]
    via: str | None
    at: datetime.datetime | None

    @property
    def is_waiting(self) -> bool:
        """Whether somebody has to answer."""
        return self.state == "waiting"


@dataclass(frozen=True, slots=True)
class EarlierAnswer:
    """What became of an earlier question about the month."""

    state: ApprovalState
    actor: str
    reason: Said[str]
    via: str
    at: datetime.datetime


def approval_of(db: Database, period: Period) -> ApprovalShown | None:
    """The newest question about the month; None where there never was one."""
    return fetch_one(db, ApprovalShown, _SQL["approval_of"], {"period": str(period)})


def earlier_answers(db: Database, period: Period, shown: ApprovalShown | None) -> Sequence[EarlierAnswer]:
    """What became of the questions before ``shown``, the newest first; at most twenty."""
    if shown is None:
        return []
    return fetch_all(db, EarlierAnswer, _SQL["earlier_answers"], {"period": str(period), "before": shown.id})
