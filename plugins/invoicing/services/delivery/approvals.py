"""A person approves what a monthly run is about to send. This ledger is the arbiter, wherever the answer comes from.

What is approved is a fingerprint a delivery: recipients, sender, template, settings, invoices and their documents. A
claim of anything else is refused (`lacks_approval` in the schema). Whatever changes in between is asked about again.
"""

import datetime
import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from psycopg.types.json import Jsonb

from invoicing.db import audit
from invoicing.db.connection import Database
from invoicing.db.statements import beside, fetch_all, fetch_one
from invoicing.domain.approval import Answer, Difference, Why, difference, reasons_to_ask
from invoicing.domain.comparison import LeaseChange, Month
from invoicing.domain.errors import InputError, NotFoundError
from invoicing.domain.period import Period
from invoicing.services.agency import clock
from invoicing.services.agency import settings as settings_service
from invoicing.services.agency.templates import current_template
from invoicing.services.billing import runs
from invoicing.services.billing.billed import load_month
from invoicing.services.billing.runs import Run
from invoicing.services.delivery import select
from invoicing.services.delivery.reasons import given_reason

log = logging.getLogger(__name__)

_SQL = beside(__file__)
_MOST_CHANGES_SHOWN = 20

Json = dict[str, Any]
Via = Literal["page", "api", "command", "airflow"]
"""Where a person answered."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What a person is asked to let leave.

    Args:
        id: Of the request.
        fingerprint: Over all that would leave.
        summary: The figures as they are shown, money as decimal strings; no name and no address.
    """

    id: int
    period: str
    fingerprint: str
    summary: Json
    asked_at: datetime.datetime


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a run is to do now.

    Args:
        state: ``send`` what there is, ``wait`` for a person, or leave all as it is, since it was ``rejected``.
        asked: What it waits for; None where it does not wait.
        actor: Who rejected it.
        reason: Why they did.
    """

    state: Literal["send", "wait", "rejected"]
    asked: Asked | None = None
    actor: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Reply:
    """What a person chose in Airflow.

    Args:
        request_id: What they were shown. An answer to anything older is none.
        answer: None: they asked to be shown how it is now.
    """

    request_id: int
    answer: Literal["approved", "rejected"] | None
    actor: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class WaitingRun:
    """A DAG run that may be waiting for the answer."""

    dag_id: str
    dag_run_id: str


@dataclass(frozen=True, slots=True)
class Answered:
    """What became of an answer.

    Args:
        state: What stands now.
        is_counted: Whether it was this answer that counts. If not, ``actor`` gave another one before, or something
            had changed.
        runs: To be told, so that they go on at once.
    """

    period: str
    state: Answer
    is_counted: bool
    actor: str
    reason: str
    at: datetime.datetime
    runs: Sequence[WaitingRun]

    def raise_if_refused(self) -> None:
        """Say why the answer does not count; raises `InputError`."""
        if self.is_counted:
            return
        if self.state == "overtaken":
            raise InputError("approval_overtaken", period=self.period, changes=self.reason)
        at = f"{self.at.astimezone(clock.zone()):%Y-%m-%d %H:%M}"
        code = "approval_approved_already" if self.state == "approved" else "approval_rejected_already"
        raise InputError(code, period=self.period, actor=self.actor, at=at)


@dataclass(frozen=True, slots=True)
class _Due:
    id: int
    fingerprint: str
    lacks_approval: bool


@dataclass(frozen=True, slots=True)
class _Open:
    id: int
    run_id: int
    fingerprint: str


@dataclass(frozen=True, slots=True)
class _Latest:
    id: int
    asked_at: datetime.datetime
    answer: Answer | None
    actor: str | None
    reason: str | None
    at: datetime.datetime | None


@dataclass(frozen=True, slots=True)
class _Content:
    id: int
    cycle_id: int
    fingerprint: str


def look(db: Database, run_id: int | None, reply: Reply | None = None) -> Verdict:
    """Find out whether a monthly run may send, and ask a person where one has to approve it first.

    Messages to be are brought up to date first: what is asked about is what leaves. Safe to repeat.

    Args:
        reply: What a person chose in Airflow; counts unless somebody answered before, or something changed.
    """
    run = runs.load_run(db, run_id)
    if run.settings.settings.approval == "never":
        return Verdict("send")
    assert run.cycle_id is not None
    with db.transaction():
        runs.lock(db, run)
        today = _today(db, run)
        asked = fetch_one(db, _Open, _SQL["open_request"], {"cycle_id": run.cycle_id})
        due = _about_to_leave(db, today)
        if asked is not None and reply is not None and reply.request_id == asked.id:
            if _answer_open(db, asked, due, reply.answer, "airflow", reply.actor, reply.reason):
                asked = None
                due = _about_to_leave(db, today)
        elif reply is not None:
            log.warning(
                "what %s chose in Airflow does not count: it was answered, or asked anew, before", reply.actor
            )
        return _verdict(db, today, asked, due)


def answer(
    db: Database,
    period: Period,
    wanted: Literal["approved", "rejected"],
    *,
    reason: str,
    actor: str,
    via: Via,
) -> Answered:
    """Approve or reject what the month's run waits to send. The first answer counts, wherever it was given.

    Args:
        reason: Why; may be empty where it is approved.

    Returns:
        What stands, and whether it was this answer: the caller tells the runs in any case, and then has
        `Answered.raise_if_refused` say why it does not count.

    Raises:
        NotFoundError: The month was not opened yet.
        InputError: Nobody was asked; or the reason is missing or too long. Nothing was changed.
    """
    reason = given_reason(reason) if wanted == "rejected" or reason.strip() else ""
    with db.transaction():
        cycle_id = runs.lock_month(db, period)
        if cycle_id is None:
            raise NotFoundError("cycle_not_opened", period=period)
        asked = fetch_one(db, _Open, _SQL["open_request"], {"cycle_id": cycle_id})
        is_counted = False
        if asked is not None:
            today = _today(db, runs.load_run(db, asked.run_id), refresh=False)
            due = _about_to_leave(db, today)
            given = _answer_open(db, asked, due, wanted, via, actor, reason, len(_stale_tenants(db, today)))
            is_counted = given == wanted
        latest = fetch_one(db, _Latest, _SQL["latest_request"], {"cycle_id": cycle_id})
        if latest is None or latest.answer is None:
            raise InputError("approval_not_asked", period=period)
        assert latest.actor is not None
        assert latest.at is not None
        return Answered(
            period=str(period),
            state=latest.answer,
            is_counted=is_counted,
            actor=latest.actor,
            reason=latest.reason or "",
            at=latest.at,
            runs=fetch_all(db, WaitingRun, _SQL["waiting_runs"], {"cycle_id": cycle_id}),
        )


def approve_own_act(db: Database, ids: Sequence[int], *, actor: str, reason: str) -> None:
    """A person who may approve has just these deliveries sent: that approves them, and nothing else.

    In the caller's transaction. Nothing is written of what needs no approval, or has it.
    """
    snapshot = settings_service.current_settings(db)
    template = current_template(db, snapshot.settings.template)
    which = {
        "ids": list(ids),
        "settings_version_id": snapshot.id,
        "template_version_id": template.id,
    }
    by_cycle: dict[int, list[_Content]] = {}
    for each in fetch_all(db, _Content, _SQL["unapproved_today"], which):
        by_cycle.setdefault(each.cycle_id, []).append(each)
    for cycle_id, contents in by_cycle.items():
        items = [(each.id, each.fingerprint) for each in contents]
        summary = _figures(db, [each.id for each in contents])
        request_id = _add_request(db, "deliveries", cycle_id, None, items, summary, actor)
        _give(db, request_id, "approved", "act", actor, reason)


def _today(db: Database, run: Run, *, refresh: bool = True) -> Run:
    """The run with the settings and template of today, and its open deliveries made of them."""
    today = runs.as_of_today(db, run)
    if refresh and (stale := _stale_tenants(db, today)):
        select.decide_anew(db, today, stale, actor=run.name)
    return today


def _stale_tenants(db: Database, today: Run) -> list[int]:
    which = {
        "cycle_id": today.cycle_id,
        "settings_version_id": today.settings.id,
        "template_version_id": today.template.id,
    }
    return [row["tenant_id"] for row in db.execute(_SQL["stale_tenants"], which)]


def _about_to_leave(db: Database, today: Run) -> list[_Due]:
    return fetch_all(db, _Due, _SQL["about_to_leave"], {"cycle_id": today.cycle_id})


def _answer_open(
    db: Database,
    asked: _Open,
    due: Sequence[_Due],
    wanted: Literal["approved", "rejected"] | None,
    via: Via,
    actor: str,
    reason: str,
    stale: int = 0,
) -> Answer | None:
    """Answer an open request, or keep that it was overtaken; None where it is asked still."""
    changes = _changes(db, asked, due, stale)
    if changes:
        wish = f"{actor} answered {wanted}, but " if wanted else ""
        _give(db, asked.id, "overtaken", via, actor, f"{wish}{changes}")
        return "overtaken"
    if wanted is None:
        return None
    _give(db, asked.id, wanted, via, actor, reason)
    if wanted == "rejected":
        why = f"rejected: {reason}" if reason else "rejected"
        db.execute(_SQL["set_rejected_aside"], {"request_id": asked.id, "actor": actor, "reason": why})
    return wanted


def _verdict(db: Database, today: Run, asked: _Open | None, due: Sequence[_Due]) -> Verdict:
    assert today.cycle_id is not None
    overtook: Json | None = None
    if asked is not None:
        changes = _changes(db, asked, due)
        if not changes:
            return Verdict("wait", _shown(db, asked.id, str(today.period)))
        _give(db, asked.id, "overtaken", "run", today.name, changes)
    if not any(each.lacks_approval for each in due):
        latest = fetch_one(db, _Latest, _SQL["latest_request"], {"cycle_id": today.cycle_id})
        if not due and latest is not None and latest.answer == "rejected":
            return Verdict("rejected", actor=latest.actor or "", reason=latest.reason or "")
        return Verdict("send")
    latest = fetch_one(db, _Latest, _SQL["latest_request"], {"cycle_id": today.cycle_id})
    if latest is not None and latest.answer == "overtaken":
        overtook = {"request": latest.id, "actor": latest.actor, "reason": latest.reason}
    now, before = _months(db, today)
    settings = today.settings.settings
    why = reasons_to_ask(settings.approval, settings.approval_change_percent, before, now)
    summary = _summary(db, today, due, now, before, why, overtook)
    items = [(each.id, each.fingerprint) for each in due]
    request_id = _add_request(db, "month", today.cycle_id, today.id, items, summary, today.name)
    if not why:
        _give(
            db,
            request_id,
            "approved",
            "rule",
            "approval=changed",
            "nothing changed by more than the setting allows",
        )
        return Verdict("send")
    return Verdict("wait", _shown(db, request_id, str(today.period)))


def _changes(db: Database, asked: _Open, due: Sequence[_Due], stale: int = 0) -> str:
    """How what would leave differs from what was asked; empty where it does not."""
    if not stale and _fingerprint([(each.id, each.fingerprint) for each in due]) == asked.fingerprint:
        return ""
    which = {
        "request_id": asked.id,
        "ids": [each.id for each in due],
        "fingerprints": [each.fingerprint for each in due],
    }
    row = db.execute(_SQL["changed_since"], which).fetchone()
    assert row is not None
    return f"it had changed: {max(row['changed'], stale)} messages otherwise, {row['added']} new, {row['gone']} gone"


def _fingerprint(items: Sequence[tuple[int, str]]) -> str:
    """Over deliveries and their own fingerprints, by id."""
    return hashlib.sha256("\n".join(f"{id_} {each}" for id_, each in sorted(items)).encode()).hexdigest()


def _add_request(
    db: Database,
    scope: Literal["month", "deliveries"],
    cycle_id: int,
    run_id: int | None,
    items: Sequence[tuple[int, str]],
    summary: Json,
    actor: str,
) -> int:
    row = db.execute(
        _SQL["add_request"],
        {
            "scope": scope,
            "cycle_id": cycle_id,
            "run_id": run_id,
            "fingerprint": _fingerprint(items),
            "summary": Jsonb(summary),
            "actor": actor,
        },
    ).fetchone()
    assert row is not None
    with db.cursor() as cursor, cursor.copy(_SQL["copy_items"]) as copy:
        for delivery_id, fingerprint in items:
            copy.write_row((row["id"], delivery_id, fingerprint))
    return int(row["id"])


def _give(db: Database, request_id: int, given: Answer, via: str, actor: str, reason: str) -> None:
    which = {"request_id": request_id, "answer": given, "via": via, "actor": actor, "reason": reason}
    added = db.execute(_SQL["add_answer"], which).fetchone()
    assert added is not None, "two answered at once, against the lock of the cycle"
    if via in ("page", "api", "command", "airflow"):
        audit.record(
            db,
            actor=actor,
            action=f"sending_{given}",
            subject=f"approval {request_id}",
            details={"via": via, "reason": reason},
        )


def _shown(db: Database, request_id: int, period: str) -> Asked:
    row = db.execute(_SQL["summary"], {"id": request_id}).fetchone()
    assert row is not None
    return Asked(request_id, period, row["fingerprint"], row["summary"], row["asked_at"])


def _months(db: Database, run: Run) -> tuple[Month, Month | None]:
    """The run's month, and the one before where it was opened."""
    assert run.cycle_id is not None
    assert run.period is not None
    before = db.execute(_SQL["previous_cycle"], {"period": str(run.period.preceding)}).fetchone()
    return load_month(db, run.cycle_id), None if before is None else load_month(db, before["id"])


def _figures(db: Database, ids: Sequence[int]) -> Json:
    """Messages, addresses, and sums by currency."""
    which = {"ids": list(ids)}
    messages = db.execute(_SQL["messages"], which).fetchone()
    assert messages is not None
    sums = [
        {"currency": row["currency"], "invoices": row["invoices"], "total": f"{row['total']:f}"}
        for row in db.execute(_SQL["sums"], which)
    ]
    return {**messages, "sums": sums}


def _summary(
    db: Database,
    today: Run,
    due: Sequence[_Due],
    now: Month,
    before: Month | None,
    why: Sequence[Why],
    overtook: Mapping[str, Any] | None,
) -> Json:
    skips: dict[str, int] = {}
    for outcome in now.outcomes.values():
        if outcome != "send":
            skips[outcome] = skips.get(outcome, 0) + 1
    settings = today.settings.settings
    assert today.period is not None
    return {
        **_figures(db, [each.id for each in due]),
        "skips": skips,
        "why": list(why),
        "percent": settings.approval_change_percent,
        "sender": settings.from_email,
        "settings_version": today.settings.id,
        "template": f"{today.template.template.name} {today.template.template.version}",
        "before": str(today.period.preceding) if before is not None and before.bills else None,
        "difference": _difference(difference(before, now)) if before is not None and before.bills else None,
        "overtook": overtook,
    }


def _difference(found: Difference) -> Json:
    kinds = [each.kind for each in found.leases]
    return {
        "totals": {currency: [f"{was:f}", f"{is_:f}"] for currency, (was, is_) in found.totals.items()},
        "recipients": list(found.recipients),
        "decisions": found.decisions,
        **{kind: kinds.count(kind) for kind in ("new", "ended", "amount")},
        "leases": [_lease(each) for each in found.leases[:_MOST_CHANGES_SHOWN]],
    }


def _lease(change: LeaseChange) -> Json:
    return {
        "lease": change.lease,
        "kind": change.kind,
        "before": None if change.before is None else f"{change.before.total:f}",
        "now": None if change.now is None else f"{change.now.total:f}",
        "currency": change.currency,
        "percent": None if change.ratio is None else round(float(change.ratio) * 100, 1),
    }
