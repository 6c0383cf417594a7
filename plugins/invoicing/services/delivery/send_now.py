"""Send now, just these: a person has some tenants of a month decided on anew, and sent what they are due."""

import datetime
from collections.abc import Sequence
from dataclasses import dataclass

from invoicing.db import audit
from invoicing.db.connection import Database
from invoicing.db.statements import beside, fetch_all
from invoicing.domain.errors import InputError, NotFoundError
from invoicing.domain.period import Period
from invoicing.services.agency import tenants
from invoicing.services.billing import runs
from invoicing.services.delivery import approvals, select

_SQL = beside(__file__)


@dataclass(frozen=True, slots=True)
class SentNow:
    """What was decided on one tenant, and what follows.

    Args:
        tenant: Its code.
        reason: Why there is no mail; None to send.
        deliveries: Ids of those that are sent now; none where nothing was unsent.
    """

    tenant: str
    reason: str | None
    deliveries: Sequence[int]


@dataclass(frozen=True, slots=True)
class DeliveryProgress:
    """How far a delivery came."""

    id: int
    state: str
    last_reply: str | None
    reason: str | None


def send_now(db: Database, period: Period, codes: Sequence[str], *, actor: str) -> list[SentNow]:
    """Decide anew on some tenants of a month, by the settings and switches of today, and ask for what they are due.

    The rest of the month is not touched. What is asked for is sent by the next run of `send_new_invoices`, which the
    caller tells; where the settings ask for an approval, this act is one of just these. Safe to repeat: a message
    that was accepted is never made again.

    Returns:
        One a tenant, in the order of ``codes``.

    Raises:
        NotFoundError: There is no such month, or no such tenant.
        InputError: A tenant has no invoice in it; a run of the month is still deciding, or about to send to one of
            them. Nothing was changed.
    """
    codes = list(dict.fromkeys(codes))
    with db.transaction():
        cycle_id = runs.lock_month(db, period)
        if cycle_id is None:
            raise NotFoundError("cycle_not_opened", period=period)
        ids = _find_tenants(db, cycle_id, period, codes)
        latest = _check_runs(db, cycle_id, period, list(ids.values()))
        run = runs.as_of_today(db, runs.load_run(db, latest))
        decided = select.decide_anew(db, run, list(ids.values()), actor=actor)
        to_send = [tenant.tenant_id for tenant, decision in decided if decision.send]
        requested: dict[int, list[int]] = {}
        asked = {"cycle_id": cycle_id, "tenant_ids": to_send, "actor": actor}
        for row in db.execute(_SQL["request"], asked):
            requested.setdefault(row["tenant_id"], []).append(row["id"])
        approvals.approve_own_act(
            db, [id_ for ids_ in requested.values() for id_ in ids_], actor=actor, reason="sent by name"
        )
        by_code = {
            tenant.code: SentNow(tenant.code, decision.reason, sorted(requested.get(tenant.tenant_id, [])))
            for tenant, decision in decided
        }
        audit.record(
            db,
            actor=actor,
            action="tenants_sent_now",
            subject=f"month {period}",
            details={code: each.reason or list(each.deliveries) for code, each in by_code.items()},
        )
    return [by_code[code] for code in codes]


def mend_address(
    db: Database,
    period: Period,
    code: str,
    emails: Sequence[str],
    *,
    actor: str,
    seen_at: datetime.datetime | None = None,
) -> SentNow:
    """Give a tenant other addresses and send what it is due of a month, both or neither.

    Args:
        emails: All of them, as they are to be.
        seen_at: The tenant's ``updated_at`` that the person had before them.

    Returns:
        As `send_now`: with a reason, the addresses are saved and there is no mail.

    Raises:
        NotFoundError: There is no such month, or no such tenant.
        AddressRefusedError, TooManyAddressesError: An address is malformed, or they are too many.
        StaleEditError: The tenant was changed since ``seen_at``.
        InputError: There is no address; or as `send_now`. Nothing was changed.
    """
    if not emails:
        raise InputError("address_missing")
    with db.transaction():
        # The month first, as its runs take them.
        if runs.lock_month(db, period) is None:
            raise NotFoundError("cycle_not_opened", period=period)
        tenants.change_tenant(db, code, {"emails": list(emails)}, actor=actor, seen_at=seen_at)
        (sent,) = send_now(db, period, [code], actor=actor)
    return sent


def progress(db: Database, ids: Sequence[int]) -> list[DeliveryProgress]:
    """How far deliveries came, by id."""
    return fetch_all(db, DeliveryProgress, _SQL["states"], {"ids": list(ids)})


def _find_tenants(db: Database, cycle_id: int, period: Period, codes: Sequence[str]) -> dict[str, int]:
    which = {"cycle_id": cycle_id, "codes": [code.replace("\0", "") for code in codes]}
    rows = {row["code"]: row for row in db.execute(_SQL["find_tenants"], which)}
    for code in codes:
        if code not in rows:
            raise NotFoundError("tenant_unknown", tenant=code)
        if not rows[code]["has_invoices"]:
            raise InputError("tenant_not_in_cycle", tenant=code, period=period)
    return {code: rows[code]["id"] for code in codes}


def _check_runs(db: Database, cycle_id: int, period: Period, tenant_ids: Sequence[int]) -> int:
    """The newest run's id; raises `InputError` where a run is in the way."""
    found = db.execute(_SQL["runs_of_cycle"], {"cycle_id": cycle_id}).fetchall()
    for run in found:
        if run["is_running"] and not run["has_decided"]:
            raise InputError("send_now_run_deciding", period=period, run=run["dag_run_id"])
    which = {"cycle_id": cycle_id, "tenant_ids": list(tenant_ids)}
    busy = db.execute(_SQL["under_way"], which).fetchone()
    if busy is not None:
        raise InputError("send_now_under_way", tenant=busy["code"], delivery=busy["id"], state=busy["state"])
    return int(found[0]["id"])
