"""What the transmission says became of a message, for every way in which a relay can fail on the wire."""

import os
import signal
import smtplib
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType

import pytest

from invoicing.mail.conversation import BoundedSMTP, Channel, Deadline
from invoicing.mail.transmission import (
    Outcome,
    Phase,
    Relay,
    RelayMisconfiguredError,
    RelayRefusedLoginError,
    RelayUnavailableError,
    RelayUnreachableError,
    Verdict,
)
from support.proxy import Proxy
from support.relay import (
    Action,
    FaultyRelay,
    Step,
    accept,
    babble,
    drop_connection,
    endless,
    go_secure,
    hang,
    in_turn,
    on,
    raw,
    reply,
    reset_connection,
    trickle,
    wait,
)

StartRelay = Callable[..., FaultyRelay]
StartProxy = Callable[[tuple[str, int]], Proxy]

SENDER = "pagos@agencia.test"
ANA = "ana@inquilinos.test"
LUIS = "luis@inquilinos.test"
EVA = "eva@inquilinos.test"

IMPATIENT_SECONDS = 0.4
"""Patience of a client whose relay is going to hang."""

LARGE_BYTES = 6_000_000
"""More than the sockets' buffers hold: a client cannot be done with it before its relay has read most of it."""


def message(message_id: str = "<1@agencia.test>", body: bytes = b"Adjuntamos su factura.\r\n") -> bytes:
    return b"Message-ID: " + message_id.encode() + b"\r\nSubject: Facturas\r\n\r\n" + body


def large_message() -> bytes:
    line = b"x" * 70 + b"\r\n"
    return message(body=line * (LARGE_BYTES // len(line)))


class Mark:
    """The ledger's part: told once, before the first byte of the message."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self) -> None:
        self.calls += 1


def transmit(
    relay: Relay,
    *recipients: str,
    payload: bytes | None = None,
    before_payload: Callable[[], None] = lambda: None,
) -> Outcome:
    return relay.transmit(SENDER, recipients or (ANA,), payload or message(), before_payload=before_payload)


@pytest.fixture
def secure_relay(start_relay: StartRelay, certificate: Path) -> FaultyRelay:
    """A relay with everything: STARTTLS and a login."""
    return start_relay(certificate=certificate, users={"agencia": "secreto-de-verdad"})


@pytest.fixture
def slow_reader(start_relay: StartRelay) -> FaultyRelay:
    """A relay with small buffers."""
    return start_relay(receive_buffer_bytes=4096)


# What works


@pytest.mark.parametrize("secured", ["clear", "starttls", "tls"])
@pytest.mark.parametrize("payload", [message(), large_message()], ids=["small", "large"])
def test_a_message_arrives_as_it_was_given(
    secured: str, payload: bytes, start_relay: StartRelay, certificate: Path
) -> None:
    options = {"certificate": certificate, "users": {"agencia": "secreto"}, "implicit_tls": secured == "tls"}
    relay = start_relay(**options if secured != "clear" else {})

    with relay.connect() as client:
        outcome = transmit(client, ANA, LUIS, payload=payload)

    assert outcome == Outcome(Verdict.ACCEPTED, Phase.ACCEPTANCE, 250, "2.0.0 queued")
    assert [(m.sender, m.recipients) for m in relay.messages] == [(SENDER, (ANA, LUIS))]
    assert relay.messages[0].content == payload


@pytest.mark.parametrize(
    "body", [b".\r\n", b"..\r\n.\r\n", b"a\r\n.b\r\n.\r\nQUIT\r\n", b"no line end", b""], ids=repr
)
def test_dots_do_not_end_a_message_early(body: bytes, relay: FaultyRelay) -> None:
    with relay.connect() as client:
        assert transmit(client, payload=message(body=body)).verdict is Verdict.ACCEPTED

    assert relay.messages[0].content.removesuffix(b"\r\n") == message(body=body).removesuffix(b"\r\n")


def test_the_mark_comes_after_the_go_ahead_and_before_the_first_byte(relay: FaultyRelay) -> None:
    def mark() -> None:
        relay.wait_for(Step.DATA)
        with pytest.raises(TimeoutError):
            relay.wait_for(Step.PAYLOAD, timeout_seconds=0.2)

    with relay.connect() as client:
        assert transmit(client, before_payload=mark).verdict is Verdict.ACCEPTED


def test_one_connection_serves_message_after_message(relay: FaultyRelay) -> None:
    with relay.connect() as client:
        for number in range(3):
            assert transmit(client, payload=message(f"<{number}@a.test>")).verdict is Verdict.ACCEPTED

    assert relay.accepted_ids == {f"<{number}@a.test>": 1 for number in range(3)}
    assert relay.connections == 1
    assert relay.commands.count("RSET") == 2


def test_a_connection_is_renewed_after_its_messages(relay: FaultyRelay) -> None:
    with relay.connect(messages_per_connection=2) as client:
        for number in range(5):
            assert transmit(client, payload=message(f"<{number}@a.test>")).verdict is Verdict.ACCEPTED

    assert relay.connections == 3
    assert relay.commands.count("QUIT") == 3


def test_a_recipient_named_twice_is_asked_once(relay: FaultyRelay) -> None:
    with relay.connect() as client:
        transmit(client, ANA, ANA)

    assert relay.messages[0].recipients == (ANA,)


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (reply("252 2.0.0 perhaps"), "2.0.0 perhaps"),
        (reply("250-2.0.0 queued", "250-as 42", "250 at relay.test"), "2.0.0 queued as 42 at relay.test"),
        (reply("250"), ""),
        (raw(b"250 bare line feed\n"), "bare line feed"),
        (raw("250 2.0.0 aceptado, señor\r\n".encode("latin-1")), "2.0.0 aceptado, se\ufffdor"),
        (in_turn(wait(1.0), reply("250 2.0.0 at last")), "2.0.0 at last"),
        (in_turn(reply("250 2.0.0 ok"), drop_connection), "2.0.0 ok"),
    ],
    ids=["252", "multi-line", "bare-code", "bare-lf", "latin-1", "slow", "then-gone"],
)
def test_any_2xx_to_the_dot_is_acceptance(answer: Action, text: str, relay: FaultyRelay) -> None:
    relay.script(accept, then=answer)

    with relay.connect() as client:
        outcome = transmit(client)

    assert (outcome.verdict, outcome.reply) == (Verdict.ACCEPTED, text)
    assert relay.accepted == 1


# Before the message: nothing can have been accepted

BEFORE_THE_MESSAGE = [
    (Step.CONNECT, Phase.BANNER),
    (Step.EHLO, Phase.EHLO),
    (Step.STARTTLS, Phase.STARTTLS),
    (Step.AUTH, Phase.AUTH),
    (Step.MAIL, Phase.MAIL),
    (Step.RCPT, Phase.RCPT),
    (Step.DATA, Phase.DATA),
]


@pytest.mark.parametrize(("step", "phase"), BEFORE_THE_MESSAGE, ids=[step for step, _ in BEFORE_THE_MESSAGE])
@pytest.mark.parametrize(
    "fault",
    [
        drop_connection,
        reset_connection,
        hang,
        raw(b"\x00\xffwhat?\r\n"),
        raw(b"999 what?\r\n"),
        trickle("250 " + "very " * 100 + "slow", 0.1),
        endless("250-and also", 0.05),
    ],
    ids=["drop", "reset", "hang", "garbage", "no-code", "trickle", "endless"],
)
@pytest.mark.one_in(3)
def test_a_fault_before_the_message_leaves_it_unsent(
    step: Step, phase: Phase, fault: Action, secure_relay: FaultyRelay
) -> None:
    # A reset that is quick enough ends the connecting itself.
    secure_relay.script(on(step, wait(0.05), then=fault))
    mark = Mark()

    started = time.monotonic()
    with secure_relay.connect(patience_seconds=IMPATIENT_SECONDS) as client:
        outcome = transmit(client, before_payload=mark)

    assert (outcome.verdict, outcome.phase) == (Verdict.NOT_SENT, phase)
    assert outcome.reply
    assert mark.calls == 0
    assert secure_relay.accepted == 0
    assert time.monotonic() - started < 4 * IMPATIENT_SECONDS


@pytest.mark.parametrize(("step", "phase"), BEFORE_THE_MESSAGE, ids=[step for step, _ in BEFORE_THE_MESSAGE])
def test_421_before_the_message_is_for_later(step: Step, phase: Phase, secure_relay: FaultyRelay) -> None:
    secure_relay.script(on(step, reply("421 4.3.2 shutting down"), times=1))

    with secure_relay.connect() as client:
        outcome = transmit(client)
        again = transmit(client)

    is_connected = phase in {Phase.MAIL, Phase.RCPT, Phase.DATA}
    verdict = Verdict.REFUSED_TEMPORARILY if is_connected else Verdict.NOT_SENT
    assert outcome == Outcome(verdict, phase, 421, "4.3.2 shutting down", ANA if step is Step.RCPT else None)
    assert again.verdict is Verdict.ACCEPTED
    assert secure_relay.connections == 2


def test_a_relay_that_is_away_leaves_the_message_unsent() -> None:
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        port = nobody.getsockname()[1]

    client = Relay(
        lambda: BoundedSMTP("127.0.0.1", port), host="127.0.0.1", port=port, messages_per_connection=1
    )
    outcome = transmit(client)

    assert (outcome.verdict, outcome.phase, outcome.code) == (Verdict.NOT_SENT, Phase.CONNECT, None)
    with pytest.raises(
        RelayUnreachableError, match=rf"127\.0\.0\.1:{port} cannot be reached.*invoicing_smtp"
    ):
        client.check()


def test_a_relay_that_answers_no_connection_leaves_the_message_unsent() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        port = listener.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)):  # the backlog is full from here on
            client = Relay(
                lambda: BoundedSMTP("127.0.0.1", port, timeout=IMPATIENT_SECONDS),
                host="127.0.0.1",
                port=port,
                messages_per_connection=1,
            )
            outcome = transmit(client)

    assert (outcome.verdict, outcome.phase) == (Verdict.NOT_SENT, Phase.CONNECT)


def test_a_tls_handshake_that_hangs_leaves_the_message_unsent(secure_relay: FaultyRelay) -> None:
    secure_relay.script(on(Step.STARTTLS, reply("220 go on"), then=hang))

    with secure_relay.connect(patience_seconds=IMPATIENT_SECONDS) as client:
        outcome = transmit(client)

    assert (outcome.verdict, outcome.phase) == (Verdict.NOT_SENT, Phase.STARTTLS)


def test_what_came_in_clear_text_after_starttls_is_no_reply(secure_relay: FaultyRelay) -> None:
    forged = raw(b"220 go on\r\n" + b"250 2.0.0 forged\r\n" * 9)
    secure_relay.script(on(Step.STARTTLS, forged, then=go_secure))

    with secure_relay.connect() as client:
        outcome = transmit(client)

    assert (outcome.verdict, outcome.reply) == (Verdict.ACCEPTED, "2.0.0 queued")
    assert secure_relay.accepted == 1


@pytest.mark.parametrize(("step", "phase"), BEFORE_THE_MESSAGE[4:], ids=["mail", "rcpt", "data"])
@pytest.mark.parametrize(
    ("line", "verdict"),
    [
        ("451 4.3.0 later", Verdict.REFUSED_TEMPORARILY),
        ("550 5.7.1 never", Verdict.REFUSED_PERMANENTLY),
    ],
)
def test_a_refusal_leaves_the_connection_to_the_next_message(
    step: Step, phase: Phase, line: str, verdict: Verdict, relay: FaultyRelay
) -> None:
    relay.script(on(step, reply(line), times=1))

    with relay.connect() as client:
        outcome = transmit(client)
        again = transmit(client)

    assert (outcome.verdict, outcome.phase, outcome.code) == (verdict, phase, int(line[:3]))
    assert again.verdict is Verdict.ACCEPTED
    assert relay.connections == 1
    assert relay.accepted == 1


def test_greylisting_refuses_once(relay: FaultyRelay) -> None:
    relay.script(on(Step.RCPT, reply("450 4.2.0 greylisted, come back"), times=1))

    with relay.connect() as client:
        assert transmit(client).verdict is Verdict.REFUSED_TEMPORARILY
        assert transmit(client).verdict is Verdict.ACCEPTED

    assert relay.accepted == 1


@pytest.mark.parametrize(
    ("refusals", "verdict", "address"),
    [
        ({LUIS: "550 5.1.1 no such user"}, Verdict.REFUSED_PERMANENTLY, LUIS),
        ({LUIS: "450 4.2.1 mailbox busy"}, Verdict.REFUSED_TEMPORARILY, LUIS),
        ({ANA: "450 4.2.1 busy", EVA: "550 5.1.1 no such user"}, Verdict.REFUSED_PERMANENTLY, EVA),
        (dict.fromkeys((ANA, LUIS, EVA), "550 5.1.1 no such user"), Verdict.REFUSED_PERMANENTLY, ANA),
    ],
    ids=["one-for-good", "one-for-now", "both-kinds", "all"],
)
def test_one_refused_recipient_stops_the_message_for_all(
    refusals: dict[str, str], verdict: Verdict, address: str, relay: FaultyRelay
) -> None:
    relay.script(*(on(Step.RCPT, reply(line), to=recipient) for recipient, line in refusals.items()))
    mark = Mark()

    with relay.connect() as client:
        outcome = transmit(client, ANA, LUIS, EVA, before_payload=mark)

    assert (outcome.verdict, outcome.phase, outcome.address) == (verdict, Phase.RCPT, address)
    assert all(recipient in outcome.reply for recipient in refusals if len(refusals) > 1)
    assert "DATA" not in relay.commands
    assert relay.commands[-2:] == ["RSET", "QUIT"]
    assert mark.calls == 0
    assert relay.accepted == 0


def test_a_message_too_big_is_refused_by_its_declared_size(start_relay: StartRelay) -> None:
    relay = start_relay(size_limit_bytes=100)

    with relay.connect() as client:
        outcome = transmit(client, payload=message(body=b"x" * 200))

    assert (outcome.verdict, outcome.phase, outcome.code) == (Verdict.REFUSED_PERMANENTLY, Phase.MAIL, 552)


@pytest.mark.parametrize(
    "address",
    [
        "a@x.test>\r\nRCPT TO:<evil@x.test",
        "a@x.test> SIZE=1",
        "a@x.test\r\nDATA",
        "a@x.test\0",
        "a@@x.test",
        "a",
        "<a@x.test>",
        "a@x.test, b@evil.test",
        "a@señal.test",
        "a" * 250 + "@x.test",
        "",
    ],
    ids=ascii,
)
def test_what_is_no_address_never_reaches_the_wire(address: str, relay: FaultyRelay) -> None:
    with relay.connect() as client:
        outcome = transmit(client, ANA, address)

    assert (outcome.verdict, outcome.phase) == (Verdict.REFUSED_PERMANENTLY, Phase.RCPT)
    assert outcome.reply.isprintable()
    assert relay.connections == 0


@pytest.mark.parametrize(
    "payload", [b"a\nb\r\n", b"a\rb\r\n", b"a\r\n.\n", b"a\n.\r\nMAIL FROM:<x@x.test>\r\n"]
)
def test_a_bare_line_end_never_reaches_the_wire(payload: bytes, relay: FaultyRelay) -> None:
    with relay.connect() as client, pytest.raises(ValueError, match="CRLF"):
        transmit(client, payload=payload)

    assert relay.connections == 0


def test_a_local_part_that_is_not_ascii_needs_smtputf8(start_relay: StartRelay) -> None:
    plain, modern = start_relay("plain.jsonl"), start_relay("modern.jsonl", smtputf8=True)

    with plain.connect() as client:
        outcome = transmit(client, "josé@x.test")
    with modern.connect() as client:
        accepted = transmit(client, "josé@x.test")

    assert (outcome.verdict, outcome.address) == (Verdict.REFUSED_PERMANENTLY, "josé@x.test")
    assert "SMTPUTF8" in outcome.reply
    assert accepted.verdict is Verdict.ACCEPTED
    assert modern.messages[0].recipients == ("josé@x.test",)
    assert any("SMTPUTF8" in command for command in modern.commands)


# A fault of the set-up is nobody's message


def test_a_wrong_password_is_a_fault_of_the_set_up(secure_relay: FaultyRelay) -> None:
    client = secure_relay.connect(lambda: secure_relay.client("agencia", "equivocado-pero-secreto"))

    for attempt in (client.check, lambda: transmit(client)):
        with pytest.raises(RelayRefusedLoginError, match=r"535 .*invoicing_smtp") as caught:
            attempt()
        chain = [caught.value, caught.value.__cause__]
        assert all("5.7.8" in str(error) for error in chain)
        for secret in ("equivocado", "ZXF1aXZvY2Fkby", "AGFnZW5jaWEA"):
            assert not any(secret in str(error) for error in chain)
    assert secure_relay.accepted == 0


def test_a_login_refused_for_now_is_for_later(secure_relay: FaultyRelay) -> None:
    secure_relay.script(on(Step.AUTH, reply("454 4.7.0 temporary authentication failure")))

    with secure_relay.connect() as client:
        outcome = transmit(client)

    assert (outcome.verdict, outcome.phase, outcome.code) == (Verdict.NOT_SENT, Phase.AUTH, 454)


def test_a_relay_that_wants_a_login_is_a_fault_of_the_set_up(start_relay: StartRelay) -> None:
    relay = start_relay(users={"agencia": "secreto"})

    with (
        relay.connect(lambda: BoundedSMTP("127.0.0.1", relay.port)) as client,
        pytest.raises(RelayRefusedLoginError, match="530"),
    ):
        transmit(client)


def test_a_relay_without_the_wanted_login_is_a_fault_of_the_set_up(relay: FaultyRelay) -> None:
    def make_client() -> smtplib.SMTP:
        client = BoundedSMTP("127.0.0.1", relay.port)
        client.login("agencia", "secreto")
        return client

    with relay.connect(make_client) as client, pytest.raises(RelayMisconfiguredError, match="AUTH"):
        transmit(client)


def test_a_relay_without_starttls_is_a_fault_of_the_set_up(relay: FaultyRelay) -> None:
    def make_client() -> smtplib.SMTP:
        client = BoundedSMTP("127.0.0.1", relay.port)
        client.starttls()
        return client

    with relay.connect(make_client) as client, pytest.raises(RelayMisconfiguredError, match="STARTTLS"):
        client.check()


def test_a_certificate_nobody_trusts_is_a_fault_of_the_set_up(secure_relay: FaultyRelay) -> None:
    def make_client() -> smtplib.SMTP:
        client = BoundedSMTP("127.0.0.1", secure_relay.port)
        client.starttls(context=ssl.create_default_context())
        return client

    with (
        secure_relay.connect(make_client) as client,
        pytest.raises(RelayMisconfiguredError, match="certificate"),
    ):
        client.check()


def test_an_error_of_the_set_up_behind_which_there_is_no_network_is_named(relay: FaultyRelay) -> None:
    def make_client() -> smtplib.SMTP:
        raise KeyError("SMTP connection is not found.")

    with relay.connect(make_client) as client, pytest.raises(RelayMisconfiguredError, match="not found"):
        client.check()


def test_the_network_is_found_behind_somebody_elses_error(relay: FaultyRelay) -> None:
    relay.script(on(Step.CONNECT, drop_connection))

    def make_client() -> smtplib.SMTP:
        # As Airflow's hook does it.
        try:
            return relay.client()
        except smtplib.SMTPServerDisconnected:
            raise RuntimeError("Unable to connect to smtp server")  # noqa: B904

    with relay.connect(make_client) as client:
        outcome = transmit(client)

    assert (outcome.verdict, outcome.phase) == (Verdict.NOT_SENT, Phase.BANNER)


def test_a_check_finds_a_good_relay_good(secure_relay: FaultyRelay) -> None:
    with secure_relay.connect() as client:
        client.check()
        assert transmit(client).verdict is Verdict.ACCEPTED

    assert secure_relay.connections == 1


@pytest.mark.parametrize(
    "fault",
    [reply("421 4.3.2 closing"), reply("500 5.5.1 no"), hang, drop_connection],
    ids=["421", "500", "hang", "drop"],
)
def test_a_check_finds_a_bad_relay_bad(fault: Action, relay: FaultyRelay) -> None:
    relay.script(on(Step.NOOP, fault))

    with (
        relay.connect(patience_seconds=IMPATIENT_SECONDS) as client,
        pytest.raises(RelayUnavailableError, match=f"127.0.0.1:{relay.port}"),
    ):
        client.check()


def test_a_relay_that_refuses_for_good_is_not_asked_for_hours(relay: FaultyRelay) -> None:
    relay.script(on(Step.NOOP, reply("530 5.7.0 authentication required")))

    with relay.connect() as client, pytest.raises(RelayMisconfiguredError, match="it answered 530"):
        client.check()


def test_a_client_of_the_standard_library_serves_too(relay: FaultyRelay) -> None:
    with relay.connect(lambda: smtplib.SMTP("127.0.0.1", relay.port, timeout=5)) as client:
        assert transmit(client).verdict is Verdict.ACCEPTED


# In mid-message, before the final dot


def test_a_mark_that_fails_leaves_the_message_unsent(relay: FaultyRelay) -> None:
    def mark() -> None:
        raise ConnectionError("the ledger is away")

    with relay.connect() as client:
        with pytest.raises(ConnectionError, match="the ledger is away"):
            transmit(client, before_payload=mark)
        relay.wait_for_reset()  # an orderly end could be taken for the end of the message
        assert transmit(client, payload=message("<2@a.test>")).verdict is Verdict.ACCEPTED

    assert relay.accepted_ids == {"<2@a.test>": 1}
    assert relay.connections == 2


@pytest.mark.parametrize(
    "fault", [drop_connection, reset_connection, reply("421 4.3.2 closing")], ids=["drop", "reset", "421"]
)
def test_a_relay_that_goes_while_the_mark_is_made_leaves_the_message_unsent(
    fault: Action, relay: FaultyRelay
) -> None:
    relay.script(on(Step.DATA, reply("354 go on"), then=fault))

    with relay.connect() as client:
        outcome = transmit(client, before_payload=lambda: time.sleep(0.2))

    assert outcome.verdict in {Verdict.NOT_SENT, Verdict.REFUSED_TEMPORARILY}
    assert outcome.phase is Phase.PAYLOAD
    assert relay.accepted == 0


def test_an_acceptance_sent_before_the_message_is_not_believed(relay: FaultyRelay) -> None:
    relay.script(on(Step.DATA, raw(b"354 go on\r\n250 2.0.0 queued\r\n")))

    with relay.connect() as client:
        outcome = transmit(client)

    assert (outcome.verdict, outcome.phase) == (Verdict.NOT_SENT, Phase.PAYLOAD)


@pytest.mark.parametrize("secured", [False, True], ids=["clear", "starttls"])
@pytest.mark.parametrize("fault", [drop_connection, reset_connection, hang], ids=["drop", "reset", "hang"])
def test_a_message_that_broke_off_before_its_dot_is_unsent(
    fault: Action, secured: bool, start_relay: StartRelay, certificate: Path
) -> None:
    relay = start_relay(receive_buffer_bytes=4096, certificate=certificate if secured else None)
    relay.script(on(Step.PAYLOAD, fault, after_bytes=100_000))
    mark = Mark()

    with relay.connect(patience_seconds=2 * IMPATIENT_SECONDS) as client:
        outcome = transmit(client, payload=large_message(), before_payload=mark)

    assert (outcome.verdict, outcome.phase) == (Verdict.NOT_SENT, Phase.PAYLOAD)
    assert mark.calls == 1
    assert relay.accepted == 0


@pytest.mark.parametrize("fault", [drop_connection, reset_connection, hang], ids=["drop", "reset", "hang"])
def test_a_message_whose_dot_had_left_when_it_broke_off_is_in_doubt(
    fault: Action, relay: FaultyRelay
) -> None:
    """A message of the usual size is in the system's buffers, its dot too, before the relay's end is seen."""
    relay.script(on(Step.PAYLOAD, in_turn(wait(0.2), fault)))

    with relay.connect(patience_seconds=2 * IMPATIENT_SECONDS) as client:
        outcome = transmit(client, payload=message(body=b"x" * 70 + b"\r\n"))

    assert (outcome.verdict, outcome.phase) == (Verdict.IN_DOUBT, Phase.ACCEPTANCE)
    assert relay.accepted == 0


@pytest.mark.parametrize(
    ("line", "verdict"),
    [
        ("552 5.3.4 message too big", Verdict.REFUSED_PERMANENTLY),
        ("452 4.3.1 disk full", Verdict.REFUSED_TEMPORARILY),
        ("421 4.3.2 shutting down", Verdict.REFUSED_TEMPORARILY),
        ("250 2.0.0 queued", Verdict.IN_DOUBT),
    ],
)
@pytest.mark.parametrize("then", [drop_connection, hang], ids=["drop", "hang"])
def test_a_reply_in_mid_message_settles_it(
    line: str, verdict: Verdict, then: Action, slow_reader: FaultyRelay
) -> None:
    answer = reply(line)
    slow_reader.script(on(Step.PAYLOAD, in_turn(answer, wait(0.1), then), after_bytes=100_000))

    with slow_reader.connect(patience_seconds=2 * IMPATIENT_SECONDS) as client:
        outcome = transmit(client, payload=large_message())

    assert outcome == Outcome(verdict, Phase.PAYLOAD, int(line[:3]), line[4:])
    assert slow_reader.accepted == 0


@pytest.mark.parametrize(
    ("fault", "verdict"),
    [
        (drop_connection, Verdict.NOT_SENT),
        (reply("552 5.3.4 message too big"), Verdict.REFUSED_PERMANENTLY),
        (reply("452 4.3.1 disk full"), Verdict.REFUSED_TEMPORARILY),
    ],
    ids=["drop", "552", "452"],
)
def test_a_relay_that_speaks_up_before_the_dot_gets_no_dot(
    fault: Action, verdict: Verdict, relay: FaultyRelay, monkeypatch: pytest.MonkeyPatch
) -> None:
    relay.script(on(Step.PAYLOAD, fault))
    send = Channel.send

    def send_slowly(channel: Channel, content: bytes, deadline: Deadline) -> None:
        send(channel, content, deadline)
        if content.startswith(b"Message-ID"):
            time.sleep(0.2)

    monkeypatch.setattr(Channel, "send", send_slowly)

    with relay.connect() as client:
        outcome = transmit(client)

    assert (outcome.verdict, outcome.phase) == (verdict, Phase.PAYLOAD)
    assert relay.accepted == 0


# After the final dot


@pytest.mark.parametrize(
    "fault",
    [
        drop_connection,
        reset_connection,
        hang,
        raw(b"\xff\xfe\x00 thanks\r\n"),
        raw(b"OK\r\n"),
        raw(b"25\r\n"),
        raw(b"2500 2.0.0 queued\r\n"),
        raw(b" 250 2.0.0 queued\r\n"),
        raw(b"\r\n250 2.0.0 queued\r\n"),
        raw(b"250-2.0.0 queued\r\n451 4.3.0 or not\r\n"),
        raw(b"x" * 100_000),
        in_turn(raw(b"250-2.0.0 que"), drop_connection),
        in_turn(raw(b"250-2.0.0 queued\r\n"), drop_connection),
        reply("354 go on"),
        trickle("250 " + "very " * 100 + "slow", 0.1),
        endless("250-and also", 0.001),
    ],
    ids=[
        "drop",
        "reset",
        "hang",
        "garbage",
        "no-code",
        "short-code",
        "long-code",
        "indented",
        "blank-line",
        "two-codes",
        "line-without-end",
        "half-a-line",
        "half-a-reply",
        "354",
        "trickle",
        "endless",
    ],
)
@pytest.mark.parametrize("accepted", [1, 0], ids=["accepted", "not-accepted"])
def test_no_clear_reply_to_the_dot_is_doubt(fault: Action, accepted: int, relay: FaultyRelay) -> None:
    relay.script(in_turn(accept, fault) if accepted else fault)

    started = time.monotonic()
    with relay.connect(patience_seconds=IMPATIENT_SECONDS) as client:
        outcome = transmit(client)

    assert (outcome.verdict, outcome.phase) == (Verdict.IN_DOUBT, Phase.ACCEPTANCE)
    assert outcome.reply
    assert relay.accepted == accepted
    assert time.monotonic() - started < 4 * IMPATIENT_SECONDS


@pytest.mark.parametrize(
    "fault", [drop_connection, reply("354 go on"), raw(b"what?\r\n")], ids=["drop", "354", "garbage"]
)
def test_after_a_doubt_the_next_message_has_a_new_connection(fault: Action, relay: FaultyRelay) -> None:
    relay.script(on(Step.DOT, accept, then=fault, times=1))

    with relay.connect() as client:
        assert transmit(client, payload=message("<1@a.test>")).verdict is Verdict.IN_DOUBT
        assert transmit(client, payload=message("<2@a.test>")).verdict is Verdict.ACCEPTED

    assert relay.accepted_ids == {"<1@a.test>": 1, "<2@a.test>": 1}
    assert relay.connections == 2


@pytest.mark.parametrize(
    ("line", "verdict", "connections"),
    [
        ("451 4.3.0 later", Verdict.REFUSED_TEMPORARILY, 1),
        ("421 4.3.2 closing", Verdict.REFUSED_TEMPORARILY, 2),
        ("552 5.3.4 too big", Verdict.REFUSED_PERMANENTLY, 1),
        ("554 5.7.1 spam", Verdict.REFUSED_PERMANENTLY, 1),
    ],
)
def test_a_refusal_at_the_dot_settles_the_message(
    line: str, verdict: Verdict, connections: int, relay: FaultyRelay
) -> None:
    relay.script(on(Step.DOT, reply(line), times=1))

    with relay.connect() as client:
        outcome = transmit(client)
        again = transmit(client)

    assert outcome == Outcome(verdict, Phase.ACCEPTANCE, int(line[:3]), line[4:])
    assert again.verdict is Verdict.ACCEPTED
    assert (relay.accepted, relay.connections) == (1, connections)


def test_a_reply_line_without_end_is_not_collected(relay: FaultyRelay) -> None:
    relay.script(accept, then=babble)

    with relay.connect() as client:
        outcome = transmit(client)

    assert outcome == Outcome(Verdict.IN_DOUBT, Phase.ACCEPTANCE, None, "a reply line without end")


def test_a_reply_is_kept_short_and_clean(relay: FaultyRelay) -> None:
    relay.script(raw(b"554 \x1b[31mred\x07\t" + b"x" * 5_000 + b"\r\n"))

    with relay.connect() as client:
        outcome = transmit(client)

    assert outcome.reply.startswith("[31mred xxx")
    assert outcome.reply.isprintable()
    assert len(outcome.reply) == 500


class StopNow(BaseException):
    """What a task is told to end with."""


@pytest.fixture
def stop_at() -> Iterator[Callable[[FaultyRelay, Step], None]]:
    """Interrupt this thread, as Airflow does with a task, once a relay has reached a step."""

    def stop(signal_number: int, frame: FrameType | None) -> None:
        raise StopNow

    def watch(relay: FaultyRelay, step: Step) -> None:
        relay.wait_for(step)
        os.kill(os.getpid(), signal.SIGUSR1)

    before = signal.signal(signal.SIGUSR1, stop)
    yield lambda relay, step: threading.Thread(target=watch, args=(relay, step), daemon=True).start()
    signal.signal(signal.SIGUSR1, before)


@pytest.mark.parametrize("step", [Step.MAIL, Step.PAYLOAD, Step.DOT])
def test_a_task_stopped_in_mid_transmission_leaves_no_connection_to_go_on_with(
    step: Step, slow_reader: FaultyRelay, stop_at: Callable[[FaultyRelay, Step], None]
) -> None:
    slow_reader.script(on(step, hang, times=1))

    with slow_reader.connect() as client:
        stop_at(slow_reader, step)
        with pytest.raises(StopNow):
            transmit(client, payload=large_message())
        assert transmit(client, payload=message("<2@a.test>")).verdict is Verdict.ACCEPTED

    assert slow_reader.accepted_ids == {"<2@a.test>": 1}
    assert slow_reader.connections == 2


# The connection between messages


@pytest.mark.parametrize("step", [Step.RSET, Step.MAIL])
@pytest.mark.parametrize(
    "fault",
    [reply("421 4.7.0 enough for now"), drop_connection, reset_connection, hang],
    ids=["421", "drop", "reset", "hang"],
)
def test_a_connection_that_served_its_time_is_renewed(step: Step, fault: Action, relay: FaultyRelay) -> None:
    relay.script(on(step, fault, after=3 if step is Step.MAIL else 2, connection=1))

    with relay.connect(patience_seconds=2 * IMPATIENT_SECONDS) as client:
        for number in range(5):
            assert transmit(client, payload=message(f"<{number}@a.test>")).verdict is Verdict.ACCEPTED

    assert relay.accepted_ids == {f"<{number}@a.test>": 1 for number in range(5)}
    assert relay.connections == 2


def test_a_relay_that_serves_one_message_a_connection_and_goes(relay: FaultyRelay) -> None:
    relay.script(on(Step.DOT, in_turn(accept, reply("250 2.0.0 queued"), drop_connection)))

    with relay.connect() as client:
        for number in range(3):
            assert transmit(client, payload=message(f"<{number}@a.test>")).verdict is Verdict.ACCEPTED

    assert relay.accepted_ids == {f"<{number}@a.test>": 1 for number in range(3)}


@pytest.mark.parametrize(
    "fault",
    [reply("421 4.3.2 closing"), drop_connection, reset_connection, hang, raw(b"\xff\r\n")],
    ids=["421", "drop", "reset", "hang", "garbage"],
)
def test_what_the_relay_says_to_quit_does_not_matter(fault: Action, relay: FaultyRelay) -> None:
    relay.script(on(Step.QUIT, fault))

    started = time.monotonic()
    with relay.connect(patience_seconds=IMPATIENT_SECONDS) as client:
        outcome = transmit(client)

    assert outcome.verdict is Verdict.ACCEPTED
    assert relay.accepted == 1
    assert time.monotonic() - started < 3 * IMPATIENT_SECONDS


def through(proxy: Proxy, patience_seconds: float = 2 * IMPATIENT_SECONDS) -> Relay:
    def make_client() -> smtplib.SMTP:
        return BoundedSMTP("127.0.0.1", proxy.port, timeout=patience_seconds)

    return Relay(
        make_client,
        host="127.0.0.1",
        port=proxy.port,
        messages_per_connection=50,
        command_timeout_seconds=patience_seconds,
        acceptance_timeout_seconds=patience_seconds,
        farewell_timeout_seconds=0.2,
    )


def test_a_half_open_connection_is_renewed(relay: FaultyRelay, start_proxy: StartProxy) -> None:
    proxy = start_proxy(("127.0.0.1", relay.port))

    with through(proxy) as client:
        assert transmit(client, payload=message("<1@a.test>")).verdict is Verdict.ACCEPTED
        proxy.half_open()
        assert transmit(client, payload=message("<2@a.test>")).verdict is Verdict.ACCEPTED

    assert relay.accepted_ids == {"<1@a.test>": 1, "<2@a.test>": 1}
    assert proxy.connections == 2


def test_a_network_that_goes_still_after_the_mark_leaves_doubt(
    relay: FaultyRelay, start_proxy: StartProxy
) -> None:
    proxy = start_proxy(("127.0.0.1", relay.port))

    with through(proxy) as client:
        outcome = transmit(client, before_payload=proxy.stall)

    assert (outcome.verdict, outcome.phase) == (Verdict.IN_DOUBT, Phase.ACCEPTANCE)


@pytest.mark.parametrize("forward", [True, False], ids=["accepted", "not-accepted"])
def test_a_network_that_is_cut_at_the_dot_leaves_doubt(
    forward: bool, relay: FaultyRelay, start_proxy: StartProxy
) -> None:
    proxy = start_proxy(("127.0.0.1", relay.port))
    proxy.cut_when(b"\r\n.\r\n", forward=forward)

    with through(proxy) as client:
        outcome = transmit(client)

    assert (outcome.verdict, outcome.phase) == (Verdict.IN_DOUBT, Phase.ACCEPTANCE)
    assert relay.accepted == int(forward)


def test_a_relay_that_comes_back_gets_the_message(relay: FaultyRelay, start_proxy: StartProxy) -> None:
    proxy = start_proxy(("127.0.0.1", relay.port))
    proxy.refuse()

    with through(proxy) as client:
        assert transmit(client).verdict is Verdict.NOT_SENT
        proxy.restore()
        assert transmit(client).verdict is Verdict.ACCEPTED
