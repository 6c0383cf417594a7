"""Batches are sized by what they cost."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from invoicing.domain.errors import InputError
from invoicing.domain.grain import MOST_BATCHES, Share, one_each, share_out
from invoicing.domain.settings import Settings

SENDING: dict[str, Any] = {"lanes": 4, "least_seconds": 5.0, "largest": 1_000}


def shares(count: int, seconds: float = 0.1) -> list[Share]:
    return [Share(number, f"T{number}", seconds) for number in range(count)]


def sizes(count: int, seconds: float = 0.1, **changed: Any) -> list[int]:
    return [len(batch.delivery_ids) for batch in share_out(shares(count, seconds), **{**SENDING, **changed})]


@given(
    st.lists(st.floats(0, 500), max_size=1_500),
    st.integers(1, 64),
    st.floats(1, 60),
    st.integers(1, 10_000),
)
def test_batches_keep_everyone_in_order_and_within_the_bounds(
    seconds: list[float], lanes: int, least_seconds: float, largest: int
) -> None:
    given_out = [Share(number, f"T{number}", each) for number, each in enumerate(seconds)]
    batches = share_out(given_out, lanes=lanes, least_seconds=least_seconds, largest=largest)

    assert [id_ for batch in batches for id_ in batch.delivery_ids] == list(range(len(seconds)))
    assert len(batches) <= MOST_BATCHES
    assert all(batch.delivery_ids for batch in batches)
    allowed = max(largest, -(-len(seconds) * 2 // MOST_BATCHES))
    assert all(len(batch.delivery_ids) <= allowed for batch in batches)


def test_a_large_month_has_batches_of_some_half_a_minute_and_no_lane_idles() -> None:
    assert sizes(563) == [141, 141, 140, 141]  # 56 s: what four at once work is 14 s each
    assert len(sizes(2_600)) == 8  # 260 s: two rounds of four, 33 s each
    assert len(sizes(59_000)) == 100  # 98 minutes
    assert {len(sizes(count)) % 4 for count in range(200, 5_000, 100)} == {0}


def test_a_bound_that_is_just_reached_leaves_no_crumbs() -> None:
    """A thousand to each of four would do but for the few that have two documents."""
    mixed = [Share(number, "T", 0.05 if number % 9 else 0.06) for number in range(4_000)]
    batches = share_out(mixed, **SENDING)
    assert {len(batch.delivery_ids) // 10 for batch in batches} <= {49, 50}


def test_what_is_short_is_not_cut_up() -> None:
    assert sizes(51) == [51]  # 5 s: beginning once more would cost as much as it saves
    assert sizes(120) == [60, 60]
    assert sizes(40, 0.0) == [40]


def test_one_that_costs_as_much_as_all_others_has_a_batch_to_itself() -> None:
    costs = [1.0] * 20 + [60.0] + [1.0] * 20
    batches = share_out([Share(number, "T", each) for number, each in enumerate(costs)], **SENDING)
    assert (20,) in [batch.delivery_ids for batch in batches]


def test_the_setting_bounds_a_batch_until_there_would_be_too_many() -> None:
    assert sizes(200, largest=1) == [1] * 200
    assert max(sizes(563, largest=30)) == 30
    assert max(sizes(60_000, largest=1)) == 240  # Airflow takes a thousand instances, and no more
    assert len(sizes(1_500, 100.0)) == 250  # two days' work
    for refused in (0, 10_000_000):
        with pytest.raises(InputError, match="largest_batch"):
            Settings().changed({"largest_batch": refused})


def test_a_batch_is_labelled_with_its_tenants() -> None:
    (single,) = one_each([Share(1, "T1 Ana", 0.1)], is_leftover=True)
    assert (single.label, single.is_leftover) == ("T1 Ana", True)
    assert [batch.label for batch in share_out(shares(120), **SENDING)] == [
        "T0 … T59 (60)",
        "T60 … T119 (60)",
    ]
