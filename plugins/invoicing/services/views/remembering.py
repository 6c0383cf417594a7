"""Figures of whole tables, which a large agency's page would count anew each time though nothing has changed."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any, TypeVar

from invoicing.db.connection import Database
from invoicing.db.statements import beside

_SQL = beside(__file__)

T = TypeVar("T")

NOTICED_SECONDS = 0.1
"""What is sooner counted is counted each time: a small agency's pages remember nothing."""

# While a large month is being sent its figures change all the time: they are counted for a fifth of it at the most.
_TIMES_ITS_COST = 4
_LARGE_SECONDS = 1.0
_MOST_KEPT = 64


@dataclass(frozen=True, slots=True)
class _Known:
    answer: Any
    stamp: Any
    at: float
    seconds: float


class Remembered:
    """Answers of one process, each for as long as what it follows from stays as it was. For any number of threads.

    Args:
        stamp: Is another one once something was written that an answer follows from: the newest of what is only ever
            added to, say.
        longest_seconds: The most that an answer is remembered: of two that write at once the later one may become
            visible first.
    """

    def __init__(self, stamp: Callable[[Database], object], *, longest_seconds: float) -> None:
        self._stamp = stamp
        self._longest_seconds = longest_seconds
        self._known: OrderedDict[Hashable, _Known] = OrderedDict()
        self._lock = threading.Lock()

    def read(self, db: Database, key: Hashable, work: Callable[[], T], *, may_lag: bool = False) -> T:
        """What ``work`` gives, or gave.

        Args:
            key: Of the question; different questions have different ones.
            may_lag: It changes by itself just now: what takes more than a second to count may be some seconds old.
        """
        begun = time.monotonic()
        with self._lock:
            known = self._known.get(key)
        if (
            may_lag
            and known is not None
            and known.seconds > _LARGE_SECONDS
            and begun - known.at < _TIMES_ITS_COST * known.seconds
        ):
            return known.answer  # type: ignore[no-any-return]
        stamp = self._stamp(db)
        if known is not None and known.stamp == stamp and begun - known.at < self._longest_seconds:
            return known.answer  # type: ignore[no-any-return]
        answer = work()
        now = time.monotonic()
        with self._lock:
            if now - begun > NOTICED_SECONDS:
                self._known[key] = _Known(answer, stamp, now, now - begun)
                self._known.move_to_end(key)
                while len(self._known) > _MOST_KEPT:
                    self._known.popitem(last=False)
            else:
                self._known.pop(key, None)
        return answer


def of_ledger() -> Remembered:
    """What follows from months and their mail."""
    return Remembered(lambda db: db.execute(_SQL["of_ledger"]).fetchone(), longest_seconds=20.0)


def of_tenants() -> Remembered:
    """What follows from the tenants."""
    return Remembered(lambda db: db.execute(_SQL["of_tenants"]).fetchone(), longest_seconds=10.0)
