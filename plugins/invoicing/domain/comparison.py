"""What differs from one month to another: which leases are billed, by how much, and who gets mail."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Literal

LeaseChangeKind = Literal["new", "ended", "amount"]
ChangeKind = Literal["new", "ended", "amount", "decision"]
CHANGES: tuple[ChangeKind, ...] = ("new", "ended", "amount", "decision")
"""What may differ of a tenant; where several do, the first of these stands for all."""


@dataclass(frozen=True, slots=True)
class Bill:
    """What a tenant is billed for one lease in one month.

    Args:
        lease: Its code, as ``tenant`` is the tenant's.
        total: More than nothing: what is not, is not issued.
    """

    lease: str
    tenant: str
    total: Decimal
    currency: str


@dataclass(frozen=True, slots=True)
class Month:
    """A month as it was billed and decided, or would be.

    Args:
        bills: Of standing invoices; at most one a lease.
        outcomes: By tenant's code: ``send``, or the reason for no mail.
    """

    bills: Sequence[Bill] = ()
    outcomes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LeaseChange:
    """A lease that is billed otherwise than in the month before.

    One that changed hands has ended for one tenant and is new for another.

    Args:
        before: None where it is new.
        now: None where it ended.
    """

    before: Bill | None
    now: Bill | None

    def __post_init__(self) -> None:
        if self.before is None and self.now is None:
            raise AssertionError("a lease that neither month bills does not differ")

    @property
    def kind(self) -> LeaseChangeKind:
        """What became of it."""
        if self.before is None:
            return "new"
        return "ended" if self.now is None else "amount"

    @property
    def lease(self) -> str:
        """Its code."""
        return self._known.lease

    @property
    def tenant(self) -> str:
        """Its tenant's code."""
        return self._known.tenant

    @property
    def currency(self) -> str:
        """Of the newer of both bills."""
        return self._known.currency

    @property
    def difference(self) -> Decimal | None:
        """By how much the total grew, in `currency`; negative where it fell, None where the currency is another."""
        if self.before is not None and self.now is not None and self.before.currency != self.now.currency:
            return None
        return (self.now.total if self.now else Decimal(0)) - (
            self.before.total if self.before else Decimal(0)
        )

    @property
    def ratio(self) -> Decimal | None:
        """`difference` as a fraction of the total before; None where there is none to compare with."""
        return ratio(self.before.total if self.before else None, self.difference)

    @property
    def _known(self) -> Bill:
        known = self.now or self.before
        assert known is not None
        return known


@dataclass(frozen=True, slots=True)
class TenantComparison:
    """A tenant's month beside the one before.

    Args:
        leases: Those that are billed otherwise: new, ended, another amount; by code within each.
        outcome_before: ``send``, or the reason for no mail; None where nothing was decided, as ``outcome`` is.
    """

    tenant: str
    leases: Sequence[LeaseChange]
    outcome_before: str | None
    outcome: str | None

    @property
    def kinds(self) -> tuple[ChangeKind, ...]:
        """All that differs, in the order of `CHANGES`."""
        differs: set[ChangeKind] = {each.kind for each in self.leases}
        if None not in (self.outcome_before, self.outcome) and self.outcome_before != self.outcome:
            differs.add("decision")
        return tuple(kind for kind in CHANGES if kind in differs)

    @property
    def change(self) -> ChangeKind | None:
        """The first of `kinds`; None where nothing differs."""
        return next(iter(self.kinds), None)


def compare(before: Month, now: Month) -> dict[str, TenantComparison]:
    """Compare two months, lease by lease and tenant by tenant.

    Returns:
        By code, every tenant that either month bills or decided on, those too of whom nothing differs.
    """
    earlier, later = _by_lease(before.bills), _by_lease(now.bills)
    leases: defaultdict[str, list[LeaseChange]] = defaultdict(list)
    for key in sorted(earlier.keys() | later.keys()):
        was, is_ = earlier.get(key), later.get(key)
        if was is None or is_ is None or (was.total, was.currency) != (is_.total, is_.currency):
            leases[key[0]].append(LeaseChange(was, is_))
    tenants = {tenant for tenant, _ in earlier.keys() | later.keys()}
    return {
        tenant: TenantComparison(
            tenant,
            sorted(leases[tenant], key=lambda each: (CHANGES.index(each.kind), each.lease)),
            before.outcomes.get(tenant),
            now.outcomes.get(tenant),
        )
        for tenant in sorted(tenants | before.outcomes.keys() | now.outcomes.keys())
    }


def ratio(before: Decimal | None, difference: Decimal | None) -> Decimal | None:
    """``difference`` as a fraction of ``before``; None where there is nothing to compare with."""
    return None if not before or difference is None else difference / before


def _by_lease(bills: Sequence[Bill]) -> dict[tuple[str, str], Bill]:
    """By tenant and lease: a lease may change hands."""
    return {(each.tenant, each.lease): each for each in bills}
