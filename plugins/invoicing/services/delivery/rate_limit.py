"""The limit per minute that all workers share: transmissions wait until there is room for one more."""

import datetime
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import psycopg

from invoicing.db.connection import Database
from invoicing.db.statements import beside

_SQL = beside(__file__)
_LONGEST_WAIT_SECONDS = 5.0


@dataclass(slots=True)
class Slot:
    """Room for one transmission; what it was not used for is free again at once."""

    is_used: bool = False


@contextmanager
def slot(
    database: Callable[[], Database], per_minute_limit: int, longest: datetime.timedelta
) -> Iterator[Slot]:
    """Wait until the limit allows one more transmission, and hold room for it while the block lasts.

    Transmissions under way count as well as those that ended within 60 seconds, so no 60 seconds see more
    acceptances than the limit, however long each of them takes.

    Args:
        database: The connection of the moment.
        per_minute_limit: 0 for no limit.
        longest: After that a slot that was never given back is over.
    """
    taken = None if per_minute_limit == 0 else _take(database(), per_minute_limit, longest)
    held = Slot()
    try:
        yield held
    finally:
        if taken is not None:
            with suppress(psycopg.Error):
                database().execute(_SQL["end_slot"] if held.is_used else _SQL["return_slot"], {"id": taken})


def _take(db: Database, per_minute_limit: int, longest: datetime.timedelta) -> int:
    while True:
        with db.transaction():
            db.execute(_SQL["lock_slots"])
            db.execute(_SQL["correct_slots"])
            row = db.execute(_SQL["slots_in_use"], {"longest": longest}).fetchone()
            assert row is not None
            if row["used"] < per_minute_limit:
                db.execute(_SQL["forget_slots"], {"longest": longest})
                taken = db.execute(_SQL["take_slot"]).fetchone()
                assert taken is not None
                return int(taken["id"])
        time.sleep(min(max(row["wait_seconds"], 0.05), _LONGEST_WAIT_SECONDS))
