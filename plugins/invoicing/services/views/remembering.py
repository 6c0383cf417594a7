"""Figures of whole months, which a large agency's page would count anew each time though nothing has changed."""

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

_LONGEST_SECONDS = 20.0
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
    """Answers of one process, each for as long as the ledger stays as it was, 20 s at the most.

    What changes is asked by the newest ids of what is only ever added to. Of two that write at once the later one may
    become visible first: hence the 20 s. For any number of threads.
    """

    def __init__(self) -> None:
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
        stamp = db.execute(_SQL["stamp"]).fetchone()
        if known is not None and known.stamp == stamp and begun - known.at < _LONGEST_SECONDS:
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
