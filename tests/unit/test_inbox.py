"""The embedded inbox, as a process, through a real SMTP connection."""

import smtplib
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from invoicing.domain.errors import InputError
from invoicing.stack.inbox import Limits
from support.project import PYTHON_PATH

MESSAGE = "From: a@agency.test\r\nTo: t@tenant.test\r\nSubject: Factura\r\n\r\nhello\r\n.dotted\r\n"


class Inbox:
    def __init__(self, mailbox: Path, **limits: str) -> None:
        self.mailbox = mailbox
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "invoicing.stack.inbox", str(mailbox), str(self.port)],
            env={"PYTHONPATH": PYTHON_PATH, **limits},
            stderr=subprocess.DEVNULL,
        )

    def connect(self) -> smtplib.SMTP:
        deadline = time.monotonic() + 20
        while True:
            try:
                return smtplib.SMTP("127.0.0.1", self.port, timeout=10)
            except ConnectionRefusedError:
                assert time.monotonic() < deadline, "the inbox does not listen"
                time.sleep(0.05)

    def files(self) -> list[Path]:
        return sorted(self.mailbox.glob("*.eml"))


@contextmanager
def running_inbox(mailbox: Path, **limits: str) -> Iterator[Inbox]:
    running = Inbox(mailbox, **limits)
    try:
        yield running
    finally:
        running.process.terminate()
        assert running.process.wait(timeout=10) == 0


@pytest.fixture
def mailbox(tmp_path: Path) -> Path:
    folder = tmp_path / "mailbox"
    folder.mkdir()
    (folder / ".half.eml.new").write_text("a message that was never acknowledged")
    return folder


@pytest.fixture
def inbox(mailbox: Path) -> Iterator[Inbox]:
    with running_inbox(mailbox) as running:
        yield running


def test_a_message_becomes_a_file_with_its_envelope_before_its_headers(inbox):
    with inbox.connect() as client:
        client.sendmail("bounces@agency.test", ["t@tenant.test", "copy@tenant.test"], MESSAGE)

    (file,) = inbox.files()
    assert file.read_bytes().decode() == (
        "X-Envelope-From: bounces@agency.test\r\n"
        "X-Envelope-To: t@tenant.test\r\n"
        "X-Envelope-To: copy@tenant.test\r\n" + MESSAGE
    )


def test_what_is_accepted_is_there_when_the_250_comes(inbox):
    with inbox.connect() as client:
        for count in range(1, 6):
            client.sendmail("a@agency.test", ["t@tenant.test"], MESSAGE)
            assert len(inbox.files()) == count


def test_names_sort_in_the_order_of_acceptance(inbox):
    with inbox.connect() as client:
        for number in range(5):
            client.sendmail("a@agency.test", ["t@tenant.test"], f"Subject: {number}\r\n\r\n")

    assert [file.read_text().split("Subject: ")[1][0] for file in inbox.files()] == list("01234")


def test_a_message_that_cannot_be_stored_is_refused_for_now(inbox):
    with inbox.connect() as client:
        inbox.mailbox.rename(inbox.mailbox.with_name("elsewhere"))

        with pytest.raises(smtplib.SMTPDataError) as refusal:
            client.sendmail("a@agency.test", ["t@tenant.test"], MESSAGE)

        assert refusal.value.smtp_code == 452
        inbox.mailbox.with_name("elsewhere").rename(inbox.mailbox)
        client.sendmail("a@agency.test", ["t@tenant.test"], MESSAGE)
        assert len(inbox.files()) == 1


def test_what_an_earlier_inbox_left_unfinished_is_swept(inbox):
    inbox.connect().close()

    assert list(inbox.mailbox.iterdir()) == []


def refused(client: smtplib.SMTP, message: str = MESSAGE) -> str:
    """The inbox's reply to a message that it does not take now."""
    with pytest.raises(smtplib.SMTPDataError) as refusal:
        client.sendmail("a@agency.test", ["t@tenant.test"], message)
    assert refusal.value.smtp_code == 452
    reply = refusal.value.smtp_error
    return reply if isinstance(reply, str) else reply.decode("ascii")


def test_a_full_mailbox_refuses_for_now_and_keeps_what_it_accepted(mailbox):
    with running_inbox(mailbox, INVOICING_INBOX_MESSAGES="2") as inbox, inbox.connect() as client:
        for _ in range(2):
            client.sendmail("a@agency.test", ["t@tenant.test"], MESSAGE)
        kept = inbox.files()

        reply = refused(client)

        assert reply.startswith("4.3.1 Mailbox full: 2 of 2 messages")
        assert "INVOICING_INBOX_MESSAGES" in reply
        assert inbox.files() == kept


def test_a_mailbox_takes_mail_again_once_messages_were_moved_out_of_it(mailbox):
    with running_inbox(mailbox, INVOICING_INBOX_MESSAGES="1") as inbox, inbox.connect() as client:
        client.sendmail("a@agency.test", ["t@tenant.test"], MESSAGE)
        refused(client)
        inbox.files()[0].rename(mailbox.with_name("kept.eml"))

        client.sendmail("a@agency.test", ["t@tenant.test"], MESSAGE)

        assert len(inbox.files()) == 1
        refused(client)


def test_a_mailbox_is_full_by_its_bytes_too_and_smaller_messages_still_fit(mailbox):
    large = MESSAGE + "x" * 70 + "\r\n"
    large += ("y" * 78 + "\r\n") * 7_000
    with running_inbox(mailbox, INVOICING_INBOX_MEGABYTES="1") as inbox, inbox.connect() as client:
        client.sendmail("a@agency.test", ["t@tenant.test"], large)

        reply = refused(client, large)
        client.sendmail("a@agency.test", ["t@tenant.test"], MESSAGE)

        assert "0 of 1 MB" in reply
        assert len(inbox.files()) == 2


def test_what_an_earlier_inbox_accepted_counts(mailbox):
    (mailbox / "20260101T000000.000000Z-00000000.eml").write_text(MESSAGE)
    with running_inbox(mailbox, INVOICING_INBOX_MESSAGES="1") as inbox, inbox.connect() as client:
        refused(client)


def test_a_message_that_could_not_be_written_takes_no_room(mailbox):
    with running_inbox(mailbox, INVOICING_INBOX_MESSAGES="1") as inbox, inbox.connect() as client:
        mailbox.rename(mailbox.with_name("elsewhere"))
        refused(client)
        mailbox.with_name("elsewhere").rename(mailbox)

        client.sendmail("a@agency.test", ["t@tenant.test"], MESSAGE)

        assert len(inbox.files()) == 1


@pytest.mark.parametrize("text", ["0", "-1", "many", "1.5", "٣"])
def test_a_limit_that_is_no_whole_number_is_named(text):
    with pytest.raises(InputError) as refusal:
        Limits.from_environment({"INVOICING_INBOX_MESSAGES": text})

    assert refusal.value.code == "inbox_limit_malformed"
    assert "INVOICING_INBOX_MESSAGES" in str(refusal.value)


def test_a_limit_that_is_not_given_has_its_default():
    assert Limits.from_environment({"INVOICING_INBOX_MEGABYTES": ""}) == Limits(20_000, 2_000)
