"""What needs a person: deliveries, holds, leases, approvals. The pages' list and ``bin/invoicing health`` ask here."""

import datetime
from collections.abc import Sequence
from dataclasses import dataclass, replace

from invoicing.db.connection import Database
from invoicing.db.statements import beside, fetch_all, fetch_page
from invoicing.domain.discretion import Personal, Said
from invoicing.domain.refusal import refusal_of
from invoicing.services.billing import out_of_step

_SQL = beside(__file__)

UNSENT_PATIENCE = datetime.timedelta(hours=2)
"""How long a delivery may wait with nobody trying."""

UNMADE_PATIENCE = datetime.timedelta(hours=6)
"""How long after its run's end a document that nobody is mailed may be on its way: a large month's take hours."""

MOST_NAMED = 10
"""How many of a kind are named; the others are counted."""


@dataclass(frozen=True, slots=True)
class DeliveryInNeed:
    """A delivery that a person has to look at.

    Args:
        since: When the first of its kind came to be so.
        tenant: Its code, beside its ``name``.
        refusal: What the relay's answer means (`domain.refusal`); None where nothing was refused.
    """

    since: datetime.datetime
    delivery_id: int
    period: str
    cycle_id: int | None
    tenant: str
    name: Personal[str]
    state: str
    last_reply: Said[str | None]
    refusal: str | None = None


@dataclass(frozen=True, slots=True)
class HoldInForce:
    """A hold that nobody released; ``tenant``: None where it is of the whole month."""

    period: str
    tenant: str | None
    name: Personal[str | None]
    reason: Said[str]
    actor: str
    since: datetime.datetime


@dataclass(frozen=True, slots=True)
class UnmadeDocument:
    """An invoice that nobody is mailed and whose PDF could not be made.

    Args:
        since: When a run asked for the first of them.
        tenant: Its code, beside its ``name``.
        problem_es: Why, and ``problem_en`` in English; None where nobody tried, for `UNMADE_PATIENCE`.
    """

    since: datetime.datetime
    number: str
    period: str
    tenant: str
    name: Personal[str]
    problem_es: Said[str | None]
    problem_en: Said[str | None]


@dataclass(frozen=True, slots=True)
class UnbilledMonth:
    """A month that ran, and its leases that nobody billed, by code."""

    period: str
    leases: Sequence[str]


@dataclass(frozen=True, slots=True)
class WaitingApproval:
    """A month that waits for a person since then."""

    period: str
    since: datetime.datetime


@dataclass(frozen=True, slots=True)
class Deliveries:
    """Deliveries of one kind: the first `MOST_NAMED` by id, and how many there are."""

    named: Sequence[DeliveryInNeed]
    count: int

    @property
    def ids(self) -> Sequence[int]:
        """Of those named."""
        return [each.delivery_id for each in self.named]


@dataclass(frozen=True, slots=True)
class Holds:
    """The first holds by month and tenant, and how many there are."""

    named: Sequence[HoldInForce]
    count: int


@dataclass(frozen=True, slots=True)
class Unmade:
    """The first documents that could not be made, by number, and how many there are."""

    named: Sequence[UnmadeDocument]
    count: int


@dataclass(frozen=True, slots=True)
class Attention:
    """All that needs a person, kind by kind.

    Args:
        unsent: Deliveries that may be sent, and that nobody has tried to send for `UNSENT_PATIENCE`.
    """

    in_doubt: Deliveries
    failed: Deliveries
    unsent: Deliveries
    held: Holds
    unmade: Unmade
    unbilled: Sequence[UnbilledMonth]
    approvals: Sequence[WaitingApproval]

    @property
    def count(self) -> int:
        """How many things there are to look at: each delivery, hold, document, month and approval is one."""
        return (
            self.in_doubt.count
            + self.failed.count
            + self.unsent.count
            + self.held.count
            + self.unmade.count
            + len(self.unbilled)
            + len(self.approvals)
        )

    @property
    def unnamed(self) -> int:
        """How many of them are counted alone."""
        return sum(
            each.count - len(each.named)
            for each in (self.in_doubt, self.failed, self.unsent, self.held, self.unmade)
        )


def needs_attention(db: Database, now: datetime.datetime) -> Attention:
    """Ask for everything."""
    return Attention(
        in_doubt=in_doubt(db),
        failed=failed(db),
        unsent=unsent(db, now),
        held=held(db),
        unmade=unmade(db, now),
        unbilled=unbilled(db),
        approvals=approvals(db),
    )


def failed(db: Database) -> Deliveries:
    """Deliveries that were refused, and that nobody gave up."""
    return _deliveries(db, _SQL["failed"])


def in_doubt(db: Database) -> Deliveries:
    """Deliveries whose outcome nobody learnt."""
    return _deliveries(db, _SQL["in_doubt"])


def unsent(db: Database, now: datetime.datetime) -> Deliveries:
    """Deliveries that may be sent, and that nobody tries to send."""
    return _deliveries(db, _SQL["unsent"], before=now - UNSENT_PATIENCE)


def held(db: Database) -> Holds:
    """Holds that nobody released."""
    return Holds(*fetch_page(db, HoldInForce, _SQL["holds"], {"most": MOST_NAMED}))


def unmade(db: Database, now: datetime.datetime) -> Unmade:
    """Documents of invoices that nobody is mailed, which a run asked for and nobody made."""
    which = {"most": MOST_NAMED, "before": now - UNMADE_PATIENCE}
    return Unmade(*fetch_page(db, UnmadeDocument, _SQL["unmade"], which))


def unbilled(db: Database) -> list[UnbilledMonth]:
    """Months that ran, this one, later ones or of the last three, with rent in them that nobody was billed."""
    closed = {row["period"] for row in db.execute(_SQL["closed_months"])}
    months = [period for period in out_of_step.months_looked_back_on(db) if str(period) in closed]
    found = [
        UnbilledMonth(str(period), [each.lease for each in out_of_step.unbilled_leases(db, period)])
        for period in months
    ]
    return [month for month in found if month.leases]


def approvals(db: Database) -> list[WaitingApproval]:
    """Months that wait for a person to approve them, the one that waits longest first."""
    return fetch_all(db, WaitingApproval, _SQL["waiting_approvals"])


def _deliveries(db: Database, statement: bytes, **parameters: datetime.datetime) -> Deliveries:
    named, count = fetch_page(db, DeliveryInNeed, statement, {"most": MOST_NAMED, **parameters})
    return Deliveries(
        [replace(each, refusal=refusal_of(each.state, each.last_reply)) for each in named], count
    )
