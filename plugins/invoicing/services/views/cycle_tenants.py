"""A cycle's tenants as people look at them: found and filtered, and one with all that was decided and sent."""

import datetime
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any, Self

from invoicing.db.connection import Database, OpenDatabase
from invoicing.db.statements import beside, fetch_all
from invoicing.domain.delivery import DeliveryState
from invoicing.domain.discretion import Personal, PersonalTrace, Said
from invoicing.domain.eligibility import REASONS
from invoicing.domain.errors import NotFoundError
from invoicing.domain.period import Period
from invoicing.domain.refusal import refusal_of
from invoicing.services.agency import searching
from invoicing.services.views.cycles import load_cycle
from invoicing.services.views.deliveries import DeliveryShown, deliveries_of_tenant
from invoicing.services.views.paging import MOST_COUNTED, Beside

_SQL = beside(__file__)

SORTS = ("code", "name", "invoices", "decision", "state", "updated")
OUTCOMES = ("send", "skip", *REASONS)
STATES = (*(str(state) for state in DeliveryState), "none")

_BY_KEY = frozenset({"code", "name"})
_BY_DELIVERY = frozenset({"state", "updated"})
_EXPORT_ROWS = 500
_ALL = 2**31

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
    near: Beside | None = None,
) -> tuple[list[CycleTenantFound], int]:
    """One page of a cycle's tenants, and how many fit in all, up to one more than `MOST_COUNTED`.

    Args:
        sort: One of `SORTS`; who has no delivery comes last in those by deliveries.
        near: The page is the one after, or before, a tenant, by code, in the sorts by code and name; else, and where
            there is no such tenant, ``offset`` counts.

    Raises:
        NotFoundError: There is no such cycle.
    """
    asked = _Asked.of(db, period, which)
    return _page(db, asked, sort, descending, limit, offset, near), asked.count(db)


@dataclass(frozen=True, slots=True)
class _Asked:
    """Which tenants are meant, as pieces of a statement and what they need."""

    conditions: Sequence[bytes]
    parameters: Mapping[str, Any]
    has_words: bool

    @classmethod
    def of(cls, db: Database, period: Period, which: CycleTenantQuery) -> Self:
        words = searching.patterns(which.search)
        conditions = []
        match which.outcome:
            case None:
                pass
            case "send":
                conditions.append(_SQL["who_get_mail"])
            case "skip":
                conditions.append(_SQL["who_get_none"])
            case _:
                conditions.append(_SQL["for_a_reason"])
        if which.state is not None:
            conditions.append(_SQL["without_delivery"] if which.state == "none" else _SQL["with_state"])
        if words:
            conditions.append(_SQL["with_words"])
        parameters = {
            "cycle_id": load_cycle(db, period).id,
            "outcome": which.outcome,
            "state": which.state,
            "patterns": words,
        }
        return cls(conditions, parameters, bool(words))

    def statement(self, first: bytes, *last: bytes) -> bytes:
        """The pieces, with the conditions after the first."""
        return b"\n".join([first, *self.conditions, *last])

    def without_delivery(self) -> Self:
        """Of them those that have none."""
        return replace(self, conditions=[*self.conditions, _SQL["without_delivery"]])

    def count(self, db: Database, most: int = MOST_COUNTED + 1) -> int:
        """How many they are, up to ``most``."""
        first = _SQL["count_of_words"] if self.has_words else _SQL["count_of"]
        row = db.execute(
            self.statement(first, _SQL["end_of_count"]), {**self.parameters, "most": most}
        ).fetchone()
        assert row is not None
        return int(row["total"])


def _page(
    db: Database,
    asked: _Asked,
    sort: str,
    descending: bool,
    limit: int,
    offset: int,
    near: Beside | None = None,
) -> list[CycleTenantFound]:
    page = {**asked.parameters, "sort": sort, "backwards": descending, "limit": limit, "offset": offset}
    if sort in _BY_DELIVERY and asked.parameters["state"] == "none":
        sort, page = "code", {**page, "sort": "code", "backwards": False}
    if sort in _BY_DELIVERY:
        statement = asked.statement(_SQL["of_deliveries"], _SQL["by_delivery"], _SQL["end_of_page"])
        found = fetch_all(db, CycleTenantFound, _SQL["page_of"] + statement, page)
        if len(found) < limit:
            found += _rest(db, asked, limit - len(found), 0 if found else offset)
        return [replace(each, refusal=refusal_of(each.state, each.last_reply)) for each in found]
    key = None
    if near is not None and sort in _BY_KEY:
        key = db.execute(_SQL["key_of_tenant"], {"code": near.key}).fetchone()
    if key is None or near is None:
        statement = asked.statement(_SQL["of_decisions"], _SQL["by_decision"], _SQL["end_of_page"])
    else:
        page |= {**key, "offset": 0, "backwards": descending is not near.is_before}
        statement = asked.statement(
            _SQL["of_decisions"], _SQL["from_key"], _SQL["by_decision"], _SQL["end_of_page"]
        )
    found = fetch_all(db, CycleTenantFound, _SQL["page_of"] + statement, page)
    if key is not None and near is not None and near.is_before:
        found.reverse()
    return [replace(each, refusal=refusal_of(each.state, each.last_reply)) for each in found]


def _rest(db: Database, asked: _Asked, limit: int, offset: int) -> list[CycleTenantFound]:
    """What is left of a page that is sorted by deliveries: the tenants that have none, by code."""
    without = asked.without_delivery()
    if offset:
        offset = max(0, offset - asked.count(db, _ALL) + without.count(db, _ALL))
    return _page(db, without, "code", False, limit, offset)


def all_cycle_invoices(
    open_database: OpenDatabase, period: Period, which: CycleTenantQuery
) -> Iterator[list[CycleInvoice]]:
    """Every invoice of the tenants that fit, by number, in batches; raises `NotFoundError`.

    Args:
        open_database: For each batch anew: what is read slowly keeps no connection.
    """
    key: dict[str, Any] = {"key_series": None, "key_serial": None}
    while True:
        with open_database() as db:
            parameters = _Asked.of(db, period, which).parameters
            rows = db.execute(
                _SQL["cycle_invoices_found"], {**parameters, **key, "limit": _EXPORT_ROWS}
            ).fetchall()
        if rows:
            key = {"key_series": rows[-1]["series"], "key_serial": rows[-1]["serial"]}
        yield [
            CycleInvoice(**{name: row[name] for name in row if name not in ("series", "serial")})
            for row in rows
        ]
        if len(rows) < _EXPORT_ROWS:
            return


def all_cycle_tenants(
    open_database: OpenDatabase, period: Period, which: CycleTenantQuery
) -> Iterator[list[CycleTenantFound]]:
    """Every tenant that fits, by code, as `find_cycle_tenants` gives them, in batches; raises `NotFoundError`.

    Args:
        open_database: As `all_cycle_invoices` has it.
    """
    near = None
    while True:
        with open_database() as db:
            found = _page(db, _Asked.of(db, period, which), "code", False, _EXPORT_ROWS, 0, near)
        yield found
        if len(found) < _EXPORT_ROWS:
            return
        near = Beside(found[-1].tenant)


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
