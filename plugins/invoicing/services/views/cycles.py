"""Cycles as people look at them: the months, and one month's figures, runs and troubles."""

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from invoicing.db.connection import Database
from invoicing.db.statements import beside, fetch_all, fetch_one
from invoicing.domain.delivery import DeliveryState
from invoicing.domain.discretion import Personal, Said
from invoicing.domain.errors import NotFoundError
from invoicing.domain.period import Period
from invoicing.domain.refusal import refusal_of
from invoicing.services.billing import out_of_step
from invoicing.services.billing.out_of_step import DriftedInvoice, UnbilledLease
from invoicing.services.delivery import closing
from invoicing.words.failures import Fault

_SQL = beside(__file__)
_TROUBLED_SHOWN = 12
MOST_OUT_OF_STEP = 500
"""Unbilled leases, and drifted invoices, that a page counts: there may be as many as the agency has leases."""


@dataclass(frozen=True, slots=True)
class Cycle:
    """A month's cycle.

    Args:
        period: ``YYYY-MM``.
        closed_at: None as long as it is open.
    """

    id: int
    period: str
    state: str
    opened_at: datetime.datetime
    closed_at: datetime.datetime | None


@dataclass(frozen=True, slots=True)
class Month:
    """A cycle in the list of months.

    Args:
        total: Of the currency with most invoices; ``currencies`` is how many there are.
        tenants: Those decided on; ``to_send`` of them get mail.
        sent: First messages; what is sent again is not counted, here and in ``waiting``.
        waiting: Deliveries that are neither accepted nor given up.
        running: Whether a run of the cycle is under way.
    """

    period: str
    state: str
    opened_at: datetime.datetime
    closed_at: datetime.datetime | None
    invoices: int
    total: Decimal
    currency: str
    currencies: int
    tenants: int
    to_send: int
    sent: int
    failed: int
    in_doubt: int
    waiting: int
    running: bool


@dataclass(frozen=True, slots=True)
class CurrencySum:
    """A cycle's standing invoices, or its credit notes, in one currency."""

    currency: str
    count: int
    total: Decimal


@dataclass(frozen=True, slots=True)
class UnissuedInvoice:
    """A lease without an invoice, since its total is not more than nothing; ``lease`` and ``tenant`` are codes."""

    lease: str
    tenant: str
    total: Decimal
    currency: str


@dataclass(frozen=True, slots=True)
class CycleFigures:
    """A cycle's counts and sums.

    Args:
        sums: Of the invoices that stand; the currency with most invoices first.
        credits: Of the credit notes, those of invoices that no longer stand too; likewise.
        decisions: Tenants by outcome: ``send``, which is always there, or the reason.
        deliveries: By state; every state is there.
        first_sent: Those of them that are sent and send nothing again: the month's messages.
        unissued: By lease, as of the last run.
        unbilled: By lease, as it is now.
        drifted: By lease, as of the last import or run.
        imbalances: Why the cycle does not balance; empty where it does.
    """

    sums: Sequence[CurrencySum]
    credits: Sequence[CurrencySum]
    decisions: Mapping[str, int]
    deliveries: Mapping[str, int]
    first_sent: int
    unissued: Sequence[UnissuedInvoice]
    unbilled: Sequence[UnbilledLease]
    drifted: Sequence[DriftedInvoice]
    imbalances: Sequence[Fault]

    @property
    def invoices(self) -> int:
        """Standing invoices, of all currencies."""
        return sum(each.count for each in self.sums)

    @property
    def tenants(self) -> int:
        """Tenants decided on."""
        return sum(self.decisions.values())

    @property
    def balanced(self) -> bool:
        """Whether nothing keeps the cycle from balancing."""
        return not self.imbalances


@dataclass(frozen=True, slots=True)
class RunOfCycle:
    """A run that worked for a cycle.

    Args:
        counts: What it told of itself, stage by stage.
        is_other: It is none of the monthly DAG: it sent deliveries of the cycle again.
        started_via: As `services.billing.runs.Starter` has it, like ``started_by``.
    """

    id: int
    dag_id: str
    dag_run_id: str
    state: str
    started_at: datetime.datetime
    ended_at: datetime.datetime | None
    settings_version_id: int
    code_version: str
    counts: Mapping[str, Any]
    template_name: str
    template_number: int
    is_other: bool
    started_via: str | None
    started_by: str


@dataclass(frozen=True, slots=True)
class TroubledDelivery:
    """A delivery that a person must look at.

    Args:
        tenant: Its code, beside its ``name`` and its ``emails`` of today.
        claimed_by: The task instance that had it last.
        refusal: What the relay's answer means (`domain.refusal`).
    """

    id: int
    state: str
    purpose: str
    tenant: str
    name: Personal[str]
    emails: Personal[Sequence[str]]
    tenant_updated_at: datetime.datetime
    last_reply: Said[str | None]
    reason: Said[str | None]
    claimed_by: str | None
    attempts: int
    updated_at: datetime.datetime
    refusal: str | None = None


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast a cycle's messages went out.

    Args:
        accepted: Messages that the relay took.
        per_minute: None where there is nothing to measure.
    """

    accepted: int
    seconds: float
    per_minute: float | None


@dataclass(frozen=True, slots=True)
class CycleOverview:
    """A cycle's page above its tenants.

    Args:
        runs: Newest first.
        troubled: Newest first, those in doubt before the others; at most twelve.
    """

    cycle: Cycle
    figures: CycleFigures
    runs: Sequence[RunOfCycle]
    pace: Pace
    troubled: Sequence[TroubledDelivery]


@dataclass(frozen=True, slots=True)
class Progress:
    """Few figures that are cheap to ask for again and again while a run goes on.

    Args:
        running: Whether there is anything to wait for.
        to_send: Tenants who get mail.
        sent: Deliveries, as all that follow; like ``waiting``, without what is sent again.
    """

    period: str
    running: bool
    state: str
    invoices: int
    tenants: int
    to_send: int
    sent: int
    failed: int
    in_doubt: int
    waiting: int


def list_months(db: Database, *, limit: int = 12, offset: int = 0) -> tuple[list[Month], int]:
    """Cycles with their figures, newest first, and how many there are."""
    months = fetch_all(db, Month, _SQL["months"], {"limit": limit, "offset": offset})
    total = db.execute(_SQL["count_months"]).fetchone()
    assert total is not None
    return months, total["cycles"]


def load_cycle(db: Database, period: Period) -> Cycle:
    """The cycle of ``period``; raises `NotFoundError`."""
    cycle = fetch_one(db, Cycle, _SQL["cycle_of_period"], {"period": str(period)})
    if cycle is None:
        raise NotFoundError("cycle_unknown", period=period)
    return cycle


def cycle_figures(db: Database, cycle: Cycle, *, most_out_of_step: int | None = None) -> CycleFigures:
    """Count and sum what belongs to ``cycle``; ``most_out_of_step`` bounds what is unbilled, and what drifted."""
    which = {"cycle_id": cycle.id}
    period = Period.parse(cycle.period)
    outcomes = {row["outcome"]: row["tenants"] for row in db.execute(_SQL["decision_counts"], which)}
    states = {row["state"]: row for row in db.execute(_SQL["delivery_counts"], which)}
    return CycleFigures(
        sums=fetch_all(db, CurrencySum, _SQL["invoice_sums"], which),
        credits=fetch_all(db, CurrencySum, _SQL["credit_sums"], which),
        decisions={"send": 0} | outcomes,
        deliveries={
            str(state): states[state]["deliveries"] if state in states else 0 for state in DeliveryState
        },
        first_sent=states[DeliveryState.SENT]["first"] if DeliveryState.SENT in states else 0,
        unissued=fetch_all(db, UnissuedInvoice, _SQL["unissued"], which),
        unbilled=out_of_step.unbilled_leases(db, period, most=most_out_of_step),
        drifted=out_of_step.drifted_invoices(db, period, most=most_out_of_step),
        imbalances=closing.imbalances(db, cycle.id),
    )


def cycle_overview(db: Database, period: Period) -> CycleOverview:
    """A cycle's figures, the same as ``cycle show`` has, and what its page has on top; raises `NotFoundError`."""
    cycle = load_cycle(db, period)
    which = {"cycle_id": cycle.id, "limit": _TROUBLED_SHOWN}
    return CycleOverview(
        cycle=cycle,
        figures=cycle_figures(db, cycle, most_out_of_step=MOST_OUT_OF_STEP),
        runs=fetch_all(db, RunOfCycle, _SQL["runs_to_show"], which),
        pace=_pace(db, cycle),
        troubled=[
            replace(each, refusal=refusal_of(each.state, each.last_reply))
            for each in fetch_all(db, TroubledDelivery, _SQL["troubled"], which)
        ],
    )


def show_progress(db: Database, period: Period) -> Progress:
    """How far a cycle is; raises `NotFoundError`."""
    progress = fetch_one(db, Progress, _SQL["progress"], {"period": str(period)})
    if progress is None:
        raise NotFoundError("cycle_unknown", period=period)
    return progress


def _pace(db: Database, cycle: Cycle) -> Pace:
    row = db.execute(_SQL["transmissions"], {"cycle_id": cycle.id}).fetchone()
    assert row is not None
    seconds = 0.0
    if row["first_at"] is not None and row["last_at"] is not None:
        seconds = (row["last_at"] - row["first_at"]) / datetime.timedelta(seconds=1)
    enough = row["accepted"] > 1 and seconds > 0
    return Pace(row["accepted"], seconds, row["accepted"] * 60 / seconds if enough else None)
