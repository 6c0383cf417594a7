"""Decide who gets mail, and make the deliveries: all in one transaction."""

import json
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from psycopg.rows import DictRow
from psycopg.types.json import Jsonb

from invoicing.db.connection import Database
from invoicing.db.statements import load
from invoicing.domain.delivery import Batch, split_into_batches
from invoicing.domain.eligibility import SINGLE_INVOICE_RULES, Decision, SendPolicy, decide
from invoicing.domain.lease import Tenant
from invoicing.domain.settings import Settings
from invoicing.services.billing import count
from invoicing.services.billing import runs as cycles
from invoicing.services.billing.runs import Run
from invoicing.services.delivery.ledger import reopen_failed

if TYPE_CHECKING:
    import pandas as pd

_DECISION = load("decision")
_DELIVERY = load("delivery")
_LABEL_LENGTH = 60


@dataclass(frozen=True, slots=True)
class NewDelivery:
    """A message to be: a tenant and the invoices that go with it."""

    tenant: DictRow
    period: str
    invoice_ids: tuple[int, ...]


def select_recipients(db: Database, run_id: int) -> list[Batch]:
    """Apply the rules to every tenant with invoices, keep the decisions, make the deliveries due.

    Tenants who have had their message keep their decision, unless they have an invoice that no message
    carries, or a message that is still to be sent; all others are decided on anew with the run's snapshot.
    Safe to repeat.

    Returns:
        What is to be sent, at most 200 batches; empty where nothing is.
    """
    run = cycles.load_run(db, run_id)
    assert run.cycle_id is not None
    settings = run.settings.settings
    with db.transaction():
        cycles.lock(db, run)
        count.keep_counts(db, run)
        _run_statement(db, "cancel_misgrouped", run, grouping=settings.grouping)
        tenants = db.execute(
            _DECISION["counted_tenants"], {"run_id": run.id, "cycle_id": run.cycle_id}
        ).fetchall()
        frame = apply_rules(tenants, settings.policy)
        anew = frame[frame["anew"]]
        _keep_decisions(db, run, anew)
        _withdraw(db, run, anew[anew["reason"].notna()])
        _reopen_failed(db, run, anew[anew["reason"].isna()])
        _prepare(db, run, anew[anew["reason"].isna()])
        outcomes = frame["outcome"].value_counts()
        cycles.mark(db, run, "decided", {"decisions": {str(k): int(v) for k, v in outcomes.items()}})
        due = db.execute(_DELIVERY["cycle_deliveries_to_send"], {"cycle_id": run.cycle_id}).fetchall()
    return _batches(due)


def select_new_invoices(db: Database, run_id: int) -> list[Batch]:
    """Decide on each single invoice that nobody decided on yet, and make its delivery.

    An invoice is decided on once, when it is created: a switch turned on later sends nothing of the past.

    Returns:
        Everything outside the monthly job that is to be sent: new, left over, or sent again by a person.
    """
    run = cycles.load_run(db, run_id)
    policy = run.settings.settings.policy
    with db.transaction():
        cycles.lock(db, run)
        invoices = db.execute(_DECISION["undecided_single_invoices"]).fetchall()
        decisions = [decide(_tenant(row), 1, policy, SINGLE_INVOICE_RULES) for row in invoices]
        _copy_decisions(
            db,
            run,
            [
                (row["tenant_id"], row["invoice_id"], 1, decision)
                for row, decision in zip(invoices, decisions, strict=True)
            ],
        )
        _add_deliveries(
            db,
            run,
            [
                NewDelivery(row, row["period"], (row["invoice_id"],))
                for row, decision in zip(invoices, decisions, strict=True)
                if decision.send
            ],
        )
        cycles.mark(
            db, run, "decided", {"invoices": len(invoices), "send": sum(each.send for each in decisions)}
        )
        due = db.execute(_DELIVERY["take_up_other_deliveries"], {"run_id": run.id}).fetchall()
    return _batches(due)


def apply_rules(tenants: list[DictRow], policy: SendPolicy) -> "pd.DataFrame":
    """Decide on each tenant of a run's count.

    Args:
        tenants: Rows of the query ``counted_tenants``.

    Returns:
        One row a tenant: the columns of ``tenants``, and ``decision`` (`Decision`), ``reason`` (None to
        send), ``anew`` (False where an earlier decision stands) and ``outcome`` (``send`` or the reason that
        stands).
    """
    import pandas as pd  # takes a second; the command line does without

    columns = ["tenant_id", "has_message", "has_open", "uncovered", "decision_id", "decided_reason"]
    # Of objects: pandas would make NaN of a reason that is None, and floats of ids beside it.
    frame = pd.DataFrame(tenants, columns=list(tenants[0]) if tenants else columns, dtype=object)
    frame = frame.astype({"has_message": bool, "has_open": bool})
    decisions = [decide(_tenant(row), int(row["invoices"]), policy) for row in tenants]
    frame["decision"] = pd.Series(decisions, dtype=object)
    frame["reason"] = pd.Series([each.reason for each in decisions], dtype=object)
    settled = frame["has_message"] & ~frame["has_open"] & (frame["uncovered"].str.len() == 0)
    frame["anew"] = ~(settled & frame["decision_id"].notna())
    frame["outcome"] = frame["reason"].where(frame["anew"], frame["decided_reason"]).fillna("send")
    return frame


def _tenant(row: DictRow) -> Tenant:
    return Tenant(
        code=row["code"],
        name=row["name"],
        emails=tuple(row["emails"]),
        cc_emails=tuple(row["cc_emails"]),
        language=row["language"],
        withholding_agent=row["withholding_agent"],
        auto_send=row["auto_send"],
        only_multiple=row["only_multiple"],
    )


def _records(frame: "pd.DataFrame") -> list[DictRow]:
    return [
        dict(zip(frame.columns, values, strict=True)) for values in frame.itertuples(index=False, name=None)
    ]


def _keep_decisions(db: Database, run: Run, anew: "pd.DataFrame") -> None:
    """Replace the decisions that came out differently; an equal one stands as it was first made."""
    db.execute(_DECISION["supersede_uncounted"], {"run_id": run.id, "cycle_id": run.cycle_id})
    changed = [
        row
        for row in _records(anew)
        if row["decision_id"] is None
        or (row["decided_reason"], row["decided_trace"]) != (row["decision"].reason, _trace(row["decision"]))
        or row["decided_count"] != row["invoices"]
    ]
    superseded = [row["decision_id"] for row in changed if row["decision_id"] is not None]
    db.execute(_DECISION["supersede_decisions"], {"ids": superseded})
    _copy_decisions(db, run, [(row["tenant_id"], None, row["invoices"], row["decision"]) for row in changed])


def _copy_decisions(db: Database, run: Run, rows: list[tuple[int, int | None, int, Decision]]) -> None:
    with db.cursor() as cursor, cursor.copy(_DECISION["copy_decisions"]) as copy:
        for tenant_id, invoice_id, invoice_count, decision in rows:
            cycle_id = run.cycle_id if invoice_id is None else None
            trace = json.dumps(_trace(decision), ensure_ascii=False)
            copy.write_row((run.id, cycle_id, tenant_id, invoice_id, invoice_count, decision.reason, trace))


def _trace(decision: Decision) -> list[dict[str, Any]]:
    return [answer.as_json() for answer in decision.trace]


def _withdraw(db: Database, run: Run, skipped: "pd.DataFrame") -> None:
    for reason, group in skipped.groupby("reason"):
        _run_statement(
            db, "cancel_undelivered", run, tenant_ids=[int(i) for i in group["tenant_id"]], reason=str(reason)
        )


def _reopen_failed(db: Database, run: Run, to_send: "pd.DataFrame") -> None:
    """Another run is another try for what was refused."""
    tenant_ids = [int(tenant_id) for tenant_id in to_send["tenant_id"]]
    failed = db.execute(_DELIVERY["failed_of_tenants"], {"cycle_id": run.cycle_id, "tenant_ids": tenant_ids})
    ids = [row["id"] for row in failed]
    reopen_failed(db, ids, actor=f"{run.dag_id}/{run.dag_run_id}", reason="another run tries again")


def _prepare(db: Database, run: Run, to_send: "pd.DataFrame") -> None:
    """Bring open deliveries up to date, and make those that are missing."""
    tenant_ids = [int(tenant_id) for tenant_id in to_send["tenant_id"]]
    _run_statement(db, "refresh_untried", run, tenant_ids=tenant_ids)
    untried = {
        row["tenant_id"]: row["id"]
        for row in db.execute(
            _DELIVERY["untried_of_tenants"], {"cycle_id": run.cycle_id, "tenant_ids": tenant_ids}
        )
    }
    per_tenant = run.settings.settings.grouping == "per_tenant"
    new: list[NewDelivery] = []
    joined: list[tuple[int, int]] = []
    for row in _records(to_send[to_send["uncovered"].str.len() > 0]):
        if not per_tenant:
            new += [NewDelivery(row, str(run.period), (invoice_id,)) for invoice_id in row["uncovered"]]
        elif row["tenant_id"] in untried:
            joined += [(untried[row["tenant_id"]], invoice_id) for invoice_id in row["uncovered"]]
        else:
            new.append(NewDelivery(row, str(run.period), tuple(row["uncovered"])))
    add_invoices(db, joined)
    _add_deliveries(db, run, new)


def _add_deliveries(db: Database, run: Run, new: list[NewDelivery]) -> None:
    by_message_id = {message_id(run.settings.settings): delivery for delivery in new}
    rows = [
        {
            "tenant_id": delivery.tenant["tenant_id"],
            "period": delivery.period,
            "message_id": id_,
            "to_addresses": list(delivery.tenant["emails"]),
            "cc_addresses": list(delivery.tenant["cc_emails"]),
            "language": delivery.tenant["language"],
        }
        for id_, delivery in by_message_id.items()
    ]
    added = db.execute(_DELIVERY["add_deliveries"], _parameters(run, rows=Jsonb(rows))).fetchall()
    add_invoices(
        db,
        [
            (row["id"], invoice_id)
            for row in added
            for invoice_id in by_message_id[row["message_id"]].invoice_ids
        ],
    )


def add_invoices(db: Database, pairs: list[tuple[int, int]], purpose: str = "initial") -> None:
    """Put invoices into deliveries: pairs of delivery id and invoice id."""
    with db.cursor() as cursor, cursor.copy(_DELIVERY["copy_delivery_invoices"]) as copy:
        for delivery_id, invoice_id in pairs:
            copy.write_row((delivery_id, invoice_id, purpose))


def message_id(settings: Settings) -> str:
    """A new ``Message-ID``, fixed with its delivery; the right side is the sender's domain (RFC 5322, 3.6.4)."""
    domain = settings.from_email.rpartition("@")[2] or "invoicing.invalid"
    return f"<{uuid.uuid4()}@{domain.encode('idna').decode('ascii')}>"


def _run_statement(db: Database, name: str, run: Run, **parameters: Any) -> None:
    db.execute(_DELIVERY[name], _parameters(run, **parameters))


def _parameters(run: Run, **parameters: Any) -> dict[str, Any]:
    return {
        "run_id": run.id,
        "cycle_id": run.cycle_id,
        "settings_version_id": run.settings.id,
        "template_version_id": run.template.id,
        "actor": f"{run.dag_id}/{run.dag_run_id}",
        **parameters,
    }


def _batches(due: list[DictRow]) -> list[Batch]:
    recipients = [(row["id"], f"{row['code']} {row['name']}"[:_LABEL_LENGTH]) for row in due]
    return split_into_batches(recipients)
