"""A cycle's tenants as people look at them: found and filtered, and one with all that was decided and sent."""

import datetime
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from invoicing.db.connection import Database
from invoicing.db.statements import beside, fetch_all, fetch_page
from invoicing.domain.delivery import DeliveryState
from invoicing.domain.discretion import Personal, PersonalTrace, Said
from invoicing.domain.eligibility import REASONS
from invoicing.domain.errors import NotFoundError
from invoicing.domain.period import Period
from invoicing.domain.refusal import refusal_of
from invoicing.services.agency.searching import patterns
from invoicing.services.views.cycles import load_cycle
from invoicing.services.views.deliveries import DeliveryShown, deliveries_of_tenant

_SQL = beside(__file__)

SORTS = ("code", "name", "invoices", "decision", "state", "updated")
OUTCOMES = ("send", "skip", *REASONS)
STATES = (*(str(state) for state in DeliveryState), "none")

_EXPORT_ROWS = 2_000

Trace = Sequence[Mapping[str, Any]]
"""The rules that were asked about a tenant, each with its inputs and its outcome."""


@dataclass(frozen=True, slots=True)
class CycleTenantQuery:
    """Which of a cycle's tenants are meant.

    Args:
        search: Words that all occur in code, name, document or addresses.
        outcome: One of `OUTCOMES`: ``skip`` is any reason.
        state: One of `STATES`: a delivery of theirs is in it; ``none``: there is no delivery.
    """

    search: str = ""
    outcome: str | None = None
    state: str | None = None


@dataclass(frozen=True, slots=True)
class CycleTenantFound:
    """A tenant in a cycle's table: the decision, and the delivery that needs most attention.

    Args:
        tenant: Its code, beside its ``name``.
        invoices: How many were counted.
        reason: Why there is no mail; None where there is.
        deliveries: How many there are; None, like all that follows, where there is none.
        delivery_reason: What the ledger says of the delivery's last step.
        numbers: Of the standing invoices, as all that follows.
        due_on: The first day on which one of them is due; None where none stands.
        totals: By ``currencies``, one each.
        refusal: What the relay's answer means (`domain.refusal`).
    """

    tenant: str
    name: Personal[str]
    invoices: int
    reason: str | None
    trace: PersonalTrace[Trace]
    deliveries: int | None
    delivery_id: int | None
    state: str | None
    updated_at: datetime.datetime | None
    attempts: int | None
    last_reply: Said[str | None]
    to_addresses: Personal[Sequence[str] | None]
    cc_addresses: Personal[Sequence[str] | None]
    message_id: str | None
    purpose: str | None
    claimed_by: str | None
    delivery_reason: Said[str | None]
    numbers: Sequence[str]
    due_on: datetime.date | None
    currencies: Sequence[str]
    totals: Sequence[Decimal]
    refusal: str | None = None

    @property
    def sums(self) -> Sequence[tuple[Decimal, str]]:
        """An amount and its currency, for each currency."""
        return list(zip(self.totals, self.currencies, strict=True))


@dataclass(frozen=True, slots=True)
class CycleInvoice:
    """An invoice of a cycle, with what was decided on its tenant and the delivery that carries it.

    Args:
        lease: Its code, as ``tenant`` is the tenant's, beside its ``name``.
        corrects: Number of the invoice that a credit note credits, by its amounts; None of an invoice.
        reason: Why there is no mail; None where there is, or nobody decided.
        delivery_id: None, like all that follows, where no delivery carries it.
    """

    number: str
    lease: str | None
    property: Personal[str]
    tenant: str
    name: Personal[str]
    issued_on: datetime.date
    due_on: datetime.date
    subtotal: Decimal
    tax: Decimal
    withholding: Decimal
    total: Decimal
    currency: str
    invoice_state: str
    corrects: str | None
    reason: str | None
    delivery_id: int | None
    state: str | None
    updated_at: datetime.datetime | None
    to_addresses: Personal[Sequence[str] | None]
    message_id: str | None


@dataclass(frozen=True, slots=True)
class EarlierDecision:
    """A decision that another one replaced."""

    invoice_count: int
    reason: str | None
    trace: PersonalTrace[Trace]
    decided_at: datetime.datetime
    superseded_at: datetime.datetime


@dataclass(frozen=True, slots=True)
class InvoiceOfTenant:
    """An invoice of the month, or a credit note.

    Args:
        lease: Its code; None where the lease is gone.
        has_document: A PDF can be had: as it is kept, or of a voided invoice made anew.
        corrects: Number of the invoice that a credit note credits.
    """

    id: int
    number: str
    lease: str | None
    property: Personal[str]
    issued_on: datetime.date
    due_on: datetime.date
    total: Decimal
    currency: str
    state: str
    has_document: bool
    corrects: str | None


@dataclass(frozen=True, slots=True)
class CycleTenant:
    """A tenant in a cycle.

    Args:
        reason: Why there is no mail; None where there is.
        decided_at: None, like ``trace`` and the run with its ``settings_version_id``, as long as nobody decided.
        earlier: Newest first, like ``deliveries``.
    """

    tenant_id: int
    code: str
    name: Personal[str]
    emails: Personal[Sequence[str]]
    cc_emails: Personal[Sequence[str]]
    language: str
    updated_at: datetime.datetime
    invoice_count: int | None
    reason: str | None
    trace: PersonalTrace[Trace | None]
    decided_at: datetime.datetime | None
    dag_id: str | None
    dag_run_id: str | None
    settings_version_id: int | None
    invoices: Sequence[InvoiceOfTenant]
    earlier: Sequence[EarlierDecision]
    deliveries: Sequence[DeliveryShown]


def find_cycle_tenants(
    db: Database,
    period: Period,
    which: CycleTenantQuery,
    *,
    sort: str = "code",
    descending: bool = False,
    limit: int = 25,
    offset: int = 0,
) -> tuple[list[CycleTenantFound], int]:
    """One page of a cycle's tenants, and how many fit in all; raises `NotFoundError`.

    Args:
        sort: One of `SORTS`.
    """
    parameters = {
        "cycle_id": load_cycle(db, period).id,
        "outcome": which.outcome,
        "state": which.state,
        "patterns": patterns(which.search),
        "sort": sort,
        "descending": descending,
        "limit": limit,
        "offset": offset,
    }
    found, total = fetch_page(db, CycleTenantFound, _SQL["cycle_tenants_found"], parameters)
    if not found and offset:
        # Past the end: the total is on the rows.
        first = parameters | {"limit": 1, "offset": 0}
        _, total = fetch_page(db, CycleTenantFound, _SQL["cycle_tenants_found"], first)
    return [replace(each, refusal=refusal_of(each.state, each.last_reply)) for each in found], total


def all_cycle_invoices(db: Database, period: Period, which: CycleTenantQuery) -> list[CycleInvoice]:
    """Every invoice of the tenants that fit, by number; raises `NotFoundError`."""
    parameters = {
        "cycle_id": load_cycle(db, period).id,
        "outcome": which.outcome,
        "state": which.state,
        "patterns": patterns(which.search),
    }
    return fetch_all(db, CycleInvoice, _SQL["cycle_invoices_found"], parameters)


def all_cycle_tenants(db: Database, period: Period, which: CycleTenantQuery) -> Iterator[CycleTenantFound]:
    """Every tenant that fits, by code, as `find_cycle_tenants` gives them; raises `NotFoundError`."""
    offset = 0
    while True:
        found, _ = find_cycle_tenants(db, period, which, limit=_EXPORT_ROWS, offset=offset)
        yield from found
        if len(found) < _EXPORT_ROWS:
            return
        offset += _EXPORT_ROWS


def cycle_tenant(db: Database, period: Period, code: str) -> CycleTenant:
    """A tenant in a cycle: decision, earlier decisions, invoices, deliveries with events and attempts.

    Raises:
        NotFoundError: There is no such cycle or tenant, or nothing of the tenant in the cycle.
    """
    cycle = load_cycle(db, period)
    row = db.execute(_SQL["cycle_tenant"], {"cycle_id": cycle.id, "code": code.replace("\0", "")}).fetchone()
    if row is None:
        raise NotFoundError("tenant_unknown", tenant=code)
    which = {"cycle_id": cycle.id, "tenant_id": row["tenant_id"]}
    invoices = fetch_all(db, InvoiceOfTenant, _SQL["invoices_of_cycle_tenant"], which)
    if row["decided_at"] is None and not invoices:
        raise NotFoundError("tenant_not_in_cycle", tenant=code, period=period)
    return CycleTenant(
        **row,
        invoices=invoices,
        earlier=fetch_all(db, EarlierDecision, _SQL["earlier_decisions"], which),
        deliveries=deliveries_of_tenant(db, cycle_id=cycle.id, tenant_id=row["tenant_id"]),
    )
