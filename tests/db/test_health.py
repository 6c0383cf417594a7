"""Is all well? Each thing that needs a person is one check that is not, with what to do."""

import datetime

import psycopg
import pytest

from invoicing.db.connection import Database, connect
from invoicing.db.migrate import MIGRATIONS, migrate
from invoicing.domain.errors import WorkFailedError
from invoicing.domain.period import Period
from invoicing.rendering.cage import CageReport
from invoicing.rendering.errors import RenderFailedError
from invoicing.services.agency import clock
from invoicing.services.delivery import closing
from invoicing.services.delivery.notices import Notice, keep_notice, mark_sent, mark_unsent
from invoicing.services.views import health
from invoicing.services.views.health import Check, Here
from invoicing.words.failures import Fault
from support.agency import Agency
from support.database import RUNTIME, as_owner

TICK = datetime.datetime(2026, 12, 1, 6, tzinfo=clock.zone())
MINUTE, HOUR = datetime.timedelta(minutes=1), datetime.timedelta(hours=1)


def now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


def look(db: Database, at: datetime.datetime | None = None, **here: object) -> dict[str, Check]:
    return {check.name: check for check in health.look(db, Here(at or now(), **here))}  # type: ignore[arg-type]


def not_well(db: Database, at: datetime.datetime | None = None, **here: object) -> set[str]:
    return {name for name, check in look(db, at, **here).items() if not check.ok}


@pytest.fixture
def heard(agency: Agency) -> Agency:
    """Somebody hears of it when something goes wrong."""
    agency.set(operator_email="ops@agencia.example")
    return agency


def test_a_new_installation_is_well(db: Database) -> None:
    checks = look(db)

    assert list(checks) == [
        "database", "month", "cycles", "unbilled", "series", "failed", "in_doubt", "unsent", "held", "documents",
        "approvals", "approval_deadline", "operator", "journal", "notices", "roles",
    ]  # fmt: skip
    assert all(check.ok and check.next_step is None for check in checks.values())


ALL = ("user", "network", "files", "calls")


@pytest.mark.parametrize(
    ("report", "is_well", "words"),
    [
        (CageReport(ALL, False, False, False), True, "templates run in a cage: no network"),
        (
            CageReport(("files", "calls"), False, False, False),
            True,
            "a user of its own (user namespaces); a network",
        ),
        (CageReport(("user", "network", "files"), False, False, False), True, "seccomp: install libseccomp2"),
        (CageReport(ALL, True, False, False), True, "an installation that everybody can read"),
        (
            CageReport(("calls",), False, True, False),
            False,
            "breaks out can read Airflow's keys; what this machine",
        ),
        (CageReport((), False, True, True), False, "can read Airflow's keys; reaches the network"),
        (RenderFailedError("a trial", Fault("subject_empty")), False, "the cage does not start"),
    ],
)
def test_a_renderer_that_is_open_to_a_template_needs_a_person(
    db: Database, report: CageReport | RenderFailedError, is_well: bool, words: str
) -> None:
    check = look(db, renderer=report)["renderer"]

    assert check.ok is is_well
    assert words in str(check.detail)
    assert (check.next_step is None) is is_well


def test_a_month_whose_run_did_not_happen_is_noticed_after_an_hour(heard: Agency) -> None:
    heard.add_tenant("A")

    assert not_well(heard.db, TICK + 59 * MINUTE) == set()
    missing = look(heard.db, TICK + 61 * MINUTE)["month"]
    assert str(missing.detail) == (
        "2026-12 was not billed: its run was due at 2026-12-01 06:00 and has opened no cycle"
    )
    assert "bin/invoicing run --period 2026-12 --wait" in str(missing.next_step)
    assert missing.alarms
    # Until the next one is due.
    assert not_well(heard.db, TICK.replace(day=31)) == {"month"}


def test_a_month_whose_leases_have_just_come_may_be_on_its_way_for_an_hour(heard: Agency) -> None:
    """A new agency's first import comes days after the tick: whoever runs its month next is told of no miss."""
    heard.add_tenant("A", leases=2)
    imported = TICK.replace(day=20)
    heard.db.execute("UPDATE invoicing.lease SET updated_at = %s", [imported])

    assert not_well(heard.db, imported + 59 * MINUTE) == set()
    assert not_well(heard.db, imported + 61 * MINUTE) == {"month"}

    # One that came later excuses nobody.
    heard.db.execute(
        "UPDATE invoicing.lease SET updated_at = %s WHERE code = 'A-L1'", [imported + 60 * MINUTE]
    )
    assert not_well(heard.db, imported + 61 * MINUTE) == {"month"}


def test_a_month_in_which_nothing_is_rented_out_is_not_missed(heard: Agency) -> None:
    heard.add_tenant("A", leases=0)
    heard.add_lease("L", "A", start="2027-01-01")

    assert not_well(heard.db, TICK + 2 * HOUR) == set()


def test_a_cycle_that_nobody_closed_is_noticed_after_an_hour(heard: Agency) -> None:
    heard.add_tenant("A")
    this_month = Period.containing(clock.today())
    run_id, _ = heard.run(this_month)

    assert not_well(heard.db, now() + 50 * MINUTE) == set()
    left = look(heard.db, now() + 70 * MINUTE)["cycles"]
    assert (left.ok, left.alarms) == (False, True)
    assert str(left.detail).startswith(f"nobody closed {this_month}; the last run began at ")

    heard.put("A", "claimed", "transmitting", "sent")
    closing.close_run(heard.db, run_id)
    assert not_well(heard.db, now() + 70 * MINUTE) == set()


@pytest.mark.parametrize("state", ["failed", "in_doubt"])
def test_a_delivery_that_needs_a_person_is_named(heard: Agency, state: str) -> None:
    heard.add_tenant("A")
    heard.run()
    heard.put("A", "claimed", "transmitting", state)

    check = look(heard.db)[state]

    assert not check.ok
    assert str(check.detail).startswith(f"1 deliveries are {state}, since ")
    assert not check.alarms  # its run told of it


def test_a_failure_that_a_person_gave_up_needs_nobody(heard: Agency) -> None:
    heard.add_tenant("A")
    heard.run()
    heard.put("A", "claimed", "transmitting", "in_doubt")
    heard.db.execute("UPDATE invoicing.delivery SET state = 'failed', given_up = true")

    assert look(heard.db)["failed"].ok


@pytest.mark.parametrize("states", [(), ("claimed",), ("claimed", "transmitting")])
def test_what_nobody_tries_to_send_is_noticed_after_two_hours(heard: Agency, states: tuple[str, ...]) -> None:
    heard.add_tenant("A")
    heard.run()
    heard.put("A", *states)

    assert look(heard.db, now() + 110 * MINUTE)["unsent"].ok
    assert not look(heard.db, now() + 130 * MINUTE)["unsent"].ok


def test_what_the_brake_holds_is_not_late(heard: Agency) -> None:
    heard.add_tenant("A")
    heard.run()
    heard.change_tenant("A", auto_send=False)
    assert look(heard.db, now() + 3 * HOUR)["unsent"].ok
    heard.change_tenant("A", auto_send=True)
    heard.set(auto_send=False)
    assert look(heard.db, now() + 3 * HOUR)["unsent"].ok


def test_sending_with_nobody_to_hear_of_it_is_nagged_about(agency: Agency) -> None:
    assert not_well(agency.db) == {"operator"}
    assert not_well(agency.db, has_notifier=True) == set()
    agency.set(auto_send=False)
    assert not_well(agency.db) == set()


@pytest.mark.parametrize(
    ("connection", "names_one"),
    [
        ('{"conn_type": "smtp", "extra": {"operator_notifier": "a.B"}}', True),
        ('{"conn_type": "smtp", "extra": "{\\"operator_notifier\\": \\"a.B\\"}"}', True),
        ("smtp://relay.example:587/?operator_notifier=a.B", True),
        ("smtp://relay.example:587/?__extra__=%7B%22operator_notifier%22%3A%22a.B%22%7D", True),
        ('{"conn_type": "smtp"}', False),
        ("smtp://relay.example:587/?disable_tls=true", False),
        ("{", False),
        ("", False),
    ],
)
def test_a_notifier_of_ones_own_is_found_in_the_connection(connection: str, names_one: bool) -> None:
    assert health.names_notifier(connection) is names_one


def test_outcomes_that_wait_on_this_host_are_counted(heard: Agency) -> None:
    check = look(heard.db, journal_entries=3)["journal"]
    assert str(check.detail).startswith("3 outcomes wait in the journal")


def test_notices_that_could_not_be_sent_are_counted_with_the_reason(heard: Agency) -> None:
    first = keep_notice(heard.db, Notice("run_failed", {}))
    assert first is not None
    assert look(heard.db)["notices"].ok  # it is being sent just now
    mark_unsent(heard.db, first, "ConnectionRefusedError: [Errno 111]")
    check = look(heard.db, kept_notices=1)["notices"]
    assert str(check.detail) == (
        "2 notices could not be sent to the operator: ConnectionRefusedError: [Errno 111]"
    )
    mark_sent(heard.db, first)
    assert look(heard.db)["notices"].ok


@pytest.fixture
def older(db: Database, owner: Database) -> Database:
    owner.execute("DELETE FROM invoicing.schema_migration WHERE version = '0010_notices'")
    owner.execute("DROP TABLE invoicing.operator_notice")
    return db


def test_a_database_that_lacks_migrations_is_told_before_anything_else(older: Database, dsn: str) -> None:
    (check,) = health.look(older, Here(now()))
    assert str(check.detail) == "the database lacks 1 migrations, the last of them 0010_notices"

    migrate(as_owner(dsn), runtime=RUNTIME)

    assert look(older)["database"].ok


def test_an_empty_database_lacks_all_of_them(dsn: str) -> None:
    with psycopg.connect(as_owner(dsn), autocommit=True) as connection:
        connection.execute("DROP SCHEMA invoicing CASCADE")
    with connect(dsn) as db:
        (check,) = health.look(db, Here(now()))
    assert f"lacks {len(list(MIGRATIONS.glob('*.sql')))} migrations" in str(check.detail)


def test_a_database_that_is_away_is_one_line() -> None:
    check = health.database_away(WorkFailedError("database_unreachable", reason="refused"))
    assert (check.ok, check.alarms) == (False, True)
    assert "refused" in str(check.detail)


def test_a_lease_that_came_after_its_month_ran_is_told_of(
    heard: Agency, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clock, "today", lambda: datetime.date(2026, 11, 20))
    heard.add_tenant("A")
    run_id, _ = heard.run()
    heard.put("A", "claimed", "transmitting", "sent")
    heard.add_lease("A-late", "A")
    assert "unbilled" not in not_well(heard.db)  # the run is still at work
    closing.close_run(heard.db, run_id)

    check = look(heard.db)["unbilled"]

    assert str(check.detail) == "1 active leases without an invoice: 2026-11: A-late"
    assert "bin/invoicing run --period 2026-11" in str(check.next_step)
