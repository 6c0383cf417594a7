"""The database goes away, archives and disks fail, clocks are wrong: nothing is sent on an unknown mark, and no
outcome that a worker knows is lost."""

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from invoicing.db.connection import connect
from invoicing.services.delivery import resolution
from support.database import Server, as_superuser
from support.ledger import Ledger, Workshop, opened
from support.project import PYTHON_PATH
from support.proxy import Proxy
from support.relay import FaultyRelay, Session, Step, accept, drop_connection, on, reply, wait, wait_for
from support.waiting import wait_until

pytestmark = pytest.mark.faults

StartProxy = Callable[[tuple[str, int] | Path], Proxy]

# What the client sends to mark and to settle; found in its text, for the first five times at least.
MARK = b"SET state = 'transmitting'"
SETTLE = b"SET state = $1, claim_until = NULL, last_reply"
SHORT = {"ledger._SETTLE_SECONDS": 0.5}


@pytest.fixture
def database_proxy(ledger: Ledger, start_proxy: StartProxy) -> Proxy:
    """Between a worker and its database."""
    known = conninfo_to_dict(ledger.dsn)
    return start_proxy((str(known["host"]), int(str(known["port"]))))


def through(proxy: Proxy, ledger: Ledger) -> str:
    return make_conninfo(ledger.dsn, port=proxy.port)


# The connection


@pytest.mark.parametrize("committed", [True, False], ids=["committed", "not-committed"])
def test_a_mark_whose_commit_is_unknown_sends_nothing(
    committed: bool, ledger: Ledger, relay: FaultyRelay, database_proxy: Proxy
) -> None:
    ledger.make()
    database_proxy.cut_when(MARK, forward=committed)

    ending = ledger.send(relay.port, dsn=through(database_proxy, ledger))

    assert (ending.ended, ledger.states()) == ("temporary", {"pending": 1})
    assert ("transmitting" in ledger.history()) == committed
    with pytest.raises(TimeoutError):
        relay.wait_for(Step.PAYLOAD, timeout_seconds=0.1)
    assert relay.accepted == 0
    ledger.check(relay.accepted_ids)

    assert ledger.send(relay.port).ended == "done"
    assert relay.accepted == 1
    ledger.check(relay.accepted_ids)


def test_a_mark_that_hangs_sends_nothing(ledger: Ledger, relay: FaultyRelay, database_proxy: Proxy) -> None:
    """Both ends open, nothing arrives: then the worker's connection breaks at last."""
    ledger.make()

    def stall(session: Session) -> bool:
        database_proxy.stall()
        return False

    relay.script(on(Step.DATA, stall, times=1))
    worker = ledger.start(relay.port, dsn=through(database_proxy, ledger), **SHORT)
    relay.wait_for(Step.DATA)
    with pytest.raises(TimeoutError):
        relay.wait_for(Step.PAYLOAD, timeout_seconds=1.0)
    database_proxy.cut()
    database_proxy.refuse()
    database_proxy.resume()
    ending = worker.wait()

    assert ending.ended == "temporary"
    assert ledger.states() in ({"claimed": 1}, {"transmitting": 1})
    assert relay.accepted == 0
    assert len(list(ledger.journal.settlements())) == 1
    assert ledger.send(relay.port).ended == "done"
    assert relay.accepted == 1
    ledger.check(relay.accepted_ids)


@pytest.mark.parametrize("committed", [True, False], ids=["committed", "not-committed"])
def test_a_settling_that_is_cut_off_is_done_on_a_new_connection(
    committed: bool, ledger: Ledger, relay: FaultyRelay, database_proxy: Proxy
) -> None:
    ledger.make(tenants=3)
    database_proxy.cut_when(SETTLE, forward=committed)

    ending = ledger.send(relay.port, dsn=through(database_proxy, ledger))

    assert database_proxy.connections == 2
    # The rest of the batch went over the new connection.
    assert ending.counts == {"sent": 3}
    assert relay.accepted == 3
    assert not list(ledger.journal.settlements())
    assert [row["attempts"] for row in ledger.rows()] == [1, 1, 1]
    ledger.check(relay.accepted_ids)


@pytest.mark.parametrize("who", ["worker", "sweep"])
@pytest.mark.parametrize("what", ["accepted", "refused-for-now", "refused"])
def test_an_outcome_that_the_database_cannot_take_is_kept_on_disk(
    what: str, who: str, ledger: Ledger, relay: FaultyRelay, database_proxy: Proxy
) -> None:
    ledger.make()
    answer = {
        "accepted": accept,
        "refused-for-now": reply("452 4.3.1 no space left"),
        "refused": reply("554 5.7.1 never"),
    }[what]

    def lose_the_database(session: Session) -> bool:
        database_proxy.refuse()
        database_proxy.cut()
        return False

    relay.script(on(Step.DOT, lose_the_database, then=answer, times=1))
    worker = ledger.start(relay.port, dsn=through(database_proxy, ledger), **SHORT)
    ending = worker.wait()

    assert ending.ended == "temporary"
    assert "journal" in ending.message
    assert ledger.states() == {"transmitting": 1}
    (kept,) = ledger.journal.settlements()
    assert (kept.delivery_id, kept.token) == (ledger.row()["id"], 1)
    # Its claim is not over, and the task's next try would take it for a doubt: the journal knows better.
    if who == "sweep":
        assert ledger.sweep()["journal"] == 1
        settled = {"accepted": "sent", "refused-for-now": "pending", "refused": "failed"}[what]
        assert ledger.states() == {settled: 1}
    assert ledger.send(relay.port).ended == ("permanent" if what == "refused" else "done")

    assert ledger.states() == {"failed" if what == "refused" else "sent": 1}
    assert not list(ledger.journal.folder.iterdir())
    assert "in_doubt" not in ledger.history()
    assert relay.accepted == (what != "refused")
    ledger.check(relay.accepted_ids)


def test_a_worker_killed_while_it_waits_for_the_database_has_kept_the_outcome(
    ledger: Ledger, relay: FaultyRelay, database_proxy: Proxy
) -> None:
    ledger.make()

    def lose_the_database(session: Session) -> bool:
        database_proxy.refuse()
        database_proxy.cut()
        return False

    relay.script(on(Step.DOT, lose_the_database, then=accept, times=1))
    worker = ledger.start(relay.port, dsn=through(database_proxy, ledger))
    wait_until(lambda: list(ledger.journal.settlements()), "the journal has it", 15)
    assert worker.is_alive
    worker.kill()

    assert ledger.send(relay.port).ended == "done"

    assert ledger.states() == {"sent": 1}
    assert relay.accepted == 1
    ledger.check(relay.accepted_ids)


def test_a_journal_survives_the_machine(ledger: Ledger, relay: FaultyRelay, tmp_path: Path) -> None:
    """The file, then its name, then the folder's own name reach the disk, in this order, before the worker goes on."""
    trace = tmp_path / "trace"
    program = (
        "from pathlib import Path; from invoicing.services.delivery.journal import *; import os, sys;"
        f" Journal(Path({str(tmp_path / 'deep' / 'journal')!r})).keep("
        "Settlement(1, 1, 'accepted', 'acceptance', 250, 'ok', None, 'me'))"
    )
    hook = (
        "import os, pathlib; real = os.fsync;\n"
        f"def fsync(fd):\n    open({str(trace)!r}, 'a').write(os.readlink(f'/proc/self/fd/{{fd}}') + '\\n'); real(fd)\n"
        "os.fsync = fsync\n"
    )
    subprocess.run(
        [sys.executable, "-c", hook + program], check=True, env={**os.environ, "PYTHONPATH": PYTHON_PATH}
    )
    folder = tmp_path / "deep" / "journal"
    assert trace.read_text().splitlines() == [str(folder.parent), str(folder / "1-1.tmp"), str(folder)]


@pytest.mark.parametrize(
    "content",
    ["{", "[]", '{"delivery_id": 1}', json.dumps({
        "delivery_id": 1, "token": 1, "verdict": "of another version", "phase": "x", "code": None, "reply": "x",
        "reason": None, "actor": "x"})],
    ids=["half", "list", "short", "unknown-verdict"],
)  # fmt: skip
def test_a_journal_file_that_nobody_understands_keeps_nobody_from_sending(
    content: str, ledger: Ledger, relay: FaultyRelay
) -> None:
    ledger.make()
    ledger.journal.folder.mkdir()
    strange = ledger.journal.folder / "1-1.json"
    strange.write_text(content)

    assert ledger.send(relay.port).ended == "done"

    assert strange.read_text() == content  # left for a person
    assert ledger.sweep()["journal"] == 0
    assert relay.accepted == 1


def test_a_journal_of_old_says_nothing_about_a_later_attempt(ledger: Ledger, relay: FaultyRelay) -> None:
    """The first attempt's word, found again when the second is in doubt, is not the second's."""
    ledger.make()
    relay.script(on(Step.DOT, reply("452 4.3.1 no space left"), times=1))
    ledger.send(relay.port)
    relay.script(on(Step.DOT, accept, then=drop_connection))
    assert ledger.send(relay.port).ended == "permanent"
    ledger.journal.folder.mkdir()
    (ledger.journal.folder / "1-1.json").write_text(
        json.dumps({
            "delivery_id": ledger.row()["id"], "token": 1, "verdict": "not_sent", "phase": "data", "code": None,
            "reply": "lost", "reason": "lost", "actor": "x"})
    )  # fmt: skip

    assert ledger.send(relay.port).ended == "permanent"

    assert ledger.states() == {"in_doubt": 1}
    assert relay.accepted == 1
    ledger.check(relay.accepted_ids)


def test_a_journal_on_a_full_disk_leaves_doubt_and_says_so(
    ledger: Ledger, relay: FaultyRelay, database_proxy: Proxy, workshop: Workshop
) -> None:
    ledger.make()
    ledger.journal.folder.parent.joinpath("journal").write_text("a file in its place")

    def lose_the_database(session: Session) -> bool:
        database_proxy.refuse()
        database_proxy.cut()
        return False

    relay.script(on(Step.DOT, lose_the_database, then=accept, times=1))
    ending = ledger.send(relay.port, dsn=through(database_proxy, ledger), **SHORT)
    ledger.journal.folder.unlink()

    assert ending.ended == "temporary"
    assert "could not be kept" in ending.message
    assert "write it down: Settlement(delivery_id=" in workshop.log.read_text()
    assert ledger.send(relay.port).ended == "permanent"
    assert ledger.states() == {"in_doubt": 1}
    ledger.check(relay.accepted_ids)


# The server


@pytest.mark.parametrize("step", [Step.RCPT, Step.DOT])
def test_postgresql_restarted_immediately_in_mid_run(
    step: Step, ledger: Ledger, server: Server, relay: FaultyRelay
) -> None:
    ledger.make(tenants=6)
    relay.script(on(step, wait(1.0), after=2, times=1))
    worker = ledger.start(relay.port)
    relay.wait_for(step, 3)
    server.restart_immediately()
    ledger.reconnect()
    ending = worker.wait()
    ledger.sweep()

    assert ending.ended in ("done", "temporary")
    assert ledger.send(relay.port).ended == "done"
    assert ledger.states() == {"sent": 6}
    assert relay.accepted == 6
    ledger.check(relay.accepted_ids)


def test_a_database_that_has_become_read_only_loses_no_outcome(ledger: Ledger, relay: FaultyRelay) -> None:
    """As after a failover, or where a provider stops all writing because the disk is full."""
    ledger.make()

    def freeze(session: Session) -> bool:
        with connect(as_superuser(ledger.dsn)) as db:
            name = db.info.dbname
            db.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on".encode())
            db.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
                " AND pid <> pg_backend_pid()"
            )
        return False

    relay.script(on(Step.DOT, freeze, then=accept, times=1))
    ending = ledger.send(relay.port, **SHORT)
    ledger.reconnect()
    assert ending.ended == "temporary"
    assert len(list(ledger.journal.settlements())) == 1
    with connect(as_superuser(ledger.dsn)) as db:
        db.execute("SET default_transaction_read_only = off")
        db.execute(f"ALTER DATABASE {db.info.dbname} RESET default_transaction_read_only".encode())
    ledger.reconnect()

    assert ledger.send(relay.port).ended == "done"

    assert ledger.states() == {"sent": 1}
    assert relay.accepted == 1
    ledger.check(relay.accepted_ids)


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """A file system of 100 MB; root may make one, others cannot."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount a small file system")
    with tempfile.TemporaryDirectory(prefix="inv-small-") as folder:
        mounted = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=120m,mode=755", "tmpfs", folder],
            capture_output=True,
            check=False,
        )
        if mounted.returncode != 0:
            pytest.skip(f"no file system can be mounted here: {mounted.stderr.decode().strip()}")
        try:
            yield Path(folder)
        finally:
            subprocess.run(["umount", "--lazy", folder], check=True)


def test_a_disk_full_while_postgresql_writes(
    small_disk: Path, workshop: Workshop, relay: FaultyRelay, tmp_path: Path
) -> None:
    with Server(small_disk) as server, opened(server, workshop, tmp_path) as ledger:
        ledger.make(tenants=8)
        filler = small_disk / "filler"

        def fill(session: Session) -> bool:
            with filler.open("wb", buffering=0) as file, suppress(OSError):
                while True:
                    file.write(bytes(65_536))
            # Room for nothing: the log of what is to come needs a new segment, or a table a new page.
            with suppress(psycopg.Error), psycopg.connect(as_superuser(ledger.dsn), autocommit=True) as db:
                db.execute("CREATE TABLE IF NOT EXISTS stuffing (x text)")
                for _ in range(400):
                    db.execute("INSERT INTO stuffing SELECT repeat(md5(random()::text), 1000)")
            return False

        relay.script(on(Step.DOT, fill, after=3, times=1))
        first = ledger.send(relay.port, **SHORT)
        assert "No space left on device" in (server.data.parent / "postgres.log").read_text()
        assert first.ended in ("temporary", "permanent", "done")
        filler.unlink()
        with suppress(psycopg.Error):
            ledger.reconnect()
        server.restart_immediately()  # after a full disk the server may be down, or not
        ledger.reconnect()
        ledger.sweep()
        ledger.check(relay.accepted_ids)

        assert ledger.send(relay.port).ended == "done"
        assert ledger.states() == {"sent": 8}
        assert relay.accepted == 8
        ledger.check(relay.accepted_ids)


# Documents


@pytest.mark.parametrize("damage", ["altered", "missing", "truncated", "of-another-invoice"])
@pytest.mark.one_in(2)
def test_a_document_that_is_not_the_one_kept_is_not_sent(
    damage: str, ledger: Ledger, relay: FaultyRelay
) -> None:
    ledger.make(tenants=3)
    path = ledger.folder / "archive" / "FV-2.pdf"
    kept = path.read_bytes()
    if damage == "altered":
        path.write_bytes(kept.replace(b"x", b"y", 1))
    elif damage == "missing":
        path.unlink()
    elif damage == "truncated":
        path.write_bytes(kept[:100])
    else:
        path.write_bytes((ledger.folder / "archive" / "FV-1.pdf").read_bytes())

    first = ledger.send(relay.port)

    # That tenant has no mail; the others have theirs.
    assert first.ended == "permanent"
    assert "FV-2" in first.message
    assert ledger.row_states() == ["sent", "failed", "sent"]
    assert relay.accepted == 2
    ledger.check(relay.accepted_ids)

    path.write_bytes(kept)
    assert ledger.send(relay.port).ended == "permanent"  # not before a person has looked at it
    assert ledger.send(relay.port, execution="2").ended == "done"
    assert relay.accepted == 3
    ledger.check(relay.accepted_ids)


def test_a_disk_full_while_a_document_is_written_leaves_no_half_of_it(tmp_path: Path) -> None:
    """The archive's own way of writing, in a process whose files may not grow beyond 100 kB."""
    target = tmp_path / "archive" / "2026-11" / "FV-1.pdf"
    program = (
        "import resource, signal, sys\n"
        "from pathlib import Path\n"
        "from invoicing.services.delivery.archive import FolderArchive\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        f"FolderArchive(Path({str(tmp_path / 'archive')!r})).store('2026-11/FV-1.pdf', b'%PDF' + bytes(200_000))\n"
    )
    environ = {**os.environ, "PYTHONPATH": PYTHON_PATH, "AIRFLOW_HOME": str(tmp_path / "airflow")}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, env=environ
    )

    assert done.returncode == 1
    assert "File too large" in done.stderr or "EFBIG" in done.stderr
    assert list(target.parent.iterdir()) == []


# Clocks


LIBFAKETIME = next(iter(sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))), None)
needs_faketime = pytest.mark.skipif(
    LIBFAKETIME is None, reason="libfaketime is not installed (package faketime)"
)


def faked(offset_file: Path) -> dict[str, str]:
    """Environment of a process whose wall clock is what a file says, at any moment."""
    return {
        "LD_PRELOAD": str(LIBFAKETIME),
        "FAKETIME_TIMESTAMP_FILE": str(offset_file),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "DONT_FAKE_MONOTONIC": "1",
    }


@needs_faketime
@pytest.mark.parametrize("offset", ["+1h", "-1h", "+1d", "-1d"])
@pytest.mark.one_in(3)
def test_a_worker_whose_clock_is_wrong_does_no_harm(
    offset: str, ledger: Ledger, relay: FaultyRelay, tmp_path: Path
) -> None:
    """A claim is the database's: a worker in another hour or day neither takes one over nor loses its own."""
    ledger.make(tenants=3)
    offset_file = tmp_path / "offset"
    offset_file.write_text(offset)
    gate = threading.Event()
    relay.script(on(Step.RCPT, wait_for(gate), times=1))
    with Workshop(tmp_path, faked(offset_file)) as elsewhere:
        right = ledger.start(relay.port, owner="right", patience_seconds=40)
        relay.wait_for(Step.RCPT)

        wrong = ledger.send(relay.port, owner="wrong", workshop=elsewhere)

    assert wrong.ended == "temporary"
    assert ledger.row_states()[1:] == ["sent", "sent"]
    gate.set()
    assert right.wait().ended == "done"
    assert ledger.states() == {"sent": 3}
    assert relay.accepted == 3
    ledger.check(relay.accepted_ids)


@needs_faketime
@pytest.mark.parametrize("there", ["+1d", "-1d"], ids=["forth-and-back", "back-and-forth"])
def test_the_databases_clock_set_a_day_forth_and_back(
    there: str, workshop: Workshop, relay: FaultyRelay, tmp_path: Path
) -> None:
    with tempfile.TemporaryDirectory(prefix="inv-clock-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)
        offset_file = Path(folder) / "offset"
        offset_file.write_text("+0")
        offset_file.chmod(0o644)
        with (
            Server(Path(folder) / "server", faked(offset_file)) as server,
            opened(server, workshop, tmp_path) as ledger,
        ):
            ledger.make(tenants=6, per_minute_limit=100)
            gate = threading.Event()
            relay.script(on(Step.DOT, wait_for(gate), after=1, times=1))
            worker = ledger.start(relay.port, patience_seconds=40)
            relay.wait_for(Step.DOT, 2)

            offset_file.write_text(there)
            now = ledger.db.execute("SELECT extract(epoch FROM clock_timestamp())::float8 AS now").fetchone()
            assert now is not None
            assert abs(now["now"] - time.time()) > 80_000
            swept = ledger.sweep()
            other = ledger.send(relay.port, owner="another task")
            gate.set()
            ending = worker.wait()
            offset_file.write_text("+0")
            retry = ledger.send(relay.port)

            # A day too late its claim looked over: then there was doubt, until it brought its own word.
            assert swept["doubted"] == (there == "+1d")
            assert {other.ended, ending.ended, retry.ended} <= {"done", "temporary", "permanent"}
            assert retry.ended == "done"
            assert ledger.states() == {"sent": 6}
            assert relay.accepted == 6
            ledger.sweep()
            ledger.check(relay.accepted_ids)


def test_a_clock_set_back_does_not_stop_the_limit_for_a_day(ledger: Ledger, relay: FaultyRelay) -> None:
    ledger.make(per_minute_limit=1)
    ledger.db.execute(
        "INSERT INTO invoicing.transmission_slot (taken_at, ended_at)"
        " VALUES (now() + interval '1 day', now() + interval '1 day')"
    )
    worker = ledger.start(relay.port, **{"rate_limit._LONGEST_WAIT_SECONDS": 0.1})
    wait_until(
        lambda: ledger.db.execute(
            "SELECT 1 FROM invoicing.transmission_slot WHERE ended_at <= clock_timestamp()"
        ).fetchone(),
        "the slot counts from now",
    )
    assert relay.accepted == 0
    ledger.db.execute("UPDATE invoicing.transmission_slot SET ended_at = ended_at - interval '60 seconds'")

    assert worker.wait().ended == "done"
    assert relay.accepted == 1


def test_two_people_and_a_late_word_at_once(ledger: Ledger, relay: FaultyRelay) -> None:
    """Whoever is first settles the doubt; the others change nothing."""
    ledger.make()
    gate = threading.Event()
    relay.script(on(Step.DOT, wait_for(gate), then=accept, times=1))
    worker = ledger.start(relay.port, patience_seconds=40)
    relay.wait_for(Step.DOT)
    ledger.end_claims()
    ledger.sweep()
    heard: list[str] = []

    def resolve(name: str) -> None:
        with connect(ledger.dsn) as db:
            try:
                resolution.resolve(db, ledger_id, "sent", reason="in the relay's log", actor=name)
                heard.append("taken")
            except Exception as error:  # noqa: BLE001
                heard.append(type(error).__name__)

    ledger_id = ledger.row()["id"]
    people = [threading.Thread(target=resolve, args=[name]) for name in ("Eva", "Luis")]
    for person in people:
        person.start()
    for person in people:
        person.join()

    assert sorted(heard) == ["InputError", "taken"]
    gate.set()
    assert worker.wait().ended == "done"
    assert ledger.states() == {"sent": 1}
    assert relay.accepted == 1
    ledger.check(relay.accepted_ids)
