"""What must hold after every fault: the nine invariants, as one function that lists what violates them.

I1  every expected invoice exists once, and is in one live first delivery
I2  the relay accepted each Message-ID at most once
I3  ``sent`` means that the relay has it
I4  what the relay has is ``sent`` or ``in_doubt``
I5  nothing stays ``claimed`` or ``transmitting`` past its claim
I6  the run's figures are the ledger's
I7  every attempt is in the log with its phase, and with the reply where one was heard
I8  what left, where its settings ask for an approval, was approved just so before it left
I9  nothing began to leave while sending was off, globally or the tenant's, or a person held it
"""

import datetime
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from psycopg.rows import DictRow

from invoicing.db.connection import Database
from invoicing.domain.period import Period
from invoicing.services.views import report

_HELD = ("claimed", "transmitting")


@dataclass(frozen=True, slots=True)
class Quiet:
    """A while, by the database's clock, in which nothing may begin to leave; surely at both ends.

    Args:
        tenant: To whom, by code; None for all.
        ends_claims: Not even what a worker had claimed before.
    """

    tenant: str | None
    why: str
    begun_at: datetime.datetime
    ended_at: datetime.datetime
    ends_claims: bool


def violations(
    db: Database,
    accepted: Counter[str],
    *,
    period: Period,
    invoices: int,
    resent_on_purpose: int = 0,
    quiets: Sequence[Quiet] = (),
) -> list[str]:
    """List what does not hold; empty where all is well.

    Args:
        accepted: How often the relay accepted each Message-ID, by its own log.
        invoices: How many the cycle must have.
        resent_on_purpose: How many second acceptances a person, or the policy, has allowed.
        quiets: When people had stopped something of the month.
    """
    deliveries = db.execute("SELECT * FROM invoicing.delivery ORDER BY id").fetchall()
    return [
        *_invoices(db, period, invoices),
        *_acceptances(deliveries, accepted, resent_on_purpose),
        *_leases(db),
        *_figures(db, period, deliveries),
        *_attempts(db, deliveries),
        *_unapproved(db),
        *(loud for quiet in quiets for loud in _loud(db, period, quiet)),
    ]


def _unapproved(db: Database) -> Iterator[str]:
    """By when each was claimed for the last time: a rejection ends an approval, a later approval comes too late."""
    rows = db.execute(
        "SELECT d.id, w.answer, w.fingerprint = invoicing.delivery_fingerprint(d.id, d.to_addresses, d.cc_addresses,"
        "  d.language, d.settings_version_id, d.template_version_id) AS is_just_so"
        " FROM invoicing.delivery AS d JOIN invoicing.settings_version AS s ON s.id = d.settings_version_id"
        " CROSS JOIN LATERAL (SELECT max(started_at) AS claimed_at FROM invoicing.delivery_attempt AS a"
        "  WHERE a.delivery_id = d.id AND a.marked_at IS NOT NULL) AS last"
        " LEFT JOIN LATERAL (SELECT a.answer, i.fingerprint FROM invoicing.approval_item AS i"
        "  JOIN invoicing.approval_answer AS a ON a.request_id = i.request_id"
        "  WHERE i.delivery_id = d.id AND a.answer <> 'overtaken' AND a.at < last.claimed_at"
        "  ORDER BY a.id DESC LIMIT 1) AS w ON true"
        " WHERE d.purpose = 'initial' AND d.cycle_id IS NOT NULL AND d.state IN ('transmitting', 'sent', 'in_doubt')"
        "  AND s.settings ->> 'approval' <> 'never'"
    )
    for row in rows:
        if (row["answer"], row["is_just_so"]) != ("approved", True):
            yield f"I8: delivery {row['id']} left: {row['answer']}, just so: {row['is_just_so']}"


def _loud(db: Database, period: Period, quiet: Quiet) -> Iterator[str]:
    rows = db.execute(
        "SELECT a.delivery_id, a.claim_token, t.code FROM invoicing.delivery_attempt AS a"
        " JOIN invoicing.delivery AS d ON d.id = a.delivery_id JOIN invoicing.tenant AS t ON t.id = d.tenant_id"
        " WHERE d.period = %(period)s AND (%(tenant)s::text IS NULL OR t.code = %(tenant)s)"
        " AND (a.started_at BETWEEN %(begun_at)s AND %(ended_at)s"
        "      OR %(ends_claims)s AND a.marked_at BETWEEN %(begun_at)s AND %(ended_at)s)",
        {
            "period": str(period),
            "tenant": quiet.tenant,
            "begun_at": quiet.begun_at,
            "ended_at": quiet.ended_at,
            "ends_claims": quiet.ends_claims,
        },
    )
    for row in rows:
        yield f"I9: attempt {row['delivery_id']}/{row['claim_token']} to {row['code']} while {quiet.why}"


def _invoices(db: Database, period: Period, expected: int) -> Iterator[str]:
    rows = db.execute(
        "SELECT i.number, (SELECT count(*) FROM invoicing.delivery_invoice di"
        " WHERE di.invoice_id = i.id AND di.purpose = 'initial' AND di.live) AS live"
        " FROM invoicing.invoice i WHERE i.period = %s AND i.stands",
        [str(period)],
    ).fetchall()
    if len(rows) != expected:
        yield f"I1: {len(rows)} invoices, not {expected}"
    for row in rows:
        if row["live"] != 1:
            yield f"I1: invoice {row['number']} is in {row['live']} live first deliveries"
    twice = db.execute(
        "SELECT lease_id FROM invoicing.invoice WHERE period = %s AND stands"
        " GROUP BY lease_id HAVING count(*) > 1",
        [str(period)],
    ).fetchall()
    for row in twice:
        yield f"I1: lease {row['lease_id']} has more than one invoice"


def _acceptances(deliveries: list[DictRow], accepted: Counter[str], resent_on_purpose: int) -> Iterator[str]:
    duplicates = sum(count - 1 for count in accepted.values())
    if duplicates > resent_on_purpose:
        many = [message_id for message_id, count in accepted.items() if count > 1]
        yield f"I2: {duplicates} duplicates, {resent_on_purpose} allowed: {', '.join(many[:5])}"
    unknown = set(accepted) - {row["message_id"] for row in deliveries}
    if unknown:
        yield f"I2: the relay has what nobody sent: {unknown}"
    for row in deliveries:
        has_it = row["message_id"] in accepted
        if row["state"] == "sent" and not has_it:
            yield f"I3: delivery {row['id']} is sent, and the relay does not have it"
        if has_it and row["state"] not in ("sent", "in_doubt"):
            yield f"I4: the relay has delivery {row['id']}, which is {row['state']}"


def _leases(db: Database) -> Iterator[str]:
    for row in db.execute(
        "SELECT id, state FROM invoicing.delivery WHERE state = ANY(%s) AND claim_until < now()",
        [list(_HELD)],
    ):
        yield f"I5: delivery {row['id']} is {row['state']} past its claim"


def _figures(db: Database, period: Period, deliveries: list[DictRow]) -> Iterator[str]:
    shown = report.cycle_report(db, period)
    counted = Counter(row["state"] for row in deliveries if row["cycle_id"] and row["period"] == str(period))
    if Counter({state: n for state, n in shown["deliveries"].items() if n}) != counted:
        yield f"I6: the cycle shows {shown['deliveries']}, the ledger has {dict(counted)}"
    if not shown["balanced"]:
        yield f"I6: the cycle does not balance: {shown['imbalances']}"
    # The log is the ledger told as a story: it must end where the ledger stands.
    for row in db.execute(
        "SELECT d.id, d.state, e.to_state FROM invoicing.delivery d CROSS JOIN LATERAL (SELECT to_state"
        " FROM invoicing.delivery_event WHERE delivery_id = d.id ORDER BY id DESC LIMIT 1) e"
        " WHERE e.to_state <> d.state"
    ):
        yield f"I6: delivery {row['id']} is {row['state']}, its log ends with {row['to_state']}"


def _attempts(db: Database, deliveries: list[DictRow]) -> Iterator[str]:
    attempts = db.execute("SELECT * FROM invoicing.delivery_attempt ORDER BY claim_token").fetchall()
    of_delivery: dict[int, list[DictRow]] = {}
    for attempt in attempts:
        of_delivery.setdefault(attempt["delivery_id"], []).append(attempt)
    for row in deliveries:
        known = of_delivery.get(row["id"], [])
        tokens = [attempt["claim_token"] for attempt in known]
        if len(known) != row["attempts"] or tokens != list(range(1, row["claim_token"] + 1)):
            yield f"I7: delivery {row['id']} counts {row['attempts']} attempts, its log has {tokens}"
        accepted = [attempt for attempt in known if attempt["verdict"] == "accepted"]
        by_hand = db.execute(
            "SELECT 1 FROM invoicing.audit_event WHERE action = 'delivery_resolved' AND subject = %s",
            [f"delivery {row['id']}"],
        ).fetchone()
        if row["state"] == "sent" and not accepted and not by_hand:
            yield f"I7: delivery {row['id']} is sent, and no attempt of it was accepted"
    for attempt in attempts:
        yield from _attempt(attempt)


def _attempt(attempt: DictRow) -> Iterator[str]:
    name = f"attempt {attempt['delivery_id']}/{attempt['claim_token']}"
    if attempt["verdict"] is None:
        # Its worker died: all that can be known is whether the message had begun.
        if attempt["phase"] != ("payload" if attempt["marked_at"] else "claimed"):
            yield f"I7: {name} has no verdict and the phase {attempt['phase']}"
        return
    if not attempt["reply"] or attempt["ended_at"] is None:
        yield f"I7: {name} ended {attempt['verdict']} without a word"
    expected = {"accepted": 2, "refused_temporarily": 4}.get(attempt["verdict"])
    if expected is not None and (attempt["code"] or 0) // 100 != expected:
        yield f"I7: {name} is {attempt['verdict']} by the reply {attempt['code']}"
    if attempt["verdict"] in ("accepted", "in_doubt") and attempt["marked_at"] is None:
        yield f"I7: {name} is {attempt['verdict']} and was never marked"
