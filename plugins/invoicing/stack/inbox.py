"""A mail server that delivers to a folder: what it accepts becomes one ``.eml`` file.

Runs as a process of its own: ``python -m invoicing.stack.inbox MAILBOX PORT``. The 250 after a message is given only
once its file is on the disk, so that what a sender counts as accepted is there.
"""

import asyncio
import logging
import os
import signal
import sys
import uuid
from datetime import UTC, datetime
from pathlib import Path

from aiosmtpd.smtp import SMTP, Envelope, Session

_log = logging.getLogger("invoicing.inbox")

MESSAGE_LIMIT_BYTES = 50 * 1024 * 1024


class MailboxHandler:
    """Stores accepted messages.

    Args:
        mailbox: The folder; one file a message, named so that names sort by time.
    """

    def __init__(self, mailbox: Path) -> None:
        self._mailbox = mailbox

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        """Answer the final dot; the name is aiosmtpd's."""
        del server, session
        try:
            name = await asyncio.to_thread(store, self._mailbox, envelope)
        except OSError as error:
            _log.error("message refused for now: %s", error)
            return "452 4.3.1 Message not stored: insufficient system storage"
        _log.info("stored %s", name)
        return f"250 2.0.0 Stored as {name}"


def store(mailbox: Path, envelope: Envelope) -> str:
    """Write one message, its envelope as headers before its own, and return the file's name.

    It appears under that name when all of it is on the disk, never before.
    """
    name = f"{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}-{uuid.uuid4().hex[:8]}.eml"
    content = envelope.content or b""
    head = [f"X-Envelope-From: {envelope.mail_from or '<>'}"]
    head += [f"X-Envelope-To: {recipient}" for recipient in envelope.rcpt_tos]
    temporary = mailbox / f".{name}.new"
    try:
        with temporary.open("wb") as file:
            file.write("".join(f"{line}\r\n" for line in head).encode())
            file.write(content if isinstance(content, bytes) else content.encode())
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


async def serve(mailbox: Path, port: int) -> None:
    """Listen on 127.0.0.1 until SIGTERM or SIGINT."""
    loop = asyncio.get_running_loop()
    handler = MailboxHandler(mailbox)

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
    asyncio.run(serve(Path(mailbox), int(port)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
