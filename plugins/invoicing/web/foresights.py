"""Months foreseen by this process: worked out one at a time, and kept as long as nothing changed.

Working one out takes a core for seconds where the agency is large: who asks meanwhile for the same is shown the same,
who asks for another month is told to come back.
"""

import logging
import threading
import time
from collections import OrderedDict
from concurrent.futures import Future
from dataclasses import dataclass, field

from invoicing.domain.errors import InvoicingError, TemporaryFailureError, WorkFailedError
from invoicing.domain.period import Period
from invoicing.services.views import foresight
from invoicing.services.views.foresight import Foresight
from invoicing.services.views.simulate import STAGES, Stage
from invoicing.web.database import Pool

log = logging.getLogger(__name__)

AT_ONCE = 1
RETRY_AFTER_SECONDS = 3
_KEPT = 3
_LOST_INTEREST_SECONDS = 60.0
_AWAITED_SECONDS = 20.0


class ForesightsBusyError(TemporaryFailureError):
    """Another month is being worked out; in a moment it is one's turn."""


@dataclass(frozen=True, slots=True)
class Underway:
    """A month that is not worked out yet.

    Args:
        fingerprint: Of what it is worked out from: whoever waits asks for just this one.
        done: Stages that are over, of ``stages``.
    """

    fingerprint: str
    done: int
    stages: int
    seconds: float


@dataclass(slots=True)
class _Job:
    answer: Future[Foresight] = field(default_factory=Future)
    stage: Stage = STAGES[0]
    begun: float = field(default_factory=time.monotonic)

    def tell(self, stage: Stage) -> None:
        self.stage = stage


class Foresights:
    """Works months out in threads of its own.

    Args:
        pool: Of connections to the business database.
    """

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, tuple[float, Foresight]] = OrderedDict()
        self._failed: dict[str, tuple[float, InvoicingError]] = {}
        self._jobs: dict[str, _Job] = {}

    def ask(self, period: Period, *, patience_seconds: float, awaited: str = "") -> Foresight | Underway:
        """The month as it is now, if that is known within ``patience_seconds``; else how far it is.

        Args:
            awaited: The fingerprint of what somebody has waited for: they are shown it though something has changed
                since, within twenty seconds; a month that is being sent changes all the time.

        Raises:
            ForesightsBusyError: Another month is being worked out.
            InvoicingError: It cannot be worked out, and why.
        """
        if awaited and self._knows(awaited):
            return self._answer(period, awaited, patience_seconds)
        with self._pool.connection() as db:
            fingerprint = foresight.fingerprint(db, period)
        return self._answer(period, fingerprint, patience_seconds)

    def kept(self, period: Period) -> Foresight | None:
        """The month as it was worked out last, if this process still has it."""
        with self._lock:
            return next((each for _, each in reversed(self._kept.values()) if each.period == period), None)

    def progress(self, awaited: str) -> Underway | None:
        """How far the one that is awaited is; None where it is over, or another process's."""
        with self._lock:
            job = self._jobs.get(awaited)
        return None if job is None else _underway(awaited, job)

    def _knows(self, fingerprint: str) -> bool:
        with self._lock:
            worked_out_at, _ = self._kept.get(fingerprint, (float("-inf"), None))
            is_fresh = time.monotonic() - worked_out_at < _AWAITED_SECONDS
            return is_fresh or fingerprint in self._failed or fingerprint in self._jobs

    def _answer(self, period: Period, fingerprint: str, patience_seconds: float) -> Foresight | Underway:
        with self._lock:
            if fingerprint in self._kept:
                self._kept.move_to_end(fingerprint)
                return self._kept[fingerprint][1]
            _, error = self._failed.pop(fingerprint, (0.0, None))
            if error is not None:
                raise error
            job = self._jobs.get(fingerprint)
            if job is None:
                if len(self._jobs) >= AT_ONCE:
                    raise ForesightsBusyError("foresights_busy", seconds=RETRY_AFTER_SECONDS)
                job = self._jobs[fingerprint] = _Job()
                thread = threading.Thread(
                    target=self._work, args=[period, fingerprint, job], name=f"foresee {period}", daemon=True
                )
                thread.start()
        try:
            return job.answer.result(timeout=patience_seconds)
        except TimeoutError:
            return _underway(fingerprint, job)
        except InvoicingError:
            with self._lock:
                self._failed.pop(fingerprint, None)  # it has been heard
            raise

    def _work(self, period: Period, fingerprint: str, job: _Job) -> None:
        answer: Foresight | InvoicingError
        try:
            with self._pool.connection() as db:
                answer = foresight.foresee(db, period, job.tell)
        except InvoicingError as error:
            answer = error
        except Exception:
            log.exception("foreseeing %s", period)
            answer = WorkFailedError("foresight_interrupted", period=period)
        with self._lock:
            del self._jobs[fingerprint]
            if isinstance(answer, Foresight):
                self._kept[fingerprint] = (time.monotonic(), answer)
                while len(self._kept) > _KEPT:
                    self._kept.popitem(last=False)
            else:
                # Kept for whoever comes back for it, once: the next one tries anew.
                self._forget_failures()
                self._failed[fingerprint] = (time.monotonic(), answer)
        if isinstance(answer, Foresight):
            job.answer.set_result(answer)
        else:
            job.answer.set_exception(answer)

    def _forget_failures(self) -> None:
        limit = time.monotonic() - _LOST_INTEREST_SECONDS
        self._failed = {key: each for key, each in self._failed.items() if each[0] > limit}


def _underway(fingerprint: str, job: _Job) -> Underway:
    seconds = round(time.monotonic() - job.begun, 1)
    return Underway(fingerprint, STAGES.index(job.stage), len(STAGES), seconds)
