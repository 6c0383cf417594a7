"""What differs from one month to another: lease by lease, and tenant by tenant."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from invoicing.domain.comparison import CHANGES, Bill, Month, TenantComparison, compare


def bill(lease: str, tenant: str = "A", total: int = 100, currency: str = "COP") -> Bill:
    return Bill(lease, tenant, Decimal(total), currency)


def of(before: Month, now: Month, tenant: str = "A") -> TenantComparison:
    return compare(before, now)[tenant]


def test_a_month_like_the_one_before_differs_in_nothing():
    month = Month([bill("L1"), bill("L2")], {"A": "send"})

    same = of(month, month)

    assert (same.change, same.kinds, list(same.leases)) == (None, (), [])
    assert (same.outcome_before, same.outcome) == ("send", "send")


def test_an_amount_that_changed_says_by_how_much():
    changed = of(Month([bill("L1", total=1_000_000)]), Month([bill("L1", total=1_200_000)]))

    assert changed.change == "amount"
    (lease,) = changed.leases
    assert (lease.kind, lease.difference, lease.ratio) == ("amount", Decimal(200_000), Decimal("0.2"))


def test_another_currency_is_another_amount_that_nobody_can_subtract():
    (lease,) = of(Month([bill("L1")]), Month([bill("L1", currency="USD")])).leases

    assert (lease.kind, lease.difference, lease.ratio, lease.currency) == ("amount", None, None, "USD")


@pytest.mark.parametrize(
    ("before", "now", "kind", "difference", "ratio"),
    [
        ([], [bill("L1")], "new", 100, None),
        ([bill("L1")], [], "ended", -100, -1),
    ],
)
def test_a_lease_begins_and_ends(before, now, kind, difference, ratio):
    changed = of(Month(before), Month(now))

    assert changed.change == kind
    (lease,) = changed.leases
    assert (lease.lease, lease.tenant) == ("L1", "A")
    assert (lease.kind, lease.difference, lease.ratio) == (kind, difference, ratio)


def test_a_lease_that_changed_hands_ended_for_one_and_is_new_for_the_other():
    compared = compare(Month([bill("L1", "A")]), Month([bill("L1", "B")]))

    assert {tenant: each.kinds for tenant, each in compared.items()} == {"A": ("ended",), "B": ("new",)}


@pytest.mark.parametrize(
    ("was", "is_", "kinds"),
    [
        ("send", "no_email", ("decision",)),
        ("no_email", "tenant_disabled", ("decision",)),
        ("send", "send", ()),
        (None, "send", ()),
        ("send", None, ()),
    ],
)
def test_a_decision_differs_where_both_months_have_one(was: str | None, is_: str | None, kinds):
    def month(outcome: str | None) -> Month:
        return Month([bill("L1")], {} if outcome is None else {"A": outcome})

    assert of(month(was), month(is_)).kinds == kinds


def test_of_several_differences_the_first_of_the_list_stands_for_all():
    before = Month([bill("L1"), bill("L2"), bill("L3")], {"A": "send"})
    now = Month([bill("L2", total=90), bill("L3"), bill("L4")], {"A": "no_email"})

    changed = of(before, now)

    assert changed.kinds == CHANGES
    assert changed.change == "new"
    assert [each.lease for each in changed.leases] == ["L4", "L1", "L2"]


TENANTS, LEASES = st.sampled_from("ABC"), st.sampled_from(["L1", "L2", "L3", "L4"])
MONTHS = st.builds(
    Month,
    bills=st.lists(
        st.builds(Bill, LEASES, TENANTS, st.integers(1, 4).map(Decimal), st.sampled_from(["COP", "USD"])),
        unique_by=lambda each: each.lease,
    ),
    outcomes=st.dictionaries(TENANTS, st.sampled_from(["send", "no_email", "tenant_disabled"])),
)


@given(MONTHS, MONTHS)
def test_the_differences_lead_from_one_month_to_the_other(before: Month, now: Month):
    compared = compare(before, now)

    leases = {(each.tenant, each.lease): each for each in before.bills}
    for change in (each for tenant in compared.values() for each in tenant.leases):
        if change.before is not None:
            assert leases.pop((change.tenant, change.lease)) == change.before
        if change.now is not None:
            leases[change.tenant, change.lease] = change.now
    assert sorted(leases.values(), key=repr) == sorted(now.bills, key=repr)
    outcomes = {code: each.outcome for code, each in compared.items() if each.outcome is not None}
    assert outcomes == now.outcomes


@given(MONTHS, MONTHS)
def test_backwards_what_is_new_ended_and_each_difference_is_turned(before: Month, now: Month):
    forth, back = compare(before, now), compare(now, before)

    turned = {"new": "ended", "ended": "new", "amount": "amount", "decision": "decision"}
    assert forth.keys() == back.keys()
    for tenant, each in forth.items():
        assert {turned[kind] for kind in each.kinds} == set(back[tenant].kinds)
        differences = sorted(str(lease.difference) for lease in each.leases)
        assert differences == sorted(
            str(None if lease.difference is None else -lease.difference) for lease in back[tenant].leases
        )
