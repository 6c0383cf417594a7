"""Hands a message to the relay, and says for certain what became of it, or that nobody can say.

SMTP leaves a gap (RFC 1047): between the dot that ends a message and the reply to it, the server may have
accepted what the client never hears of. So every outcome has its phase. Before the first byte of the message
nothing can have been accepted. After the final dot left, only a reply tells.

In between, a message that broke off counts as not sent, which needs two things, and both are held here. The
final dot is a write of its own, which was not begun: so what the server has is not a complete message,
however late the break is noticed. And a server that loses a connection in mid-message must drop it (RFC 5321,
3.8); to help it, the connection is reset and not closed in order.
"""

import logging
import re
import smtplib
import ssl
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from types import TracebackType
from typing import NoReturn, Self

from invoicing.domain.errors import PermanentFailureError, TemporaryFailureError, WorkFailedError
from invoicing.mail.conversation import (
    BrokenConversationError,
    Channel,
    Deadline,
    Phase,
    Reply,
    hang_up,
    printable,
)
from invoicing.words.failures import Failure, Fault

__all__ = [
    "Outcome",
    "Phase",
    "Relay",
    "RelayMisconfiguredError",
    "RelayRefusedLoginError",
    "RelayUnavailableError",
    "RelayUnreachableError",
    "Verdict",
]

log = logging.getLogger(__name__)

_CRLF = b"\r\n"
_END_OF_MESSAGE = b".\r\n"
_CHUNK_BYTES = 65_536
_GO_AHEAD = 354
_LOGIN_WANTED = frozenset({530, 534, 535, 538})  # RFC 4954, 6: said of the session, not of the message
_PATH = re.compile(r"[^\s<>@\x00-\x20\x7f]+@[A-Za-z0-9.-]+")
_LONGEST_PATH = 254


class Verdict(StrEnum):
    """What is known of a transmission."""

    ACCEPTED = "accepted"
    """The relay has the message."""
    REFUSED_TEMPORARILY = "refused_temporarily"
    """The relay said no, and that later it may say yes (4xx)."""
    REFUSED_PERMANENTLY = "refused_permanently"
    """The relay said no (5xx)."""
    NOT_SENT = "not_sent"
    """Something broke, and the relay certainly does not have the message."""
    IN_DOUBT = "in_doubt"
    """Something broke, and the relay may have the message."""


_REFUSALS = {4: Verdict.REFUSED_TEMPORARILY, 5: Verdict.REFUSED_PERMANENTLY}


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a transmission ended.

    Args:
        verdict: What is known.
        phase: Where it ended.
        code: The reply that ended it; None where there was none.
        reply: Its text, or what happened instead; at most 500 characters, none of them a control character.
        address: The address that is to blame, where it is one.
    """

    verdict: Verdict
    phase: Phase
    code: int | None
    reply: str
    address: str | None = None


class RelayUnavailableError(WorkFailedError):
    """There is no relay to send through: a fault of the set-up or of the network, not of a message."""


class RelayUnreachableError(RelayUnavailableError, TemporaryFailureError):
    """The relay cannot be reached now."""


class RelayMisconfiguredError(RelayUnavailableError, PermanentFailureError):
    """The connection as it is set up cannot work with this relay."""


class RelayRefusedLoginError(RelayMisconfiguredError):
    """The relay does not take this user and password, or wants some."""


class Relay:
    """A relay that messages are handed to, over one connection at a time.

    The connection is made when it is needed, serves message after message, and is renewed when it breaks, when
    the relay says 421, and after ``messages_per_connection`` messages. Not for several threads at once.

    Args:
        connect: Makes a client that has logged in. Use ``conversation.BoundedSMTP`` in it: its own
            time-outs are the only ones while it runs.
        host: The relay's name, for messages.
        port: The relay's port, for messages.
        messages_per_connection: After so many a connection is renewed.
        command_timeout_seconds: For the answer to a command.
        envelope_timeout_seconds: For all commands of a message up to DATA, the connecting aside.
        payload_timeout_seconds: For writing the message.
        acceptance_timeout_seconds: For the answer to the final dot; RFC 5321 (4.5.3.2.6) grants 10 minutes,
            and giving up sooner makes doubt where there was only patience missing.
        farewell_timeout_seconds: For what does not matter any more, as QUIT.
    """

    def __init__(
        self,
        connect: Callable[[], smtplib.SMTP],
        *,
        host: str,
        port: int,
        messages_per_connection: int,
        command_timeout_seconds: float = 60.0,
        envelope_timeout_seconds: float = 300.0,
        payload_timeout_seconds: float = 300.0,
        acceptance_timeout_seconds: float = 600.0,
        farewell_timeout_seconds: float = 5.0,
    ) -> None:
        if messages_per_connection < 1:
            raise ValueError("a connection serves at least one message")
        self._connect = connect
        self._place = f"{host}:{port}"
        self._messages_per_connection = messages_per_connection
        self._command_timeout_seconds = command_timeout_seconds
        self._envelope_timeout_seconds = envelope_timeout_seconds
        self._payload_timeout_seconds = payload_timeout_seconds
        self._acceptance_timeout_seconds = acceptance_timeout_seconds
        self._farewell_timeout_seconds = farewell_timeout_seconds
        self._connection: _Connection | None = None

    @property
    def longest_doubt_seconds(self) -> float:
        """The longest time from the end of ``before_payload`` to the outcome. A claim must outlive it."""
        return (
            self._payload_timeout_seconds + self._acceptance_timeout_seconds + self._farewell_timeout_seconds
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the connection. Never fails: whatever the server says to QUIT, the messages are settled."""
        connection, self._connection = self._connection, None
        if connection is None:
            return
        try:
            connection.channel.command("QUIT", Deadline(self._farewell_timeout_seconds))
        except BrokenConversationError:
            pass
        finally:
            with suppress(OSError):
                connection.client.close()

    def check(self) -> None:
        """Connect, log in and ask for an answer; the connection stays for the messages.

        Raises:
            RelayUnavailableError: With the relay, what went wrong and what to do; never with the password.
        """
        try:
            self.close()
            connection = self._open()
            reply = connection.channel.command("NOOP", Deadline(self._command_timeout_seconds))
        except _EndedError as ended:
            outcome = ended.outcome
            said = f"{outcome.code} {outcome.reply}" if outcome.code else outcome.reply
            raise self._unreachable(Fault("relay_said", said=said, phase=outcome.phase)) from ended.__cause__
        except BrokenConversationError as error:
            self._hang_up()
            raise self._unreachable(error) from error
        if not reply.is_positive:
            self._hang_up()
            answer = Fault("relay_answered", status=reply.code, text=reply.text)
            if reply.code // 100 == 5:
                # It will say the same for hours: a person must not wait for that.
                raise RelayMisconfiguredError("relay_misconfigured", relay=self._place, reason=answer)
            raise self._unreachable(answer)

    def transmit(
        self, sender: str, recipients: Sequence[str], payload: bytes, *, before_payload: Callable[[], None]
    ) -> Outcome:
        """Hand over one message to all ``recipients``, or to none of them.

        Args:
            sender: Envelope sender, its domain in ASCII.
            recipients: Envelope recipients, their domains in ASCII, at least one. One that is refused stops
                the message for all: a tenant's copy is not sent without the others'.
            payload: The message, lines ending in CRLF, dots not stuffed.
            before_payload: Called when the server waits for the message and has nothing of it yet. What it
                raises ends the transmission, the message unsent, and is passed on.

        Raises:
            RelayUnavailableError: The relay refuses the login, or the connection is wrongly set up. Nothing
                was sent; the message is not to blame.
            ValueError: No recipients, or a payload that has a bare CR or LF.
        """
        if not recipients:
            raise ValueError("a message needs a recipient")
        envelope = _Envelope(sender, tuple(dict.fromkeys(recipients)), _with_line_end(payload))
        try:
            connection = self._begin(envelope)
            return self._send_payload(connection, envelope, before_payload)
        except _EndedError as ended:
            return ended.outcome
        except BaseException:
            # Also a signal that raises: where the server stands is unknown, so nobody may go on from there.
            self._hang_up()
            raise

    # The envelope. Whatever goes wrong here raises _EndedError: the server has nothing of the message.

    def _begin(self, envelope: "_Envelope") -> "_Connection":
        """Bring a connection to where the server waits for the message."""
        envelope.check_addresses()
        deadline = Deadline(self._envelope_timeout_seconds)
        connection = self._reuse(envelope, deadline)
        if connection is None:
            connection = self._open()
            deadline = Deadline(self._envelope_timeout_seconds)
            self._after_mail(
                connection, self._ask(connection, Phase.MAIL, envelope.mail(connection.client), deadline)
            )
        self._say_rcpt(connection, envelope, deadline)
        reply = self._ask(connection, Phase.DATA, "DATA", deadline)
        if reply.code != _GO_AHEAD:
            self._refuse(connection, Phase.DATA, reply)
        return connection

    def _reuse(self, envelope: "_Envelope", deadline: Deadline) -> "_Connection | None":
        """Begin on the connection that is there; None where there is none, or none that still works."""
        if self._connection is not None and self._connection.messages >= self._messages_per_connection:
            self.close()
        connection = self._connection
        if connection is None:
            return None
        # A server may have given up on a connection that lay idle or served enough: no message's fault.
        try:
            reset = connection.channel.command("RSET", deadline.within(self._command_timeout_seconds))
            if reset.is_positive:
                command = envelope.mail(connection.client)
                reply = connection.channel.command(command, deadline.within(self._command_timeout_seconds))
                if not reply.closes:
                    return self._after_mail(connection, reply)
        except BrokenConversationError as error:
            log.info("the connection to %s is renewed: %s", self._place, error)
        self._hang_up()
        return None

    def _after_mail(self, connection: "_Connection", reply: Reply) -> "_Connection":
        connection.messages += 1
        if not reply.is_positive:
            self._refuse(connection, Phase.MAIL, reply)
        return connection

    def _say_rcpt(self, connection: "_Connection", envelope: "_Envelope", deadline: Deadline) -> None:
        refused: list[tuple[str, Reply]] = []
        for recipient in envelope.recipients:
            reply = self._ask(connection, Phase.RCPT, f"RCPT TO:<{recipient}>", deadline)
            if not reply.is_positive:
                refused.append((recipient, reply))
            if reply.closes:
                break
        if refused:
            refused.sort(key=lambda refusal: not refusal[1].is_permanent)  # stable; permanent ones first
            self._refuse(connection, Phase.RCPT, refused[0][1], refused)

    def _ask(self, connection: "_Connection", phase: Phase, command: str, deadline: Deadline) -> Reply:
        try:
            return connection.channel.command(command, deadline.within(self._command_timeout_seconds))
        except BrokenConversationError as error:
            self._hang_up()
            raise _EndedError(Outcome(Verdict.NOT_SENT, phase, None, printable(str(error)))) from error

    def _refuse(
        self, connection: "_Connection", phase: Phase, reply: Reply, refused: Sequence[tuple[str, Reply]] = ()
    ) -> NoReturn:
        """End the transmission because of ``reply``, and leave the connection fit for the next one."""
        if reply.code in _LOGIN_WANTED:
            self._hang_up()
            raise self._login_refused(reply.code, reply.text)
        if reply.is_permanent or (reply.is_temporary and not reply.closes):
            self._reset(connection)
        else:
            self._hang_up()
        text = reply.text
        if len(refused) > 1:
            text = printable("; ".join(f"<{address}>: {said.code} {said.text}" for address, said in refused))
        raise _EndedError(
            Outcome(
                _REFUSALS.get(reply.code // 100, Verdict.NOT_SENT),
                phase,
                reply.code,
                text,
                refused[0][0] if refused else None,
            )
        )

    def _reset(self, connection: "_Connection") -> None:
        try:
            connection.channel.command("RSET", Deadline(self._farewell_timeout_seconds))
        except BrokenConversationError:
            self._hang_up()

    # The message. From here on an outcome is returned.

    def _send_payload(
        self, connection: "_Connection", envelope: "_Envelope", before_payload: Callable[[], None]
    ) -> Outcome:
        before_payload()
        begun = False
        deadline = Deadline(self._payload_timeout_seconds)
        try:
            for chunk in envelope.chunks():
                if connection.channel.has_spoken():
                    return self._broken_off(connection, begun, "the server did not wait for the message")
                begun = True
                connection.channel.send(chunk, deadline)
            if connection.channel.has_spoken():
                return self._broken_off(
                    connection, begun, "the server did not wait for the end of the message"
                )
        except BrokenConversationError as error:
            return self._broken_off(connection, begun, str(error))
        try:
            deadline = Deadline(self._acceptance_timeout_seconds)
            connection.channel.send(_END_OF_MESSAGE, deadline)
            reply = connection.channel.read_reply(deadline)
        except BrokenConversationError as error:
            self._hang_up()
            return Outcome(Verdict.IN_DOUBT, Phase.ACCEPTANCE, None, printable(str(error)))
        if reply.is_positive:
            return Outcome(Verdict.ACCEPTED, Phase.ACCEPTANCE, reply.code, reply.text)
        verdict = _REFUSALS.get(reply.code // 100, Verdict.IN_DOUBT)
        if verdict is Verdict.IN_DOUBT:
            self._hang_up()
        return Outcome(verdict, Phase.ACCEPTANCE, reply.code, reply.text)

    def _broken_off(self, connection: "_Connection", begun: bool, reason: str) -> Outcome:
        """Settle a message whose final dot was not sent; the server may have said why."""
        try:
            reply = connection.channel.read_reply(Deadline(self._farewell_timeout_seconds))
        except BrokenConversationError as error:
            return Outcome(Verdict.NOT_SENT, Phase.PAYLOAD, None, printable(f"{reason}: {error}"))
        finally:
            self._hang_up()
        # Praise for half a message makes no sense; a server that gives it may have done anything with it.
        nonsense = Verdict.IN_DOUBT if begun else Verdict.NOT_SENT
        return Outcome(_REFUSALS.get(reply.code // 100, nonsense), Phase.PAYLOAD, reply.code, reply.text)

    # The connection.

    def _open(self) -> "_Connection":
        client = None
        try:
            client = self._connect()
            client.ehlo_or_helo_if_needed()  # a login has done it; a relay without one has not
            channel = Channel.of(client)
        except Exception as error:
            if client is not None:
                hang_up(client)
            raise self._not_connected(error) from error
        self._connection = _Connection(client, channel)
        return self._connection

    def _hang_up(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            hang_up(connection.client)

    def _not_connected(self, error: Exception) -> Exception:
        """Make of what ``connect`` raised an error to raise: of the set-up, or of this one transmission."""
        if isinstance(error, RelayUnavailableError):
            return error
        causes = list(_causes(error))
        if any(isinstance(cause, ssl.SSLCertVerificationError) for cause in causes):
            return RelayMisconfiguredError(
                "relay_certificate_untrusted", relay=self._place, reason=str(error)
            )
        # Whoever gives up after several tries may raise an error of his own: the network's is behind it.
        cause = next((cause for cause in causes if isinstance(cause, OSError)), None)
        if cause is None or type(cause) in {smtplib.SMTPException, smtplib.SMTPNotSupportedError}:
            return RelayMisconfiguredError(
                "relay_misconfigured", relay=self._place, reason=printable(str(error))
            )
        phase = getattr(cause, "phase", None) or _phase_of(cause)
        if not isinstance(cause, smtplib.SMTPResponseException):
            return _EndedError(Outcome(Verdict.NOT_SENT, phase, None, printable(str(cause))))
        text = printable(cause.smtp_error)
        if phase is Phase.AUTH and cause.smtp_code // 100 == 5:
            return self._login_refused(cause.smtp_code, text)
        return _EndedError(Outcome(Verdict.NOT_SENT, phase, cause.smtp_code, text))

    def _login_refused(self, code: int, text: str) -> RelayRefusedLoginError:
        return RelayRefusedLoginError("relay_login_refused", relay=self._place, status=code, text=text)

    def _unreachable(self, reason: Failure) -> RelayUnreachableError:
        return RelayUnreachableError("relay_unreachable", relay=self._place, reason=reason)


class _EndedError(Exception):
    """Carries the outcome of a transmission that ended before the message began."""

    def __init__(self, outcome: Outcome) -> None:
        self.outcome = outcome
        super().__init__(outcome.reply)


@dataclass(slots=True)
class _Connection:
    """A live connection and how many messages it has served."""

    client: smtplib.SMTP
    channel: Channel
    messages: int = 0


@dataclass(frozen=True, slots=True)
class _Envelope:
    sender: str
    recipients: tuple[str, ...]
    payload: bytes

    def check_addresses(self) -> None:
        """Refuse what would say something else than an address on the line."""
        for phase, address in (
            (Phase.MAIL, self.sender),
            *((Phase.RCPT, recipient) for recipient in self.recipients),
        ):
            if not _PATH.fullmatch(address) or len(address) > _LONGEST_PATH:
                raise _EndedError(
                    Outcome(
                        Verdict.REFUSED_PERMANENTLY,
                        phase,
                        None,
                        f"not sent: {printable(address)!a} is no address that can travel",
                        printable(address),
                    )
                )

    def mail(self, client: smtplib.SMTP) -> str:
        """Give the MAIL command, with what the server offers and this message needs."""
        command = f"MAIL FROM:<{self.sender}>"
        if client.has_extn("size"):
            command += f" SIZE={len(self.payload)}"
        unicode_address = next((a for a in (*self.recipients, self.sender) if not a.isascii()), None)
        if unicode_address or not self.payload.isascii():
            if not client.has_extn("smtputf8"):
                subject = f"the address {unicode_address}" if unicode_address else "an address in the message"
                raise _EndedError(
                    Outcome(
                        Verdict.REFUSED_PERMANENTLY,
                        Phase.MAIL,
                        None,
                        f"not sent: {subject} needs SMTPUTF8, which the relay does not offer",
                        unicode_address,
                    )
                )
            command += " SMTPUTF8"
            if client.has_extn("8bitmime"):
                command += " BODY=8BITMIME"
        return command

    def chunks(self) -> Iterator[bytes]:
        """Give the message with its dots stuffed, without the final dot."""
        stuffed = self.payload.replace(b"\r\n.", b"\r\n..")
        if stuffed.startswith(b"."):
            stuffed = b"." + stuffed
        for start in range(0, len(stuffed), _CHUNK_BYTES):
            yield stuffed[start : start + _CHUNK_BYTES]


def _with_line_end(payload: bytes) -> bytes:
    pairs = payload.count(_CRLF)
    if payload.count(b"\r") != pairs or payload.count(b"\n") != pairs:
        # Some servers end a message at LF . LF: a bare one could end ours early, and start another.
        raise ValueError("the lines of a message end in CRLF, and have no CR or LF else")
    return payload if payload.endswith(_CRLF) else payload + _CRLF


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        yield cause
        cause = cause.__cause__ or cause.__context__


def _phase_of(error: OSError) -> Phase:
    """Guess where a client other than ours failed."""
    if isinstance(error, smtplib.SMTPAuthenticationError):
        return Phase.AUTH
    if isinstance(error, smtplib.SMTPConnectError):
        return Phase.BANNER
    if isinstance(error, smtplib.SMTPHeloError):
        return Phase.EHLO
    if isinstance(error, smtplib.SMTPResponseException):
        return Phase.STARTTLS
    return Phase.CONNECT
