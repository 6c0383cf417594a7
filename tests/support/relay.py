"""A mail relay that fails as it is told to, over real sockets.

    relay.script(on(Step.RCPT, reply("550 5.1.1 no such user"), to="b@x.test"))
    relay.script(accept, then=drop_connection)          # a bare action is for the final dot
    relay.script(on(Step.MAIL, reply("421 4.7.0 enough for now"), after=3))

What no rule speaks of it does as a good server would. What it accepts it writes to a log with fsync *before* it
says so; the log tells, across processes and kills, which message was accepted how often.

In a process of its own, failing at random: `troubled_relay`.
"""

import base64
import binascii
import hashlib
import json
import os
import random
import re
import select
import smtplib
import socket
import ssl
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn, Self

from invoicing.mail.conversation import BoundedSMTP, BoundedSMTPS
from invoicing.mail.transmission import Relay


class Step(StrEnum):
    """Where a rule can take hold. DOT: the whole message is there and awaits its answer."""

    CONNECT = "connect"
    EHLO = "ehlo"
    STARTTLS = "starttls"
    AUTH = "auth"
    MAIL = "mail"
    RCPT = "rcpt"
    DATA = "data"
    PAYLOAD = "payload"
    DOT = "dot"
    RSET = "rset"
    NOOP = "noop"
    QUIT = "quit"


Action = Callable[["Session"], bool]
"""Does something to a session; True where the step has had its answer, so that the usual one is left out."""


def reply(*lines: str) -> Action:
    """Answer with these lines, each complete with its code; after 421 the connection ends."""

    def answer(session: "Session") -> bool:
        session.say(*lines)
        if lines[-1].startswith("421"):
            session.drop()
        return True

    return answer


def raw(content: bytes) -> Action:
    """Answer with these very bytes."""

    def answer(session: "Session") -> bool:
        session.send(content)
        return True

    return answer


def trickle(line: str, every_seconds: float) -> Action:
    """Answer one byte at a time."""

    def answer(session: "Session") -> bool:
        for byte in f"{line}\r\n".encode():
            session.send(bytes([byte]))
            session.idle(every_seconds)
        return True

    return answer


def endless(line: str, every_seconds: float) -> Action:
    """Answer with ever one more line."""

    def answer(session: "Session") -> bool:
        while True:
            session.say(line)
            session.idle(every_seconds)

    return answer


def babble(session: "Session") -> bool:
    """Answer without end, and without a line's end."""
    while True:
        session.send(b"250 and so on " * 1_000)


def wait(seconds: float) -> Action:
    """Take time, then go on."""

    def pause(session: "Session") -> bool:
        session.idle(seconds)
        return False

    return pause


def wait_for(gate: threading.Event) -> Action:
    """Take until ``gate`` is set, then go on."""

    def pause(session: "Session") -> bool:
        while not gate.is_set():
            session.idle(0.02)
        return False

    return pause


def hang(session: "Session") -> bool:
    """Say and read nothing more, until the client has gone or the relay stops."""
    session.idle(None)
    session.drop()


def drop_connection(session: "Session") -> bool:
    """Close the connection."""
    session.drop()


def reset_connection(session: "Session") -> bool:
    """Reset the connection (TCP RST)."""
    session.drop(rudely=True)


def go_secure(session: "Session") -> bool:
    """Take the client's TLS handshake."""
    session.go_secure()
    return True


def accept(session: "Session") -> bool:
    """Take the message for good, without a word yet. At the final dot only."""
    session.accept()
    return False


def in_turn(*actions: Action) -> Action:
    """Do one after the other."""

    def do_all(session: "Session") -> bool:
        answers = [action(session) for action in actions]
        return any(answers)

    return do_all


def at_random(dice: random.Random, shares: Mapping[Action, float]) -> Action:
    """Do each action with its share of the chances (0 to 1); with what is left, nothing."""

    def choose(session: "Session") -> bool:
        drawn = dice.random()
        for action, share in shares.items():
            if drawn < share:
                return action(session)
            drawn -= share
        return False

    return choose


@dataclass(slots=True)
class Rule:
    """What to do at a step, and when."""

    step: Step
    action: Action
    to: str | None
    after: int
    times: int | None
    connection: int | None
    after_bytes: int

    def fits(self, session: "Session", step: Step) -> bool:
        return (
            step is self.step
            and self.times != 0
            and (self.to is None or (bool(session.recipients) and session.recipients[-1] == self.to))
            and (self.connection is None or session.number == self.connection)
            and session.seen[step] > self.after
            and (step is not Step.PAYLOAD or session.payload_bytes >= self.after_bytes)
        )


def on(
    step: Step,
    action: Action,
    *,
    then: Action | None = None,
    to: str | None = None,
    after: int = 0,
    times: int | None = None,
    connection: int | None = None,
    after_bytes: int = 1,
) -> Rule:
    """Make a rule.

    Args:
        step: Where it takes hold.
        action: What is done there.
        then: What is done next.
        to: For RCPT: only for this recipient.
        after: Not for the first so many of a connection.
        times: So many times in all; None for ever.
        connection: Only in this one, the first being 1.
        after_bytes: For PAYLOAD: once so many bytes of it were read.
    """
    actions = in_turn(action, then) if then else action
    return Rule(step, actions, to, after, times, connection, after_bytes)


@dataclass(frozen=True, slots=True)
class AcceptedMessage:
    """A message that the relay took."""

    message_id: str
    sender: str
    recipients: tuple[str, ...]
    content: bytes = field(repr=False)


def read_log(path: Path) -> Counter[str]:
    """Count how often each Message-ID was accepted."""
    if not path.exists():
        return Counter()
    return Counter(json.loads(line)["message_id"] for line in path.read_text().splitlines())


class FaultyRelay:
    """An SMTP server on a free port of 127.0.0.1; a context manager.

    Args:
        log: Where accepted messages are noted, one JSON document a line.
        users: Name and password of those who may log in; with any, mail is taken only from them.
        certificate: A PEM file with key and certificate; STARTTLS is offered then.
        implicit_tls: TLS from the first byte in place of STARTTLS.
        size_limit_bytes: Of one message (SIZE).
        smtputf8: Whether SMTPUTF8 is offered.
        receive_buffer_bytes: Of the socket; a small one makes a client notice in mid-message.
        keep: Whether accepted messages are kept in ``messages``.
        port: 0 for a free one.
    """

    def __init__(
        self,
        log: Path,
        *,
        users: Mapping[str, str] | None = None,
        certificate: Path | None = None,
        implicit_tls: bool = False,
        size_limit_bytes: int = 10_000_000,
        smtputf8: bool = False,
        receive_buffer_bytes: int | None = None,
        keep: bool = True,
        port: int = 0,
    ) -> None:
        self.log = log
        self.users = dict(users or {})
        self.certificate = certificate
        self.implicit_tls = implicit_tls
        self.size_limit_bytes = size_limit_bytes
        self.smtputf8 = smtputf8
        self.messages: list[AcceptedMessage] = []
        self.commands: list[str] = []
        self.connections = 0
        self.stopping = threading.Event()
        self._keep = keep
        self._rules: list[Rule] = []
        self._reached: Counter[Step] = Counter()
        self._resets = 0
        self._changed = threading.Condition()
        self._sessions: set[Session] = set()
        self._threads: list[threading.Thread] = []
        self._log_descriptor = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        self._listener = socket.socket()
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if receive_buffer_bytes is not None:
            self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
        self._listener.bind(("127.0.0.1", port))
        self._listener.listen(64)
        self.port: int = self._listener.getsockname()[1]

    def __enter__(self) -> Self:
        self._start(self._listen)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """End all connections and the server."""
        self.stopping.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for session in list(self._sessions):
            session.cut()
        for thread in self._threads:
            thread.join(5)
        os.close(self._log_descriptor)

    def script(self, *rules: Rule | Action, then: Action | None = None) -> None:
        """Replace the script. The first rule that fits is followed; a bare action is for the final dot."""
        self._rules = [rule if isinstance(rule, Rule) else on(Step.DOT, rule, then=then) for rule in rules]

    def wait_for(self, step: Step, count: int = 1, timeout_seconds: float = 10.0) -> None:
        """Wait until a step was reached ``count`` times in all."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._reached[step] >= count, timeout_seconds):
                raise TimeoutError(f"{step} was reached {self._reached[step]} times, not {count}")

    def wait_for_reset(self, count: int = 1, timeout_seconds: float = 10.0) -> None:
        """Wait until clients have reset ``count`` connections in all."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._resets >= count, timeout_seconds):
                raise TimeoutError(f"{self._resets} connections were reset, not {count}")

    @property
    def accepted(self) -> int:
        """How many messages were accepted."""
        return self.accepted_ids.total()

    @property
    def accepted_ids(self) -> Counter[str]:
        """How often each Message-ID was accepted, as the log says."""
        return read_log(self.log)

    def client(
        self, user: str | None = None, password: str | None = None, *, patience_seconds: float = 5.0
    ) -> BoundedSMTP:
        """Connect, and log in as ``user``, else as the first of ``users``."""
        options: dict[str, Any] = {
            "local_hostname": "client.test",
            "timeout": patience_seconds,
            "setup_timeout_seconds": patience_seconds,
        }
        trust = self.certificate and ssl.create_default_context(cafile=str(self.certificate))
        if self.implicit_tls:
            client: BoundedSMTP = BoundedSMTPS("127.0.0.1", self.port, context=trust, **options)
        else:
            client = BoundedSMTP("127.0.0.1", self.port, **options)
            if trust:
                client.starttls(context=trust)
        if self.users:
            name = user or next(iter(self.users))
            client.login(name, password or self.users[name])
        return client

    def connect(
        self,
        make_client: Callable[[], smtplib.SMTP] | None = None,
        *,
        patience_seconds: float = 5.0,
        messages_per_connection: int = 50,
    ) -> Relay:
        """Give the project's own client of this server; it waits for anything ``patience_seconds``."""
        return Relay(
            make_client or (lambda: self.client(patience_seconds=patience_seconds)),
            host="127.0.0.1",
            port=self.port,
            messages_per_connection=messages_per_connection,
            command_timeout_seconds=patience_seconds,
            envelope_timeout_seconds=2 * patience_seconds,
            payload_timeout_seconds=patience_seconds,
            acceptance_timeout_seconds=patience_seconds,
            farewell_timeout_seconds=min(0.5, patience_seconds),
        )

    # For the sessions.

    def rule_for(self, session: "Session", step: Step) -> Rule | None:
        with self._changed:
            rule = next((rule for rule in self._rules if rule.fits(session, step)), None)
            if rule is not None and rule.times is not None:
                rule.times -= 1
            return rule

    def note_reached(self, step: Step) -> None:
        with self._changed:
            self._reached[step] += 1
            self._changed.notify_all()

    def note_reset(self) -> None:
        with self._changed:
            self._resets += 1
            self._changed.notify_all()

    def note_accepted(self, message: AcceptedMessage) -> None:
        entry = {
            "message_id": message.message_id,
            "sender": message.sender,
            "recipients": message.recipients,
            "sha256": hashlib.sha256(message.content).hexdigest(),
            "at": time.time(),
        }
        os.write(self._log_descriptor, json.dumps(entry).encode() + b"\n")
        os.fsync(self._log_descriptor)
        if self._keep:
            self.messages.append(message)

    def forget(self, session: "Session") -> None:
        self._sessions.discard(session)

    def _listen(self) -> None:
        while not self.stopping.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            session = Session(self, connection, self.connections)
            self._sessions.add(session)
            self._start(session.serve)

    def _start(self, target: Callable[[], None]) -> None:
        thread = threading.Thread(target=target, daemon=True)
        self._threads = [known for known in self._threads if known.is_alive()] + [thread]
        thread.start()


class _GoneError(Exception):
    """The session is over."""


class Session:
    """One connection of a client."""

    def __init__(self, relay: FaultyRelay, connection: socket.socket, number: int) -> None:
        self.number = number
        self.sender = ""
        self.recipients: list[str] = []
        self.payload_bytes = 0
        self.seen: Counter[Step] = Counter()
        self._relay = relay
        self._socket = connection
        self._reader = connection.makefile("rb")
        self._content = b""
        self._is_accepted = False
        self._user = ""

    def serve(self) -> None:
        """Talk until either side has had enough."""
        try:
            self._talk()
        except ConnectionResetError:
            self._relay.note_reset()
        except (_GoneError, OSError, ValueError):
            pass
        with suppress(OSError):
            self._reader.close()
        with suppress(OSError):
            self._socket.close()
        self._relay.forget(self)

    def _talk(self) -> NoReturn:
        if self._relay.implicit_tls:
            self.go_secure()
        if not self._follow(Step.CONNECT):
            self.say("220 relay.test ESMTP")
        while True:
            line = self._read_line()
            self._relay.commands.append(line)
            self._obey(line)

    def send(self, content: bytes) -> None:
        self._socket.sendall(content)

    def say(self, *lines: str) -> None:
        self.send("".join(f"{line}\r\n" for line in lines).encode())

    def accept(self) -> None:
        """Take the message for good, once."""
        if self._is_accepted:
            return
        self._is_accepted = True
        message_id = re.search(rb"(?im)^message-id:\s*(\S+)", self._content)
        self._relay.note_accepted(
            AcceptedMessage(
                message_id[1].decode() if message_id else "",
                self.sender,
                tuple(self.recipients),
                self._content,
            )
        )

    def go_secure(self) -> None:
        """Take the client's TLS handshake."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        assert self._relay.certificate is not None
        context.load_cert_chain(self._relay.certificate)
        self._reader.close()
        self._socket = context.wrap_socket(self._socket, server_side=True)
        self._reader = self._socket.makefile("rb")

    def idle(self, seconds: float | None) -> None:
        """Wait, neither reading nor writing; no longer than the client and the relay are there."""
        ends = None if seconds is None else time.monotonic() + seconds
        poll = select.poll()
        poll.register(self._socket, select.POLLRDHUP | select.POLLHUP | select.POLLERR)
        while ends is None or time.monotonic() < ends:
            left = 0.1 if ends is None else min(0.1, max(0.0, ends - time.monotonic()))
            if self._relay.stopping.is_set() or poll.poll(left * 1000):
                raise _GoneError

    def drop(self, *, rudely: bool = False) -> NoReturn:
        """End the connection."""
        if rudely:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        raise _GoneError

    def cut(self) -> None:
        """End the connection from another thread."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def _follow(self, step: Step) -> bool:
        """Follow the script at ``step``; True where that was the answer."""
        self.seen[step] += 1
        self._relay.note_reached(step)
        rule = self._relay.rule_for(self, step)
        return rule is not None and rule.action(self)

    def _read_line(self) -> str:
        line = self._reader.readline(65_536)
        if not line:
            raise _GoneError
        return line.decode().rstrip("\r\n")

    def _obey(self, line: str) -> None:
        verb, _, argument = line.partition(" ")
        commands = {
            "EHLO": self._ehlo,
            "HELO": self._ehlo,
            "STARTTLS": self._starttls,
            "AUTH": self._auth,
            "MAIL": self._mail,
            "RCPT": self._rcpt,
            "DATA": self._data,
            "RSET": self._rset,
            "NOOP": self._noop,
            "QUIT": self._quit,
        }
        if verb.upper() in commands:
            commands[verb.upper()](argument)
        else:
            self.say(f"500 5.5.1 what is {line}")

    def _ehlo(self, _: str) -> None:
        if not self._follow(Step.EHLO):
            self.say(*self._greeting())

    def _starttls(self, _: str) -> None:
        if not self._follow(Step.STARTTLS):
            self.say("220 2.0.0 go on")
            self.go_secure()

    def _auth(self, argument: str) -> None:
        if not self._follow(Step.AUTH):
            self._log_in(argument)

    def _rset(self, _: str) -> None:
        self._clear()
        if not self._follow(Step.RSET):
            self.say("250 2.0.0 ok")

    def _noop(self, _: str) -> None:
        if not self._follow(Step.NOOP):
            self.say("250 2.0.0 ok")

    def _quit(self, _: str) -> None:
        if not self._follow(Step.QUIT):
            self.say("221 2.0.0 bye")
        raise _GoneError

    def _greeting(self) -> Iterable[str]:
        features = ["relay.test", f"SIZE {self._relay.size_limit_bytes}", "8BITMIME", "ENHANCEDSTATUSCODES"]
        is_secure = isinstance(self._socket, ssl.SSLSocket)
        if self._relay.certificate is not None and not is_secure:
            features.append("STARTTLS")
        elif self._relay.users:
            features.append("AUTH PLAIN LOGIN")
        if self._relay.smtputf8:
            features.append("SMTPUTF8")
        return [*(f"250-{feature}" for feature in features[:-1]), f"250 {features[-1]}"]

    def _log_in(self, argument: str) -> None:
        mechanism, _, initial = argument.partition(" ")
        try:
            if mechanism.upper() == "PLAIN":
                _, name, password = self._decode(initial or self._ask("")).split("\0")
            else:
                name = self._decode(initial or self._ask("VXNlcm5hbWU6"))
                password = self._decode(self._ask("UGFzc3dvcmQ6"))
        except (binascii.Error, ValueError):
            self.say("501 5.5.2 cannot be decoded")
            return
        if self._relay.users.get(name) == password:
            self._user = name
            self.say("235 2.7.0 welcome")
        else:
            # Some servers repeat what they were sent.
            encoded = base64.b64encode(password.encode()).decode()
            self.say(f"535 5.7.8 authentication failed: {initial} {encoded} {password}")

    def _ask(self, challenge: str) -> str:
        self.say(f"334 {challenge}")
        return self._read_line()

    @staticmethod
    def _decode(text: str) -> str:
        return base64.b64decode(text, validate=True).decode()

    def _mail(self, argument: str) -> None:
        self._clear()
        path = re.match(r"FROM:<([^<>]*)>(.*)", argument, re.IGNORECASE)
        if self._follow(Step.MAIL):
            return
        size = re.search(r"SIZE=(\d+)", argument)
        if self._relay.users and not self._user:
            self.say("530 5.7.0 authentication required")
        elif path is None:
            self.say("501 5.1.7 bad sender")
        elif size and int(size[1]) > self._relay.size_limit_bytes:
            self.say("552 5.3.4 message too big")
        else:
            self.sender = path[1]
            self.say("250 2.1.0 ok")

    def _rcpt(self, argument: str) -> None:
        path = re.match(r"TO:<([^<>]*)>", argument, re.IGNORECASE)
        if path is None:
            self.say("501 5.1.3 bad recipient")
            return
        self.recipients.append(path[1])
        refused = self._follow(Step.RCPT)
        if refused:
            self.recipients.pop()
        else:
            self.say("250 2.1.5 ok")

    def _data(self, _: str) -> None:
        if self._follow(Step.DATA):
            return
        if not self.recipients:
            self.say("503 5.5.1 no valid recipients")
            return
        self.say("354 end with a dot")
        lines: list[bytes] = []
        is_payload_seen = False
        while True:
            line = self._reader.readline(65_536)
            if not line:
                raise _GoneError  # RFC 5321, 3.8: what was not ended is dropped
            if line == b".\r\n":
                break
            lines.append(line[1:] if line.startswith(b".") else line)
            self.payload_bytes += len(line)
            if not is_payload_seen:
                is_payload_seen = True
                self.seen[Step.PAYLOAD] += 1
                self._relay.note_reached(Step.PAYLOAD)
            rule = self._relay.rule_for(self, Step.PAYLOAD)
            if rule is not None:
                rule.action(self)
        self._content = b"".join(lines)
        if self._follow(Step.DOT):
            return
        if len(self._content) > self._relay.size_limit_bytes:
            self.say("552 5.3.4 message too big")
        else:
            self.accept()
            self.say("250 2.0.0 queued")
        self._clear()

    def _clear(self) -> None:
        self.sender = ""
        self.recipients = []
        self.payload_bytes = 0
        self._content = b""
        self._is_accepted = False
