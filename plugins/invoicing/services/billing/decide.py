"""Decide who gets mail: the rules applied to a run's tenants, and what stands decided."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from invoicing.db.connection import Database
from invoicing.db.statements import beside, fetch_all, fetch_chunks, fetch_one
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
        decision_id: What stands decided; None, as ``decided_count`` is, where nothing does.
        decided_reason: None where there is mail.
        doubtful_address: One of its addresses may be invalid. All of the others' are valid for sure.
        has_message: A message of the cycle is under way or was accepted.
        has_open: A message of the cycle is still to be sent.
        uncovered: Ids of the invoices that no first delivery carries, by number.
    """

    doubtful_address: bool
    invoices: int
    decision_id: int | None
    decided_reason: str | None
    decided_count: int | None
    has_message: bool
    has_open: bool
    uncovered: Sequence[int]

    @property
    def is_settled(self) -> bool:
        """It was decided on and has had its message, and there is nothing more to send to it."""
        return self.decision_id is not None and self.has_message and not self.has_open and not self.uncovered


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
    """The tenants of the run's count, by code. In the caller's transaction.

    Args:
        tenant_ids: These alone, counted now.
    """
    which = {
        "run_id": run.id,
        "cycle_id": run.cycle_id,
        "period": str(run.period),
        "tenant_ids": None if tenant_ids is None else list(tenant_ids),
    }
    return [each for some in fetch_chunks(db, CountedTenant, _SQL["counted_tenants"], which) for each in some]


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

    The rules are asked once for all tenants that are alike in what they look at: some dozens of kinds in a month,
    beside those with an address in doubt.

    Returns:
        One row per tenant: ``tenant`` (`CountedTenant`), ``decision`` (`Decision`, one object for all that are
        alike), ``reason`` (None to send), ``anew`` (False where an earlier decision stands) and ``outcome``
        (``send``, or the reason that stands).
    """
    import pandas as pd  # takes a second; the command line does without

    looked_at = pd.DataFrame(map(_looked_at, tenants), columns=_LOOKED_AT)
    kinds = looked_at.groupby(_LOOKED_AT, sort=False).ngroup()
    first_of_each = [tenants[place] for place in kinds.drop_duplicates().index]
    decisions = pd.Series(decide_tenants(first_of_each, policy), dtype=object)
    # Of objects: pandas would make NaN of a reason that is None.
    reasons = pd.Series([each.reason for each in decisions], dtype=object)
    decided_reason = pd.Series([each.decided_reason for each in tenants], dtype=object)
    frame = pd.DataFrame(
        {
            "tenant": pd.Series(list(tenants), dtype=object),
            "decision": pd.Series(decisions.to_numpy()[kinds], dtype=object),
            "reason": pd.Series(reasons.to_numpy()[kinds], dtype=object),
            "anew": pd.Series([not each.is_settled for each in tenants], dtype=bool),
        }
    )
    frame["outcome"] = frame["reason"].where(frame["anew"], decided_reason).fillna("send")
    return frame


_LOOKED_AT = ["auto_send", "only_multiple", "is_held", "invoices", "emails", "in_doubt"]


def _looked_at(tenant: CountedTenant) -> tuple[bool, bool, bool, int, int, str]:
    """What the rules look at: of addresses their number, and themselves where one may be invalid."""
    in_doubt = "\n".join((*tenant.emails, "", *tenant.cc_emails)) if tenant.doubtful_address else ""
    return (
        tenant.auto_send,
        tenant.only_multiple,
        tenant.is_held,
        tenant.invoices,
        len(tenant.emails),
        in_doubt,
    )


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
    standing = _unchanged(db, run, anew)
    changed = [(tenant, decision) for tenant, decision in anew if tenant.decision_id not in standing]
    superseded = [tenant.decision_id for tenant, _ in changed if tenant.decision_id is not None]
    db.execute(_SQL["supersede_decisions"], {"ids": superseded})
    _copy_decisions(
        db,
        (
            (run.id, run.cycle_id, tenant.tenant_id, None, tenant.invoices, decision)
            for tenant, decision in changed
        ),
    )


def _unchanged(db: Database, run: Run, anew: Sequence[tuple[CountedTenant, Decision]]) -> set[int | None]:
    """The ids of the decisions that come out as they stand; None is not one of them."""
    decided = [(tenant, decision) for tenant, decision in anew if tenant.decision_id is not None]
    kinds: dict[tuple[str | None, str], int] = {}
    texts = _Texts()
    now = [
        (
            tenant.decision_id,
            kinds.setdefault((decision.reason, texts.of(decision)), len(kinds) + 1),
            tenant.invoices,
        )
        for tenant, decision in decided
    ]
    ids, places, counts = zip(*now, strict=True) if now else ((), (), ())
    which = {
        "cycle_id": run.cycle_id,
        "ids": list(ids),
        "kinds": list(places),
        "counts": list(counts),
        "reasons": [reason for reason, _ in kinds],
        "traces": [trace for _, trace in kinds],
    }
    return {row["id"] for row in db.execute(_SQL["unchanged_decisions"], which)}


def decide_held(db: Database, decision_id: int) -> None:
    """Put a decision to hold in place of one to send: the rules have answered as they did, and a person objects."""
    row = db.execute(_SQL["decision"], {"id": decision_id}).fetchone()
    assert row is not None
    answers = [RuleAnswer(**answer) for answer in row["trace"] if answer["rule"] != HELD]
    held = Decision(HELD, (*answers, RuleAnswer(HELD, {"held": True}, objects=True)))
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
    texts = _Texts()
    with db.cursor() as cursor, cursor.copy(_SQL["copy_decisions"]) as copy:
        for *keys, decision in rows:
            copy.write_row((*keys, decision.reason, texts.of(decision)))


class _Texts:
    """The traces of decisions as JSON; of those that many tenants have, made once."""

    def __init__(self) -> None:
        # By identity, and kept, so that no other decision gets the same.
        self._made: dict[int, tuple[Decision, str]] = {}

    def of(self, decision: Decision) -> str:
        made = self._made.get(id(decision))
        if made is None:
            text = json.dumps([answer.as_json() for answer in decision.trace], ensure_ascii=False)
            made = self._made[id(decision)] = (decision, text)
        return made[1]
