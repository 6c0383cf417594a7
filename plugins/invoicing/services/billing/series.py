"""Series of numbers: without gaps, and within the range and the days that the tax authority gave each.

A DIAN resolution authorises a prefix, a range of numbers and days (Estatuto Tributario, art. 617; Resolución 000042 of
2020). Both are optional here: a series that nobody bounded goes on.
"""

import datetime
import re
from collections.abc import Sequence
from dataclasses import dataclass

from invoicing.db import audit
from invoicing.db.connection import Database
from invoicing.db.statements import beside, fetch_one
from invoicing.domain.errors import InputError
from invoicing.domain.period import Period
from invoicing.domain.settings import PREFIX_PATTERN
from invoicing.services.agency import clock
from invoicing.services.agency import settings as settings_service

_SQL = beside(__file__)
_LARGEST_SERIAL = 10**12
_LONGEST_RESOLUTION = 60

NEARLY_USED_UP = 10
"""Per cent of a range: with as many left, or fewer, somebody has to ask for the next one."""

EXPIRES_SOON_DAYS = 30
"""Days before the last one of a range: from then on somebody has to ask for the next one."""


@dataclass(frozen=True, slots=True)
class SeriesRange:
    """What a resolution says of a prefix; numbers and days are inclusive, None is unbounded."""

    prefix: str
    first_serial: int
    last_serial: int | None
    valid_from: datetime.date | None
    valid_to: datetime.date | None
    resolution: str
    actor: str
    created_at: datetime.datetime


@dataclass(frozen=True, slots=True)
class Series:
    """A prefix and how far its numbers are taken.

    Args:
        last_serial: The last number taken, 0 where none is.
        range: None where nobody bounded it.
        used_for: What the settings use it for now: ``invoices``, ``credit_notes``, or nothing.
        left: Numbers that can still be taken; None where nothing bounds them.
        days_left: Days on which numbers can still be taken, today included; None where nothing bounds them, 0 where
            they are over.
    """

    prefix: str
    last_serial: int
    range: SeriesRange | None
    used_for: str
    left: int | None
    days_left: int | None

    @property
    def is_nearly_used_up(self) -> bool:
        """Whether a tenth of the range, or less, is left."""
        if self.range is None or self.range.last_serial is None or self.left is None:
            return False
        size = self.range.last_serial - self.range.first_serial + 1
        return self.left * 100 <= size * NEARLY_USED_UP


def take(db: Database, prefix: str, count: int, on: datetime.date) -> int:
    """Take the next ``count`` numbers of a series, in the caller's transaction: where that is undone, so are they.

    Returns:
        The first of them; the rest follow it.

    Raises:
        InputError: The series is used up or not valid on ``on``. No number was taken.
    """
    row = db.execute(_SQL["lock_series"], {"prefix": prefix}).fetchone()
    assert row is not None
    first = check_room(db, prefix, count, on)
    db.execute(_SQL["advance"], {"prefix": prefix, "last_serial": first + count - 1})
    return first


def check_room(db: Database, prefix: str, count: int, on: datetime.date) -> int:
    """Find out whether a series has ``count`` numbers left on a day; the first of them.

    Raises:
        InputError: It has not; the words say what to do.
    """
    first = next_serial(db, prefix)
    bounds = range_of(db, prefix)
    if bounds is None:
        return first
    if bounds.valid_from is not None and on < bounds.valid_from:
        raise InputError("series_not_valid_yet", prefix=prefix, on=on, valid_from=bounds.valid_from)
    if bounds.valid_to is not None and on > bounds.valid_to:
        raise InputError("series_expired", prefix=prefix, on=on, valid_to=bounds.valid_to)
    if bounds.last_serial is not None and first + count - 1 > bounds.last_serial:
        left = max(bounds.last_serial - first + 1, 0)
        raise InputError("series_used_up", prefix=prefix, needed=count, left=left, last=bounds.last_serial)
    return first


def next_serial(db: Database, prefix: str) -> int:
    """The number that ``prefix`` would give now. It may be somebody else's by the time it is taken."""
    bounds = range_of(db, prefix)
    return max(_last_serial(db, prefix) + 1, 1 if bounds is None else bounds.first_serial)


def range_of(db: Database, prefix: str) -> SeriesRange | None:
    """The range in force of a prefix; None where nobody bounded it."""
    return fetch_one(db, SeriesRange, _SQL["range_in_force"], {"prefix": prefix})


def set_range(
    db: Database,
    prefix: str,
    *,
    first_serial: int = 1,
    last_serial: int | None = None,
    valid_from: datetime.date | None = None,
    valid_to: datetime.date | None = None,
    resolution: str = "",
    actor: str,
) -> Series:
    """Say what range and days a series has from now on; it takes the place of what was said before.

    Raises:
        InputError: The range ends before it begins, or before what is taken; the days likewise.
    """
    if not re.fullmatch(PREFIX_PATTERN, prefix):
        raise InputError("series_prefix_wrong", prefix=prefix)
    resolution = resolution.strip()
    if len(resolution) > _LONGEST_RESOLUTION or not resolution.isprintable():
        raise InputError("series_resolution_wrong", most=_LONGEST_RESOLUTION)
    bound = _LARGEST_SERIAL if last_serial is None else last_serial
    if not 1 <= first_serial <= bound <= _LARGEST_SERIAL:
        raise InputError("series_range_out_of_order", first=first_serial, last=bound)
    if valid_from is not None and valid_to is not None and valid_to < valid_from:
        raise InputError("series_days_out_of_order", valid_from=valid_from, valid_to=valid_to)
    with db.transaction():
        row = db.execute(_SQL["lock_series"], {"prefix": prefix}).fetchone()
        assert row is not None
        taken = int(row["last_serial"])
        if last_serial is not None and last_serial < taken:
            raise InputError("series_range_taken", prefix=prefix, last=last_serial, taken=taken)
        bounds = {
            "prefix": prefix,
            "first_serial": first_serial,
            "last_serial": last_serial,
            "valid_from": valid_from,
            "valid_to": valid_to,
            "resolution": resolution,
        }
        db.execute(_SQL["add_range"], {**bounds, "actor": actor})
        audit.record(
            db,
            actor=actor,
            action="series_range_set",
            subject=f"series {prefix}",
            details={
                key: value.isoformat() if isinstance(value, datetime.date) else value
                for key, value in bounds.items()
            },
        )
        return _series(db, prefix, _uses(db))


def list_series(db: Database) -> list[Series]:
    """Every series that has numbers, a range, or a use; by prefix."""
    uses = _uses(db)
    return [_series(db, prefix, uses) for prefix in _prefixes(db)]


def needed_next_month(db: Database) -> int:
    """Leases that are active in the month after this one: as many invoices its run will issue, or fewer."""
    following = Period.containing(clock.today()).following
    row = db.execute(
        _SQL["leases_of_month"], {"first_day": following.first_day, "last_day": following.last_day}
    ).fetchone()
    assert row is not None
    return int(row["leases"])


def _series(db: Database, prefix: str, uses: dict[str, str]) -> Series:
    bounds, taken = range_of(db, prefix), _last_serial(db, prefix)
    left = days_left = None
    if bounds is not None and bounds.last_serial is not None:
        left = max(bounds.last_serial - max(taken, bounds.first_serial - 1), 0)
    if bounds is not None and bounds.valid_to is not None:
        days_left = max((bounds.valid_to - clock.today()).days + 1, 0)
    return Series(prefix, taken, bounds, uses.get(prefix, ""), left, days_left)


def _last_serial(db: Database, prefix: str) -> int:
    row = db.execute(_SQL["last_serial"], {"prefix": prefix}).fetchone()
    return 0 if row is None else int(row["last_serial"])


def _uses(db: Database) -> dict[str, str]:
    settings = settings_service.current_settings(db).settings
    return {settings.credit_prefix: "credit_notes", settings.invoice_prefix: "invoices"}


def _prefixes(db: Database) -> Sequence[str]:
    return sorted({row["prefix"] for row in db.execute(_SQL["prefixes"])} | set(_uses(db)))
