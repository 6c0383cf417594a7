"""A real Postfix as the relay, its queue and its log as the arbiter.

It is Debian's program with a configuration, a queue and a log of its own under a temporary folder. It listens on
127.0.0.1 and delivers nothing anywhere: what it accepts it throws away. The machine's own Postfix, if there is
one, is not touched.
"""

import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from support.campaign import Campaign
from support.database import Server
from support.ledger import Ledger
from support.waiting import wait_until

pytestmark = [
    pytest.mark.faults,
    pytest.mark.skipif(
        shutil.which("postfix", path="/usr/sbin:/usr/bin") is None, reason="postfix is not installed"
    ),
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can start a Postfix"),
]

MAIN = """
compatibility_level = 3.6
queue_directory = {folder}/spool
data_directory = {folder}/data
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
mail_owner = postfix
setgid_group = postdrop
maillog_file = {folder}/log/postfix.log
maillog_file_prefixes = {folder}/log
myhostname = relay.test
mydestination =
mynetworks = 127.0.0.0/8
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
relayhost =
default_transport = discard
relay_transport = discard
local_transport = discard
smtpd_relay_restrictions = permit_mynetworks, reject
smtpd_recipient_restrictions = check_recipient_access texthash:{folder}/etc/refused, permit
smtpd_end_of_data_restrictions = check_recipient_access texthash:{folder}/etc/slow, permit
smtpd_client_connection_rate_limit = 0
smtpd_client_connection_count_limit = 0
smtpd_error_sleep_time = 0
smtpd_timeout = 20s
alias_maps =
alias_database =
biff = no
"""
MASTER = """
127.0.0.1:{port} inet n - n - 30 smtpd
pickup    unix  n - n 60 1 pickup
cleanup   unix  n - n - 0 cleanup
qmgr      unix  n - n 300 1 qmgr
rewrite   unix  - - n - - trivial-rewrite
bounce    unix  - - n - 0 bounce
defer     unix  - - n - 0 bounce
trace     unix  - - n - 0 bounce
verify    unix  - - n - 1 verify
flush     unix  n - n 1000? 0 flush
error     unix  - - n - - error
retry     unix  - - n - - error
discard   unix  - - n - - discard
anvil     unix  - - n - 1 anvil
scache    unix  - - n - 1 scache
postlog   unix-dgram n - n - 1 postlogd
proxymap  unix  - - n - - proxymap
"""
QUEUED = re.compile(r"/cleanup\[\d+\]: (\w+): message-id=(<[^>]+>)")
TAKEN = re.compile(r"/qmgr\[\d+\]: (\w+): from=<[^>]*>, size=\d+, nrcpt=\d+ \(queue active\)")


@dataclass
class Postfix:
    """A running one."""

    folder: Path
    port: int

    @property
    def log(self) -> str:
        return (self.folder / "log" / "postfix.log").read_text(errors="replace")

    def accepted(self) -> Counter[str]:
        """How often each Message-ID got into the queue to stay.

        ``cleanup`` names the Message-ID while the message still comes in; the queue manager sees it only
        once it is whole, and that is what Postfix says 250 to.
        """
        log = self.log
        taken = set(TAKEN.findall(log))
        return Counter(message_id for queue_id, message_id in QUEUED.findall(log) if queue_id in taken)

    def settle(self) -> None:
        """Wait until the queue is empty: the log then knows all there is to know."""
        queues = [self.folder / "spool" / name for name in ("incoming", "active", "deferred", "maildrop")]
        wait_until(
            lambda: not any(path.is_file() for queue in queues for path in queue.rglob("*")),
            "the queue is empty",
        )
        time.sleep(0.5)

    def control(self, command: str) -> None:
        done = subprocess.run(
            ["/usr/sbin/postfix", "-c", str(self.folder / "etc"), command],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr + self.log


@pytest.fixture
def start_postfix() -> Iterator[Any]:
    started: list[Postfix] = []
    folder = Path(tempfile.mkdtemp(prefix="inv-postfix-"))

    def start(refused: str = "", *, is_slow: bool = False) -> Postfix:
        folder.chmod(0o755)
        for name in ("etc", "spool", "data", "log"):
            (folder / name).mkdir()
        shutil.chown(folder / "data", "postfix")
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        (folder / "etc" / "main.cf").write_text(MAIN.format(folder=folder))
        (folder / "etc" / "refused").write_text(f"{refused}\n")
        # Every other tenant's message takes a second to be accepted: whoever is killed then was transmitting,
        # and Postfix accepts it without him.
        slow = (f"t{number:04}@correo.example sleep 1\n" for number in range(2, 500, 2) if is_slow)
        (folder / "etc" / "slow").write_text("".join(slow))
        (folder / "etc" / "master.cf").write_text(MASTER.format(port=port))
        postfix = Postfix(folder, port)
        # Makes the folders of its queue, with their owners.
        postfix.control("start")
        started.append(postfix)

        def answers() -> bool:
            with suppress(OSError), socket.create_connection(("127.0.0.1", port), 2) as connection:
                return connection.recv(100).startswith(b"220")
            return False

        wait_until(answers, "Postfix answers")
        return postfix

    try:
        yield start
    finally:
        for postfix in started:
            pid = int((folder / "spool" / "pid" / "master.pid").read_text())
            with suppress(AssertionError):
                postfix.control("stop")
            with suppress(ProcessLookupError, TimeoutError):
                wait_until(lambda pid=pid: not Path(f"/proc/{pid}").exists(), "Postfix ends", 15)  # type: ignore[misc]
                continue
            with suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)
        shutil.rmtree(folder, ignore_errors=True)


def test_postfix_has_what_the_ledger_says_it_has(ledger: Ledger, start_postfix: Any) -> None:
    postfix = start_postfix(refused="mal@correo.example 550 5.1.1 no such user")
    ledger.make(tenants=5)
    ledger.change_tenant("T0005", emails=["mal@correo.example"])
    ledger.plan()

    ending = ledger.send(postfix.port)

    assert (ending.ended, ledger.row_states()) == ("permanent", ["sent"] * 4 + ["failed"])
    assert "no such user" in ending.message
    postfix.settle()
    sent = [row for row in ledger.rows() if row["state"] == "sent"]
    assert postfix.accepted() == {row["message_id"]: 1 for row in sent}
    assert all("queued as" in row["last_reply"] for row in sent)
    ledger.check(postfix.accepted())


def campaign(
    ledger: Ledger, server: Server, postfix: Postfix, *, deliveries: int, kills: int, crashes: int
) -> str:
    ledger.make(tenants=deliveries)
    run = Campaign(
        ledger, server, postfix.port, postfix.accepted, kills=kills, crashes=crashes, batch_size=10,
        before_check=postfix.settle,
    )  # fmt: skip
    figures = run.run(600)
    assert not figures.violations, "\n".join(figures.violations[:20])
    assert (figures.duplicates, figures.lost) == (0, 0)
    # The last worker may be done before it is killed.
    assert kills - 2 <= figures.kills <= kills
    assert figures.database_crashes == crashes

    run.resolve_doubts()
    assert ledger.start(postfix.port).wait(120).counts == {"sent": deliveries}
    postfix.settle()
    assert postfix.accepted() == {row["message_id"]: 1 for row in ledger.rows()}
    ledger.check(postfix.accepted())
    return figures.table()


@pytest.mark.long
def test_a_short_campaign_against_postfix(ledger: Ledger, server: Server, start_postfix: Any) -> None:
    print(campaign(ledger, server, start_postfix(is_slow=True), deliveries=60, kills=8, crashes=1))


@pytest.mark.long
@pytest.mark.timeout(900)
def test_a_long_campaign_against_postfix(
    ledger: Ledger, server: Server, start_postfix: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    table = campaign(ledger, server, start_postfix(is_slow=True), deliveries=300, kills=30, crashes=2)
    with capsys.disabled():
        print("\nwith Postfix as the relay\n" + table)
