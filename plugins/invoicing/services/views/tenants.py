"""Tenants as people look at them: found and filtered, and one with what became of its mail."""

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from invoicing.db.connection import Database
from invoicing.db.statements import beside, fetch_all, fetch_one
from invoicing.domain.address import AddressProblem
from invoicing.domain.discretion import HIDDEN, Personal, PersonalTrace, Said
from invoicing.domain.errors import NotFoundError
from invoicing.domain.refusal import refusal_of
from invoicing.services.agency import clock
from invoicing.services.agency.addresses import invalid_addresses
from invoicing.services.agency.tenant_filter import TenantFilter, ids_with_invalid_address
from invoicing.services.views.deliveries import Attempt, Event, histories
from invoicing.services.views.paging import Beside

_SQL = beside(__file__)

SORTS = ("code", "name", "updated")
# What a tenant's page shows of each kind; nobody has more but by years of work.
_SHOWN = 60
_NO_KEY = {"key_code": None, "key_name": None, "key_updated_at": None}


@dataclass(frozen=True, slots=True)
class TenantCounts:
    """How many tenants there are, have each switch on, have no address, have an address that stops the mail."""

    tenants: int
    auto_send: int
    only_multiple: int
    no_email: int
    invalid_email: int = 0

    def of(self, which: TenantFilter) -> int | None:
        """How many fit, where one of these says it."""
        match which:
            case TenantFilter("", None, None, None):
                return self.tenants
            case TenantFilter("", bool(switch), None, None):
                return self.auto_send if switch else self.tenants - self.auto_send
            case TenantFilter("", None, bool(switch), None):
                return self.only_multiple if switch else self.tenants - self.only_multiple
            case TenantFilter("", None, None, "no_email"):
                return self.no_email
            case TenantFilter("", None, None, "invalid_email"):
                return self.invalid_email
        return None


@dataclass(frozen=True, slots=True)
class _Tenant:
    id: int
    code: str
    document_type: str
    document_number: Personal[str]
    name: Personal[str]
    emails: Personal[Sequence[str]]
    cc_emails: Personal[Sequence[str]]
    language: str
    city: Personal[str]
    auto_send: bool
    only_multiple: bool
    updated_at: datetime.datetime

    @property
    def invalid(self) -> Sequence[AddressProblem]:
        """The addresses that stop the tenant's mail; none where the addresses are hidden."""
        return invalid_addresses(each for each in (*self.emails, *self.cc_emails) if each != HIDDEN)


@dataclass(frozen=True, slots=True)
class TenantFound(_Tenant):
    """A tenant in the list.

    Args:
        leases: How many are active today.
    """

    leases: int


@dataclass(frozen=True, slots=True)
class LeaseOfTenant:
    """A lease; ``active``: today is one of its days."""

    code: str
    property: Personal[str]
    city: Personal[str]
    use: str
    start_date: datetime.date
    end_date: datetime.date | None
    rent: Decimal
    currency: str
    active: bool


@dataclass(frozen=True, slots=True)
class InvoiceOfTenant:
    """An invoice of the monthly job, or a single one.

    Args:
        lease: Its code; None for an invoice that belongs to none.
    """

    id: int
    number: str
    origin: str
    period: str
    lease: str | None
    property: Personal[str]
    issued_on: datetime.date
    due_on: datetime.date
    total: Decimal
    currency: str
    state: str
    has_document: bool


@dataclass(frozen=True, slots=True)
class DecisionOfTenant:
    """What stands decided in a cycle; ``reason`` is None where there is mail."""

    period: str
    reason: str | None
    invoice_count: int
    decided_at: datetime.datetime
    trace: PersonalTrace[Sequence[Mapping[str, Any]]]


@dataclass(frozen=True, slots=True)
class DeliveryOfTenant:
    """A delivery with all that happened to it, oldest first.

    Args:
        cycle_id: None for a single invoice's.
        resend_of: The first delivery of the same invoices, where this one sends them again.
        attempts: How many; ``tries`` has them.
        claimed_by: The task instance that had it last.
        invoices: Their numbers.
        refusal: What the relay's answer means (`domain.refusal`).
    """

    id: int
    period: str
    cycle_id: int | None
    state: str
    purpose: str
    generation: int
    resend_of: int | None
    message_id: str
    to_addresses: Personal[Sequence[str]]
    cc_addresses: Personal[Sequence[str]]
    language: str
    attempts: int
    last_reply: Said[str | None]
    actor: str
    reason: Said[str | None]
    created_at: datetime.datetime
    updated_at: datetime.datetime
    settings_version_id: int
    claimed_by: str | None
    invoices: Sequence[str]
    events: Sequence[Event] = ()
    tries: Sequence[Attempt] = ()
    refusal: str | None = None


@dataclass(frozen=True, slots=True)
class TenantChange:
    """A change that a person made, or a file to what a person had changed.

    Args:
        action: ``tenant_created``, ``tenant_changed`` or ``tenant_overwritten``.
        details: Field to its value ``before`` and ``after``; ``together``: how many tenants changed at once.
    """

    at: datetime.datetime
    actor: str
    action: str
    details: Personal[Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class TenantShown(_Tenant):
    """A tenant, whole: the newest 60 of each kind."""

    withholding_agent: bool
    leases: Sequence[LeaseOfTenant] = ()
    invoices: Sequence[InvoiceOfTenant] = ()
    decisions: Sequence[DecisionOfTenant] = ()
    deliveries: Sequence[DeliveryOfTenant] = ()
    changes: Sequence[TenantChange] = ()


def find_tenants(
    db: Database,
    which: TenantFilter,
    *,
    sort: str = "code",
    descending: bool = False,
    limit: int = 25,
    offset: int = 0,
) -> tuple[list[TenantFound], int]:
    """One page of tenants, as `page_of_tenants` gives it, and how many fit in all."""
    found = page_of_tenants(db, which, sort=sort, descending=descending, limit=limit, offset=offset)
    return found, count_tenants(db, which)


def page_of_tenants(
    db: Database,
    which: TenantFilter,
    *,
    sort: str,
    descending: bool,
    limit: int,
    offset: int = 0,
    near: Beside | None = None,
) -> list[TenantFound]:
    """One page of the tenants that fit.

    Args:
        sort: One of `SORTS`; those that it leaves equal are sorted by code.
        near: The page is the one after, or before, a tenant, by code; ``offset`` counts where there is none such.
    """
    key = db.execute(_SQL["key_of_tenant"], {"code": near.key}).fetchone() if near else None
    is_before = key is not None and near is not None and near.is_before
    page = {
        "sort": sort,
        "backwards": descending is not is_before,
        "limit": limit,
        "offset": 0 if key else offset,
        "today": clock.today(),
        **(key or _NO_KEY),
    }
    found = fetch_all(db, TenantFound, _SQL["tenants_found"], which.parameters(db) | page)
    if is_before:
        found.reverse()
    return found


def count_tenants(db: Database, which: TenantFilter) -> int:
    """How many tenants fit."""
    total = db.execute(_SQL["count_found"], which.parameters(db)).fetchone()
    assert total is not None
    return int(total["total"])


def tenant_counts(db: Database) -> TenantCounts:
    """How many tenants there are of each kind."""
    counts = fetch_one(db, TenantCounts, _SQL["tenant_counts"])
    assert counts is not None
    return replace(counts, invalid_email=len(ids_with_invalid_address(db)))


def show_tenant(db: Database, code: str) -> TenantShown:
    """A tenant with its leases, invoices, decisions, deliveries (with events and attempts) and changes.

    Raises:
        NotFoundError: There is no such tenant.
    """
    tenant = fetch_one(db, TenantShown, _SQL["tenant"], {"code": code})
    if tenant is None:
        raise NotFoundError("tenant_unknown", tenant=code)
    which = {"tenant_id": tenant.id, "code": code, "limit": _SHOWN, "today": clock.today()}
    deliveries = fetch_all(db, DeliveryOfTenant, _SQL["deliveries_of_tenant"], which)
    happened = histories(db, (each.id for each in deliveries))
    return replace(
        tenant,
        leases=fetch_all(db, LeaseOfTenant, _SQL["leases_of_tenant"], which),
        invoices=fetch_all(db, InvoiceOfTenant, _SQL["invoices_of_tenant"], which),
        decisions=fetch_all(db, DecisionOfTenant, _SQL["decisions_of_tenant"], which),
        deliveries=[
            replace(
                each,
                events=happened[each.id].events,
                tries=happened[each.id].attempts,
                refusal=refusal_of(each.state, each.last_reply),
            )
            for each in deliveries
        ],
        changes=fetch_all(db, TenantChange, _SQL["changes_of_tenant"], which),
    )
