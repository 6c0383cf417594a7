"""The operator hears of it: notices survive the relay and the database that fail them."""

import datetime
import json
import socket
from email import message_from_bytes, policy
from types import SimpleNamespace
from typing import Any

import pytest

from invoicing.db.connection import Database
from invoicing.services.agency.settings import change_settings
from invoicing.services.audit import history
from invoicing.services.delivery.notices import Notice, NoticeFolder, keep_notice, take_notice
from support.agency import Agency
from support.database import airflow_connection
from support.relay import FaultyRelay, Step, on, reply

pytestmark = pytest.mark.faults

OPERATOR = "ops@agencia.example"


@pytest.fixture(autouse=True)
def connections(dsn: str, relay: FaultyRelay, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    extra = {"disable_tls": True, "disable_ssl": True, "timeout": 5, "retry_limit": 1}
    mail = {"conn_type": "smtp", "host": "127.0.0.1", "port": relay.port, "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_INVOICING_SMTP", json.dumps(mail))
    monkeypatch.setenv("AIRFLOW_CONN_INVOICING_DB", airflow_connection(dsn))
    monkeypatch.setenv("INVOICING_STATE", str(tmp_path))


@pytest.fixture
def agency(db: Database) -> Agency:
    """An agency that sends, with an operator."""
    change_settings(
        db,
        {"auto_send": True, "from_email": "facturas@agencia.example", "operator_email": OPERATOR},
        actor="t",
    )
    return Agency(db)


@pytest.fixture
def kept_aside(tmp_path: Any) -> NoticeFolder:
    """The folder beside the journal."""
    return NoticeFolder(tmp_path / "notices")


CONTEXT = {
    "dag_run": SimpleNamespace(
        dag_id="monthly_invoicing", run_id="2026-11 manual 1", partition_key="2026-11"
    ),
    "params": {},
    "ti": SimpleNamespace(log_url="http://airflow.example/run"),
    "exception": ValueError("1 delivery is failed"),
    "task_instance": None,
}


def fail_run() -> None:
    from invoicing.on_airflow.notice import notify_operator

    notify_operator(CONTEXT)


def sweep() -> dict[str, int]:
    from invoicing.on_airflow.telling import raise_alarms

    return raise_alarms({})


def subjects(relay: FaultyRelay) -> list[str]:
    assert all(message.recipients == (OPERATOR,) for message in relay.messages)
    return [str(message_from_bytes(m.content, policy=policy.default)["Subject"]) for m in relay.messages]


FAILED = "Facturación: la ejecución 2026-11 manual 1 necesita atención"


def stored(db: Database) -> list[dict[str, Any]]:
    return db.execute(
        "SELECT cause, attempts, sent_at IS NOT NULL AS is_sent FROM invoicing.operator_notice ORDER BY id"
    ).fetchall()


def test_a_failed_run_is_told_at_once_and_once(agency: Agency, relay: FaultyRelay) -> None:
    fail_run()
    sweep()

    assert subjects(relay) == [FAILED]
    assert stored(agency.db) == [{"cause": "run_failed", "attempts": 1, "is_sent": True}]


def test_the_head_of_the_history_goes_with_a_notice(agency: Agency, relay: FaultyRelay) -> None:
    """In the operator's mailbox it is out of reach of whoever could make the history anew."""
    head = history.seal(agency.db)

    fail_run()

    (message,) = relay.messages
    body = message_from_bytes(message.content, policy=policy.default).get_body(("html",))
    assert body is not None
    assert str(head) in body.get_content()


def test_a_notice_that_the_relay_refuses_is_sent_by_a_later_sweep(agency: Agency, relay: FaultyRelay) -> None:
    relay.script(on(Step.MAIL, reply("451 4.3.0 not now")))
    fail_run()
    assert sweep() == {"alarms": 0, "sent": 0, "unsent": 1}
    relay.script()

    assert sweep() == {"alarms": 0, "sent": 1, "unsent": 0}
    assert sweep() == {"alarms": 0, "sent": 0, "unsent": 0}

    assert subjects(relay) == [FAILED]
    assert stored(agency.db) == [{"cause": "run_failed", "attempts": 3, "is_sent": True}]


def test_a_notice_that_the_database_cannot_take_is_kept_on_this_host_and_sent_later(
    agency: Agency,
    relay: FaultyRelay,
    kept_aside: NoticeFolder,
    dsn: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        away = {"conn_type": "postgres", "host": "127.0.0.1", "port": unused.getsockname()[1]}
        monkeypatch.setenv("AIRFLOW_CONN_INVOICING_DB", json.dumps(away))
        fail_run()
        # The sweep has an alarm of its own, once a day.
        assert [sweep()["alarms"], sweep()["alarms"]] == [1, 0]
    assert (kept_aside.waiting(), relay.messages) == (2, [])
    monkeypatch.setenv("AIRFLOW_CONN_INVOICING_DB", airflow_connection(dsn))

    assert sweep()["sent"] == 2

    assert kept_aside.waiting() == 0
    told = sorted(subjects(relay))
    assert told[0].startswith("Facturación: la base de datos no responde")
    assert told[1] == FAILED


def leave_unbilled(agency: Agency) -> None:
    """Leases that came yesterday, in a month whose tick is past and that nobody bills."""
    agency.add_tenant("A")
    agency.db.execute("UPDATE invoicing.lease SET updated_at = now() - interval '1 day'")


def test_a_sweep_between_an_agencys_import_and_its_first_run_tells_of_no_month_missed(
    agency: Agency, relay: FaultyRelay
) -> None:
    """As `make demo` does the two: whether a sweep falls between them is chance."""
    agency.add_tenant("A")

    assert sweep() == {"alarms": 0, "sent": 0, "unsent": 0}
    assert relay.messages == []


def test_an_alarm_is_told_once_a_day(
    agency: Agency, relay: FaultyRelay, monkeypatch: pytest.MonkeyPatch
) -> None:
    leave_unbilled(agency)
    from invoicing.services.agency import clock

    today = clock.today()
    assert [sweep() for _ in range(3)] == [
        {"alarms": 1, "sent": 1, "unsent": 0},
        {"alarms": 0, "sent": 0, "unsent": 0},
        {"alarms": 0, "sent": 0, "unsent": 0},
    ]
    monkeypatch.setattr(clock, "today", lambda: today + datetime.timedelta(days=1))
    assert sweep()["sent"] == 1

    (first, second) = subjects(relay)
    assert first == second
    assert "no se ha facturado" in first
    body = message_from_bytes(relay.messages[0].content, policy=policy.default).get_body()
    assert body is not None
    text = body.get_content()
    assert "bin/invoicing run --period" in text
    assert "was not billed" in text


def test_where_nobody_is_told_nothing_is_kept(agency: Agency, relay: FaultyRelay) -> None:
    """Who is named as the operator later is not told of months ago."""
    agency.set(operator_email="")
    leave_unbilled(agency)
    fail_run()
    sweep()

    assert (stored(agency.db), relay.messages) == ([], [])


@pytest.fixture
def paged() -> list[tuple[str, str]]:
    """Channel and subject of what the operator's own notifier was told."""
    from support.pager import CALLS

    CALLS.clear()
    return CALLS


def name_notifier(monkeypatch: pytest.MonkeyPatch, relay: FaultyRelay, path: str, options: Any) -> None:
    extra = {"operator_notifier": path, "operator_notifier_options": options}
    mail = {"conn_type": "smtp", "host": "127.0.0.1", "port": relay.port, "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_INVOICING_SMTP", json.dumps(mail))


def test_a_notifier_of_ones_own_is_told_of_runs_and_alarms(
    agency: Agency, relay: FaultyRelay, monkeypatch: pytest.MonkeyPatch, paged: list[tuple[str, str]]
) -> None:
    name_notifier(monkeypatch, relay, "support.pager:Pager", {"channel": "#rent"})
    agency.set(operator_email="")
    leave_unbilled(agency)
    fail_run()
    sweep()

    assert [channel for channel, _ in paged] == ["#rent", "#rent"]
    assert paged[0][1] == FAILED
    assert "no se ha facturado" in paged[1][1]


@pytest.mark.parametrize(
    ("path", "options", "words"),
    [
        ("support.pager:no_notifier", {"channel": "x"}, "is no BaseNotifier of Airflow's"),
        ("os:system", {"command": "true"}, "is no BaseNotifier of Airflow's"),
        ("airflow.sdk:BaseHook", {}, "is no BaseNotifier of Airflow's"),
        ("no.such.module:Pager", {}, "is not to be found"),
        ("support.pager:Nobody", {}, "is not to be found"),
        ("support.pager:Pager", {"chanel": "#rent"}, "does not take operator_notifier_options"),
        ("support.pager:Pager", ["#rent"], "does not take operator_notifier_options"),
    ],
)
def test_what_is_no_notifier_is_not_called_and_that_is_said(
    agency: Agency,
    relay: FaultyRelay,
    monkeypatch: pytest.MonkeyPatch,
    paged: list[tuple[str, str]],
    path: str,
    options: Any,
    words: str,
) -> None:
    name_notifier(monkeypatch, relay, path, options)
    fail_run()

    assert paged == []
    [kept] = agency.db.execute("SELECT problem FROM invoicing.operator_notice").fetchall()
    assert words in kept["problem"]


def test_a_notice_that_somebody_is_sending_is_not_sent_by_another(agency: Agency, relay: FaultyRelay) -> None:
    notice_id = keep_notice(agency.db, Notice("run_failed", {}))
    with agency.db.transaction():
        taken = take_notice(agency.db)
        assert taken is not None
        assert taken.id == notice_id
        assert sweep() == {"alarms": 0, "sent": 0, "unsent": 0}
    assert relay.messages == []


def test_a_file_that_cannot_be_read_is_left_for_a_person_and_stops_nothing(
    agency: Agency, relay: FaultyRelay, kept_aside: NoticeFolder
) -> None:
    texts = {"detail_es": "d", "detail_en": "d", "next_es": "n", "next_en": "n"}
    kept_aside.keep(Notice("x", texts, datetime.date(2026, 11, 1)))
    (kept_aside.folder / "a.json").write_text("{")

    assert sweep()["sent"] == 1

    assert kept_aside.waiting() == 1


def test_a_notice_is_never_markup(agency: Agency, relay: FaultyRelay) -> None:
    from invoicing.on_airflow.telling import tell_of_run

    tell_of_run({**CONTEXT, "exception": ValueError("<script>alert(1)</script>")})

    assert b"<script>" not in relay.messages[0].content
