"""The wire: SMTP commands and replies over a socket, each by a deadline, and a login that cannot hang.

``smtplib`` times out single reads: a server that sends a byte now and then, or reply lines without end, holds
its caller for days. Here every step ends by its deadline. Nothing here writes to a log, and what was sent to
log in is struck out of the server's answers: some servers repeat the command that they refuse.
"""

import re
import smtplib
import socket
import ssl
import struct
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Self

from invoicing.words.failures import tell

LONGEST_REPLY_TEXT = 500
"""Characters of a reply that are kept."""

_CRLF = b"\r\n"
_LONGEST_LINE = 8_192  # bytes; RFC 5321 allows a reply line 512, real servers send longer ones
_MOST_LINES = 200
_REPLY_LINE = re.compile(rb"([2-5][0-9][0-9])(?:([ -])(.*))?", re.DOTALL)
_SERVICE_CLOSING = 421
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class Phase(StrEnum):
    """Where a transmission stood. Up to DATA the server has nothing of the message."""

    CONNECT = "connect"
    BANNER = "banner"
    EHLO = "ehlo"
    STARTTLS = "starttls"
    AUTH = "auth"
    MAIL = "mail"
    RCPT = "rcpt"
    DATA = "data"
    PAYLOAD = "payload"
    ACCEPTANCE = "acceptance"


class BrokenConversationError(smtplib.SMTPServerDisconnected):
    """The server dropped the connection, did not answer in time, or answered with what is no SMTP reply.

    Args:
        code: Which of these: a key of `FAILURES`.
        phase: Where the conversation stood, where that is known.
        values: What the words speak of.
    """

    def __init__(self, code: str, phase: Phase | None = None, /, **values: object) -> None:
        self.code = code
        self.phase = phase
        self.values: Mapping[str, object] = values
        super().__init__(tell(self))


class ServiceClosingError(smtplib.SMTPResponseException):
    """The server answered 421 while the connection was set up, and is about to close it."""

    def __init__(self, reply: "Reply", phase: Phase) -> None:
        self.phase = phase
        super().__init__(reply.code, reply.text)


class Deadline:
    """An instant by which something must have ended, on the monotonic clock."""

    def __init__(self, seconds: float) -> None:
        self._allowed_seconds = seconds
        self._ends = time.monotonic() + seconds

    def within(self, seconds: float) -> "Deadline":
        """Give a deadline for one step: ``seconds`` from now, this one's end at the latest."""
        return Deadline(max(0.0, min(seconds, self._ends - time.monotonic())))

    def remaining_seconds(self) -> float:
        """Give the time that is left, above 0.

        Raises:
            BrokenConversationError: None is left.
        """
        left = self._ends - time.monotonic()
        if left <= 0:
            raise self.expired()
        return left

    def expired(self) -> BrokenConversationError:
        """Make the error that says so."""
        return BrokenConversationError("relay_silent", seconds=self._allowed_seconds)


@dataclass(frozen=True, slots=True)
class Reply:
    """A complete reply: one code, one line or more."""

    code: int
    lines: tuple[bytes, ...]

    @property
    def text(self) -> str:
        """The lines as one, without control characters, at most 500 characters."""
        return printable(b" ".join(self.lines))

    @property
    def is_positive(self) -> bool:
        """Whether the command was done (2xx)."""
        return self.code // 100 == 2

    @property
    def is_temporary(self) -> bool:
        """Whether the command was refused for now (4xx)."""
        return self.code // 100 == 4

    @property
    def is_permanent(self) -> bool:
        """Whether the command was refused for good (5xx)."""
        return self.code // 100 == 5

    @property
    def closes(self) -> bool:
        """Whether the server is about to close the connection (421)."""
        return self.code == _SERVICE_CLOSING


def printable(text: bytes | str) -> str:
    """Give what a server said in a form that can be stored and shown."""
    decoded = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
    clean = "".join(character if character.isprintable() else " " for character in decoded)
    return " ".join(clean.split())[:LONGEST_REPLY_TEXT]


class Channel:
    """Commands and replies over a connected socket, plain or TLS, which it takes over from its owner."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._received = bytearray()
        with suppress(OSError):  # not a TCP socket
            # The end of a message is a small segment of its own; it must not wait for the last one's ACK.
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    @classmethod
    def of(cls, client: smtplib.SMTP) -> Self:
        """Take over the socket of a client."""
        if client.sock is None:
            raise BrokenConversationError("relay_connection_closed")
        return cls(client.sock)

    def command(self, line: str, deadline: Deadline) -> Reply:
        """Send one command and read its reply."""
        if "\r" in line or "\n" in line:
            raise ValueError("an SMTP command is one line")
        self.send(line.encode() + _CRLF, deadline)
        return self.read_reply(deadline)

    def send(self, content: bytes, deadline: Deadline) -> None:
        """Send all of ``content``.

        Raises:
            BrokenConversationError: Not all of it could be handed to the system; part of it may have been.
        """
        try:
            self.sock.settimeout(deadline.remaining_seconds())
            self.sock.sendall(content)
        except TimeoutError:
            raise deadline.expired() from None
        except BrokenConversationError:
            raise
        except OSError as error:
            raise BrokenConversationError("relay_connection_lost", reason=str(error)) from error

    def read_reply(self, deadline: Deadline) -> Reply:
        """Read one reply, all its lines.

        Raises:
            BrokenConversationError: The connection ended, the time did, or that was no reply.
        """
        lines: list[bytes] = []
        code = b""
        while len(lines) < _MOST_LINES:
            line = self._read_line(deadline)
            match = _REPLY_LINE.fullmatch(line)
            if match is None or (code and match[1] != code):
                raise BrokenConversationError("relay_reply_malformed", line=printable(line)[:80])
            code = match[1]
            lines.append(match[3] or b"")
            if match[2] != b"-":
                return Reply(int(code), tuple(lines))
        raise BrokenConversationError("relay_reply_too_long", most=_MOST_LINES)

    def has_spoken(self) -> bool:
        """Whether the server said something, or ended the connection, without being asked. Does not wait."""
        if self._received:
            return True
        try:
            self.sock.settimeout(0)
            received = self.sock.recv(_LONGEST_LINE)
        except (BlockingIOError, ssl.SSLWantReadError):
            return False
        except OSError:
            return True
        self._received += received
        return True

    def _read_line(self, deadline: Deadline) -> bytes:
        while (end := self._received.find(b"\n")) < 0:
            if len(self._received) > _LONGEST_LINE:
                raise BrokenConversationError("relay_line_endless")
            self._received += self._receive(deadline)
        line = bytes(self._received[:end])
        del self._received[: end + 1]
        return line.removesuffix(b"\r")

    def _receive(self, deadline: Deadline) -> bytes:
        try:
            self.sock.settimeout(deadline.remaining_seconds())
            received = self.sock.recv(_LONGEST_LINE)
        except TimeoutError:
            raise deadline.expired() from None
        except BrokenConversationError:
            raise
        except OSError as error:
            raise BrokenConversationError("relay_connection_lost", reason=str(error)) from error
        if not received:
            raise BrokenConversationError("relay_hung_up")
        return received


def hang_up(client: smtplib.SMTP) -> None:
    """End the connection at once and rudely (TCP reset), so that no server takes what it has for complete."""
    with suppress(OSError):
        if client.sock is not None:
            client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
    with suppress(OSError):
        client.close()


class BoundedSMTP(smtplib.SMTP):
    """An ``smtplib.SMTP`` whose set-up (banner, EHLO, STARTTLS, AUTH) as a whole ends by a deadline.

    Its errors know the phase, 421 is an error at every step, and debug output, which would show passwords,
    does not exist.

    Args:
        host: Name or address of the relay.
        port: Its port.
        timeout: Seconds for connecting and for a TLS handshake.
        setup_timeout_seconds: For all of the set-up.
        options: As for ``smtplib.SMTP`` (or ``SMTP_SSL``).
    """

    def __init__(
        self,
        host: str = "",
        port: int = 0,
        *,
        timeout: float = 30.0,
        setup_timeout_seconds: float = 90.0,
        **options: Any,
    ) -> None:
        self.phase = Phase.CONNECT
        self._deadline = Deadline(setup_timeout_seconds)
        self._channel: Channel | None = None
        self._login_words: set[bytes] = set()
        super().__init__(host, port, timeout=timeout, **options)

    def putcmd(self, cmd: str, args: str = "") -> None:
        """Send a command and note the phase that it begins."""
        verb = cmd.upper()
        if verb in _PHASE_OF_COMMAND:
            self.phase = _PHASE_OF_COMMAND[verb]
        if self.phase is Phase.AUTH:
            self._login_words |= {word.encode() for word in f"{cmd} {args}".split() if len(word) > 10}
        super().putcmd(cmd, args)

    def send(self, s: Any) -> None:
        """Send by the deadline."""
        content = s.encode(self.command_encoding) if isinstance(s, str) else bytes(s)
        try:
            self._wire().send(content, self._deadline)
        except BrokenConversationError as error:
            raise self._broken(error) from error

    def getreply(self) -> tuple[int, bytes]:
        """Read a reply by the deadline."""
        if self.phase is Phase.CONNECT:
            self.phase = Phase.BANNER
        try:
            reply = self._wire().read_reply(self._deadline)
        except BrokenConversationError as error:
            raise self._broken(error) from error
        if self.phase is Phase.AUTH:
            reply = Reply(reply.code, tuple(self._without_secrets(line) for line in reply.lines))
        if reply.closes:
            self.close()
            raise ServiceClosingError(reply, self.phase)
        return reply.code, b"\n".join(reply.lines)

    def login(self, user: str, password: str, *, initial_response_ok: bool = True) -> tuple[int, bytes]:
        """Log in; where that fails the connection is closed, for the caller may have no hold of it yet."""
        try:
            return super().login(user, password, initial_response_ok=initial_response_ok)
        except smtplib.SMTPException:
            self.close()
            raise

    def starttls(self, **options: Any) -> tuple[int, bytes]:  # type: ignore[override]
        """Go over to TLS."""
        try:
            return super().starttls(**options)
        except smtplib.SMTPException:
            self.close()
            raise
        except OSError as error:
            raise self._broken(BrokenConversationError("relay_tls_failed", reason=str(error))) from error

    def _wire(self) -> Channel:
        if self.sock is None:
            raise BrokenConversationError("relay_connection_closed", self.phase)
        # After STARTTLS there is a new socket; what came before it in clear text is nobody's reply.
        if self._channel is None or self._channel.sock is not self.sock:
            self._channel = Channel(self.sock)
        return self._channel

    def _broken(self, error: BrokenConversationError) -> BrokenConversationError:
        self.close()
        return BrokenConversationError(error.code, self.phase, **error.values)

    def _without_secrets(self, line: bytes) -> bytes:
        password = getattr(self, "password", None)
        secrets = self._login_words | ({password.encode()} if password else set())
        for secret in secrets:
            line = line.replace(secret, b"***")
        return line


class BoundedSMTPS(BoundedSMTP, smtplib.SMTP_SSL):
    """The same with TLS from the first byte."""


_PHASE_OF_COMMAND = {
    "EHLO": Phase.EHLO,
    "HELO": Phase.EHLO,
    "STARTTLS": Phase.STARTTLS,
    "AUTH": Phase.AUTH,
}
