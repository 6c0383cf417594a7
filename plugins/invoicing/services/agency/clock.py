"""The agency's calendar: which day it is where the invoices are issued, and when the month's run is due."""

import datetime
import os
from zoneinfo import ZoneInfo

from croniter import croniter

from invoicing.domain.errors import InputError

TIMEZONE = os.environ.get("INVOICING_TIMEZONE", "America/Bogota")
SCHEDULE = os.environ.get("INVOICING_SCHEDULE", "0 6 1 * *")
"""When the month's run begins: a cron expression, read in the agency's time zone."""


def zone() -> ZoneInfo:
    """The agency's time zone."""
    return ZoneInfo(TIMEZONE)


def today() -> datetime.date:
    """Today's date in the agency's time zone (``INVOICING_TIMEZONE``)."""
    return datetime.datetime.now(zone()).date()


def last_tick(now: datetime.datetime) -> datetime.datetime:
    """When the month's run was due last, at ``now`` or before, in the agency's time zone.

    Raises:
        InputError: ``INVOICING_SCHEDULE`` is no cron expression.
    """
    if not croniter.is_valid(SCHEDULE):
        raise InputError("schedule_malformed", text=SCHEDULE)
    # A moment later, since the one before is asked for.
    later = now.astimezone(zone()) + datetime.timedelta(microseconds=1)
    tick: datetime.datetime = croniter(SCHEDULE, later).get_prev(datetime.datetime)
    return tick
