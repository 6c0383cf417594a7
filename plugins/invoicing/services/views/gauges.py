"""How things stand, in a few numbers, for a monitor that draws them and raises its own alarms."""

import datetime
from collections.abc import Mapping

from invoicing.db.connection import Database
from invoicing.db.statements import beside
from invoicing.domain.period import Period
from invoicing.services.agency import clock

_SQL = beside(__file__)


def read_gauges(db: Database, now: datetime.datetime) -> Mapping[str, float]:
    """The gauges by name (docs/operating.md, "Seen from outside"); minutes since an instant where a name says so.

    Args:
        now: An instant.
    """
    deliveries = db.execute(_SQL["deliveries"], {"now": now}).fetchone()
    approval = db.execute(_SQL["oldest_waiting_approval"], {"now": now}).fetchone()
    tick = clock.last_tick(now)
    month = db.execute(_SQL["month"], {"period": str(Period.containing(tick.date()))}).fetchone()
    assert deliveries is not None
    assert approval is not None
    assert month is not None
    return {
        "invoicing.now.failed": deliveries["failed"],
        "invoicing.now.in_doubt": deliveries["in_doubt"],
        "invoicing.now.unsent": deliveries["unsent"],
        "invoicing.now.unsent_minutes": _minutes(deliveries["oldest_unsent"]),
        "invoicing.now.approval_minutes": _minutes(approval["oldest"]),
        "invoicing.month.tick_minutes": _minutes(now - tick),
        "invoicing.month.opened": int(month["is_opened"]),
        "invoicing.month.sent": month["sent"],
    }


def _minutes(duration: datetime.timedelta) -> float:
    return round(max(duration.total_seconds(), 0.0) / 60, 1)
