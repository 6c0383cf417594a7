"""What takes long to count is remembered as long as the ledger says that nothing changed."""

import pytest

from invoicing.services.views import remembering
from support.agency import Agency


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(remembering, "time", made)
    return made


def test_it_is_counted_anew_when_something_was_written_and_every_so_often(
    agency: Agency, clock: Clock
) -> None:
    remembered, counted = remembering.of_ledger(), []

    def count() -> int:
        clock.now += 0.5
        counted.append(1)
        return len(counted)

    def read() -> int:
        return remembered.read(agency.db, "x", count)

    assert [read(), read(), read()] == [1, 1, 1]
    agency.set(due_days=7)
    assert read() == 2
    clock.now += 19
    assert read() == 2
    clock.now += 2
    assert read() == 3
    agency.add_tenant("A")
    agency.run()
    assert read() == 4
    agency.put("A", "claimed")
    assert [read(), read()] == [5, 5]


def test_what_changes_by_itself_and_takes_long_may_be_some_seconds_old(agency: Agency, clock: Clock) -> None:
    remembered, counted = remembering.of_ledger(), []

    def count() -> int:
        clock.now += 2
        counted.append(1)
        return len(counted)

    assert remembered.read(agency.db, "x", count, may_lag=True) == 1
    agency.set(due_days=7)
    assert remembered.read(agency.db, "x", count, may_lag=True) == 1
    clock.now += 8.1
    assert remembered.read(agency.db, "x", count, may_lag=True) == 2
    agency.set(due_days=8)
    assert remembered.read(agency.db, "x", count) == 3


def test_what_is_soon_counted_is_counted_each_time(agency: Agency, clock: Clock) -> None:
    remembered, counted = remembering.of_ledger(), []
    for _ in range(3):
        remembered.read(agency.db, "x", lambda: counted.append(clock.now))

    assert len(counted) == 3
