"""A mail server that delivers to a folder: what it accepts becomes one ``.eml`` file.

Runs as a process of its own: ``python -m invoicing.stack.inbox MAILBOX PORT``. The 250 after a message is given only
once its file is on the disk, so that what a sender counts as accepted is there. For the same reason nothing that was
accepted is dropped to make room: a full mailbox refuses for now, and a sender tries again.
"""

import asyncio
import logging
import os
import signal
import sys
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from aiosmtpd.smtp import SMTP, Envelope, Session

from invoicing.domain.errors import InputError

_log = logging.getLogger("invoicing.inbox")

MESSAGE_LIMIT_BYTES = 50 * 1024 * 1024
_MEGABYTE = 1_000_000


@dataclass(frozen=True, slots=True)
class Limits:
    """What the mailbox keeps at the most.

    Args:
        messages: ``INVOICING_INBOX_MESSAGES``, at least 1.
        megabytes: ``INVOICING_INBOX_MEGABYTES``, of a million bytes each, at least 1.
    """

    messages: int = 20_000
    megabytes: int = 2_000

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> Self:
        """Read the two variables; one that is not set, or empty, has its default.

        Raises:
            InputError: One is no whole number, or less than 1.
        """
        return cls(
            _whole_number(environ, "INVOICING_INBOX_MESSAGES", cls().messages),
            _whole_number(environ, "INVOICING_INBOX_MEGABYTES", cls().megabytes),
        )

    def as_environment(self) -> dict[str, str]:
        """The two variables, for the inbox's process."""
        return {
            "INVOICING_INBOX_MESSAGES": str(self.messages),
            "INVOICING_INBOX_MEGABYTES": str(self.megabytes),
        }


class MailboxFullError(Exception):
    """One more message would be over a limit; the text is for the sender, in ASCII."""


class Room:
    """What the mailbox may still take; used by one event loop.

    Args:
        mailbox: The folder.
        limits: What it keeps at the most.
    """

    def __init__(self, mailbox: Path, limits: Limits) -> None:
        self._mailbox = mailbox
        self._limits = limits
        self._messages, self._bytes = measure(mailbox)

    async def take(self, size_bytes: int) -> None:
        """Take the room of one message, before it is written.

        Raises:
            MailboxFullError: There is none, though files that somebody moved away were looked for.
            OSError: The folder cannot be read.
        """
        if not self._has(size_bytes):
            # Messages that are being written may count twice until the next look: too little room, never too much.
            self._messages, self._bytes = await asyncio.to_thread(measure, self._mailbox)
        if not self._has(size_bytes):
            raise MailboxFullError(
                f"Mailbox full: {self._messages} of {self._limits.messages} messages, "
                f"{self._bytes // _MEGABYTE} of {self._limits.megabytes} MB; move messages out of its folder, "
                "or raise INVOICING_INBOX_MESSAGES or INVOICING_INBOX_MEGABYTES"
            )
        self._messages += 1
        self._bytes += size_bytes

    def give_back(self, size_bytes: int) -> None:
        """Give back the room of a message that was not written after all."""
        self._messages -= 1
        self._bytes -= size_bytes

    def _has(self, size_bytes: int) -> bool:
        return (
            self._messages < self._limits.messages
            and self._bytes + size_bytes <= self._limits.megabytes * _MEGABYTE
        )


class MailboxHandler:
    """Stores accepted messages.

    Args:
        mailbox: The folder; one file a message, named so that names sort by time.
        limits: What it keeps at the most.
    """

    def __init__(self, mailbox: Path, limits: Limits) -> None:
        self._mailbox = mailbox
        self._room = Room(mailbox, limits)

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        """Answer the final dot; the name is aiosmtpd's."""
        del server, session
        message = as_file(envelope)
        try:
            await self._room.take(len(message))
            with self._given_back_on_failure(len(message)):
                name = await asyncio.to_thread(store, self._mailbox, message)
        except MailboxFullError as full:
            _log.error("message refused for now: %s", full)
            return f"452 4.3.1 {full}"
        except OSError as error:
            _log.error("message refused for now: %s", error)
            return "452 4.3.1 Message not stored: insufficient system storage"
        _log.info("stored %s", name)
        return f"250 2.0.0 Stored as {name}"

    @contextmanager
    def _given_back_on_failure(self, size_bytes: int) -> Iterator[None]:
        try:
            yield
        except OSError:
            self._room.give_back(size_bytes)
            raise


def measure(mailbox: Path) -> tuple[int, int]:
    """The messages that a mailbox holds, and their bytes; those half written are none yet."""
    sizes = []
    with os.scandir(mailbox) as entries:
        for entry in entries:
            if entry.name.endswith(".eml"):
                try:
                    sizes.append(entry.stat().st_size)
                except FileNotFoundError:
                    continue  # moved away meanwhile
    return len(sizes), sum(sizes)


def as_file(envelope: Envelope) -> bytes:
    """A message as it is kept: its envelope as headers before its own."""
    content = envelope.content or b""
    head = [f"X-Envelope-From: {envelope.mail_from or '<>'}"]
    head += [f"X-Envelope-To: {recipient}" for recipient in envelope.rcpt_tos]
    body = content if isinstance(content, bytes) else content.encode()
    return "".join(f"{line}\r\n" for line in head).encode() + body


def store(mailbox: Path, message: bytes) -> str:
    """Write one message and return the file's name.

    It appears under that name when all of it is on the disk, never before.
    """
    name = f"{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}-{uuid.uuid4().hex[:8]}.eml"
    temporary = mailbox / f".{name}.new"
    try:
        with temporary.open("wb") as file:
            file.write(message)
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(mailbox / name)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    folder = os.open(mailbox, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
    return name


async def serve(mailbox: Path, port: int, limits: Limits) -> None:
    """Listen on 127.0.0.1 until SIGTERM or SIGINT."""
    loop = asyncio.get_running_loop()
    handler = MailboxHandler(mailbox, limits)

    def connection() -> SMTP:
        return SMTP(
            handler, data_size_limit=MESSAGE_LIMIT_BYTES, hostname="inbox.invoicing.localhost", loop=loop
        )

    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    server = await loop.create_server(connection, "127.0.0.1", port)
    _log.info("accepting mail on 127.0.0.1:%d into %s", port, mailbox)
    await stop.wait()
    server.close()


def main(arguments: list[str]) -> int:
    """Run the inbox."""
    mailbox, port = arguments
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("mail.log").setLevel(logging.WARNING)
    for unfinished in Path(mailbox).glob(".*.eml.new"):
        unfinished.unlink()  # never acknowledged
    asyncio.run(serve(Path(mailbox), int(port), Limits.from_environment(os.environ)))
    return 0


def _whole_number(environ: Mapping[str, str], name: str, default: int) -> int:
    text = environ.get(name) or str(default)
    if not (text.isascii() and text.isdigit() and int(text) >= 1):
        raise InputError("inbox_limit_malformed", variable=name, text=text)
    return int(text)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
