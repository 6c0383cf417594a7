"""What a person may decide about a delivery, and what not."""

import threading
from pathlib import Path

import pytest

from invoicing.db.connection import Database, connect
from invoicing.domain.errors import InputError, NotFoundError
from invoicing.domain.task_address import TaskAddress
from invoicing.services.billing import runs
from invoicing.services.delivery import resolution, select, sweep
from invoicing.services.delivery.journal import Journal, Settlement
from invoicing.services.delivery.ledger import Ledger, Worker
from support.agency import Agency

SENT = ("claimed", "transmitting", "sent")
DOUBT = ("claimed", "transmitting", "in_doubt")


def only_id(agency: Agency) -> int:
    row = agency.db.execute("SELECT min(id) AS id FROM invoicing.delivery").fetchone()
    assert row is not None
    return int(row["id"])


@pytest.fixture
def delivery(agency: Agency) -> int:
    agency.add_tenant("A", leases=2)
    agency.run()
    return only_id(agency)


@pytest.mark.parametrize(("verdict", "state"), [("sent", "sent"), ("failed", "failed"), ("retry", "pending")])
def test_a_doubt_is_settled_with_a_reason(agency: Agency, delivery: int, verdict: str, state: str) -> None:
    agency.put("A", *DOUBT)
    resolution.resolve(agency.db, delivery, verdict, reason="seen in the relay's log", actor="ana")
    assert agency.deliveries() == [("A", state, 2)]
    event = agency.db.execute("SELECT * FROM invoicing.delivery_event ORDER BY id DESC LIMIT 1").fetchone()
    assert event is not None
    assert (event["actor"], event["reason"], event["from_state"], event["to_state"]) == (
        "ana",
        "seen in the relay's log",
        "in_doubt",
        state,
    )
    audited = agency.db.execute(
        "SELECT * FROM invoicing.audit_event WHERE action = 'delivery_resolved'"
    ).fetchall()
    assert [(row["actor"], row["details"]["as"]) for row in audited] == [("ana", verdict)]


@pytest.mark.parametrize(
    "states", [(), ("claimed",), ("claimed", "transmitting"), SENT, ("claimed", "failed")]
)
def test_what_is_not_in_doubt_cannot_be_settled(
    agency: Agency, delivery: int, states: tuple[str, ...]
) -> None:
    agency.put("A", *states)
    before = agency.deliveries()
    with pytest.raises(InputError, match="not in doubt: nothing was changed"):
        resolution.resolve(agency.db, delivery, "sent", reason="x", actor="ana")
    assert agency.deliveries() == before


@pytest.mark.parametrize(
    ("verdict", "reason", "message"),
    [("sent", "  ", "give a reason"), ("lost", "x", "'lost' settles nothing; known are sent, failed, retry")],
)
def test_a_resolution_needs_a_verdict_and_a_reason(
    agency: Agency, delivery: int, verdict: str, reason: str, message: str
) -> None:
    agency.put("A", *DOUBT)
    with pytest.raises(InputError, match=message):
        resolution.resolve(agency.db, delivery, verdict, reason=reason, actor="ana")
    assert agency.deliveries() == [("A", "in_doubt", 2)]


def test_an_unknown_delivery_is_named(agency: Agency, delivery: int) -> None:
    with pytest.raises(NotFoundError, match="there is no delivery 999"):
        resolution.resolve(agency.db, 999, "sent", reason="x", actor="ana")
    with pytest.raises(NotFoundError, match="there is no delivery 998, 999"):
        resolution.resend(agency.db, [delivery, 998, 999], reason="x", actor="ana")
    assert agency.deliveries() == [("A", "pending", 2)]


def test_of_two_people_at_once_the_second_is_told(agency: Agency, delivery: int, dsn: str) -> None:
    agency.put("A", *DOUBT)
    answers: list[str] = []

    def settle(verdict: str) -> None:
        with connect(dsn) as db:
            try:
                resolution.resolve(db, delivery, verdict, reason="x", actor=verdict)
                answers.append(verdict)
            except InputError as error:
                answers.append(str(error))

    threads = [threading.Thread(target=settle, args=[verdict]) for verdict in ("sent", "failed")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum("not in doubt" in answer for answer in answers) == 1


def test_a_resend_is_a_new_delivery_of_the_same_invoices(agency: Agency, delivery: int) -> None:
    agency.put("A", *SENT)
    agency.change_tenant("A", emails=["new@correo.example"])
    (again,) = resolution.resend(agency.db, [delivery], reason="lost by the tenant", actor="ana")
    agency.db.execute(
        "UPDATE invoicing.delivery SET state = 'claimed', claim_until = now(), attempts = 1 WHERE id = %s",
        [again],
    )
    agency.put("A", "transmitting", "sent")
    (third,) = resolution.resend(agency.db, [again], reason="lost again", actor="ana")
    rows = agency.db.execute(
        "SELECT id, purpose, generation, resend_of, to_addresses, message_id FROM invoicing.delivery ORDER BY id"
    ).fetchall()
    assert [(row["id"], row["purpose"], row["generation"], row["resend_of"]) for row in rows] == [
        (delivery, "initial", 1, None),
        (again, "resend", 2, delivery),
        (third, "resend", 3, delivery),
    ]
    assert rows[1]["to_addresses"] == ["new@correo.example"]
    assert len({row["message_id"] for row in rows}) == 3
    assert agency.deliveries() == [("A", "sent", 2), ("A", "sent", 2), ("A", "pending", 2)]
    assert agency.balance() == []


def test_what_failed_is_taken_up_again_as_it_is(agency: Agency, delivery: int) -> None:
    agency.put("A", "claimed", "failed")
    agency.change_tenant("A", emails=["fixed@correo.example"])
    assert resolution.resend(agency.db, [delivery], reason="address fixed", actor="ana") == [delivery]
    row = agency.db.execute("SELECT state, on_request, to_addresses FROM invoicing.delivery").fetchone()
    assert row == {"state": "pending", "on_request": True, "to_addresses": ["fixed@correo.example"]}


@pytest.mark.parametrize(
    ("states", "message"),
    [
        ((), "is pending: only what was sent or failed is sent again"),
        (("claimed", "transmitting"), "is transmitting: only"),
        (DOUBT, "is in doubt: settle it first"),
        (("cancelled",), "is cancelled: only"),
    ],
)
def test_what_may_still_arrive_is_not_sent_again(
    agency: Agency, delivery: int, states: tuple[str, ...], message: str
) -> None:
    agency.put("A", *states)
    before = agency.deliveries()
    with pytest.raises(InputError, match=message):
        resolution.resend(agency.db, [delivery], reason="x", actor="ana")
    assert agency.deliveries() == before


def test_a_resend_needs_a_reason_and_a_valid_address(agency: Agency, delivery: int) -> None:
    agency.put("A", *SENT)
    with pytest.raises(InputError, match="give a reason"):
        resolution.resend(agency.db, [delivery], reason="", actor="ana")
    agency.change_tenant("A", emails=["mal@@correo.example"])
    with pytest.raises(InputError, match="tenant A cannot get mail"):
        resolution.resend(agency.db, [delivery], reason="x", actor="ana")
    assert agency.deliveries() == [("A", "sent", 2)]


def test_a_resend_that_waits_is_not_made_twice(agency: Agency, delivery: int) -> None:
    agency.put("A", *SENT)
    (again,) = resolution.resend(agency.db, [delivery], reason="lost", actor="ana")
    for id_ in (delivery, again):
        with pytest.raises(InputError, match="nothing was changed"):
            resolution.resend(agency.db, [id_], reason="lost", actor="beto")
    assert agency.deliveries() == [("A", "sent", 2), ("A", "pending", 2)]


def test_what_a_person_gave_up_no_run_takes_up(agency: Agency, delivery: int) -> None:
    agency.put("A", *DOUBT)
    resolution.resolve(agency.db, delivery, "failed", reason="left to the post", actor="ana")
    agency.run()
    assert agency.deliveries() == [("A", "failed", 2)]
    resolution.resend(agency.db, [delivery], reason="changed my mind", actor="ana")
    assert agency.deliveries() == [("A", "pending", 2)]


@pytest.mark.parametrize("verdict", ["failed", "retry"])
def test_an_acceptance_that_becomes_known_late_counts(
    agency: Agency, delivery: int, journal: Journal, verdict: str
) -> None:
    """A worker's journal turns up after a person has settled the doubt the other way."""
    agency.put("A", "claimed", "transmitting", "in_doubt")
    resolution.resolve(agency.db, delivery, verdict, reason="nothing in the log", actor="ana")
    journal.keep(Settlement(delivery, 1, "accepted", "acceptance", 250, "250 queued", None, "w"))

    sweep.sweep_deliveries(agency.db, journal)

    assert agency.deliveries() == [("A", "sent", 2)]
    assert list(journal.settlements()) == []


class TestSweep:
    """Over-age claims end; young ones are left alone; nothing is sent."""

    def expire(self, agency: Agency) -> None:
        agency.db.execute("UPDATE invoicing.delivery SET claim_until = now() - interval '1 second'")

    def test_over_age_claims_are_freed_and_transmissions_doubted(
        self, agency: Agency, delivery: int, journal: Journal
    ) -> None:
        agency.add_tenant("B")
        agency.run()
        agency.put("A", "claimed")
        agency.put("B", "claimed", "transmitting")
        assert sweep.sweep_deliveries(agency.db, journal)["doubted"] == 0
        self.expire(agency)
        counts = sweep.sweep_deliveries(agency.db, journal)
        assert (counts["freed"], counts["doubted"]) == (1, 1)
        assert agency.deliveries() == [("A", "pending", 2), ("B", "in_doubt", 1)]

    def test_a_doubt_is_held_unless_the_agency_chose_otherwise(
        self, agency: Agency, delivery: int, journal: Journal, owner: Database
    ) -> None:
        agency.put("A", *DOUBT)
        agency.set(doubt_minutes=10)
        assert sweep.sweep_deliveries(agency.db, journal)["released"] == 0
        agency.set(doubt_policy="resend_after")
        assert sweep.sweep_deliveries(agency.db, journal)["released"] == 0
        owner.execute("ALTER TABLE invoicing.delivery DISABLE TRIGGER delivery_is_guarded")
        owner.execute("UPDATE invoicing.delivery SET updated_at = now() - interval '11 minutes'")
        owner.execute("ALTER TABLE invoicing.settings_version DISABLE TRIGGER settings_version_is_immutable")
        owner.execute("UPDATE invoicing.settings_version SET created_at = now() - interval '1 day'")
        owner.execute("ALTER TABLE invoicing.delivery ENABLE TRIGGER delivery_is_guarded")
        assert sweep.sweep_deliveries(agency.db, journal)["released"] == 1
        row = agency.db.execute("SELECT state, on_request, doubt_resends FROM invoicing.delivery").fetchone()
        assert row == {"state": "pending", "on_request": True, "doubt_resends": 1}

    def test_a_doubt_older_than_the_choice_or_sent_often_enough_is_left_alone(
        self, agency: Agency, delivery: int, journal: Journal, owner: Database
    ) -> None:
        agency.put("A", *DOUBT)
        agency.set(doubt_policy="resend_after", doubt_minutes=1)
        owner.execute("ALTER TABLE invoicing.delivery DISABLE TRIGGER delivery_is_guarded")
        owner.execute("UPDATE invoicing.delivery SET updated_at = now() - interval '200 days'")
        assert sweep.sweep_deliveries(agency.db, journal)["released"] == 0
        owner.execute("ALTER TABLE invoicing.settings_version DISABLE TRIGGER settings_version_is_immutable")
        owner.execute("UPDATE invoicing.settings_version SET created_at = now() - interval '300 days'")
        agency.db.execute("UPDATE invoicing.delivery SET doubt_resends = 3")
        assert sweep.sweep_deliveries(agency.db, journal)["released"] == 0
        agency.db.execute("UPDATE invoicing.delivery SET doubt_resends = 2")
        assert sweep.sweep_deliveries(agency.db, journal)["released"] == 1

    def test_what_nobody_was_told_of_is_waiting(
        self, agency: Agency, delivery: int, journal: Journal
    ) -> None:
        assert sweep.sweep_deliveries(agency.db, journal)["waiting"] == 0  # the monthly run's own
        agency.put("A", *SENT)
        resolution.resend(agency.db, [delivery], reason="lost", actor="ana")
        assert sweep.sweep_deliveries(agency.db, journal)["waiting"] == 1
        run_id = runs.open_run(agency.db, dag_id="send_new_invoices", dag_run_id="s", period=None)
        select.select_new_invoices(agency.db, run_id)
        assert sweep.sweep_deliveries(agency.db, journal)["waiting"] == 0


@pytest.mark.parametrize(("words", "kept"), [("then", True), ("today", False)])
def test_a_resends_words_stay_though_a_person_clears_its_task(
    agency: Agency, delivery: int, tmp_path: Path, words: str, kept: bool
) -> None:
    agency.put("A", *SENT)
    before = agency.db.execute("SELECT settings_version_id, language FROM invoicing.delivery").fetchone()
    agency.set(subject="Otra cosa")
    agency.change_tenant("A", language="en")
    (again,) = resolution.resend(agency.db, [delivery], reason="lost", actor="ana", words=words)
    agency.set(subject="Y otra")
    agency.change_tenant("A", emails=["new@correo.example"])

    task = TaskAddress("send_new_invoices", "run", "send_invoices", 0)
    worker = Worker(task, f"{task}/9", f"{task} try 8", is_repeated=True)
    ledger = Ledger(agency.db, Journal(tmp_path), worker, lambda _: None, 60)
    assert ledger.claim(ledger.find(again))

    row = agency.db.execute(
        "SELECT settings_version_id, language, to_addresses FROM invoicing.delivery WHERE id = %s", [again]
    ).fetchone()
    assert before is not None
    assert row is not None
    assert row["to_addresses"] == ["new@correo.example"]
    assert (row["language"] == before["language"]) is kept
    assert (row["settings_version_id"] == before["settings_version_id"]) is kept


def test_words_that_are_neither_are_refused(agency: Agency, delivery: int) -> None:
    agency.put("A", *SENT)
    with pytest.raises(InputError, match="known are then, today"):
        resolution.resend(agency.db, [delivery], reason="lost", actor="ana", words="tomorrow")
    assert agency.deliveries() == [("A", "sent", 2)]
