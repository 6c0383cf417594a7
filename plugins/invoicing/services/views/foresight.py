"""What a run of a month would do now, as people look at it: figures, who gets mail, what differs from the month before.

`foresee` works it out, which takes a while for a large agency; `find` searches, sorts and pages what it found.
"""

import datetime
import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal

from invoicing.db.connection import Database
from invoicing.db.statements import beside, fetch_all
from invoicing.domain.comparison import CHANGES, Bill, ChangeKind, LeaseChange, TenantComparison, ratio
from invoicing.domain.discretion import Personal, PersonalAnswer
from invoicing.domain.eligibility import REASONS
from invoicing.domain.period import Period
from invoicing.services.agency import clock
from invoicing.services.agency.searching import plain
from invoicing.services.billing import runs
from invoicing.services.views import months, simulate
from invoicing.services.views.cycles import UnissuedInvoice, load_cycle
from invoicing.services.views.simulate import Simulated, Stage

_SQL = beside(__file__)

SORTS = ("attention", "name", "code", "invoices", "total", "difference", "decision")
OUTCOMES = ("send", "skip", *REASONS)
CHANGES_ASKED = ("any", *CHANGES)
ADDRESSES = ("problem",)

LARGE_CHANGE = Decimal("0.2")
"""A fifth more or less than the month before is looked at before the smaller changes."""

AddressProblem = Literal["no_email", "invalid_email"]


@dataclass(frozen=True, slots=True)
class ForeseenInvoice:
    """An invoice as it is, or would be issued now; ``lease`` and ``tenant`` are codes.

    Args:
        is_issued: It is there already.
        change: What differs from the lease's invoice of the month before; None where nothing does.
    """

    number: str
    lease: str
    tenant: str
    property: Personal[str]
    subtotal: Decimal
    tax: Decimal
    withholding: Decimal
    total: Decimal
    currency: str
    issued_on: datetime.date
    due_on: datetime.date
    is_issued: bool
    change: LeaseChange | None


@dataclass(frozen=True, slots=True)
class TenantSum:
    """What a tenant is billed in one currency, and was in the month before."""

    currency: str
    total: Decimal
    before: Decimal

    @property
    def difference(self) -> Decimal:
        """Negative where it is less than before."""
        return self.total - self.before

    @property
    def ratio(self) -> Decimal | None:
        """`difference` as a fraction of ``before``; None where nothing was billed."""
        return ratio(self.before, self.difference)


@dataclass(frozen=True, slots=True)
class ForeseenTenant:
    """A tenant that would be billed, or was in the month before.

    Args:
        words: What a search looks through: plain, as the database keeps it, with the leases' codes.
        invoices: By number; empty where all leases ended.
        reason: Why there is no mail; None where there is, and where there are no invoices.
        objection: The rule that gave the reason, with its inputs.
        address_problem: Addresses that stop the mail, whatever else does.
        messages: That are still to be sent.
        sent: That the relay has accepted.
        to: Of the message that is to be sent.
        sums: The largest first.
    """

    code: str
    name: Personal[str]
    words: Personal[str]
    invoices: Sequence[ForeseenInvoice]
    reason: str | None
    objection: PersonalAnswer[Mapping[str, Any] | None]
    address_problem: AddressProblem | None
    messages: int
    sent: int
    to: Personal[Sequence[str]]
    cc: Personal[Sequence[str]]
    comparison: TenantComparison
    sums: Sequence[TenantSum]

    @property
    def outcome(self) -> str | None:
        """``send``, the reason for no mail, or None where there is nothing to decide."""
        return self.comparison.outcome

    @property
    def ended(self) -> Sequence[LeaseChange]:
        """Leases that were billed in the month before and are not now."""
        return [each for each in self.comparison.leases if each.kind == "ended"]


@dataclass(frozen=True, slots=True)
class Totals:
    """A month's invoices in one currency, and how many and how much they were in the month before."""

    currency: str
    invoices: int
    subtotal: Decimal
    tax: Decimal
    withholding: Decimal
    total: Decimal
    invoices_before: int
    total_before: Decimal

    @property
    def difference(self) -> Decimal:
        """Negative where it is less than before."""
        return self.total - self.total_before

    @property
    def ratio(self) -> Decimal | None:
        """`difference` as a fraction of ``total_before``; None where nothing was billed."""
        return ratio(self.total_before, self.difference)


@dataclass(frozen=True, slots=True)
class ChangeSum:
    """All that differs in one way.

    Args:
        count: Leases; tenants where a decision changed.
        differences: By currency, what they come to together; empty for decisions.
    """

    count: int
    differences: Mapping[str, Decimal]


@dataclass(frozen=True, slots=True)
class Foresight:
    """A month as a run would leave it.

    Args:
        as_of: When it was worked out.
        is_open: A run has opened the month before.
        compared_with: The latest earlier month with invoices; None where there is none: everything is new then.
        tenants: What deserves a look first; those with invoices, and those whose leases all ended.
        totals: The currency with most invoices first.
        unissued: Leases whose total is nothing or less: they have no invoice.
        outcomes: Tenants with invoices by outcome: ``send``, which is always there, or the reason.
        changes: By kind; every kind is there.
        unreachable: Tenants with invoices and an address that stops their mail, whatever else does.
    """

    period: Period
    as_of: datetime.datetime
    is_open: bool
    compared_with: Period | None
    tenants: Sequence[ForeseenTenant]
    totals: Sequence[Totals]
    unissued: Sequence[UnissuedInvoice]
    outcomes: Mapping[str, int]
    changes: Mapping[ChangeKind, ChangeSum]
    unreachable: int

    @property
    def invoices(self) -> int:
        """Of all currencies, those already issued too."""
        return sum(each.invoices for each in self.totals)

    @property
    def to_issue(self) -> int:
        """Invoices that are not there yet."""
        return sum(not invoice.is_issued for tenant in self.tenants for invoice in tenant.invoices)

    @property
    def billed(self) -> int:
        """Tenants with invoices."""
        return sum(self.outcomes.values())

    @property
    def messages(self) -> int:
        """Messages that would be sent."""
        return sum(each.messages for each in self.tenants)

    def invoice_of(self, lease: str) -> ForeseenInvoice | None:
        """The invoice of a lease, by its code."""
        return next(
            (each for tenant in self.tenants for each in tenant.invoices if each.lease == lease), None
        )


@dataclass(frozen=True, slots=True)
class ForesightQuery:
    """Which of a month's tenants are meant.

    Args:
        search: Words that all occur in code, name, document, addresses or leases' codes.
        change: One of `CHANGES_ASKED`: something of theirs differs so.
        outcome: One of `OUTCOMES`: ``skip`` is any reason.
        address: One of `ADDRESSES`: an address stops their mail, whatever else does.
    """

    search: str = ""
    change: str | None = None
    outcome: str | None = None
    address: str | None = None

    def fits(self, tenant: ForeseenTenant) -> bool:
        """Whether ``tenant`` is meant."""
        kinds, outcome = tenant.comparison.kinds, tenant.outcome
        return (
            (self.change is None or (bool(kinds) if self.change == "any" else self.change in kinds))
            and (
                self.outcome is None
                or outcome == self.outcome
                or (self.outcome == "skip" and outcome not in (None, "send"))
            )
            and (self.address is None or tenant.address_problem is not None)
            and all(word in tenant.words for word in plain(self.search).split())
        )


@dataclass(frozen=True, slots=True)
class _InvoiceRow:
    number: str
    lease: str
    tenant: str
    property: Personal[str]
    subtotal: Decimal
    tax: Decimal
    withholding: Decimal
    total: Decimal
    currency: str
    issued_on: datetime.date
    due_on: datetime.date

    def foreseen(self, month: Simulated, change: LeaseChange | None) -> ForeseenInvoice:
        return ForeseenInvoice(
            number=month.number(self.number),
            lease=self.lease,
            tenant=self.tenant,
            property=self.property,
            subtotal=self.subtotal,
            tax=self.tax,
            withholding=self.withholding,
            total=self.total,
            currency=self.currency,
            issued_on=self.issued_on,
            due_on=self.due_on,
            is_issued=not month.is_new(self.number),
            change=change,
        )


@dataclass(frozen=True, slots=True)
class _TenantRow:
    code: str
    name: Personal[str]
    words: Personal[str]
    reason: str | None = None
    objection: Mapping[str, Any] | None = None
    address_problem: AddressProblem | None = None
    to_send: int = 0
    sent: int = 0
    to_addresses: Sequence[str] = ()
    cc_addresses: Sequence[str] = ()


def foresee(db: Database, period: Period, tell: Callable[[Stage], None] = lambda _: None) -> Foresight:
    """What a run of ``period`` would do now; writes nothing and sends nothing (`simulated`).

    Args:
        tell: Is told what is being done.

    Raises:
        InputError: The run would fail: an invoice cannot be worked out.
        MonthAtWorkError: A run of the month, or an import, is at work.
    """
    as_of = datetime.datetime.now(datetime.UTC)
    is_open = runs.is_opened(db, period)
    with simulate.simulated(db, period, tell) as month:
        which = {"cycle_id": load_cycle(db, period).id}
        invoices = fetch_all(db, _InvoiceRow, _SQL["invoices"], which)
        rows = fetch_all(db, _TenantRow, _SQL["tenants"], which)
        unissued = fetch_all(db, UnissuedInvoice, _SQL["unissued"], which)
        compared = months.compare_with_before(db, period)
    # Nobody waits any more.
    decided = {row.code for row in rows}
    only_before = [code for code, each in compared.tenants.items() if each.leases and code not in decided]
    rows += fetch_all(db, _TenantRow, _SQL["tenants_named"], {"codes": only_before})
    tenants = _tenants(rows, invoices, month, compared)
    return Foresight(
        period=period,
        as_of=as_of,
        is_open=is_open,
        compared_with=compared.compared_with,
        tenants=sorted(tenants, key=_attention),
        totals=_totals(invoices, compared.before.bills),
        unissued=unissued,
        outcomes={"send": 0} | Counter(compared.now.outcomes.values()),
        changes=_changes(compared.tenants.values()),
        unreachable=sum(each.address_problem is not None for each in tenants),
    )


def fingerprint(db: Database, period: Period) -> str:
    """Of all that `foresee` looks at, today's date included: as long as it is the same, so is the answer."""
    row = db.execute(_SQL["fingerprint"], {"period": str(period)}).fetchone()
    assert row is not None
    seen = f"{period}/{clock.today()}/{runs.code_version()}/{row['seen']}"
    return hashlib.sha256(seen.encode()).hexdigest()[:24]


def find(
    foresight: Foresight,
    which: ForesightQuery,
    *,
    sort: str = "attention",
    descending: bool = False,
    limit: int | None = None,
    offset: int = 0,
) -> tuple[Sequence[ForeseenTenant], int]:
    """One page of a month's tenants, and how many fit in all.

    Args:
        sort: One of `SORTS`; ``attention``: what deserves a look first.
        limit: At most so many; None is all of them.
    """
    found = [tenant for tenant in foresight.tenants if which.fits(tenant)]
    if sort != "attention":
        found.sort(key=lambda each: each.code)
        found.sort(key=_ORDERS[sort], reverse=descending)
    elif descending:
        found.reverse()
    return found[offset : None if limit is None else offset + limit], len(found)


_ORDERS: Mapping[str, Callable[[ForeseenTenant], Any]] = {
    "name": lambda tenant: plain(tenant.name),
    "code": lambda tenant: tenant.code,
    "invoices": lambda tenant: len(tenant.invoices),
    "total": lambda tenant: tenant.sums[0].total if tenant.sums else Decimal(0),
    "difference": lambda tenant: tenant.sums[0].difference if tenant.sums else Decimal(0),
    "decision": lambda tenant: tenant.outcome or "",
}


def _attention(tenant: ForeseenTenant) -> tuple[int, Decimal, Decimal, str]:
    """Sorts what deserves a look first: mail that does not arrive, then rent that is another than before.

    Within each kind by how much the largest of the tenant's leases changed, as a fraction and as an amount.
    """
    changes = tenant.comparison.leases
    nothing = Decimal(0)
    largest = max((abs(each.ratio or nothing) for each in changes if each.kind == "amount"), default=nothing)
    amount = max((abs(each.difference or nothing) for each in changes), default=nothing)
    return _rank(tenant, largest), -largest, -amount, tenant.code


def _rank(tenant: ForeseenTenant, largest: Decimal) -> int:
    kinds, was, is_ = tenant.comparison.kinds, tenant.comparison.outcome_before, tenant.outcome
    concerns = (
        tenant.reason is not None and tenant.reason == tenant.address_problem,
        "decision" in kinds and was == "send" and is_ != "send",
        largest >= LARGE_CHANGE,
        "ended" in kinds,
        "new" in kinds,
        "amount" in kinds,
        "decision" in kinds,
        tenant.address_problem is not None,
    )
    return concerns.index(True) if True in concerns else len(concerns)


def _tenants(
    rows: Iterable[_TenantRow],
    invoices: Iterable[_InvoiceRow],
    month: Simulated,
    compared: months.MonthCompared,
) -> list[ForeseenTenant]:
    changes = {
        (each.tenant, each.lease): each for tenant in compared.tenants.values() for each in tenant.leases
    }
    leases: defaultdict[str, set[str]] = defaultdict(set)
    own: defaultdict[str, list[ForeseenInvoice]] = defaultdict(list)
    for row in invoices:
        own[row.tenant].append(row.foreseen(month, changes.get((row.tenant, row.lease))))
        leases[row.tenant].add(row.lease)
    before: defaultdict[str, list[Bill]] = defaultdict(list)
    for bill in compared.before.bills:
        before[bill.tenant].append(bill)
        leases[bill.tenant].add(bill.lease)
    return [
        ForeseenTenant(
            code=row.code,
            name=row.name,
            words=" ".join([row.words, *(plain(lease) for lease in leases[row.code])]),
            invoices=own[row.code],
            reason=row.reason,
            objection=row.objection,
            address_problem=row.address_problem,
            messages=row.to_send,
            sent=row.sent,
            to=row.to_addresses,
            cc=row.cc_addresses,
            comparison=compared.tenants[row.code],
            sums=_sums(own[row.code], before[row.code]),
        )
        for row in rows
    ]


def _sums(invoices: Iterable[ForeseenInvoice], before: Iterable[Bill]) -> list[TenantSum]:
    now, was = _by_currency(invoices), _by_currency(before)
    sums = [
        TenantSum(currency, now.get(currency, Decimal(0)), was.get(currency, Decimal(0)))
        for currency in now.keys() | was.keys()
    ]
    return sorted(sums, key=lambda each: (-each.total, -each.before, each.currency))


def _by_currency(amounts: Iterable[ForeseenInvoice | Bill]) -> dict[str, Decimal]:
    sums: dict[str, Decimal] = {}
    for each in amounts:
        sums[each.currency] = sums.get(each.currency, Decimal(0)) + each.total
    return sums


def _totals(invoices: Sequence[_InvoiceRow], before: Sequence[Bill]) -> list[Totals]:
    counted, counted_before = (Counter(each.currency for each in bills) for bills in (invoices, before))
    own = {
        currency: [each for each in invoices if each.currency == currency]
        for currency in counted | counted_before
    }
    was = _by_currency(before)
    totals = [
        Totals(
            currency=currency,
            invoices=len(rows),
            subtotal=sum((each.subtotal for each in rows), Decimal(0)),
            tax=sum((each.tax for each in rows), Decimal(0)),
            withholding=sum((each.withholding for each in rows), Decimal(0)),
            total=sum((each.total for each in rows), Decimal(0)),
            invoices_before=counted_before[currency],
            total_before=was.get(currency, Decimal(0)),
        )
        for currency, rows in own.items()
    ]
    return sorted(totals, key=lambda each: (-each.invoices, -each.invoices_before, each.currency))


def _changes(tenants: Iterable[TenantComparison]) -> dict[ChangeKind, ChangeSum]:
    counts: Counter[ChangeKind] = Counter()
    differences: defaultdict[ChangeKind, dict[str, Decimal]] = defaultdict(dict)
    for tenant in tenants:
        counts["decision"] += "decision" in tenant.kinds
        for each in tenant.leases:
            counts[each.kind] += 1
            of_kind = differences[each.kind]
            of_kind[each.currency] = of_kind.get(each.currency, Decimal(0)) + (each.difference or Decimal(0))
    return {kind: ChangeSum(counts[kind], differences[kind]) for kind in CHANGES}
