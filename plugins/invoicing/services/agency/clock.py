"""The agency's calendar: which day it is where the invoices are issued."""

import datetime
import os
from zoneinfo import ZoneInfo

TIMEZONE = os.environ.get("INVOICING_TIMEZONE", "America/Bogota")


def zone() -> ZoneInfo:
    """The agency's time zone."""
    return ZoneInfo(TIMEZONE)


def today() -> datetime.date:
    """Today's date in the agency's time zone (``INVOICING_TIMEZONE``)."""
    return datetime.datetime.now(zone()).date()
