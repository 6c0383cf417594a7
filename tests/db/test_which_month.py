"""Which month a run bills: what it was told, never the clock's; and the wrong one is hard to bill."""

import datetime
from concurrent.futures import ThreadPoolExecutor

import pytest

from invoicing.db.connection import Database, connect
from invoicing.domain.errors import InputError
from invoicing.domain.period import Period
from invoicing.services.agency import clock
from invoicing.services.billing import runs
from invoicing.services.billing.runs import MonthWish

DAG = "monthly_invoicing"
TODAY = datetime.date(2026, 11, 28)


@pytest.fixture(autouse=True)
def late_november(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "today", lambda: TODAY)


def open_month(db: Database, key: str = "", *, run: str = "r", period: str = "", confirmed: str = "") -> str:
    """The month that the run bills."""
    wish = MonthWish(partition_key=key, period=period, confirmed=confirmed)
    run_id = runs.open_month(db, dag_id=DAG, dag_run_id=run, wish=wish)
    return str(runs.load_run(db, run_id).period)


def months(db: Database) -> list[str]:
    return [row["period"] for row in db.execute("SELECT period FROM invoicing.billing_cycle ORDER BY period")]


def test_the_month_is_the_partition_key_or_the_param(db: Database) -> None:
    assert open_month(db, "2026-11", run="a") == "2026-11"
    assert open_month(db, period="2026-12", run="b") == "2026-12"
    assert open_month(db, "2026-11", period="2026-11", run="c") == "2026-11"


@pytest.mark.parametrize(
    ("wish", "message"),
    [
        ({}, "was not told which month to bill: trigger another one with Month to bill"),
        ({"key": "2026-11", "period": "2026-12"}, "two months, 2026-11 as its partition key and 2026-12"),
        ({"key": "2026-10"}, "2026-10 is neither this month nor the next.*confirm_month=2026-10.*--yes"),
        ({"key": "2027-01"}, "2027-01 is neither this month nor the next"),
        ({"key": "2025-11", "confirmed": "2026-11"}, "for 2025-11, and what was confirmed is 2026-11"),
        ({"key": "2026-11", "confirmed": "2026-12"}, "for 2026-11, and what was confirmed is 2026-12"),
        ({"key": "2025-11", "confirmed": "yes"}, "'yes' is not of the form YYYY-MM"),
    ],
)
def test_a_doubtful_month_is_refused_and_nothing_is_opened(
    db: Database, wish: dict[str, str], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        open_month(db, **wish)

    assert months(db) == []
    assert db.execute("SELECT count(*) AS n FROM invoicing.cycle_run").fetchone() == {"n": 0}


def test_a_month_that_is_confirmed_is_opened_and_needs_it_no_more(db: Database) -> None:
    assert open_month(db, "2026-08", confirmed="2026-08", run="a") == "2026-08"
    assert open_month(db, "2026-08", run="b") == "2026-08"


def test_confirming_a_month_that_is_open_changes_nothing(db: Database) -> None:
    open_month(db, "2026-08", confirmed="2026-08", run="a")
    before = db.execute("SELECT id, period, opened_at FROM invoicing.billing_cycle").fetchall()

    open_month(db, "2026-08", confirmed="2026-08", run="b")

    assert db.execute("SELECT id, period, opened_at FROM invoicing.billing_cycle").fetchall() == before


def test_two_confirmations_at_once_open_one_cycle(dsn: str, db: Database) -> None:
    def confirm(number: int) -> str:
        with connect(dsn) as own:
            return open_month(own, "2026-08", confirmed="2026-08", run=f"run {number}")

    with ThreadPoolExecutor(4) as people:
        assert list(people.map(confirm, range(8))) == ["2026-08"] * 8
    assert months(db) == ["2026-08"]


def test_a_backfill_confirms_all_of_its_months_in_its_conf(db: Database) -> None:
    conf = "2026-08, 2026-09,2026-10"
    for month in ("2026-08", "2026-09", "2026-10"):
        assert open_month(db, month, run=f"backfill {month}", confirmed=conf) == month
    with pytest.raises(InputError, match="for 2026-07"):
        open_month(db, "2026-07", run="backfill 2026-07", confirmed=conf)


def test_a_run_whose_partition_key_was_nulled_goes_on_with_its_month(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Airflow's `/clearPartitions` takes the key away; in another month, too."""
    open_month(db, "2026-11")
    monkeypatch.setattr(clock, "today", lambda: datetime.date(2027, 3, 1))

    assert open_month(db) == "2026-11"
    assert months(db) == ["2026-11"]


def test_a_run_never_bills_another_month(db: Database) -> None:
    open_month(db, "2026-11")

    with pytest.raises(InputError, match="the run 'r' billed 2026-11 before: trigger another one"):
        open_month(db, period="2026-12")
    with pytest.raises(InputError, match="billed 2026-11 before"):
        runs.open_run(db, dag_id=DAG, dag_run_id="r", period=Period(2026, 12))

    assert months(db) == ["2026-11"]
    assert open_month(db, "2026-11") == "2026-11"
