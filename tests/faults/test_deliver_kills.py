"""Workers that are killed, stopped, or given up on: nothing is sent twice, nothing is lost, doubt is shown."""

import threading
import time
from collections.abc import Callable
from contextlib import nullcontext

import pytest

from invoicing.db.connection import connect
from invoicing.services.agency import template_editing, templates
from invoicing.services.delivery import resolution
from support.database import tampering
from support.ledger import Ledger
from support.relay import FaultyRelay, Step, accept, hang, on, reply, wait, wait_for
from support.waiting import wait_until

pytestmark = pytest.mark.faults

StartRelay = Callable[..., FaultyRelay]

LARGE_BYTES = 5_000_000
"""A document that no socket buffer holds."""


def hold(ledger: Ledger, state: str, *, timing: str = "BEFORE", seconds: float = 60) -> None:
    """Make the database take its time with a delivery's way into ``state``; what is held is not committed."""
    with tampering(ledger.db) as owner:
        owner.execute(
            "CREATE FUNCTION hold() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
            f" IF NEW.state = '{state}' AND OLD.state <> NEW.state THEN PERFORM pg_sleep({seconds}); END IF;"
            " RETURN NEW; END $$".encode()
        )
        owner.execute(
            f"CREATE TRIGGER hold {timing} UPDATE ON invoicing.delivery FOR EACH ROW EXECUTE FUNCTION hold()".encode()
        )


def release(ledger: Ledger, *, end_sleepers: bool) -> None:
    """Take the hold away; those who sleep go on, or are ended as by a lost connection."""
    if end_sleepers:
        ledger.db.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE wait_event = 'PgSleep' AND datname = current_database()"
        )
        wait_until(lambda: not sleepers(ledger), "the sleepers are gone")
    with tampering(ledger.db) as owner:
        owner.execute("DROP TRIGGER hold ON invoicing.delivery")


def sleepers(ledger: Ledger) -> int:
    row = ledger.db.execute(
        "SELECT count(*) AS n FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = current_database()"
    ).fetchone()
    assert row is not None
    return int(row["n"])


# kill -9


def test_killed_before_its_claim_commits(ledger: Ledger, relay: FaultyRelay) -> None:
    ledger.make()
    hold(ledger, "claimed")
    worker = ledger.start(relay.port)
    wait_until(lambda: sleepers(ledger), "the claim is under way")
    worker.kill()
    release(ledger, end_sleepers=True)
    assert ledger.states() == {"pending": 1}
    assert ledger.attempts() == []

    assert ledger.send(relay.port).ended == "done"

    assert ledger.history() == ["pending", "claimed", "transmitting", "sent"]
    assert relay.accepted == 1
    ledger.check(relay.accepted_ids)


def test_killed_after_its_claim(ledger: Ledger, relay: FaultyRelay) -> None:
    ledger.make()
    relay.script(on(Step.RCPT, hang, times=1))
    worker = ledger.start(relay.port)
    relay.wait_for(Step.RCPT)
    worker.kill()
    assert ledger.states() == {"claimed": 1}

    # The same task's next try takes it over at once, whatever is left of its claim.
    assert ledger.send(relay.port).ended == "done"

    assert relay.accepted == 1
    assert ledger.attempts() == [(None, "claimed", None), ("accepted", "acceptance", 250)]
    ledger.check(relay.accepted_ids)


def test_the_claim_of_a_dead_worker_is_another_tasks_only_when_it_is_over(
    ledger: Ledger, relay: FaultyRelay
) -> None:
    ledger.make()
    relay.script(on(Step.RCPT, hang, times=1))
    worker = ledger.start(relay.port)
    relay.wait_for(Step.RCPT)
    worker.kill()

    early = ledger.send(relay.port, owner="another task")
    assert (early.ended, ledger.states()) == ("temporary", {"claimed": 1})

    ledger.end_claims()
    assert ledger.send(relay.port, owner="another task").ended == "done"
    assert relay.accepted == 1
    ledger.check(relay.accepted_ids)


def test_the_sweep_frees_the_claim_of_a_dead_worker(ledger: Ledger, relay: FaultyRelay) -> None:
    ledger.make()
    relay.script(on(Step.RCPT, hang, times=1))
    worker = ledger.start(relay.port)
    relay.wait_for(Step.RCPT)
    worker.kill()
    assert ledger.sweep()["freed"] == 0
    ledger.end_claims()
    assert any("I5" in fault for fault in ledger.violations(relay.accepted_ids))

    assert ledger.sweep()["freed"] == 1

    assert ledger.states() == {"pending": 1}
    assert relay.accepted == 0
    ledger.check(relay.accepted_ids)


@pytest.mark.parametrize("moment", ["mark-not-committed", "mark-committed"])
def test_killed_at_its_mark(moment: str, ledger: Ledger, relay: FaultyRelay) -> None:
    """After the mark nobody but the dead worker knew that not a byte had left."""
    ledger.make()
    hold(ledger, "transmitting", timing="BEFORE", seconds=60 if moment == "mark-not-committed" else 1)
    worker = ledger.start(relay.port)
    wait_until(lambda: sleepers(ledger), "the mark is under way")
    if moment == "mark-committed":
        worker.freeze()
        ledger.wait_for_state("transmitting")
    worker.kill()
    release(ledger, end_sleepers=True)
    with pytest.raises(TimeoutError):
        relay.wait_for(Step.PAYLOAD, timeout_seconds=0.1)

    retry = ledger.send(relay.port)

    if moment == "mark-committed":
        assert (retry.ended, ledger.states()) == ("permanent", {"in_doubt": 1})
        assert relay.accepted == 0
        resolution.resolve(
            ledger.db, ledger.row()["id"], "retry", reason="the relay's log has no trace", actor="Eva"
        )
        assert ledger.send(relay.port).ended == "done"
    assert ledger.states() == {"sent": 1}
    assert relay.accepted == 1
    ledger.check(relay.accepted_ids)


def test_killed_in_mid_payload(ledger: Ledger, start_relay: StartRelay) -> None:
    relay = start_relay(receive_buffer_bytes=4096)
    ledger.make(document_bytes=LARGE_BYTES)
    relay.script(on(Step.PAYLOAD, wait(0.5), times=1))
    worker = ledger.start(relay.port)
    relay.wait_for(Step.PAYLOAD)
    worker.kill()

    retry = ledger.send(relay.port)

    assert (retry.ended, ledger.states()) == ("permanent", {"in_doubt": 1})
    assert "in_doubt" in retry.message
    assert relay.accepted == 0
    ledger.check(relay.accepted_ids)


@pytest.mark.parametrize("said", [False, True], ids=["before-250", "after-250"])
def test_killed_after_the_message_was_accepted(said: bool, ledger: Ledger, relay: FaultyRelay) -> None:
    ledger.make()
    if said:
        # The settling waits inside the database, the 250 is read.
        hold(ledger, "sent")
    else:
        relay.script(accept, then=hang)
    worker = ledger.start(relay.port)
    if said:
        wait_until(lambda: sleepers(ledger), "the settling is under way")
    else:
        wait_until(lambda: relay.accepted, "the relay has the message")
    worker.kill()
    if said:
        release(ledger, end_sleepers=True)
    relay.script()

    retry, again = ledger.send(relay.port), ledger.send(relay.port)

    # A kill leaves no word of what the worker had heard: nobody repeats it, everybody sees it.
    assert (retry.ended, again.ended, ledger.states()) == ("permanent", "permanent", {"in_doubt": 1})
    assert relay.accepted == 1
    ledger.check(relay.accepted_ids)
    resolution.resolve(ledger.db, ledger.row()["id"], "sent", reason="in the relay's log", actor="Eva")
    assert ledger.send(relay.port).ended == "done"
    ledger.check(relay.accepted_ids)


def test_a_kill_costs_the_rest_of_the_batch_nothing(ledger: Ledger, relay: FaultyRelay) -> None:
    ids = ledger.make(tenants=5)
    relay.script(on(Step.DATA, hang, after=2, times=1))
    worker = ledger.start(relay.port)
    relay.wait_for(Step.DATA, 3)
    worker.kill()
    assert ledger.states() == {"sent": 2, "claimed": 1, "pending": 2}

    assert ledger.send(relay.port).counts == {"sent": 5}

    assert relay.accepted == len(ids)
    ledger.check(relay.accepted_ids)


@pytest.mark.parametrize("moment", ["transmitting", "settling"])
def test_a_task_that_airflow_ends_leaves_what_it_knows(
    moment: str, ledger: Ledger, relay: FaultyRelay
) -> None:
    """A signal raises in the task wherever it is: what it had heard by then is in the journal."""
    ledger.make()
    if moment == "settling":
        hold(ledger, "sent")
    else:
        relay.script(accept, then=hang)
    worker = ledger.start(relay.port)
    if moment == "settling":
        wait_until(lambda: sleepers(ledger), "the settling is under way")
    else:
        wait_until(lambda: relay.accepted, "the relay has the message")
    worker.terminate()
    assert worker.wait().ended == "killed"
    if moment == "settling":
        release(ledger, end_sleepers=True)
    relay.script()

    retry = ledger.send(relay.port)

    if moment == "settling":
        assert (retry.ended, ledger.states()) == ("done", {"sent": 1})
        assert "in_doubt" not in ledger.history()
    else:
        assert (retry.ended, ledger.states()) == ("permanent", {"in_doubt": 1})
    assert relay.accepted == 1
    ledger.check(relay.accepted_ids)


# Stopped for longer than its claim, then going on


@pytest.mark.parametrize("successor", ["sweep", "another-task", "the-same-task"])
def test_stopped_while_it_held_a_claim_it_finds_the_claim_gone(
    successor: str, ledger: Ledger, relay: FaultyRelay
) -> None:
    ledger.make()
    relay.script(on(Step.RCPT, wait(1.0), times=1))
    worker = ledger.start(relay.port)
    relay.wait_for(Step.RCPT)
    worker.freeze()
    if successor != "the-same-task":
        ledger.end_claims()
    if successor == "sweep":
        assert ledger.sweep()["freed"] == 1
    else:
        owner = "send" if successor == "the-same-task" else "another task"
        assert ledger.send(relay.port, owner=owner).ended == "done"

    worker.thaw()
    ending = worker.wait()

    # Its mark found another token, or no claim at all.
    assert relay.accepted == (successor != "sweep")
    if successor == "sweep":
        assert (ending.ended, ledger.states()) == ("temporary", {"pending": 1})
        assert ledger.send(relay.port).ended == "done"
    assert ledger.states() == {"sent": 1}
    assert relay.accepted == 1
    assert ("not_sent", "data", None) in ledger.attempts()
    ledger.check(relay.accepted_ids)


def test_stopped_while_it_held_a_claim_it_leaves_its_successors_claim_alone(
    ledger: Ledger, relay: FaultyRelay
) -> None:
    ledger.make()
    gate = threading.Event()
    relay.script(on(Step.RCPT, wait(0.5), times=1), on(Step.RCPT, wait_for(gate), times=1))
    worker = ledger.start(relay.port)
    relay.wait_for(Step.RCPT)
    worker.freeze()
    ledger.end_claims()
    successor = ledger.start(relay.port, owner="another task", patience_seconds=40)
    relay.wait_for(Step.RCPT, 2)

    worker.thaw()
    ending = worker.wait()

    # Both had the delivery claimed by then: only the token tells whose it is.
    assert ending.ended == "temporary"
    assert relay.accepted == 0
    assert ledger.states() == {"claimed": 1}
    gate.set()
    assert successor.wait().ended == "done"
    assert ledger.attempts() == [("not_sent", "data", None), ("accepted", "acceptance", 250)]
    assert relay.accepted == 1
    ledger.check(relay.accepted_ids)


@pytest.mark.parametrize("accepted", [True, False], ids=["accepted", "refused"])
def test_stopped_while_it_transmitted_its_late_word_settles_the_doubt(
    accepted: bool, ledger: Ledger, relay: FaultyRelay
) -> None:
    ledger.make()
    answer = accept if accepted else reply("452 4.3.1 no space left")
    relay.script(on(Step.DOT, wait(0.7), then=answer, times=1))
    worker = ledger.start(relay.port)
    relay.wait_for(Step.DOT)
    worker.freeze()
    ledger.end_claims()
    assert ledger.sweep()["doubted"] == 1
    other = ledger.send(relay.port, owner="another task")
    assert (other.ended, ledger.states()) == ("permanent", {"in_doubt": 1})

    worker.thaw()
    ending = worker.wait()

    if accepted:
        assert (ending.ended, ledger.states()) == ("done", {"sent": 1})
    else:
        assert (ending.ended, ledger.states()) == ("temporary", {"pending": 1})
        assert ledger.send(relay.port).ended == "done"
    assert relay.accepted == 1
    ledger.check(relay.accepted_ids)


def test_a_late_word_does_not_undo_what_a_person_decided(ledger: Ledger, relay: FaultyRelay) -> None:
    ledger.make()
    relay.script(on(Step.DOT, wait(0.7), then=reply("452 4.3.1 no space left"), times=1))
    worker = ledger.start(relay.port)
    relay.wait_for(Step.DOT)
    worker.freeze()
    ledger.end_claims()
    ledger.sweep()
    resolution.resolve(ledger.db, ledger.row()["id"], "retry", reason="not in the relay's log", actor="Eva")
    assert ledger.send(relay.port, owner="another task").ended == "done"

    worker.thaw()
    ending = worker.wait()

    assert (ending.ended, ledger.states()) == ("done", {"sent": 1})
    assert relay.accepted == 1
    assert ledger.history()[-4:] == ["pending", "claimed", "transmitting", "sent"]
    ledger.check(relay.accepted_ids)


def test_a_late_acceptance_is_heard_before_the_message_is_sent_again(
    ledger: Ledger, relay: FaultyRelay
) -> None:
    """A person had it sent again, on a doubt that the first worker then lifts: there is nothing left to send."""
    ledger.make()
    relay.script(on(Step.DOT, wait(0.7), then=accept, times=1))
    worker = ledger.start(relay.port)
    relay.wait_for(Step.DOT)
    worker.freeze()
    ledger.end_claims()
    ledger.sweep()
    resolution.resolve(
        ledger.db, ledger.row()["id"], "retry", reason="not in the relay's log yet", actor="Eva"
    )

    worker.thaw()
    worker.wait()
    assert relay.accepted == 1
    assert ledger.send(relay.port, owner="another task").ended == "done"

    assert ledger.states() == {"sent": 1}
    assert relay.accepted == 1
    ledger.check(relay.accepted_ids)


def test_stopped_at_its_mark_for_longer_than_its_claim_allows_it_sends_nothing(
    ledger: Ledger, relay: FaultyRelay
) -> None:
    """The mark stands, its answer waits in the socket: when the worker reads it, it is too late to begin."""
    ledger.make()
    hold(ledger, "transmitting", seconds=0.5)
    worker = ledger.start(relay.port, **{"ledger._LONGEST_MARK_SECONDS": 1.0})
    wait_until(lambda: sleepers(ledger), "the mark is under way")
    worker.freeze()
    ledger.wait_for_state("transmitting")
    release(ledger, end_sleepers=False)
    ledger.end_claims()
    ledger.sweep()
    resolution.resolve(ledger.db, ledger.row()["id"], "retry", reason="not in the relay's log", actor="Eva")
    assert ledger.send(relay.port, owner="another task").ended == "done"
    time.sleep(1.0)

    worker.thaw()
    worker.wait()

    assert relay.accepted == 1
    assert ledger.states() == {"sent": 1}
    ledger.check(relay.accepted_ids)


# Two at once


def test_two_tasks_on_the_same_batch_at_once(ledger: Ledger, relay: FaultyRelay) -> None:
    ledger.make(tenants=20)
    relay.script(on(Step.DOT, wait(0.01)))

    workers = [ledger.start(relay.port, owner=f"task {number}") for number in range(3)]
    endings = {worker.wait().ended for worker in workers}

    assert endings <= {"done", "temporary"}
    assert ledger.states() == {"sent": 20}
    assert relay.accepted == 20
    ledger.check(relay.accepted_ids)


def test_a_transmission_under_way_is_left_alone_by_another_task(ledger: Ledger, relay: FaultyRelay) -> None:
    ledger.make()
    gate = threading.Event()
    relay.script(on(Step.DOT, wait_for(gate), times=1))
    worker = ledger.start(relay.port, patience_seconds=40)
    relay.wait_for(Step.DOT)

    other = ledger.send(relay.port, owner="another task")

    assert (other.ended, ledger.states()) == ("temporary", {"transmitting": 1})
    gate.set()
    assert worker.wait().ended == "done"
    assert "in_doubt" not in ledger.history()
    assert relay.accepted == 1
    ledger.check(relay.accepted_ids)


@pytest.mark.parametrize("step", [Step.RCPT, Step.DOT])
def test_a_task_that_was_given_up_lives_on_beside_its_retry(
    step: Step, ledger: Ledger, relay: FaultyRelay
) -> None:
    """The same owner twice: the first is an orphan that Airflow takes for dead."""
    ledger.make(tenants=4)
    gate = threading.Event()
    relay.script(on(step, wait_for(gate), times=1))
    orphan = ledger.start(relay.port, patience_seconds=40)
    relay.wait_for(step)

    retry = ledger.send(relay.port)
    gate.set()
    ending = orphan.wait()

    if step is Step.RCPT:  # it held a claim, which the retry took over
        assert retry.ended == "done"
    else:  # it transmitted, which only its own word can settle
        assert retry.ended == "permanent"
    assert ending.ended == "done"
    assert ledger.states() == {"sent": 4}
    assert relay.accepted == 4
    ledger.check(relay.accepted_ids)


def test_an_orphan_and_its_retry_race_through_a_batch(ledger: Ledger, relay: FaultyRelay) -> None:
    ledger.make(tenants=25)
    relay.script(on(Step.DOT, wait(0.005)))

    workers = [ledger.start(relay.port) for _ in range(3)]
    for worker in workers:
        worker.wait()
    ledger.send(relay.port)

    states = ledger.states()
    assert states["sent"] + states.get("in_doubt", 0) == 25
    assert relay.accepted == 25
    ledger.check(relay.accepted_ids)


# What the ledger holds while a worker is about to send


def test_what_a_run_changes_while_a_worker_waits_its_turn_is_what_is_sent(
    ledger: Ledger, relay: FaultyRelay
) -> None:
    """A worker reads its delivery, waits for the limit per minute, and claims: the content is that of the claim."""
    ledger.make(per_minute_limit=1)
    # Somebody else's transmission takes the only slot, for another 3 seconds.
    ledger.db.execute(
        "INSERT INTO invoicing.transmission_slot (taken_at, ended_at)"
        " VALUES (now() - interval '1 minute', now() - interval '57 seconds')"
    )
    worker = ledger.start(relay.port, **{"rate_limit._LONGEST_WAIT_SECONDS": 0.2})
    wait_until(
        lambda: ledger.db.execute(
            "SELECT 1 FROM pg_stat_activity WHERE application_name = 'invoicing' AND pid <> pg_backend_pid()"
            " AND datname = current_database() AND state = 'idle' AND query LIKE %s",
            ["COMMIT%"],
        ).fetchone(),
        "the worker waits for a slot",
    )
    ledger.change_tenant("T0001", emails=["nueva@correo.example"])
    ledger.plan()

    assert worker.wait().ended == "done"

    assert [message.recipients for message in relay.messages] == [("nueva@correo.example",)]
    assert ledger.row()["to_addresses"] == ["nueva@correo.example"]
    ledger.check(relay.accepted_ids)


def test_an_invoice_that_joins_a_delivery_is_in_its_message(ledger: Ledger, relay: FaultyRelay) -> None:
    """The run that adds it and the worker that sends take turns: it is never added to what is on its way."""
    ledger.make()
    with connect(ledger.dsn) as other, other.transaction():
        ledger.add_lease("T0001", "T0001-late", db=other)
        ledger.plan_again(other)
        ledger.store_documents(db=other)
        worker = ledger.start(relay.port)
        time.sleep(1.0)  # it waits for the row, or it does not
        assert worker.is_alive
        assert relay.accepted == 0
    assert worker.wait().ended == "done"

    assert ledger.states() == {"sent": 1}
    for number in ("FV-1", "FV-2"):
        assert f'filename="{number}.pdf"'.encode() in relay.messages[0].content
    ledger.check(relay.accepted_ids)


def test_settings_and_templates_changed_in_mid_run_wait_for_the_next(
    ledger: Ledger, relay: FaultyRelay
) -> None:
    ledger.make(tenants=3, subject="Antes")
    relay.script(on(Step.DATA, hang, after=1, times=1))
    worker = ledger.start(relay.port)
    relay.wait_for(Step.DATA, 2)
    worker.kill()
    ledger.set(subject="Después", from_email="otra@agencia.example")
    template = templates.show_template(ledger.db, "default").template
    parts = {**template.parts, "mail.txt": "Otra plantilla"}
    template_editing.save_template(
        lambda: nullcontext(ledger.db), "default", parts, seen_version=template.version, actor="test"
    )

    assert ledger.send(relay.port).counts == {"sent": 3}

    assert {message.sender for message in relay.messages} == {"facturas@agencia.example"}
    assert all(b"Subject: Antes\r\n" in message.content for message in relay.messages)
    assert not any(b"Otra plantilla" in message.content for message in relay.messages)
    ledger.check(relay.accepted_ids)
