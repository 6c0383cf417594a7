"""How far a month's run is while it goes on: phase by phase, with the time left at the pace so far."""

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from invoicing.db.connection import Database
from invoicing.db.statements import beside, fetch_one
from invoicing.domain.period import Period

_SQL = beside(__file__)

PhaseName = Literal["invoices", "decisions", "documents", "approval", "sending"]
PhaseState = Literal["done", "now", "next", "skipped"]

_WINDOW = datetime.timedelta(minutes=10)
"""What counts for the pace: an hour of waiting for the relay says nothing about the next minutes."""

_LEAST_SEEN = 3
"""So many have to be done before anything is said of the others."""


@dataclass(frozen=True, slots=True)
class Phase:
    """One step of a run.

    Args:
        state: ``skipped``: there is nothing to do for it, which is no fault.
        done: Of ``total``; both None where nothing is counted.
        failed: Of ``total``, those that ended otherwise.
        seconds_left: At the pace of the last minutes; None where nothing can be said.
    """

    name: PhaseName
    state: PhaseState
    done: int | None = None
    total: int | None = None
    failed: int = 0
    seconds_left: int | None = None


@dataclass(frozen=True, slots=True)
class RunPhases:
    """A run that is under way.

    Args:
        started_via: As `services.billing.runs.Starter` has it, like ``started_by``.
    """

    dag_id: str
    dag_run_id: str
    started_at: datetime.datetime
    started_via: str | None
    started_by: str
    phases: Sequence[Phase]


@dataclass(frozen=True, slots=True)
class _Run:
    id: int
    dag_id: str
    dag_run_id: str
    started_at: datetime.datetime
    started_via: str | None
    started_by: str
    has_generated: bool
    has_decided: bool
    settings: Mapping[str, Any]
    request_id: int | None
    answer: str | None


@dataclass(frozen=True, slots=True)
class _Documents:
    total: int
    done: int
    recent: int
    first_at: datetime.datetime | None


@dataclass(frozen=True, slots=True)
class _Messages:
    total: int
    sent: int
    ended: int
    begun: int


@dataclass(frozen=True, slots=True)
class _Recent:
    recent: int
    first_at: datetime.datetime | None


def run_phases(db: Database, period: Period, now: datetime.datetime | None = None) -> RunPhases | None:
    """The run of ``period`` that is under way, the newest of several; None where there is none."""
    run = fetch_one(db, _Run, _SQL["run_at_work"], {"period": str(period)})
    if run is None:
        return None
    now = now or datetime.datetime.now(datetime.UTC)
    phases = _phases(db, run, now)
    return RunPhases(run.dag_id, run.dag_run_id, run.started_at, run.started_via, run.started_by, phases)


def _phases(db: Database, run: _Run, now: datetime.datetime) -> list[Phase]:
    asks = run.settings.get("approval", "never") != "never" or run.request_id is not None
    if not run.has_decided:
        return [
            Phase("invoices", "done" if run.has_generated else "now"),
            Phase("decisions", "now" if run.has_generated else "next"),
            Phase("documents", "next"),
            *([Phase("approval", "next")] if asks else []),
            Phase("sending", "next"),
        ]
    which = {"run_id": run.id, "since": max(run.started_at, now - _WINDOW)}
    documents = fetch_one(db, _Documents, _SQL["documents"], which)
    messages = fetch_one(db, _Messages, _SQL["messages"], which)
    assert documents is not None
    assert messages is not None
    before = [Phase("invoices", "done"), Phase("decisions", "done")]
    if not messages.total:
        return [
            *before,
            Phase("documents", "skipped"),
            *([Phase("approval", "skipped")] if asks else []),
            Phase("sending", "skipped"),
        ]
    is_sending = messages.begun > 0 or run.answer == "approved"
    is_rendered = is_sending or run.request_id is not None or documents.done == documents.total
    return [
        *before,
        Phase(
            "documents",
            "done" if is_rendered else "now",
            documents.done,
            documents.total,
            seconds_left=None
            if is_rendered
            else seconds_left(documents.total - documents.done, documents.recent, documents.first_at, now),
        ),
        *([_approval(run, is_rendered, is_sending)] if asks else []),
        _sending(db, messages, which, now, may_begin=is_rendered and not _waits(run, asks, is_sending)),
    ]


def _waits(run: _Run, asks: bool, is_sending: bool) -> bool:
    return asks and not is_sending and run.answer != "approved"


def _approval(run: _Run, is_rendered: bool, is_sending: bool) -> Phase:
    if is_sending:
        return Phase("approval", "done" if run.request_id is not None else "skipped")
    return Phase("approval", "now" if is_rendered else "next")


def _sending(
    db: Database,
    messages: _Messages,
    which: Mapping[str, Any],
    now: datetime.datetime,
    *,
    may_begin: bool,
) -> Phase:
    left = messages.total - messages.sent - messages.ended
    if not may_begin:
        return Phase("sending", "next", messages.sent, messages.total)
    recent = fetch_one(db, _Recent, _SQL["pace"], which)
    assert recent is not None
    return Phase(
        "sending",
        "now" if left else "done",
        messages.sent,
        messages.total,
        messages.ended,
        seconds_left(left, recent.recent, recent.first_at, now),
    )


def seconds_left(left: int, done: int, since: datetime.datetime | None, now: datetime.datetime) -> int | None:
    """How long ``left`` more take if ``done`` took from ``since`` to ``now``; None where that is too little to say."""
    if since is None or done < _LEAST_SEEN or left <= 0:
        return None
    return round(left * max((now - since).total_seconds(), 0) / done)
