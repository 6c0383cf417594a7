"""When the month's run was due, in the agency's time zone."""

import datetime

import pytest

from invoicing.domain.errors import InputError
from invoicing.services.agency import clock


def in_bogota(text: str) -> datetime.datetime:
    return datetime.datetime.fromisoformat(text).replace(tzinfo=clock.zone())


@pytest.mark.parametrize(
    ("now", "tick"),
    [
        ("2026-12-01T06:00:00", "2026-12-01T06:00:00"),
        ("2026-12-01T05:59:59", "2026-11-01T06:00:00"),
        ("2026-12-31T23:59:59", "2026-12-01T06:00:00"),
    ],
)
def test_the_last_tick_is_the_newest_that_has_passed(now: str, tick: str) -> None:
    assert clock.last_tick(in_bogota(now).astimezone(datetime.UTC)) == in_bogota(tick)


def test_another_schedule_has_other_ticks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "SCHEDULE", "*/5 * * * *")
    assert clock.last_tick(in_bogota("2026-11-28T12:34:56")) == in_bogota("2026-11-28T12:30:00")


def test_a_schedule_that_is_none_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "SCHEDULE", "on the first")
    with pytest.raises(InputError, match="INVOICING_SCHEDULE='on the first' is no cron expression"):
        clock.last_tick(in_bogota("2026-11-28T12:34:56"))
