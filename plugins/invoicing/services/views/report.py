"""What a cycle, its tenants, invoices and deliveries look like now: the JSON of docs/contract.md, section 1."""

from collections import defaultdict
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from invoicing.db.connection import Database
from invoicing.db.statements import beside
from invoicing.domain.delivery import DeliveryState
from invoicing.domain.discretion import clean, hide, hide_in_trace
from invoicing.domain.errors import InputError, NotFoundError
from invoicing.domain.period import Period
from invoicing.services.delivery.corrections import Corrected, Made
from invoicing.services.delivery.retries import Retried, RetryPlan
from invoicing.services.delivery.send_now import SentNow
from invoicing.services.views.approvals import ApprovalShown, approval_of
from invoicing.services.views.cycles import CurrencySum, Cycle, cycle_figures, load_cycle

_SQL = beside(__file__)

Json = dict[str, Any]


def cycle_report(db: Database, period: Period) -> Json:
    """Counts and sums of a cycle (``cycle show``); raises `NotFoundError`."""
    cycle = _cycle(db, period)
    figures = cycle_figures(db, cycle)
    sums, credited = _by_currency(figures.sums), _by_currency(figures.credits)
    # Of one currency, as the sums of invoices are.
    currency = sums[0]["currency"] if sums else credited[0]["currency"] if credited else "COP"
    credited_total = next((each["total"] for each in credited if each["currency"] == currency), "0")
    return {
        "period": cycle.period,
        "state": cycle.state,
        # Of the currency with most invoices; `by_currency` has them all.
        "invoices": {
            "count": figures.invoices,
            "total": sums[0]["total"] if sums else "0",
            "currency": currency,
            "by_currency": sums,
        },
        # Every credit note of the month, also of an invoice that no longer stands and is none of those above.
        "credits": {
            "count": sum(each["count"] for each in credited),
            "total": credited_total,
            "currency": currency,
            "by_currency": credited,
        },
        "unissued": [
            {
                "lease": each.lease,
                "tenant": each.tenant,
                "total": money(each.total),
                "currency": each.currency,
            }
            for each in figures.unissued
        ],
        # What to do about these two: docs/operating.md, "After it".
        "unbilled": [each.lease for each in figures.unbilled],
        "drifted": [each.lease for each in figures.drifted],
        "tenants": figures.tenants,
        "decisions": dict(figures.decisions),
        "deliveries": dict(figures.deliveries),
        "balanced": figures.balanced,
        "imbalances": [str(fault) for fault in figures.imbalances],
        "approval": approval_report(approval_of(db, period)),
        "runs": [
            {
                "dag_run_id": row["dag_run_id"],
                "state": row["state"],
                "started_at": _instant(row["started_at"]),
                "ended_at": _instant(row["ended_at"]),
                "settings_version": row["settings_version_id"],
                "template_version": row["template_version_id"],
                "code_version": row["code_version"],
                "counts": row["counts"],
                "started_via": row["started_via"],
                "started_by": row["started_by"],
            }
            for row in db.execute(_SQL["runs_of_cycle"], {"cycle_id": cycle.id})
        ],
    }


def _by_currency(sums: Sequence[CurrencySum]) -> list[Json]:
    return [{"count": each.count, "total": money(each.total), "currency": each.currency} for each in sums]


def approval_report(shown: ApprovalShown | None) -> Json | None:
    """What a month waits for, or who let it leave; ``at``: since when, or when."""
    if shown is None:
        return None
    return {
        "state": shown.state,
        "actor": shown.actor,
        "at": _instant(shown.at or shown.asked_at),
        "reason": shown.reason,
        "via": shown.via,
        "asked_at": _instant(shown.asked_at),
        "fingerprint": shown.fingerprint,
        "summary": dict(shown.summary),
    }


def cycle_tenants(db: Database, period: Period) -> list[Json]:
    """One row per tenant with invoices: its decision with the trace, and its delivery (``cycle tenants``)."""
    cycle = _cycle(db, period)
    deliveries: defaultdict[str, list[Json]] = defaultdict(list)
    for delivery in list_deliveries(db, period=period):
        if delivery["in_cycle"]:
            deliveries[delivery["tenant"]].append(delivery)
    return [
        {
            "tenant": row["tenant"],
            "name": row["name"],
            "invoices": row["invoices"],
            "decision": "skip" if row["reason"] else "send",
            "reason": row["reason"],
            "trace": row["trace"],
            "delivery": _principal(deliveries[row["tenant"]]),
            "deliveries": [_brief(each) for each in deliveries[row["tenant"]]],
        }
        for row in db.execute(_SQL["decisions_of_cycle"], {"cycle_id": cycle.id})
    ]


def cycle_invoices(db: Database, period: Period) -> list[Json]:
    """One row per invoice of the monthly job, and per credit note of one (``cycle invoices``)."""
    cycle = _cycle(db, period)
    keys = ("number", "lease", "tenant", "period")
    return [
        {key: row[key] for key in keys}
        | {key: money(row[key]) for key in ("subtotal", "tax", "withholding", "total")}
        | {
            "currency": row["currency"],
            "issued_on": row["issued_on"].isoformat(),
            "due_on": row["due_on"].isoformat(),
            "state": row["state"],
            "kind": row["kind"],
            "corrects": row["corrects"],
            "replaced_by": row["replaced_by"],
            "replaces": row["replaces"],
        }
        for row in db.execute(_SQL["invoices_of_cycle"], {"cycle_id": cycle.id})
    ]


def correction_report(done: Corrected) -> Json:
    """What became of a correction (``invoices void|credit|replace``)."""
    return {
        "number": done.number,
        "action": done.act,
        "state": done.state,
        "tenant": done.tenant,
        "lease": done.lease,
        "period": done.period,
        "total": money(done.total),
        "currency": done.currency,
        "credit_note": _made(done.credit_note),
        "replacement": _made(done.replacement),
        "difference": None if done.difference is None else money(done.difference),
        "deliveries": list(done.deliveries),
    }


def _made(made: Made | None) -> Json | None:
    if made is None:
        return None
    amounts = {key: money(getattr(made, key)) for key in ("subtotal", "tax", "withholding", "total")}
    return {"number": made.number, **amounts, "currency": made.currency}


def list_deliveries(
    db: Database,
    *,
    period: Period | None = None,
    state: str | None = None,
    after: int = 0,
    limit: int | None = None,
) -> list[Json]:
    """One row per delivery, oldest first (``deliveries list``).

    Args:
        after: Only those with a larger id: the last one of the page before.
        limit: At most so many; None is all of them.

    Raises:
        InputError: There is no such state.
    """
    if state is not None and state not in list(DeliveryState):
        raise InputError("delivery_state_unknown", state=state, known=", ".join(DeliveryState))
    which = {"period": str(period) if period else None, "state": state, "after": after, "limit": limit}
    rows = db.execute(_SQL["deliveries"], which)
    return [
        {
            "id": row["id"],
            "period": row["period"],
            "tenant": row["tenant"],
            "state": row["state"],
            "generation": row["generation"],
            "purpose": row["purpose"],
            "message_id": row["message_id"],
            "to": row["to_addresses"],
            "cc": row["cc_addresses"],
            "invoices": row["invoices"],
            "attempts": row["attempts"],
            "last_reply": row["last_reply"],
            "actor": row["actor"],
            "reason": row["reason"],
            "updated_at": _instant(row["updated_at"]),
            "resend_of": row["resend_of"],
            "doubt_resends": row["doubt_resends"],
            "in_cycle": row["cycle_id"] is not None,
        }
        for row in rows
    ]


def cycle_as_seen(shown: Json, *, with_personal: bool) -> Json:
    """What `cycle_report` gives, as somebody may see it."""
    approval = shown["approval"]
    if approval is None:
        return shown
    reason = clean(approval["reason"]) if with_personal else hide(approval["reason"])
    return shown | {"approval": approval | {"reason": reason}}


def rows_as_seen(rows: list[Json], *, with_personal: bool) -> list[Json]:
    """Rows of `cycle_tenants` or `list_deliveries` as somebody may see them: as `invoicing.domain.discretion` does."""
    return [_as_seen(row, with_personal) for row in rows]


def money(amount: Decimal) -> str:
    """An amount as a decimal string, without an exponent."""
    return f"{amount:f}"


def _as_seen(row: Json, with_personal: bool) -> Json:
    # A delivery's reason is in somebody's words, a decision's is a code.
    said = ("last_reply", "reason") if "message_id" in row else ()
    seen = row | {key: clean(row[key]) if with_personal else hide(row[key]) for key in said if key in row}
    if not with_personal:
        seen |= {key: hide(row[key]) for key in ("name", "to", "cc") if key in row}
        seen |= {key: hide_in_trace(row[key]) for key in ("trace",) if key in row}
    if row.get("delivery"):
        seen["delivery"] = _as_seen(row["delivery"], with_personal)
    if "deliveries" in row:
        seen["deliveries"] = rows_as_seen(row["deliveries"], with_personal=with_personal)
    return seen


def _cycle(db: Database, period: Period) -> Cycle:
    try:
        return load_cycle(db, period)
    except NotFoundError:
        raise NotFoundError("cycle_not_opened", period=period) from None


def _principal(deliveries: list[Json]) -> Json | None:
    """The delivery that tells most about a tenant: the newest that was not cancelled, else the newest."""
    standing = [each for each in deliveries if each["state"] != "cancelled"]
    chosen = (standing or deliveries)[-1:]
    return _brief(chosen[0]) if chosen else None


def _brief(delivery: Json) -> Json:
    keys = ("id", "state", "message_id", "attempts", "generation", "to", "cc", "last_reply", "invoices")
    return {key: delivery[key] for key in keys}


def _instant(value: Any) -> str | None:
    return None if value is None else value.isoformat()


def sent_now_report(decided: Sequence[SentNow]) -> list[Json]:
    """What was decided on each tenant that is sent by name (``cycle send``)."""
    return [
        {
            "tenant": each.tenant,
            "decision": "skip" if each.reason else "send",
            "reason": each.reason,
            "deliveries": list(each.deliveries),
        }
        for each in decided
    ]


def retry_report(plan: RetryPlan, retried: Retried | None = None) -> dict[str, Any]:
    """What a retry of a month would do or, with ``retried``, what it did."""
    return {
        "period": str(plan.period),
        "dry_run": retried is None,
        "sender": plan.sender or None,
        "template": {"name": plan.template, "version": plan.template_number},
        "retry": [
            {
                "delivery": each.delivery,
                "tenant": each.tenant,
                "name": each.name,
                "state": each.state,
                "to": list(each.to),
                "cc": list(each.cc),
                "invoices": list(each.invoices),
                "why": each.why,
                "run": each.dag_run_id,
                "as_it_was": each.is_frozen,
            }
            for each in plan.to_retry
        ],
        "left_alone": [
            {
                "delivery": each.delivery,
                "tenant": each.tenant,
                "name": each.name,
                "state": each.state,
                "reason": each.reason,
            }
            for each in plan.left_alone
        ],
        "cleared": {} if retried is None else retried.cleared,
        "requested": [] if retried is None else list(retried.requested),
    }
