"""Decide who gets mail, and make the deliveries: all in one transaction."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from psycopg.types.json import Jsonb

from invoicing.db.connection import Database
from invoicing.db.statements import CHUNK, beside
from invoicing.domain.delivery import Batch
from invoicing.domain.eligibility import HELD, Decision
from invoicing.domain.settings import Settings
from invoicing.services.billing import count, decide, runs
from invoicing.services.billing.decide import Addressee, CountedTenant, UndecidedInvoice
from invoicing.services.billing.runs import Run
from invoicing.services.delivery import shares
from invoicing.services.delivery.ledger import reopen_failed

_SQL = beside(__file__)


@dataclass(frozen=True, slots=True)
class NewDelivery:
    """A message to be: a tenant and the invoices that go with it."""

    tenant: Addressee
    period: str
    invoice_ids: tuple[int, ...]


def select_recipients(db: Database, run_id: int) -> list[Batch]:
    """Apply the rules to every tenant with invoices, keep the decisions, make the deliveries due.

    Tenants who have had their message keep their decision, unless they have an invoice that no message
    carries, or a message that is still to be sent; all others are decided on anew with the run's snapshot.
    Safe to repeat.

    Returns:
        What is to be sent, in batches for rendering; empty where nothing is.
    """
    run = runs.load_run(db, run_id)
    assert run.cycle_id is not None
    with db.transaction():
        runs.lock(db, run)
        outcomes = _decide_month(db, run)
        runs.finish_stage(db, run, "decided", {"decisions": outcomes})
        due = [row["id"] for row in db.execute(_SQL["cycle_deliveries_to_send"], {"cycle_id": run.cycle_id})]
    return shares.for_rendering(db, run, due)


def _decide_month(db: Database, run: Run) -> dict[str, int]:
    """Decide on all tenants with invoices, of whom memory holds nothing afterwards; how many have each outcome."""
    settings = run.settings.settings
    count.keep_counts(db, run)
    _run_statement(db, _SQL["cancel_misgrouped"], run, run.name, grouping=settings.grouping)
    frame = decide.apply_rules(decide.counted_tenants(db, run), settings.policy)
    anew = frame[frame["anew"]]
    decide.drop_uncounted(db, run)
    bring_in_line(db, run, list(zip(anew["tenant"], anew["decision"], strict=True)), actor=run.name)
    return {str(outcome): int(tenants) for outcome, tenants in frame["outcome"].value_counts().items()}


def select_new_invoices(db: Database, run_id: int) -> list[Batch]:
    """Decide on each single invoice, and on what corrections made, that nobody decided on yet, and make the deliveries.

    An invoice is decided on once, when it is created: a switch turned on later sends nothing of the past. A credit note
    and what replaces the invoice leave in one message.

    Returns:
        Everything outside the monthly job that is to be sent, in batches for rendering: what is new, or sent again by
        a person, and then, in batches of their own, what earlier runs left over.
    """
    run = runs.load_run(db, run_id)
    policy = run.settings.settings.policy
    with db.transaction():
        runs.lock(db, run)
        invoices = decide.undecided_single_invoices(db)
        decisions = decide.decide_single_invoices(invoices, policy)
        decide.keep_single_decisions(db, run, invoices, decisions)
        _add_deliveries(
            db,
            run,
            _messages([each for each, decision in zip(invoices, decisions, strict=True) if decision.send]),
            run.name,
        )
        runs.finish_stage(
            db, run, "decided", {"invoices": len(invoices), "send": sum(each.send for each in decisions)}
        )
        due = db.execute(_SQL["take_up_other_deliveries"], {"run_id": run.id}).fetchall()
    new = [row["id"] for row in due if not row["is_leftover"]]
    left_over = [row["id"] for row in due if row["is_leftover"]]
    return [
        *shares.for_rendering(db, run, new),
        *shares.for_rendering(db, run, left_over, is_leftover=True),
    ]


def _messages(to_send: Sequence[UndecidedInvoice]) -> list[NewDelivery]:
    """One a tenant and an invoice that it is about."""
    together: dict[tuple[int, int], list[UndecidedInvoice]] = {}
    for each in to_send:
        together.setdefault((each.about, each.tenant_id), []).append(each)
    return [
        NewDelivery(group[0], group[0].period, tuple(each.invoice_id for each in group))
        for group in together.values()
    ]


def decide_anew(
    db: Database, run: Run, tenant_ids: Sequence[int], *, actor: str
) -> list[tuple[CountedTenant, Decision]]:
    """Decide once more on these tenants of the run's cycle alone, and bring their first deliveries in line.

    In the caller's transaction, which holds the cycle's lock.

    Args:
        run: With the settings that decide, as `bring_in_line` takes it.
        actor: Who, or what, decides.

    Returns:
        What was decided, by the tenants' codes.
    """
    counted = decide.counted_tenants(db, run, tenant_ids)
    decisions = decide.decide_tenants(counted, run.settings.settings.policy)
    decided = list(zip(counted, decisions, strict=True))
    bring_in_line(db, run, decided, actor=actor)
    return decided


def deliver_uncovered(db: Database, run: Run, tenant: CountedTenant, *, actor: str) -> list[int]:
    """Make deliveries of the tenant's invoices that none carries, apart from those that there are; their ids.

    In the caller's transaction, which holds the cycle's lock.
    """
    if not tenant.uncovered:
        return []
    per_tenant = run.settings.settings.grouping == "per_tenant"
    carried = [tuple(tenant.uncovered)] if per_tenant else [(each,) for each in tenant.uncovered]
    return _add_deliveries(db, run, [NewDelivery(tenant, str(run.period), ids) for ids in carried], actor)


def bring_in_line(
    db: Database, run: Run, decided: Sequence[tuple[CountedTenant, Decision]], *, actor: str
) -> None:
    """Keep decisions on tenants of the run's cycle, and make their first deliveries what was decided.

    In the caller's transaction, which holds the cycle's lock.

    Args:
        run: With the settings and template that new and open deliveries take.
        actor: Who, or what, decided.
    """
    decide.keep_decisions(db, run, decided)
    skipped: dict[str, list[int]] = {}
    for tenant, decision in decided:
        if decision.reason is not None:
            skipped.setdefault(decision.reason, []).append(tenant.tenant_id)
    for reason, tenant_ids in skipped.items():
        # What a person holds is set aside; from the others it is withdrawn.
        statement = _SQL["hold_undelivered"] if reason == HELD else _SQL["cancel_undelivered"]
        _run_statement(db, statement, run, actor, tenant_ids=tenant_ids, reason=reason)
    to_send = [tenant for tenant, decision in decided if decision.send]
    _reopen_failed(db, run, to_send, actor)
    _prepare(db, run, to_send, actor)


def _reopen_failed(db: Database, run: Run, to_send: Sequence[CountedTenant], actor: str) -> None:
    """Another run is another try for what was refused."""
    which = {"cycle_id": run.cycle_id, "tenant_ids": [tenant.tenant_id for tenant in to_send]}
    ids = [row["id"] for row in db.execute(_SQL["failed_of_tenants"], which)]
    reopen_failed(db, ids, actor=actor, reason="another run tries again")


def _prepare(db: Database, run: Run, to_send: Sequence[CountedTenant], actor: str) -> None:
    """Bring open deliveries up to date, and make those that are missing."""
    tenant_ids = [tenant.tenant_id for tenant in to_send]
    _run_statement(db, _SQL["take_up_held"], run, actor, tenant_ids=tenant_ids)
    _run_statement(db, _SQL["refresh_open"], run, actor, tenant_ids=tenant_ids)
    untried = {
        row["tenant_id"]: row["id"]
        for row in db.execute(
            _SQL["untried_of_tenants"], {"cycle_id": run.cycle_id, "tenant_ids": tenant_ids}
        )
    }
    per_tenant = run.settings.settings.grouping == "per_tenant"
    new: list[NewDelivery] = []
    joined: list[tuple[int, int]] = []
    for tenant in to_send:
        if not tenant.uncovered:
            continue
        if not per_tenant:
            new += [NewDelivery(tenant, str(run.period), (invoice_id,)) for invoice_id in tenant.uncovered]
        elif tenant.tenant_id in untried:
            joined += [(untried[tenant.tenant_id], invoice_id) for invoice_id in tenant.uncovered]
        else:
            new.append(NewDelivery(tenant, str(run.period), tuple(tenant.uncovered)))
    add_invoices(db, joined)
    _add_deliveries(db, run, new, actor)


def _add_deliveries(db: Database, run: Run, new: list[NewDelivery], actor: str) -> list[int]:
    """The ids of the deliveries that were made."""
    return [
        id_
        for start in range(0, len(new), CHUNK)
        for id_ in _add_some_deliveries(db, run, new[start : start + CHUNK], actor)
    ]


def _add_some_deliveries(db: Database, run: Run, new: Sequence[NewDelivery], actor: str) -> list[int]:
    by_message_id = {message_id(run.settings.settings): delivery for delivery in new}
    rows = [
        {
            "tenant_id": delivery.tenant.tenant_id,
            "period": delivery.period,
            "message_id": id_,
            "to_addresses": list(delivery.tenant.emails),
            "cc_addresses": list(delivery.tenant.cc_emails),
            "language": delivery.tenant.language,
        }
        for id_, delivery in by_message_id.items()
    ]
    added = db.execute(_SQL["add_deliveries"], _parameters(run, actor, rows=Jsonb(rows))).fetchall()
    add_invoices(
        db,
        [
            (row["id"], invoice_id)
            for row in added
            for invoice_id in by_message_id[row["message_id"]].invoice_ids
        ],
    )
    return [row["id"] for row in added]


def add_invoices(db: Database, pairs: list[tuple[int, int]], purpose: str = "initial") -> None:
    """Put invoices into deliveries: pairs of delivery id and invoice id."""
    with db.cursor() as cursor, cursor.copy(_SQL["copy_delivery_invoices"]) as copy:
        for delivery_id, invoice_id in pairs:
            copy.write_row((delivery_id, invoice_id, purpose))


def message_id(settings: Settings) -> str:
    """A new ``Message-ID``, fixed with its delivery; the right side is the sender's domain (RFC 5322, 3.6.4)."""
    domain = settings.from_email.rpartition("@")[2] or "invoicing.invalid"
    return f"<{uuid.uuid4()}@{domain.encode('idna').decode('ascii')}>"


def _run_statement(db: Database, statement: bytes, run: Run, actor: str, **parameters: Any) -> None:
    db.execute(statement, _parameters(run, actor, **parameters))


def _parameters(run: Run, actor: str, **parameters: Any) -> dict[str, Any]:
    return {
        "run_id": run.id,
        "cycle_id": run.cycle_id,
        "settings_version_id": run.settings.id,
        "template_version_id": run.template.id,
        "actor": actor,
        **parameters,
    }
