"""Decide who gets mail: the rules applied to a run's tenants, and what stands decided."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from invoicing.db.connection import Database
from invoicing.db.statements import beside, fetch_all, fetch_one
from invoicing.domain.eligibility import (
    HELD,
    SINGLE_INVOICE_RULES,
    Decision,
    RuleAnswer,
    SendPolicy,
    decide,
)
from invoicing.domain.lease import Language, Tenant
from invoicing.domain.period import Period
from invoicing.services.billing.runs import Run

if TYPE_CHECKING:
    import pandas as pd

_SQL = beside(__file__)


@dataclass(frozen=True, slots=True)
class Addressee:
    """A tenant that is decided on, as it is now.

    Args:
        is_held: By a person, for the period that is decided on.
    """

    tenant_id: int
    code: str
    name: str
    emails: Sequence[str]
    cc_emails: Sequence[str]
    language: Language
    withholding_agent: bool
    auto_send: bool
    only_multiple: bool
    is_held: bool

    def as_tenant(self) -> Tenant:
        """What the rules look at."""
        return Tenant(
            code=self.code,
            name=self.name,
            emails=tuple(self.emails),
            cc_emails=tuple(self.cc_emails),
            language=self.language,
            withholding_agent=self.withholding_agent,
            auto_send=self.auto_send,
            only_multiple=self.only_multiple,
            is_held=self.is_held,
        )


@dataclass(frozen=True, slots=True)
class CountedTenant(Addressee):
    """A tenant of a run's count, and what stands of it in the run's cycle.

    Args:
        invoices: How many, at least 1.
        decision_id: What stands decided; None, as ``decided_trace`` and ``decided_count`` are, where nothing does.
        decided_reason: None where there is mail.
        has_message: A message of the cycle is under way or was accepted.
        has_open: A message of the cycle is still to be sent.
        uncovered: Ids of the invoices that no first delivery carries, by number.
    """

    invoices: int
    decision_id: int | None
    decided_reason: str | None
    decided_trace: Sequence[Mapping[str, Any]] | None
    decided_count: int | None
    has_message: bool
    has_open: bool
    uncovered: Sequence[int]


@dataclass(frozen=True, slots=True)
class UndecidedInvoice(Addressee):
    """A single invoice, or what a correction made, that nobody decided on yet, and its tenant.

    Args:
        about: Id of the invoice that it is, or corrects, or replaces.
    """

    invoice_id: int
    about: int
    period: str


def counted_tenants(db: Database, run: Run, tenant_ids: Sequence[int] | None = None) -> list[CountedTenant]:
    """The tenants of the run's count, by code.

    Args:
        tenant_ids: These alone, counted now.
    """
    which = {
        "run_id": run.id,
        "cycle_id": run.cycle_id,
        "period": str(run.period),
        "tenant_ids": None if tenant_ids is None else list(tenant_ids),
    }
    return fetch_all(db, CountedTenant, _SQL["counted_tenants"], which)


def undecided_single_invoices(db: Database) -> list[UndecidedInvoice]:
    """Single invoices, credit notes and their replacements that no run has decided on yet, by number."""
    return fetch_all(db, UndecidedInvoice, _SQL["undecided_single_invoices"])


def foresee_single_invoice(
    db: Database, tenant_id: int, period: Period, policy: SendPolicy
) -> tuple[Addressee, Decision]:
    """What would be decided now on a single invoice of a tenant, and on whom; writes nothing."""
    which = {"tenant_id": tenant_id, "period": str(period)}
    tenant = fetch_one(db, Addressee, _SQL["addressee"], which)
    assert tenant is not None
    return tenant, decide(tenant.as_tenant(), 1, policy, SINGLE_INVOICE_RULES)


def apply_rules(tenants: Sequence[CountedTenant], policy: SendPolicy) -> "pd.DataFrame":
    """Decide on each tenant of a run's count.

    A tenant who has had its message keeps its decision, unless it has an invoice that no message carries, or a
    message that is still to be sent.

    Returns:
        One row per tenant: ``tenant`` (`CountedTenant`), ``decision`` (`Decision`), ``reason`` (None to send),
        ``anew`` (False where an earlier decision stands) and ``outcome`` (``send``, or the reason that stands).
    """
    import pandas as pd  # takes a second; the command line does without

    # Of objects: pandas would make NaN of a reason that is None, and floats of ids beside it.
    names = [field.name for field in fields(CountedTenant)]
    rows = [[getattr(each, name) for name in names] for each in tenants]
    counted = pd.DataFrame(rows, columns=names, dtype=object).astype({"has_message": bool, "has_open": bool})
    decisions = decide_tenants(tenants, policy)
    frame = pd.DataFrame(
        {
            "tenant": pd.Series(list(tenants), dtype=object),
            "decision": pd.Series(decisions, dtype=object),
            "reason": pd.Series([each.reason for each in decisions], dtype=object),
        }
    )
    is_settled = counted["has_message"] & ~counted["has_open"] & (counted["uncovered"].str.len() == 0)
    frame["anew"] = ~(is_settled & counted["decision_id"].notna())
    frame["outcome"] = frame["reason"].where(frame["anew"], counted["decided_reason"]).fillna("send")
    return frame


def decide_tenants(tenants: Iterable[CountedTenant], policy: SendPolicy) -> list[Decision]:
    """Decide on each of ``tenants``, in their order, whatever stands decided."""
    return [decide(each.as_tenant(), each.invoices, policy) for each in tenants]


def decide_single_invoices(invoices: Iterable[UndecidedInvoice], policy: SendPolicy) -> list[Decision]:
    """Decide on each of ``invoices``, in their order, by the rules that single invoices are asked."""
    return [decide(each.as_tenant(), 1, policy, SINGLE_INVOICE_RULES) for each in invoices]


def drop_uncounted(db: Database, run: Run) -> None:
    """End the decisions on tenants whose invoices of the run's cycle no longer stand."""
    db.execute(_SQL["supersede_uncounted"], {"run_id": run.id, "cycle_id": run.cycle_id})


def keep_decisions(db: Database, run: Run, anew: Sequence[tuple[CountedTenant, Decision]]) -> None:
    """Replace the decisions that came out differently; an equal one stands as it was first made."""
    changed = [
        (tenant, decision)
        for tenant, decision in anew
        if tenant.decision_id is None
        or (tenant.decided_reason, tenant.decided_trace) != (decision.reason, _trace(decision))
        or tenant.decided_count != tenant.invoices
    ]
    superseded = [tenant.decision_id for tenant, _ in changed if tenant.decision_id is not None]
    db.execute(_SQL["supersede_decisions"], {"ids": superseded})
    _copy_decisions(
        db,
        (
            (run.id, run.cycle_id, tenant.tenant_id, None, tenant.invoices, decision)
            for tenant, decision in changed
        ),
    )


def decide_held(db: Database, decision_id: int) -> None:
    """Put a decision to hold in place of one to send: the rules have answered as they did, and a person objects."""
    row = db.execute(_SQL["decision"], {"id": decision_id}).fetchone()
    assert row is not None
    answers = [RuleAnswer(**answer) for answer in row["trace"] if answer["rule"] != HELD]
    held = Decision(row["code"], HELD, (*answers, RuleAnswer(HELD, {"held": True}, objects=True)))
    db.execute(_SQL["supersede_decisions"], {"ids": [decision_id]})
    keys = (row["run_id"], row["cycle_id"], row["tenant_id"], None, row["invoice_count"])
    _copy_decisions(db, [(*keys, held)])


def keep_single_decisions(
    db: Database, run: Run, invoices: Sequence[UndecidedInvoice], decisions: Sequence[Decision]
) -> None:
    """Keep what was decided on each of ``invoices``."""
    _copy_decisions(
        db,
        (
            (run.id, None, invoice.tenant_id, invoice.invoice_id, 1, decision)
            for invoice, decision in zip(invoices, decisions, strict=True)
        ),
    )


def _copy_decisions(
    db: Database, rows: Iterable[tuple[int, int | None, int, int | None, int, Decision]]
) -> None:
    """Store decisions: run, cycle, tenant, invoice (of a single one), number of invoices, decision."""
    with db.cursor() as cursor, cursor.copy(_SQL["copy_decisions"]) as copy:
        for *keys, decision in rows:
            copy.write_row((*keys, decision.reason, json.dumps(_trace(decision), ensure_ascii=False)))


def _trace(decision: Decision) -> list[dict[str, Any]]:
    return [answer.as_json() for answer in decision.trace]
