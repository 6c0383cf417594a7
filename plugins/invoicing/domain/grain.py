"""How many task instances a month's work is shared out to: by what it costs, not by heads."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil
from typing import Protocol, TypeVar

from invoicing.domain.delivery import Batch

SMALL_MONTH = 50
"""So many recipients have an instance each: people look at single squares."""

MOST_BATCHES = 500
"""Airflow refuses more than 1,024 instances; what an earlier run left over is shared out apart."""

# Of work: what a clear or a retry repeats the looking at, and how long a person waits for a square to end.
_LONGEST_SECONDS = 60.0


class Work(Protocol):
    """What is shared out."""

    @property
    def label(self) -> str:
        """The tenant."""

    @property
    def seconds(self) -> float:
        """Of work, about."""


W = TypeVar("W", bound=Work)


@dataclass(frozen=True, slots=True)
class Share:
    """What one delivery adds to a batch.

    Args:
        label: The tenant.
        seconds: Of work, about.
    """

    delivery_id: int
    label: str
    seconds: float


def share_out(
    shares: Sequence[Share],
    *,
    lanes: int,
    least_seconds: float,
    largest: int,
    is_leftover: bool = False,
) -> list[Batch]:
    """Group neighbouring deliveries into batches, as `even_groups` does."""
    groups = even_groups(shares, lanes=lanes, least_seconds=least_seconds, largest=largest)
    return [batch_of(group, is_leftover) for group in groups]


def even_groups(shares: Sequence[W], *, lanes: int, least_seconds: float, largest: int) -> list[Sequence[W]]:
    """Group neighbours so that the groups take about as long as each other.

    Each works for some 60 s at the most, and for ``least_seconds`` where there is so much to do; their number is a
    multiple of ``lanes`` where that leaves enough to each, so that none idles while another has two.

    Args:
        lanes: Instances that work at the same time.
        largest: Members of a group at the most, unless that made more than `MOST_BATCHES`.
    """
    if not shares:
        return []
    total = sum(share.seconds for share in shares)
    # A tenth below the largest: neighbours of which some take longer are not as many in each group.
    rounds = max(1, ceil(total / (lanes * _LONGEST_SECONDS)), ceil(len(shares) / (0.9 * lanes * largest)))
    number = max(1, min(lanes * rounds, int(total / least_seconds)))
    # Both bounds cut: together they make MOST_BATCHES at the most.
    number = min(number, MOST_BATCHES // 2)
    largest = max(largest, ceil(len(shares) / (MOST_BATCHES // 2)))
    starts = [0]
    done, last = 0.0, 0
    for position, share in enumerate(shares):
        turn = int((done + share.seconds / 2) * number / total) if total else 0
        if position and (turn > last or position - starts[-1] == largest):
            starts.append(position)
        done, last = done + share.seconds, max(turn, last)
    return [shares[start:end] for start, end in pairwise([*starts, len(shares)])]


def one_each(shares: Sequence[Share], *, is_leftover: bool = False) -> list[Batch]:
    """A batch for each delivery."""
    return [batch_of([share], is_leftover) for share in shares]


def batch_of(shares: Sequence[Share], is_leftover: bool) -> Batch:
    """One batch of these, labelled with its tenants."""
    return Batch(label_of(shares), tuple(share.delivery_id for share in shares), is_leftover)


def label_of(shares: Sequence[Work]) -> str:
    """The tenant, or the range of tenants."""
    first, last = shares[0].label, shares[-1].label
    return first if len(shares) == 1 else f"{first} … {last} ({len(shares)})"
