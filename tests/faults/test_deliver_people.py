"""People change their minds, and put right what went wrong: the ledger keeps its word all the same."""

import email
import email.policy
from email.message import EmailMessage

import psycopg
import pytest

from invoicing.domain.errors import InputError
from invoicing.services.delivery import approvals, resolution
from invoicing.services.delivery.journal import Settlement
from support.database import tampering
from support.ledger import PERIOD, Ledger
from support.relay import FaultyRelay, Step, accept, drop_connection, on, reply

REFUSED = "550 5.7.1 sender not allowed"
LATER = "450 4.2.0 greylisted"


def message(relay: FaultyRelay, number: int = -1) -> EmailMessage:
    """One of the messages that the relay took."""
    return email.message_from_bytes(relay.messages[number].content, policy=email.policy.default)  # type: ignore[return-value]


# What freezes


def test_a_refused_sender_is_fixed_by_a_clear(ledger: Ledger, relay: FaultyRelay) -> None:
    ledger.make()
    relay.script(on(Step.MAIL, reply(REFUSED), times=1))
    assert ledger.send(relay.port).ended == "permanent"
    ledger.set(from_email="cartera@agencia.example", subject="Otra vez")
    ledger.change_tenant("T0001", language="en", emails=["nueva@correo.example"])

    assert ledger.send(relay.port, execution="2").ended == "done"

    sent = message(relay)
    assert "cartera@agencia.example" in sent["From"]
    assert (sent["Subject"], sent["To"]) == ("Otra vez", "nueva@correo.example")
    assert relay.messages[-1].sender == "cartera@agencia.example"
    ledger.check(relay.accepted_ids)


def test_a_refused_sender_is_fixed_by_a_resend(ledger: Ledger, relay: FaultyRelay) -> None:
    ledger.make()
    relay.script(on(Step.MAIL, reply(REFUSED), times=1))
    ledger.send(relay.port)
    ledger.set(from_email="cartera@agencia.example")
    resolution.resend(ledger.db, ledger.ids(), reason="the sender is fixed", actor="Eva")

    assert ledger.send(relay.port, owner="another task").ended == "done"

    assert "cartera@agencia.example" in message(relay)["From"]
    ledger.check(relay.accepted_ids)


def test_a_refused_sender_is_fixed_by_another_run(ledger: Ledger, relay: FaultyRelay) -> None:
    ledger.make()
    relay.script(on(Step.MAIL, reply(REFUSED), times=1))
    ledger.send(relay.port)
    ledger.set(from_email="cartera@agencia.example")
    ledger.plan()

    assert ledger.send(relay.port, owner="another run's task").ended == "done"

    assert "cartera@agencia.example" in message(relay)["From"]
    ledger.check(relay.accepted_ids)


def test_a_corrected_address_is_the_one_that_a_clear_tries(ledger: Ledger, relay: FaultyRelay) -> None:
    ledger.make()
    relay.script(on(Step.RCPT, reply(LATER), times=1))
    assert ledger.send(relay.port).ended == "temporary"
    ledger.change_tenant("T0001", emails=["corregida@correo.example"])

    # Airflow's own retry keeps the execution's snapshot.
    relay.script(on(Step.RCPT, reply(LATER), times=1))
    assert ledger.send(relay.port).ended == "temporary"
    assert ledger.row()["to_addresses"] == ["t0001@correo.example"]

    assert ledger.send(relay.port, execution="2").ended == "done"
    assert message(relay)["To"] == "corregida@correo.example"
    ledger.check(relay.accepted_ids)


def test_another_runs_first_try_has_that_runs_snapshot(ledger: Ledger, relay: FaultyRelay) -> None:
    ledger.make()
    relay.script(on(Step.RCPT, reply(LATER), times=1))
    ledger.send(relay.port)
    ledger.set(subject="Como la vio la segunda")
    ledger.plan()
    ledger.set(subject="Como quedó después")

    assert ledger.send(relay.port, owner="another run's task").ended == "done"

    assert message(relay)["Subject"] == "Como la vio la segunda"
    ledger.check(relay.accepted_ids)


def test_what_may_have_been_accepted_keeps_its_words(ledger: Ledger, relay: FaultyRelay) -> None:
    """Whoever has it twice has it in the same words, under the same Message-ID."""
    ledger.make()
    relay.script(on(Step.DOT, accept, then=drop_connection, times=1))
    ledger.send(relay.port)
    ledger.set(from_email="cartera@agencia.example", subject="Otra vez")
    ledger.change_tenant("T0001", emails=["nueva@correo.example"])
    resolution.resolve(ledger.db, ledger.row()["id"], "retry", reason="not in the log", actor="Eva")

    assert ledger.send(relay.port, execution="2").ended == "done"

    first, second = (relay.messages[number].content for number in (0, 1))
    assert first == second


# The brake


@pytest.mark.parametrize("whose", ["the agency's", "the tenant's"])
def test_nothing_leaves_while_automatic_sending_is_off(
    whose: str, ledger: Ledger, relay: FaultyRelay
) -> None:
    ledger.make(tenants=2)

    def switch(*, on_: bool) -> None:
        if whose == "the agency's":
            ledger.set(auto_send=on_)
        else:
            ledger.change_tenant("T0001", auto_send=on_)
            ledger.change_tenant("T0002", auto_send=on_)

    switch(on_=False)
    for execution in ("1", "2"):
        ending = ledger.send(relay.port, execution=execution)
        assert ending.ended == "permanent"
        assert "off" in ending.message
    assert relay.accepted == 0
    assert ledger.states() == {"pending": 2}
    assert ledger.attempts() == []

    switch(on_=True)
    assert ledger.send(relay.port, execution="3").ended == "done"
    assert relay.accepted == 2
    ledger.check(relay.accepted_ids)


def test_a_worker_that_waits_its_turn_sees_the_brake(ledger: Ledger, relay: FaultyRelay) -> None:
    ledger.make(tenants=2, per_minute_limit=1)
    worker = ledger.start(relay.port, **{"rate_limit._LONGEST_WAIT_SECONDS": 0.1})
    ledger.wait_for_state("sent")
    ledger.set(auto_send=False)
    # The minute is over.
    ledger.db.execute("DELETE FROM invoicing.transmission_slot")

    ending = worker.wait()

    assert (ending.ended, ledger.states()) == ("permanent", {"sent": 1, "pending": 1})
    assert relay.accepted == 1


def test_a_resend_says_that_sending_is_off_and_changes_nothing(ledger: Ledger, relay: FaultyRelay) -> None:
    ledger.make()
    ledger.send(relay.port)
    for change, words in (
        (lambda: ledger.set(auto_send=False), "automatic sending is off"),
        (
            lambda: (ledger.set(auto_send=True), ledger.change_tenant("T0001", auto_send=False)),
            "switched off",
        ),
    ):
        change()
        with pytest.raises(InputError, match=words):
            resolution.resend(ledger.db, ledger.ids(), reason="lost", actor="Eva")
    assert ledger.states() == {"sent": 1}


# Proof that comes late


def test_proof_that_comes_after_the_tenant_was_switched_off_counts(
    ledger: Ledger, relay: FaultyRelay
) -> None:
    """Doubt, settled as retry; switched off and on; the journal knew of the acceptance all along."""
    ledger.make()
    relay.script(on(Step.DOT, accept, then=drop_connection, times=1))
    ledger.send(relay.port)
    delivery = ledger.row()
    resolution.resolve(ledger.db, delivery["id"], "retry", reason="not in the log", actor="Eva")
    ledger.change_tenant("T0001", auto_send=False)
    ledger.plan()
    ledger.journal.keep(
        Settlement(delivery["id"], 1, "accepted", "acceptance", 250, "250 2.0.0 queued", None, "the worker")
    )
    ledger.sweep()
    ledger.change_tenant("T0001", auto_send=True)
    ledger.plan()

    ledger.send(relay.port, owner="another run's task")

    assert ledger.states() == {"sent": 1}
    assert relay.accepted == 1
    ledger.check(relay.accepted_ids)


def test_proof_of_what_an_older_version_withdrew_counts(ledger: Ledger, relay: FaultyRelay) -> None:
    """It withdrew what might have been accepted, and a run has made another delivery of the invoice since."""
    ledger.make()
    relay.script(on(Step.DOT, accept, then=drop_connection, times=1))
    ledger.send(relay.port)
    (first,) = ledger.ids()
    with tampering(ledger.db) as owner:
        for table in ("delivery", "delivery_invoice"):
            owner.execute(f"ALTER TABLE invoicing.{table} DISABLE TRIGGER USER".encode())
        owner.execute("UPDATE invoicing.delivery SET state = 'cancelled'")
        owner.execute("UPDATE invoicing.delivery_invoice SET live = false")
        owner.execute(
            "INSERT INTO invoicing.delivery_event (delivery_id, from_state, to_state, claim_token, actor)"
            " VALUES (%s, 'pending', 'cancelled', 1, 'an older version')",
            [first],
        )
        for table in ("delivery", "delivery_invoice"):
            owner.execute(f"ALTER TABLE invoicing.{table} ENABLE TRIGGER USER".encode())
    ledger.plan()
    (second,) = ledger.ids()
    assert second != first
    ledger.journal.keep(
        Settlement(first, 1, "accepted", "acceptance", 250, "250 2.0.0 queued", None, "the worker")
    )

    ledger.sweep()

    assert ledger.ids() == [first]
    ledger.send(relay.port, owner="another run's task")
    assert relay.accepted == 1
    ledger.check(relay.accepted_ids)


def test_what_may_have_left_or_was_given_up_is_not_withdrawn_by_a_run(
    ledger: Ledger, relay: FaultyRelay
) -> None:
    ledger.make(tenants=2)
    relay.script(on(Step.DOT, drop_connection, times=2))
    ledger.send(relay.port)
    first, second = ledger.ids()
    resolution.resolve(ledger.db, first, "retry", reason="not in the log", actor="Eva")
    resolution.resolve(ledger.db, second, "failed", reason="the tenant paid in cash", actor="Eva")
    ledger.set(auto_send=False)

    ledger.plan()

    assert ledger.row_states() == ["pending", "failed"]
    with pytest.raises(psycopg.errors.CheckViolation, match="may have been accepted"):
        ledger.db.execute("UPDATE invoicing.delivery SET state = 'cancelled' WHERE id = %s", [first])


# Cancelling


def test_a_hopeless_delivery_is_cancelled_and_no_run_makes_another(
    ledger: Ledger, relay: FaultyRelay
) -> None:
    ledger.make()
    relay.script(on(Step.RCPT, reply(LATER)))
    ledger.send(relay.port)
    (delivery,) = ledger.ids()

    resolution.cancel(ledger.db, [delivery], reason="the tenant has moved", actor="Eva")
    ledger.plan()

    states = ledger.db.execute("SELECT state, reason FROM invoicing.delivery").fetchall()
    assert [(row["state"], row["reason"]) for row in states] == [("cancelled", "the tenant has moved")]
    ledger.check(relay.accepted_ids)

    relay.script()
    resolution.resend(ledger.db, [delivery], reason="they are back", actor="Eva")
    assert ledger.send(relay.port, [delivery], owner="another task").ended == "done"
    assert relay.accepted == 1
    ledger.check(relay.accepted_ids)


@pytest.mark.parametrize(
    ("ending", "words"),
    [
        ("sent", "is sent: only what has not left"),
        ("in_doubt", "may have been accepted"),
        ("retry", "may have been accepted"),
    ],
)
def test_what_may_have_left_is_not_cancelled(
    ending: str, words: str, ledger: Ledger, relay: FaultyRelay
) -> None:
    ledger.make()
    if ending != "sent":
        relay.script(on(Step.DOT, drop_connection, times=1))
    ledger.send(relay.port)
    (delivery,) = ledger.ids()
    if ending == "retry":
        resolution.resolve(ledger.db, delivery, "retry", reason="not in the log", actor="Eva")
    before = ledger.row()

    with pytest.raises(InputError, match=words):
        resolution.cancel(ledger.db, [delivery], reason="no more", actor="Eva")

    assert ledger.row() == before


# The limit


def test_the_limit_is_the_one_that_is_set_now(ledger: Ledger, relay: FaultyRelay) -> None:
    """Deliveries that were made before there was a limit keep it all the same."""
    ledger.make(tenants=3)
    ledger.set(per_minute_limit=1)

    worker = ledger.start(relay.port, **{"rate_limit._LONGEST_WAIT_SECONDS": 0.1})
    ledger.wait_for_state("sent")
    relay.wait_for(Step.DOT)
    with pytest.raises(TimeoutError):
        relay.wait_for(Step.DOT, count=2, timeout_seconds=1.5)
    ledger.set(per_minute_limit=0)
    worker.kill()
    ledger.end_claims()

    assert ledger.send(relay.port).ended == "done"
    ledger.check(relay.accepted_ids)


def test_the_slots_of_the_limit_are_pruned_to_minutes(ledger: Ledger, relay: FaultyRelay) -> None:
    ledger.make(per_minute_limit=1000)
    ledger.db.execute(
        "INSERT INTO invoicing.transmission_slot (taken_at, ended_at)"
        " SELECT now() - interval '1 hour', now() - interval '59 minutes' FROM generate_series(1, 1000)"
    )

    assert ledger.send(relay.port).ended == "done"

    (left,) = ledger.db.execute("SELECT count(*) AS slots FROM invoicing.transmission_slot").fetchall()
    assert left["slots"] == 1


def test_a_word_of_another_database_stays_in_the_journal(ledger: Ledger, relay: FaultyRelay) -> None:
    ledger.make()
    ledger.journal.keep(Settlement(4711, 1, "accepted", "acceptance", 250, "250 ok", None, "the worker"))

    assert ledger.send(relay.port).ended == "done"

    (kept,) = ledger.journal.settlements()
    assert kept.delivery_id == 4711


# What nobody approved


def test_what_nobody_approved_does_not_leave_and_the_task_says_who_has_to_do_what(
    ledger: Ledger, relay: FaultyRelay
) -> None:
    ledger.make(approval="always")
    refused = ledger.send(relay.port)
    assert refused.ended == "permanent"
    assert "nobody approved what would leave to tenant T0001 now" in refused.message
    assert ledger.row()["attempts"] == 0

    assert approvals.look(ledger.db, ledger.run_id).state == "wait"
    assert ledger.send(relay.port).ended == "permanent"
    approvals.answer(ledger.db, PERIOD, "approved", reason="", actor="ana", via="command")
    assert ledger.send(relay.port).ended == "done"
    ledger.check(relay.accepted_ids)


def test_what_was_approved_and_then_changed_does_not_leave_with_the_change(
    ledger: Ledger, relay: FaultyRelay
) -> None:
    """Airflow's own retry keeps what was approved; a person's clear would take today's address, and is refused."""
    ledger.make(approval="always")
    approvals.look(ledger.db, ledger.run_id)
    approvals.answer(ledger.db, PERIOD, "approved", reason="", actor="ana", via="command")
    relay.script(on(Step.RCPT, reply(LATER), times=1))
    assert ledger.send(relay.port).ended == "temporary"
    ledger.change_tenant("T0001", emails=["otra@correo.example"])

    cleared = ledger.send(relay.port, execution="2")

    assert cleared.ended == "permanent"
    assert "nobody approved" in cleared.message
    assert relay.accepted == 0
    # The task that asks is cleared with it: the new address is approved, and leaves.
    assert approvals.look(ledger.db, ledger.run_id).state == "wait"
    approvals.answer(ledger.db, PERIOD, "approved", reason="", actor="ana", via="command")
    assert ledger.send(relay.port, execution="3").ended == "done"
    assert message(relay)["To"] == "otra@correo.example"
    ledger.check(relay.accepted_ids)


def test_a_retry_keeps_what_was_approved(ledger: Ledger, relay: FaultyRelay) -> None:
    ledger.make(approval="always")
    approvals.look(ledger.db, ledger.run_id)
    approvals.answer(ledger.db, PERIOD, "approved", reason="", actor="ana", via="command")
    relay.script(on(Step.RCPT, reply(LATER), times=1))
    assert ledger.send(relay.port).ended == "temporary"
    ledger.change_tenant("T0001", emails=["otra@correo.example"])
    assert ledger.send(relay.port).ended == "done"
    assert message(relay)["To"] == "t0001@correo.example"
    ledger.check(relay.accepted_ids)
