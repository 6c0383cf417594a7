"""A relay that fails at every step of its conversation: what the delivery becomes, and how its retry ends."""

import json
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from invoicing.db.connection import connect
from invoicing.db.statements import beside
from invoicing.services.delivery import rate_limit, resolution
from support.database import tampering
from support.ledger import Ledger
from support.proxy import Proxy
from support.relay import (
    Action,
    FaultyRelay,
    Step,
    accept,
    drop_connection,
    hang,
    in_turn,
    on,
    raw,
    reply,
    wait,
)

pytestmark = pytest.mark.faults

StartRelay = Callable[..., FaultyRelay]
StartProxy = Callable[[tuple[str, int] | Path], Proxy]

LOGIN = ("agencia", "secreto-de-verdad")
LARGE_BYTES = 5_000_000
IMPATIENT_SECONDS = 0.6
QUICK_SLOTS = {"rate_limit._LONGEST_WAIT_SECONDS": 0.1}

BEFORE_THE_MESSAGE = [
    (Step.CONNECT, "banner"),
    (Step.EHLO, "ehlo"),
    (Step.STARTTLS, "starttls"),
    (Step.AUTH, "auth"),
    (Step.MAIL, "mail"),
    (Step.RCPT, "rcpt"),
    (Step.DATA, "data"),
]
STEPS = pytest.mark.parametrize(
    ("step", "phase"), BEFORE_THE_MESSAGE, ids=[step for step, _ in BEFORE_THE_MESSAGE]
)
FAULTS = pytest.mark.parametrize("fault", [drop_connection, hang], ids=["drop", "hang"])


@pytest.fixture
def secure_relay(start_relay: StartRelay, certificate: Path) -> FaultyRelay:
    """A relay with STARTTLS and a login."""
    return start_relay(certificate=certificate, users=dict([LOGIN]))


# Drop and hang


@STEPS
@FAULTS
@pytest.mark.one_in(3)
def test_a_relay_that_goes_before_the_message_gets_it_later(
    step: Step, phase: str, fault: Action, ledger: Ledger, secure_relay: FaultyRelay
) -> None:
    ids = ledger.make(tenants=2)
    secure_relay.script(on(step, fault, times=1))
    secured = {"certificate": secure_relay.certificate, "login": LOGIN}

    first = ledger.send(secure_relay.port, patience_seconds=IMPATIENT_SECONDS, **secured)

    states = [row["state"] for row in ledger.rows()]
    assert first.ended == "temporary"
    if phase in ("mail", "rcpt", "data"):
        # This message's bad luck: the next one is tried on a new connection.
        assert states == ["pending", "sent"]
    else:
        # No relay, no use in trying the others.
        assert states == ["pending", "pending"]
        assert [row["attempts"] for row in ledger.rows()] == [1, 0]
    assert ledger.attempts()[0] == ("not_sent", phase, None)
    ledger.check(secure_relay.accepted_ids)

    assert ledger.send(secure_relay.port, **secured).counts == {"sent": len(ids)}
    assert secure_relay.accepted == len(ids)
    ledger.check(secure_relay.accepted_ids)


@FAULTS
def test_a_relay_that_goes_in_mid_message_gets_it_later(
    fault: Action, ledger: Ledger, start_relay: StartRelay
) -> None:
    relay = start_relay(receive_buffer_bytes=4096)
    ledger.make(document_bytes=LARGE_BYTES)
    relay.script(on(Step.PAYLOAD, fault, times=1))

    first = ledger.send(relay.port, payload_seconds=1.0)

    assert (first.ended, ledger.states()) == ("temporary", {"pending": 1})
    assert ledger.attempts() == [("not_sent", "payload", None)]
    assert ledger.send(relay.port, payload_seconds=20).ended == "done"
    assert relay.accepted == 1
    ledger.check(relay.accepted_ids)


@FAULTS
@pytest.mark.parametrize("accepted", [True, False], ids=["accepted", "not-accepted"])
def test_a_relay_that_goes_after_the_dot_leaves_doubt_that_nobody_repeats(
    accepted: bool, fault: Action, ledger: Ledger, relay: FaultyRelay
) -> None:
    ledger.make()
    relay.script(on(Step.DOT, in_turn(accept, fault) if accepted else fault, times=1))

    first = ledger.send(relay.port, acceptance_seconds=IMPATIENT_SECONDS)

    assert (first.ended, ledger.states()) == ("permanent", {"in_doubt": 1})
    assert ledger.attempts() == [("in_doubt", "acceptance", None)]
    for owner, execution in (("send", "1"), ("send", "2"), ("another task", "1")):
        assert ledger.send(relay.port, owner=owner, execution=execution).ended == "permanent"
    assert relay.accepted == accepted
    ledger.check(relay.accepted_ids)

    verdict = "sent" if accepted else "retry"
    resolution.resolve(ledger.db, ledger.row()["id"], verdict, reason="the relay's log", actor="Eva")
    assert ledger.send(relay.port).ended == "done"
    assert relay.accepted == 1
    ledger.check(relay.accepted_ids)


def test_a_policy_of_sending_doubt_again_counts_what_it_does(ledger: Ledger, relay: FaultyRelay) -> None:
    ledger.make(doubt_policy="resend_after", doubt_minutes=1)
    relay.script(on(Step.DOT, accept, then=drop_connection, times=1))
    ledger.send(relay.port)
    assert ledger.sweep()["released"] == 0  # not yet

    # A minute goes by, for the doubt and for the policy that is older; triggers would not have that.
    with tampering(ledger.db) as owner:
        for table, column in (("delivery", "updated_at"), ("settings_version", "created_at")):
            owner.execute(f"ALTER TABLE invoicing.{table} DISABLE TRIGGER USER".encode())
            owner.execute(
                f"UPDATE invoicing.{table} SET {column} = {column} - interval '61 seconds'".encode()
            )
            owner.execute(f"ALTER TABLE invoicing.{table} ENABLE TRIGGER USER".encode())
    assert ledger.sweep()["released"] == 1
    assert ledger.send(relay.port).ended == "done"

    assert relay.accepted_ids == {ledger.row()["message_id"]: 2}  # at least once, as the agency chose
    assert ledger.row()["doubt_resends"] == 1
    ledger.check(relay.accepted_ids, resent_on_purpose=1)


# Replies


@STEPS
@pytest.mark.one_in(3)
def test_421_before_the_message_is_for_later(
    step: Step, phase: str, ledger: Ledger, secure_relay: FaultyRelay
) -> None:
    ledger.make(tenants=2)
    secure_relay.script(on(step, reply("421 4.3.2 shutting down"), times=1))
    secured = {"certificate": secure_relay.certificate, "login": LOGIN}

    assert ledger.send(secure_relay.port, **secured).ended == "temporary"
    assert ledger.row_states()[0] == "pending"
    assert ledger.attempts()[0][1:] == (phase, 421)

    assert ledger.send(secure_relay.port, **secured).counts == {"sent": 2}
    assert secure_relay.accepted == 2
    ledger.check(secure_relay.accepted_ids)


def test_421_to_the_dot_is_a_refusal(ledger: Ledger, relay: FaultyRelay) -> None:
    ledger.make()
    relay.script(on(Step.DOT, reply("421 4.3.2 shutting down"), times=1))

    assert ledger.send(relay.port).ended == "temporary"
    assert ledger.attempts() == [("refused_temporarily", "acceptance", 421)]
    assert ledger.send(relay.port).ended == "done"
    assert relay.accepted == 1
    ledger.check(relay.accepted_ids)


def test_a_relay_that_says_421_after_every_three_messages_costs_no_retry(
    ledger: Ledger, relay: FaultyRelay
) -> None:
    ledger.make(tenants=10)
    relay.script(on(Step.MAIL, reply("421 4.7.0 enough for now"), after=3))

    assert ledger.send(relay.port).counts == {"sent": 10}

    assert relay.connections == 4
    assert relay.accepted == 10
    assert [row["attempts"] for row in ledger.rows()] == [1] * 10
    ledger.check(relay.accepted_ids)


def test_a_connection_serves_as_many_messages_as_it_may(ledger: Ledger, relay: FaultyRelay) -> None:
    ledger.make(tenants=10)
    served: list[int] = []
    relay.script(on(Step.MAIL, lambda session: bool(served.append(session.number))))

    assert ledger.send(relay.port, messages_per_connection=4).counts == {"sent": 10}

    assert [served.count(number) for number in sorted(set(served))] == [4, 4, 2]
    ledger.check(relay.accepted_ids)


def test_greylisting_once(ledger: Ledger, relay: FaultyRelay) -> None:
    ledger.make()
    relay.script(on(Step.RCPT, reply("450 4.2.0 greylisted, come back"), times=1))

    assert ledger.send(relay.port).ended == "temporary"
    assert ledger.row()["last_reply"] == "450 4.2.0 greylisted, come back"
    assert ledger.send(relay.port).ended == "done"
    assert relay.accepted == 1
    ledger.check(relay.accepted_ids)


@pytest.mark.parametrize("refused", ["one", "all"])
def test_a_refused_address_is_tried_again_when_a_person_has_fixed_it(
    refused: str, ledger: Ledger, relay: FaultyRelay
) -> None:
    ledger.make(tenants=0)
    ledger.db.execute(
        "INSERT INTO invoicing.tenant (code, document_type, document_number, name, emails, cc_emails, auto_send)"
        " VALUES ('T0001', 'CC', '1', 'Ana', '{ana@correo.example,mal@correo.example}', '{eva@correo.example}', true)"
    )
    ledger.add_lease("T0001", "L1")
    ledger.plan()
    ledger.store_documents()
    unknown = reply("550 5.1.1 no such user")
    relay.script(on(Step.RCPT, unknown, to="mal@correo.example" if refused == "one" else None))

    first = ledger.send(relay.port)

    assert (first.ended, ledger.states()) == ("permanent", {"failed": 1})
    assert "mal@correo.example" in first.message
    assert "550 5.1.1 no such user" in ledger.row()["last_reply"]
    # Airflow's own retries ask nobody again.
    assert ledger.send(relay.port).ended == "permanent"
    assert ledger.row()["attempts"] == 1
    assert relay.accepted == 0
    ledger.check(relay.accepted_ids)

    ledger.change_tenant("T0001", emails=["ana@correo.example", "bien@correo.example"])
    if refused == "all":
        relay.script()
    assert ledger.send(relay.port, execution="2").ended == "done"
    assert [message.recipients for message in relay.messages] == [
        ("ana@correo.example", "bien@correo.example", "eva@correo.example")
    ]
    ledger.check(relay.accepted_ids)


def test_too_big_by_its_size_or_by_its_content(ledger: Ledger, start_relay: StartRelay) -> None:
    small = start_relay("small.jsonl", size_limit_bytes=1000)
    ledger.make(tenants=2)
    late = start_relay("late.jsonl")
    late.script(on(Step.DOT, reply("552 5.3.4 message too big"), times=1))
    first, second = ledger.ids()

    assert ledger.send(small.port, [first]).ended == "permanent"
    assert ledger.send(late.port, [second]).ended == "permanent"

    assert ledger.states() == {"failed": 2}
    assert [(phase, code) for _, phase, code in ledger.attempts()] == [("mail", 552), ("acceptance", 552)]
    assert small.accepted + late.accepted == 0
    ledger.check(late.accepted_ids)


def test_a_wrong_password_burns_no_delivery(ledger: Ledger, secure_relay: FaultyRelay) -> None:
    ledger.make(tenants=3)
    wrong = (LOGIN[0], "equivocado-pero-secreto")

    first = ledger.send(secure_relay.port, certificate=secure_relay.certificate, login=wrong)

    assert first.ended == "permanent"
    assert "535" in first.message
    assert "invoicing_smtp" in first.message
    assert ledger.states() == {"pending": 3}
    assert [row["attempts"] for row in ledger.rows()] == [1, 0, 0]  # the rest of the batch was left alone
    kept = str(ledger.db.execute("SELECT * FROM invoicing.delivery_attempt").fetchall()) + first.message
    assert "equivocado" not in kept
    ledger.check(secure_relay.accepted_ids)

    assert ledger.send(secure_relay.port, certificate=secure_relay.certificate, login=LOGIN).counts == {
        "sent": 3
    }
    ledger.check(secure_relay.accepted_ids)


@pytest.mark.parametrize(
    "answer",
    [
        reply("252 2.0.0 perhaps"),
        reply("250-2.0.0 queued", "250-as 42", "250 at relay.test"),
        in_turn(wait(1.0), reply("250 2.0.0 at last")),
    ],
    ids=["252", "multi-line", "slow"],
)
def test_any_2xx_to_the_dot_is_acceptance(answer: Action, ledger: Ledger, relay: FaultyRelay) -> None:
    ledger.make()
    relay.script(accept, then=answer)

    assert ledger.send(relay.port).ended == "done"

    assert ledger.states() == {"sent": 1}
    assert relay.accepted == 1
    ledger.check(relay.accepted_ids)


@pytest.mark.parametrize("accepted", [True, False], ids=["accepted", "not-accepted"])
def test_garbage_to_the_dot_is_doubt(accepted: bool, ledger: Ledger, relay: FaultyRelay) -> None:
    ledger.make(tenants=2)
    garbage = raw(b"\x00\xffwhat?\r\n")
    relay.script(on(Step.DOT, in_turn(accept, garbage) if accepted else garbage, times=1))

    assert ledger.send(relay.port).ended == "permanent"

    assert ledger.row_states() == ["in_doubt", "sent"]
    assert relay.accepted == 1 + accepted
    ledger.check(relay.accepted_ids)


@pytest.mark.parametrize(
    "fault", [reply("421 4.3.2 closing"), drop_connection, hang], ids=["421", "drop", "hang"]
)
def test_what_the_relay_says_to_quit_changes_nothing(
    fault: Action, ledger: Ledger, relay: FaultyRelay
) -> None:
    ledger.make()
    relay.script(on(Step.QUIT, fault))

    assert ledger.send(relay.port).ended == "done"

    assert ledger.states() == {"sent": 1}
    assert relay.accepted == 1
    ledger.check(relay.accepted_ids)


def test_a_worker_killed_while_it_takes_its_leave_has_settled(ledger: Ledger, relay: FaultyRelay) -> None:
    ledger.make()
    relay.script(on(Step.QUIT, hang))
    worker = ledger.start(relay.port)
    relay.wait_for(Step.QUIT)
    worker.kill()

    assert ledger.states() == {"sent": 1}
    ledger.check(relay.accepted_ids)


# The network


def test_a_relay_that_is_away_for_the_whole_first_try(ledger: Ledger, start_relay: StartRelay) -> None:
    ledger.make(tenants=3)
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        port = nobody.getsockname()[1]

    first = ledger.send(port)

    assert (first.ended, ledger.states()) == ("temporary", {"pending": 3})
    assert ledger.attempts() == [("not_sent", "connect", None)]
    relay = start_relay(port=port)
    assert ledger.send(port).counts == {"sent": 3}
    assert relay.accepted == 3
    ledger.check(relay.accepted_ids)


def test_a_half_open_connection_between_two_messages_is_renewed(
    ledger: Ledger, relay: FaultyRelay, start_proxy: StartProxy
) -> None:
    ledger.make(tenants=3)
    proxy = start_proxy(("127.0.0.1", relay.port))

    def break_once(session: object) -> bool:
        if not broken:
            broken.append(True)
            proxy.half_open()
        return False

    broken: list[bool] = []
    relay.script(on(Step.RSET, break_once))
    ending = ledger.send(proxy.port, patience_seconds=1.0)

    assert broken
    assert ending.counts == {"sent": 3}
    assert relay.accepted == 3
    ledger.check(relay.accepted_ids)


@pytest.mark.parametrize("forward", [True, False], ids=["accepted", "not-accepted"])
def test_a_network_cut_at_the_dot_leaves_doubt(
    forward: bool, ledger: Ledger, relay: FaultyRelay, start_proxy: StartProxy
) -> None:
    ledger.make()
    proxy = start_proxy(("127.0.0.1", relay.port))
    proxy.cut_when(b"\r\n.\r\n", forward=forward)

    assert ledger.send(proxy.port).ended == "permanent"

    assert ledger.states() == {"in_doubt": 1}
    assert relay.accepted == forward
    ledger.check(relay.accepted_ids)


# The limit per minute


def test_no_minute_sees_more_than_its_limit(ledger: Ledger, relay: FaultyRelay) -> None:
    """Four workers and a minute that is over in no time: what is taken, used and given back adds up."""
    ledger.make(tenants=12, per_minute_limit=5)
    workers = [ledger.start(relay.port, owner=f"task {number}", **QUICK_SLOTS) for number in range(4)]
    relay.wait_for(Step.DOT, 5, timeout_seconds=30)
    with pytest.raises(TimeoutError):
        relay.wait_for(Step.MAIL, 6, timeout_seconds=1.0)
    assert relay.accepted == 5

    # The minute is over for the first five.
    ledger.db.execute("UPDATE invoicing.transmission_slot SET ended_at = ended_at - interval '61 seconds'")
    relay.wait_for(Step.DOT, 10, timeout_seconds=30)
    with pytest.raises(TimeoutError):
        relay.wait_for(Step.MAIL, 11, timeout_seconds=1.0)
    assert relay.accepted == 10
    ledger.db.execute("UPDATE invoicing.transmission_slot SET ended_at = ended_at - interval '61 seconds'")
    for worker in workers:
        worker.wait()

    ledger.send(relay.port)
    assert ledger.states() == {"sent": 12}
    assert relay.accepted == 12
    ledger.check(relay.accepted_ids)


def test_workers_take_turns_at_the_limit(ledger: Ledger, relay: FaultyRelay) -> None:
    """A slot that another worker is about to take counts, although nobody else can see it yet."""
    statements = beside(rate_limit.__file__)
    ledger.make(per_minute_limit=1)
    with connect(ledger.dsn) as other, other.transaction():
        other.execute(statements["lock_slots"])
        taken = other.execute(statements["take_slot"]).fetchone()
        assert taken is not None
        worker = ledger.start(relay.port, **QUICK_SLOTS)
        with pytest.raises(TimeoutError):
            relay.wait_for(Step.MAIL, timeout_seconds=1.5)
    with pytest.raises(TimeoutError):
        relay.wait_for(Step.MAIL, timeout_seconds=0.5)
    ledger.db.execute(statements["return_slot"], taken)

    assert worker.wait().ended == "done"
    ledger.check(relay.accepted_ids)


@pytest.mark.long
def test_no_window_of_sixty_seconds_sees_more_than_the_limit(ledger: Ledger, relay: FaultyRelay) -> None:
    ledger.make(tenants=16, per_minute_limit=5)
    workers = [ledger.start(relay.port, owner=f"task {number}") for number in range(4)]
    for worker in workers:
        worker.wait(280)
    ledger.send(relay.port)

    assert ledger.states() == {"sent": 16}
    instants = sorted(json.loads(line)["at"] for line in relay.log.read_text().splitlines())
    assert all(sum(start <= instant < start + 60 for instant in instants) <= 5 for start in instants), (
        instants
    )
    ledger.check(relay.accepted_ids)
