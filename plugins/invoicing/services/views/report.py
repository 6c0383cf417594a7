"""What a cycle, its tenants, invoices and deliveries look like now: the JSON of docs/contract.md, section 1."""

from collections import defaultdict
from decimal import Decimal
from typing import Any

from psycopg.rows import DictRow

from invoicing.db.connection import Database
from invoicing.db.statements import load
from invoicing.domain.delivery import DeliveryState
from invoicing.domain.errors import InputError, NotFoundError
from invoicing.domain.period import Period
from invoicing.services.delivery import closing
from invoicing.words.failures import tell

_CYCLE = load("cycle")

Json = dict[str, Any]


def show_cycle(db: Database, period: Period) -> Json:
    """Counts and sums of a cycle (``cycle show``); raises `NotFoundError`."""
    cycle = _cycle(db, period)
    sums = [
        {"count": row["count"], "total": money(row["total"]), "currency": row["currency"]}
        for row in db.execute(_CYCLE["invoice_sums"], {"cycle_id": cycle["id"]})
    ]
    decisions = {"send": 0} | {
        row["outcome"]: row["tenants"]
        for row in db.execute(_CYCLE["decision_counts"], {"cycle_id": cycle["id"]})
    }
    states = {
        row["state"]: row["deliveries"]
        for row in db.execute(_CYCLE["delivery_counts"], {"cycle_id": cycle["id"]})
    }
    unissued = db.execute(_CYCLE["unissued"], {"cycle_id": cycle["id"]}).fetchall()
    faults = [tell(fault) for fault in closing.imbalances(db, cycle["id"])]
    return {
        "period": str(period),
        "state": cycle["state"],
        # Of the currency with most invoices; `by_currency` has them all.
        "invoices": {
            "count": sum(each["count"] for each in sums),
            "total": sums[0]["total"] if sums else "0",
            "currency": sums[0]["currency"] if sums else "COP",
            "by_currency": sums,
        },
        "unissued": [{**row, "total": money(row["total"])} for row in unissued],
        "tenants": sum(decisions.values()),
        "decisions": decisions,
        "deliveries": {str(state): states.get(state, 0) for state in DeliveryState},
        "balanced": not faults,
        "imbalances": faults,
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
            }
            for row in db.execute(_CYCLE["runs_of_cycle"], {"cycle_id": cycle["id"]})
        ],
    }


def cycle_tenants(db: Database, period: Period) -> list[Json]:
    """One row a tenant with invoices: its decision with the trace, and its delivery (``cycle tenants``)."""
    cycle = _cycle(db, period)
    deliveries: defaultdict[str, list[Json]] = defaultdict(list)
    for delivery in list_deliveries(db, period=period):
        if delivery["in_cycle"]:
            deliveries[delivery["tenant"]].append(delivery)
    rows = db.execute(load("decision")["decisions_of_cycle"], {"cycle_id": cycle["id"]})
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
        for row in rows
    ]


def cycle_invoices(db: Database, period: Period) -> list[Json]:
    """One row an invoice of the monthly job (``cycle invoices``)."""
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
        }
        for row in db.execute(load("invoice")["invoices_of_cycle"], {"cycle_id": cycle["id"]})
    ]


def list_deliveries(db: Database, *, period: Period | None = None, state: str | None = None) -> list[Json]:
    """One row a delivery (``deliveries list``).

    Raises:
        InputError: There is no such state.
    """
    if state is not None and state not in list(DeliveryState):
        raise InputError(f"there is no delivery state {state!r}; known are {', '.join(DeliveryState)}")
    rows = db.execute(
        load("delivery")["deliveries"], {"period": str(period) if period else None, "state": state}
    )
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


def money(amount: Decimal) -> str:
    """An amount as a decimal string, without an exponent."""
    return f"{amount:f}"


def _cycle(db: Database, period: Period) -> DictRow:
    row = db.execute(_CYCLE["cycle_of_period"], {"period": str(period)}).fetchone()
    if row is None:
        raise NotFoundError(f"there is no cycle {period} yet: bin/invoicing run --period {period} makes it")
    return row


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
