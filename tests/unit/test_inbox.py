"""The embedded inbox, as a process, through a real SMTP connection."""

import smtplib
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.project import PYTHON_PATH

MESSAGE = "From: a@agency.test\r\nTo: t@tenant.test\r\nSubject: Factura\r\n\r\nhello\r\n.dotted\r\n"


class Inbox:
    def __init__(self, mailbox: Path) -> None:
        self.mailbox = mailbox
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "invoicing.stack.inbox", str(mailbox), str(self.port)],
            env={"PYTHONPATH": PYTHON_PATH},
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


@pytest.fixture
def inbox(tmp_path: Path) -> Iterator[Inbox]:
    mailbox = tmp_path / "mailbox"
    mailbox.mkdir()
    (mailbox / ".half.eml.new").write_text("a message that was never acknowledged")
    running = Inbox(mailbox)
    try:
        yield running
    finally:
        running.process.terminate()
        assert running.process.wait(timeout=10) == 0


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
