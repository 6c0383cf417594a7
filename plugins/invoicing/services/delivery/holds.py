"""Holding: a person keeps a tenant's messages of a period back, or a whole month's, and lets them go again."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from invoicing.db import audit
from invoicing.db.connection import Database
from invoicing.db.statements import beside
from invoicing.domain.errors import InputError, NotFoundError
from invoicing.domain.period import Period
from invoicing.services.billing import decide, runs
from invoicing.services.delivery import select
from invoicing.services.delivery.reasons import given_reason

_SQL = beside(__file__)


@dataclass(frozen=True, slots=True)
class Held:
    """What a hold came in time for.

    Args:
        deliveries: Ids of those set aside; none where the run has not made any yet.
        under_way: Ids of those that were being transmitted: too late for them.
    """

    deliveries: Sequence[int]
    under_way: Sequence[int]


@dataclass(frozen=True, slots=True)
class Released:
    """What is unsent once nobody holds it.

    Args:
        deliveries: Ids of those still set aside, or, of a whole month, of those that are sent now.
        resumed: Of one tenant, ids of those that are sent now: resends and single invoices, asked for before the hold.
    """

    deliveries: Sequence[int]
    resumed: Sequence[int] = field(default=())


def hold(db: Database, code: str, period: Period, *, reason: str, actor: str) -> Held:
    """Keep what is still to be sent to a tenant for ``period``, and what runs will decide, back until `release`.

    Args:
        reason: Why, for the audit and for whoever asks.
        actor: Who.

    Raises:
        NotFoundError: There is no such tenant.
        InputError: It has no invoice of the period, nor a lease for one; it is held already; or the reason is empty.
            Nothing was changed.
    """
    reason = given_reason(reason)
    with db.transaction():
        cycle_id = runs.lock_month(db, period)
        tenant_id = _tenant(db, code, period, needs_invoices=True)
        which = {"tenant_id": tenant_id, "period": str(period), "actor": actor, "reason": reason}
        if holder := _holder(db, which):
            raise InputError("hold_exists", tenant=code, period=period, actor=holder)
        held = _add(db, which)
        if cycle_id is not None:
            _decide_held(db, cycle_id, tenant_id)
        _audit(db, actor, "tenant_held", f"tenant {code} {period}", reason, held.deliveries)
    return held


def release(db: Database, code: str, period: Period, *, reason: str, actor: str) -> Released:
    """End a hold. What it set aside of the month stays so until it is sent: by `send_now`, or by a later run.

    What somebody had asked for outside of the month's runs goes on at once: the caller tells `send_new_invoices`.

    Raises:
        NotFoundError: There is no such tenant.
        InputError: It is not held in that period, or the reason is empty. Nothing was changed.
    """
    reason = given_reason(reason)
    with db.transaction():
        runs.lock_month(db, period)
        tenant_id = _tenant(db, code, period, needs_invoices=False)
        which = {"tenant_id": tenant_id, "period": str(period)}
        if not _release(db, which, actor, reason):
            raise InputError("hold_missing", tenant=code, period=period)
        going_on = db.execute(_SQL["resume_asked_for"], {**which, "actor": actor, "reason": reason})
        resumed = sorted(row["id"] for row in going_on)
        ids = [row["id"] for row in db.execute(_SQL["held_deliveries"], which)]
        _audit(db, actor, "tenant_released", f"tenant {code} {period}", reason, ids + resumed)
    return Released(ids, resumed)


def stop_month(db: Database, period: Period, *, reason: str, actor: str) -> Held:
    """Keep all of a month back: nothing more of it leaves until `resume_month`.

    Raises:
        NotFoundError: The month was not opened yet.
        InputError: It is stopped already, or the reason is empty. Nothing was changed.
    """
    reason = given_reason(reason)
    with db.transaction():
        if runs.lock_month(db, period) is None:
            raise NotFoundError("cycle_not_opened", period=period)
        which = {"tenant_id": None, "period": str(period), "actor": actor, "reason": reason}
        if holder := _holder(db, which):
            raise InputError("month_stopped_already", period=period, actor=holder)
        held = _add(db, which)
        _audit(db, actor, "month_stopped", f"month {period}", reason, held.deliveries)
    return held


def resume_month(db: Database, period: Period, *, reason: str, actor: str) -> Released:
    """Let a stopped month go on: what the stop set aside is asked for again, to be sent by `send_new_invoices`.

    Whom a run met while the month was stopped is decided on anew, by the settings and switches of today.

    Raises:
        InputError: The month is not stopped, or the reason is empty. Nothing was changed.
    """
    reason = given_reason(reason)
    with db.transaction():
        cycle_id = runs.lock_month(db, period)
        which = {"tenant_id": None, "period": str(period), "actor": actor, "reason": reason}
        if cycle_id is None or not _release(db, which, actor, reason):
            raise InputError("month_not_stopped", period=period)
        anew = _decide_released(db, cycle_id, period, actor)
        ids = sorted(row["id"] for row in db.execute(_SQL["resume"], {**which, "anew": anew}))
        db.execute(_SQL["keep_unapproved_aside"], {**which, "anew": anew})
        _audit(db, actor, "month_resumed", f"month {period}", reason, ids)
    return Released(ids)


def _tenant(db: Database, code: str, period: Period, *, needs_invoices: bool) -> int:
    which = {
        "code": code.replace("\0", ""),
        "period": str(period),
        "first_day": period.first_day,
        "last_day": period.last_day,
    }
    row = db.execute(_SQL["find_tenant"], which).fetchone()
    if row is None:
        raise NotFoundError("tenant_unknown", tenant=code)
    if needs_invoices and not row["has_invoices"]:
        raise InputError("hold_without_invoices", tenant=code, period=period)
    return int(row["id"])


def _holder(db: Database, which: Mapping[str, Any]) -> str | None:
    row = db.execute(_SQL["current_hold"], which).fetchone()
    return None if row is None else str(row["actor"])


def _add(db: Database, which: Mapping[str, Any]) -> Held:
    """Put the hold into force, and set aside what it comes in time for."""
    db.execute(_SQL["add_hold"], which)
    db.execute(_SQL["end_claims"], which)
    held = sorted(row["id"] for row in db.execute(_SQL["set_aside"], which))
    under_way = [row["id"] for row in db.execute(_SQL["under_way"], which)]
    return Held(held, under_way)


def _decide_held(db: Database, cycle_id: int, tenant_id: int) -> None:
    """The decision to send, of which nothing has left, is a decision to hold from here on."""
    row = db.execute(_SQL["decided_to_send"], {"cycle_id": cycle_id, "tenant_id": tenant_id}).fetchone()
    if row is not None:
        decide.decide_held(db, row["id"])


def _decide_released(db: Database, cycle_id: int, period: Period, actor: str) -> list[int]:
    """Decide anew on whom only the stop was held against; their ids."""
    which = {"cycle_id": cycle_id, "period": str(period)}
    tenant_ids = [row["tenant_id"] for row in db.execute(_SQL["decided_held"], which)]
    if tenant_ids:
        latest = db.execute(_SQL["latest_run"], which).fetchone()
        assert latest is not None
        run = runs.as_of_today(db, runs.load_run(db, latest["id"]))
        select.decide_anew(db, run, tenant_ids, actor=actor)
    return tenant_ids


def _release(db: Database, which: Mapping[str, Any], actor: str, reason: str) -> bool:
    row = db.execute(_SQL["current_hold"], which).fetchone()
    if row is not None:
        db.execute(_SQL["release_hold"], {"id": row["id"], "actor": actor, "reason": reason})
    return row is not None


def _audit(
    db: Database, actor: str, action: str, subject: str, reason: str, deliveries: Sequence[int]
) -> None:
    details = {"reason": reason, "deliveries": list(deliveries)}
    audit.record(db, actor=actor, action=action, subject=subject, details=details)
