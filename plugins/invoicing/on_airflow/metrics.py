"""Counters and gauges through Airflow's own metrics: StatsD or OpenTelemetry, as ``[metrics]`` says; else nothing.

A monitor that is away never costs a delivery.
"""

import datetime
import logging
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from airflow.sdk.observability import stats

from invoicing.db.connection import Database
from invoicing.domain.delivery import DeliveryState
from invoicing.services.views.gauges import read_gauges

log = logging.getLogger(__name__)

_COUNTED = (DeliveryState.SENT, DeliveryState.FAILED, DeliveryState.IN_DOUBT)


@contextmanager
def counting_deliveries() -> Iterator[Callable[[DeliveryState], None]]:
    """What the block's batch settles is counted, and told at its end, whatever that is."""
    settled: Counter[DeliveryState] = Counter()
    try:
        yield lambda state: settled.update([state])
    finally:
        count_deliveries(settled)


def count_deliveries(settled: Mapping[DeliveryState, int]) -> None:
    """Add to the counters ``invoicing.deliveries.sent``, ``.failed`` and ``.in_doubt``."""
    for state in _COUNTED:
        if settled.get(state):
            _tell(lambda state=state: stats.incr(f"invoicing.deliveries.{state}", settled[state]))  # type: ignore[misc]


def tell_monitor(db: Database, swept: Mapping[str, int]) -> None:
    """Tell how things stand now, after a sweep, and what it settled (`sweep.sweep_deliveries`)."""
    count_deliveries({DeliveryState.SENT: swept["adopted"], DeliveryState.IN_DOUBT: swept["doubted"]})
    for name, value in read_gauges(db, datetime.datetime.now(datetime.UTC)).items():
        _tell(lambda name=name, value=value: stats.gauge(name, value))  # type: ignore[misc]


def _tell(tell: Callable[[], None]) -> None:
    try:
        tell()
    except Exception:
        log.exception("a metric was not told")
