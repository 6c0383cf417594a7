"""The numbers of a series: without gaps, within the range and the days that the tax authority gave it."""

import datetime
import threading
from typing import Any

import psycopg
import pytest

from invoicing.db.connection import Database, connect
from invoicing.domain.errors import InputError
from invoicing.domain.period import Period
from invoicing.services.agency import clock
from invoicing.services.billing import generate, runs, series
from invoicing.services.delivery import corrections
from invoicing.services.views import health, simulate
from support.agency import NOVEMBER, Agency

TODAY = clock.today()


def set_range(agency: Agency, prefix: str = "FV-", **bounds: Any) -> series.Series:
    return series.set_range(agency.db, prefix, actor="Ana", **bounds)


def numbers(agency: Agency) -> list[str]:
    return [row["number"] for row in agency.db.execute("SELECT number FROM invoicing.invoice ORDER BY id")]


def warned(agency: Agency) -> list[str]:
    checks = health.look(agency.db, health.Here(datetime.datetime.now(datetime.UTC)))
    (check,) = [each for each in checks if each.name == "series"]
    return [] if check.ok else [str(check.detail)]


@pytest.fixture
def three(agency: Agency) -> Agency:
    """Three tenants, nothing billed."""
    for code in "ABC":
        agency.add_tenant(code)
    return agency


def test_a_range_that_ends_in_the_middle_of_a_month_gives_no_number(three: Agency) -> None:
    set_range(three, last_serial=2)
    for look in (three.run, lambda: simulate.simulate(three.db, NOVEMBER)):
        with pytest.raises(InputError, match="3 numbers are needed and 2 are left, up to 2"):
            look()
    assert numbers(three) == []
    assert series.list_series(three.db)[0].last_serial == 0

    set_range(three, last_serial=3)
    three.run()
    assert numbers(three) == ["FV-1", "FV-2", "FV-3"]
    three.run()  # nothing is needed of what is used up


@pytest.mark.parametrize(
    ("bounds", "message"),
    [
        ({"valid_to": TODAY - datetime.timedelta(days=1)}, "expired on"),
        ({"valid_from": TODAY + datetime.timedelta(days=1)}, "is valid from"),
    ],
)
def test_days_bound_it_too(three: Agency, bounds: dict[str, Any], message: str) -> None:
    set_range(three, **bounds)
    with pytest.raises(InputError, match=message):
        three.run()
    assert numbers(three) == []
    set_range(three, valid_from=TODAY, valid_to=TODAY)
    three.run()


def test_credit_notes_have_a_range_of_their_own(three: Agency) -> None:
    three.run()
    set_range(three, "NC-", last_serial=1)
    for tenant in "ABC":
        three.put(tenant, "cancelled")
    corrections.credit(three.db, "FV-1", None, reason="x", actor="Ana")
    with pytest.raises(InputError, match="series 'NC-' is used up"):
        corrections.credit(three.db, "FV-2", None, reason="x", actor="Ana")
    assert numbers(three)[-1] == "NC-1"


def test_a_range_that_begins_later_moves_the_series_there(three: Agency) -> None:
    three.run()
    set_range(three, first_serial=1001, last_serial=2000)
    three.run(Period(2026, 12))
    assert numbers(three)[3:] == ["FV-1001", "FV-1002", "FV-1003"]
    assert series.list_series(three.db)[0].left == 997


@pytest.mark.parametrize(
    ("prefix", "bounds", "code"),
    [
        ("FV-", {"first_serial": 0}, "series_range_out_of_order"),
        ("FV-", {"first_serial": 5, "last_serial": 4}, "series_range_out_of_order"),
        ("FV-", {"last_serial": 2}, "series_range_taken"),
        ("FV-", {"last_serial": 10**13}, "series_range_out_of_order"),
        (
            "FV-",
            {"valid_from": TODAY, "valid_to": TODAY - datetime.timedelta(days=1)},
            "series_days_out_of_order",
        ),
        ("FV-", {"resolution": "x" * 61}, "series_resolution_wrong"),
        ("F V", {}, "series_prefix_wrong"),
    ],
)
def test_a_range_that_cannot_be_is_refused(
    three: Agency, prefix: str, bounds: dict[str, Any], code: str
) -> None:
    three.run()
    with pytest.raises(InputError) as caught:
        set_range(three, prefix, **bounds)
    assert caught.value.code == code
    assert caught.value.in_words("es") != caught.value.in_words("en")


def test_the_database_holds_the_range_by_itself(three: Agency, owner: Database) -> None:
    set_range(three, last_serial=3)
    three.run()
    with pytest.raises(psycopg.errors.CheckViolation, match="its range ends at 3"):
        owner.execute("UPDATE invoicing.invoice_series SET last_serial = 4 WHERE prefix = 'FV-'")
    for statement in (
        "UPDATE invoicing.series_range SET last_serial = 9",
        "DELETE FROM invoicing.series_range",
    ):
        with pytest.raises(psycopg.errors.IntegrityConstraintViolation):
            owner.execute(statement.encode())


def test_whoever_set_it_is_kept(three: Agency) -> None:
    shown = set_range(three, last_serial=50, valid_to=TODAY, resolution=" 18764000001 ")
    assert shown.range is not None
    assert (shown.range.resolution, shown.range.actor, shown.left, shown.days_left) == (
        "18764000001",
        "Ana",
        50,
        1,
    )
    event = three.db.execute(
        "SELECT * FROM invoicing.audit_event WHERE action = 'series_range_set'"
    ).fetchone()
    assert event is not None
    assert event["details"]["valid_to"] == TODAY.isoformat()


def test_who_looks_after_it_is_warned_in_time(three: Agency) -> None:
    three.run()
    assert warned(three) == []
    for bounds, words in (
        ({"last_serial": 30}, []),
        ({"last_serial": 5}, ["has 2 numbers left; next month needs 3"]),
        ({"last_serial": 3}, ["is used up or has expired"]),
        ({"valid_to": TODAY + datetime.timedelta(days=30)}, []),
        ({"valid_to": TODAY + datetime.timedelta(days=29)}, ["expires in 30 days"]),
        ({"valid_to": TODAY - datetime.timedelta(days=1)}, ["is used up or has expired"]),
        ({}, []),
    ):
        set_range(three, **bounds)
        assert [text.removeprefix("series 'FV-' ") for text in warned(three)] == words
    # A tenth of the range, whatever a month needs.
    set_range(three, first_serial=1, last_serial=103)
    three.db.execute("UPDATE invoicing.invoice_series SET last_serial = 92 WHERE prefix = 'FV-'")
    assert warned(three) == []
    three.db.execute("UPDATE invoicing.invoice_series SET last_serial = 93 WHERE prefix = 'FV-'")
    assert warned(three) == ["series 'FV-' has 10 numbers left; next month needs 3"]


def test_months_at_once_take_the_last_numbers_without_gaps(agency: Agency, dsn: str) -> None:
    for number in range(5):
        agency.add_tenant(f"T{number}")
    set_range(agency, last_serial=17)
    ended: list[str] = []

    def bill(month: int) -> None:
        with connect(dsn) as db:
            run_id = runs.open_run(
                db, dag_id="monthly_invoicing", dag_run_id=f"r{month}", period=Period(2026, month)
            )
            try:
                generate.generate_invoices(db, run_id)
                ended.append("issued")
            except InputError as error:
                ended.append(error.code)

    threads = [threading.Thread(target=bill, args=[month]) for month in range(1, 6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(ended) == ["issued"] * 3 + ["series_used_up"] * 2
    assert sorted(numbers(agency), key=lambda each: int(each[3:])) == [
        f"FV-{serial}" for serial in range(1, 16)
    ]
