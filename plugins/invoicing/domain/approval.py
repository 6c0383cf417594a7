"""Must a person look at a month before it leaves? By the setting, and by how much differs from the month before."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from invoicing.domain.comparison import LeaseChange, Month, compare

ApprovalPolicy = Literal["never", "always", "changed"]
Answer = Literal["approved", "rejected", "overtaken"]
ApprovalState = Literal["waiting", "approved", "rejected", "overtaken"]
OPTIONS: Mapping[Answer, str] = {"approved": "Approve", "rejected": "Reject", "overtaken": "Look again"}
"""What can be chosen in Airflow, by what it stands for; the last one answers nothing and has it shown anew."""

Why = Literal["always", "first_month", "total", "recipients", "invoice"]
"""Why a person is asked."""


@dataclass(frozen=True, slots=True)
class Difference:
    """What differs from the month before.

    Args:
        leases: Those billed otherwise, what changed most first.
        totals: Of both months by currency: before, now.
        recipients: Tenants who get mail: before, now.
        decisions: Tenants whose decision came out otherwise.
    """

    leases: Sequence[LeaseChange]
    totals: dict[str, tuple[Decimal, Decimal]]
    recipients: tuple[int, int]
    decisions: int


def difference(before: Month, now: Month) -> Difference:
    """Compare a month with the one before."""
    tenants = compare(before, now).values()
    leases = sorted(
        (lease for tenant in tenants for lease in tenant.leases),
        key=lambda each: (-abs(each.difference or Decimal(0)), each.lease),
    )
    sums: defaultdict[str, list[Decimal]] = defaultdict(lambda: [Decimal(0), Decimal(0)])
    for which, month in enumerate((before, now)):
        for bill in month.bills:
            sums[bill.currency][which] += bill.total
    return Difference(
        leases=leases,
        totals={currency: (was, is_) for currency, (was, is_) in sorted(sums.items())},
        recipients=(_recipients(before), _recipients(now)),
        decisions=sum("decision" in tenant.kinds for tenant in tenants),
    )


def reasons_to_ask(policy: ApprovalPolicy, percent: int, before: Month | None, now: Month) -> list[Why]:
    """Why a person has to look at ``now``; empty where the setting lets it leave by itself.

    Args:
        percent: With ``changed``: what changed by more than this share of what it was before is looked at.
        before: None, or without a bill, where there is no month before.
    """
    if policy == "never":
        return []
    if policy == "always":
        return ["always"]
    if before is None or not before.bills:
        return ["first_month"]
    found = difference(before, now)
    why: list[Why] = []
    if any(_is_big(was, is_, percent) for was, is_ in found.totals.values()):
        why.append("total")
    if _is_big(Decimal(found.recipients[0]), Decimal(found.recipients[1]), percent):
        why.append("recipients")
    if any(_is_big_change(each, percent) for each in found.leases):
        why.append("invoice")
    return why


def _is_big(before: Decimal, now: Decimal, percent: int) -> bool:
    """Whether it changed by more than ``percent``; from nothing, anything is more."""
    return abs(now - before) * 100 > before * percent


def _is_big_change(change: LeaseChange, percent: int) -> bool:
    if change.kind != "amount":
        return False  # a lease that is new or ended shows in the totals
    assert change.before is not None
    assert change.now is not None
    # Amounts of two currencies cannot be compared: a person looks.
    return change.difference is None or _is_big(change.before.total, change.now.total, percent)


def _recipients(month: Month) -> int:
    return sum(outcome == "send" for outcome in month.outcomes.values())
