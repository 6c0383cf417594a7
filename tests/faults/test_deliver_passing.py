"""What passes by itself is tried again: storage that does not answer, a renderer that a busy machine ended, a delivery
that an earlier run left over. Several hosts, each with a journal and maybe an archive of its own."""

import functools
import hashlib
import logging
import os
import re
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from invoicing.db.connection import connect
from invoicing.domain.delivery import Batch
from invoicing.domain.errors import PermanentFailureError, TemporaryFailureError
from invoicing.domain.task_address import TaskAddress
from invoicing.on_airflow.connections import open_database
from invoicing.on_airflow.storage import open_archive
from invoicing.rendering.assignment import Limits
from invoicing.rendering.mail import MailRenderer
from invoicing.rendering.sandbox import TemplateProcess
from invoicing.services.billing import runs
from invoicing.services.delivery import archive, closing, compose, deliver, select
from invoicing.services.delivery.archive import (
    Archive,
    ArchiveAwayError,
    DocumentDamagedError,
    StorageFaultError,
)
from invoicing.services.delivery.journal import Journal
from invoicing.services.delivery.ledger import Worker
from support.archive import archive_in
from support.database import airflow_connection, tampering
from support.ledger import Ledger
from support.proxy import Proxy
from support.relay import FaultyRelay, Session, Step, accept, on, reply
from support.worker import open_relay

pytestmark = pytest.mark.faults

LATER = "450 4.2.0 greylisted"
NEVER = "550 5.1.1 no such user"


@contextmanager
def on_host(ledger: Ledger, folder: Path) -> Iterator[None]:
    """Workers and sweeps of the block are another host's: it has a state folder of its own."""
    here = ledger.folder, ledger.journal
    ledger.folder, ledger.journal = folder, Journal(folder / "journal")
    try:
        yield
    finally:
        ledger.folder, ledger.journal = here


def send_here(
    ledger: Ledger,
    relay: FaultyRelay,
    batch: Batch,
    *,
    run: str = "run",
    store: Archive | None = None,
    on_unsent: Callable[[Sequence[str]], None] = lambda _tenants: None,
) -> dict[str, int]:
    """A worker in this very process, to be meddled with."""
    request: dict[str, Any] = {
        "relay_port": relay.port,
        "patience_seconds": 8.0,
        "payload_seconds": None,
        "acceptance_seconds": None,
        "messages_per_connection": 50,
        "certificate": None,
        "login": None,
    }
    address = TaskAddress("send_new_invoices", run, "send_invoices", 0)
    worker = Worker(address, f"{address}/0", f"{address} try 1")
    store = store or archive_in(ledger.folder / "archive")
    with connect(ledger.dsn) as db, open_relay(request) as connection:
        return deliver.send_batch(db, connection, store, ledger.journal, batch, worker, on_unsent=on_unsent)


def test_a_large_batch_says_who_is_without_mail_and_its_retry_sends_to_those_alone(
    ledger: Ledger, relay: FaultyRelay
) -> None:
    batch = Batch("T0001 … T0004 (4)", tuple(ledger.make(tenants=4)))
    relay.script(on(Step.RCPT, reply(LATER), times=1))
    told: list[list[str]] = []

    with pytest.raises(TemporaryFailureError, match="1 of 4 unsent: delivery 1 of tenant T0001 is pending"):
        send_here(ledger, relay, batch, on_unsent=lambda tenants: told.append(list(tenants)))
    before = set(relay.accepted_ids)
    assert send_here(ledger, relay, batch, on_unsent=lambda tenants: told.append(list(tenants))) == {
        "sent": 4
    }

    assert told == [["T0001"]]
    assert len(set(relay.accepted_ids) - before) == 1
    ledger.check(relay.accepted_ids)


def test_the_log_names_each_delivery_and_has_a_line_for_twenty_that_are_sent(
    ledger: Ledger, relay: FaultyRelay, caplog: pytest.LogCaptureFixture
) -> None:
    ids = ledger.make(tenants=45)
    relay.script(on(Step.RCPT, reply(NEVER), after=9, times=1))

    with caplog.at_level(logging.INFO, logger=deliver.__name__), pytest.raises(PermanentFailureError):
        send_here(ledger, relay, Batch("T0001 … T0045 (45)", tuple(ids)))

    told = [record.getMessage() for record in caplog.records if record.name == deliver.__name__]
    (failed,) = [line for line in told if NEVER in line]
    assert failed.startswith("delivery ")
    assert "is failed" in failed
    # What was sent before it, twenty, and the rest.
    assert [line.count("delivery ") for line in told if line.startswith("sent: ")] == [9, 20, 15]
    assert told.index(failed) == 1
    assert (
        sorted(int(id_) for line in told for id_ in re.findall(r"delivery (\d+) of tenant T\d+", line)) == ids
    )


# Storage


def test_a_document_out_of_reach_is_fetched_by_the_next_try(ledger: Ledger, relay: FaultyRelay) -> None:
    """Neither not found nor altered: the storage did not answer as it should."""
    ledger.make(tenants=3)
    path = ledger.folder / "archive" / "FV-2.pdf"
    kept = path.read_bytes()
    path.unlink()
    path.mkdir()  # reading it is an error of the file system's

    ending = ledger.send(relay.port)

    assert ending.ended == "temporary"
    assert "FV-2 could not be read" in ending.message
    assert ledger.row_states() == ["sent", "pending", "sent"]
    path.rmdir()
    path.write_bytes(kept)
    assert ledger.send(relay.port).ended == "done"
    ledger.check(relay.accepted_ids)


@pytest.mark.parametrize("what_is_left", ["nothing", "an empty mount point"])
def test_an_archive_that_vanished_is_told_of_and_costs_nobody_the_mail(
    what_is_left: str, ledger: Ledger, relay: FaultyRelay
) -> None:
    ledger.make(tenants=3)
    root = ledger.folder / "archive"
    elsewhere = root.rename(ledger.folder / "unmounted")
    if what_is_left == "an empty mount point":
        root.mkdir()

    ending = ledger.send(relay.port)

    assert ending.ended == "temporary"
    assert f"{root} is missing or empty" in ending.message
    assert ledger.states() == {"pending": 3}
    assert [row["attempts"] for row in ledger.rows()] == [1, 0, 0]
    if root.exists():
        root.rmdir()
    elsewhere.rename(root)
    assert ledger.send(relay.port).ended == "done"
    assert relay.accepted == 3
    ledger.check(relay.accepted_ids)


def test_nothing_is_kept_where_an_archive_vanished(ledger: Ledger) -> None:
    """It would be gone as soon as the disk is mounted over it."""
    ledger.make(tenants=1)
    root = ledger.folder / "archive"
    root.rename(ledger.folder / "unmounted")
    root.mkdir()
    ledger.add_lease("T0001", "T0001-9")
    ledger.plan()
    missing = ledger.db.execute(
        "SELECT i.id, i.number FROM invoicing.invoice i LEFT JOIN invoicing.invoice_document d ON d.invoice_id = i.id"
        " WHERE d.invoice_id IS NULL"
    ).fetchone()
    assert missing is not None

    with pytest.raises(ArchiveAwayError, match="is missing or empty, and documents are kept in it"):
        archive.Keeper(ledger.db, archive_in(root), 1).keep(
            missing["id"], missing["number"], "2026-11", b"%PDF"
        )

    assert list(root.iterdir()) == []
    assert ledger.db.execute("SELECT count(*) AS n FROM invoicing.invoice_document").fetchone() == {"n": 1}


def test_a_new_installations_archive_is_made_when_the_first_document_is(ledger: Ledger) -> None:
    ledger.make(tenants=0)
    ledger.db.execute(
        "INSERT INTO invoicing.tenant (code, document_type, document_number, name) VALUES ('A', 'CC', '1', 'Ana')"
    )
    ledger.add_lease("A", "A-1")
    ledger.plan()
    store = archive_in(ledger.folder / "new" / "archive")
    (invoice,) = ledger.db.execute("SELECT id, number, period FROM invoicing.invoice").fetchall()

    archive.Keeper(ledger.db, store, 1).keep(invoice["id"], invoice["number"], invoice["period"], b"%PDF")

    key = f"2026-11/{hashlib.sha256(b'%PDF').hexdigest()[:12]}-FV-1.pdf"
    rows = ledger.db.execute("SELECT key, former_uri FROM invoicing.invoice_document").fetchall()
    assert rows == [{"key": key, "former_uri": None}]
    (kept,) = archive.fetch(ledger.db, store, [invoice["id"]])
    assert (kept.filename, kept.content) == ("FV-1.pdf", b"%PDF")


def test_an_archive_may_move(ledger: Ledger, relay: FaultyRelay) -> None:
    ledger.make(tenants=2)
    (ledger.folder / "archive").rename(ledger.folder / "another disk")

    store = archive_in(ledger.folder / "another disk")
    assert send_here(ledger, relay, Batch("all", tuple(ledger.ids())), store=store) == {"sent": 2}
    ledger.check(relay.accepted_ids)


@pytest.mark.parametrize("opened", ["by-folder", "by-airflow"])
def test_a_document_of_before_keys_is_read_where_it_was(
    opened: str, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The archive's root was another one then; what has no key, and what is not under the root of today."""
    ids = ledger.make(tenants=2)
    (ledger.folder / "archive").rename(ledger.folder / "former archive")
    with tampering(ledger.db) as owner:
        owner.execute("ALTER TABLE invoicing.invoice_document DISABLE TRIGGER USER")
        owner.execute(
            "UPDATE invoicing.invoice_document SET former_uri = %s || key",
            [f"file://{ledger.folder}/former archive/"],
        )
        owner.execute("UPDATE invoicing.invoice_document SET key = NULL WHERE invoice_id % 2 = 0")
        owner.execute("ALTER TABLE invoicing.invoice_document ENABLE TRIGGER USER")
    today = ledger.folder / "archive"
    today.mkdir()
    (today / "2026-12").mkdir()
    monkeypatch.setenv("INVOICING_ARCHIVE", f"file://{today}")
    store = archive_in(today) if opened == "by-folder" else open_archive()
    invoices = [row["id"] for row in ledger.db.execute("SELECT id FROM invoicing.invoice ORDER BY id")]

    kept = archive.fetch(ledger.db, store, invoices)

    assert [each.filename for each in kept] == ["FV-1.pdf", "FV-2.pdf"]
    assert len(ids) == 2


def test_an_object_storage_tells_what_is_gone_from_what_does_not_answer(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By Airflow's own object storage, in memory."""
    ledger.make(tenants=2)
    monkeypatch.setenv("INVOICING_ARCHIVE", "memory://documents/of/ours")
    store = open_archive()
    first, second = (row["id"] for row in ledger.db.execute("SELECT id FROM invoicing.invoice ORDER BY id"))

    with pytest.raises(ArchiveAwayError, match="memory://documents/of/ours is missing or empty"):
        archive.fetch(ledger.db, store, [first])
    for number in (1, 2):
        store.store(f"FV-{number}.pdf", (ledger.folder / "archive" / f"FV-{number}.pdf").read_bytes())
    assert len(archive.fetch(ledger.db, store, [first, second])) == 2

    monkeypatch.setattr(type(store), "fetch", _fail(ConnectionError("503 slow down")))
    with pytest.raises(StorageFaultError, match="503 slow down"):
        archive.fetch(ledger.db, store, [first])
    monkeypatch.setattr(type(store), "fetch", _fail(FileNotFoundError("FV-1.pdf")))
    with pytest.raises(DocumentDamagedError, match="restore the file"):
        archive.fetch(ledger.db, store, [first])


def _fail(error: OSError) -> Callable[..., bytes]:
    def fail(*_: object) -> bytes:
        raise error

    return fail


# The renderer


def test_a_mail_renderer_that_dies_is_started_again_by_the_next_try(
    ledger: Ledger, relay: FaultyRelay, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the kernel ends it where memory is short."""
    ledger.make(tenants=2)
    start = TemplateProcess._start
    deaths: list[int] = []

    def start_and_die(self: TemplateProcess, label: Any) -> None:
        start(self, label)
        if not deaths:
            assert self.pid is not None
            deaths.append(self.pid)
            os.kill(self.pid, signal.SIGKILL)

    monkeypatch.setattr(TemplateProcess, "_start", start_and_die)
    batch = Batch("all", tuple(ledger.ids()))

    with pytest.raises(TemporaryFailureError, match="SIGKILL"):
        send_here(ledger, relay, batch)
    assert ledger.row_states() == ["pending", "sent"]

    assert send_here(ledger, relay, batch) == {"sent": 2}
    ledger.check(relay.accepted_ids)


def test_a_mail_renderer_out_of_time_leaves_the_delivery_pending_and_visible(
    ledger: Ledger, relay: FaultyRelay, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger.make()
    hurried = functools.partial(MailRenderer, limits=Limits(seconds=0.0001, memory_bytes=256 * 1024 * 1024))
    monkeypatch.setattr(compose, "MailRenderer", hurried)

    for _ in range(2):
        with pytest.raises(TemporaryFailureError, match="longer than"):
            send_here(ledger, relay, Batch("all", tuple(ledger.ids())))

    row = ledger.row()
    assert (row["state"], row["attempts"]) == ("pending", 2)
    assert "longer than" in row["reason"]
    with pytest.raises(PermanentFailureError, match="1 delivery is pending"):
        closing.close_run(ledger.db, ledger.run_id)


# What an earlier run left over


def make_singles(ledger: Ledger, *codes: str) -> None:
    """A single invoice, its document kept, for each of the tenants."""
    for code in codes:
        ledger.db.execute(
            """
            WITH made AS (
                INSERT INTO invoicing.invoice (series, serial, origin, reference, tenant_id, settings_version_id,
                    period, issued_on, due_on, currency, subtotal, tax, withholding, total, tenant_name,
                    tenant_document_type, tenant_document_number, tenant_city, language, property, property_city, use)
                SELECT 'FV-', 1000 + (SELECT count(*) FROM invoicing.invoice), 'single', gen_random_uuid(), t.id,
                    (SELECT max(id) FROM invoicing.settings_version), '2026-11', '2026-11-01', '2026-11-06', 'COP',
                    1, 0, 0, 1, t.name, 'CC', '1', '', 'es', '', '', ''
                FROM invoicing.tenant t WHERE t.code = %s RETURNING id
            )
            INSERT INTO invoicing.invoice_line (invoice_id, position, concept, description, amount, tax_rate, tax)
            SELECT id, 1, 'other', 'Llaves', 1, 0, 0 FROM made
            """,
            [code],
        )
    ledger.store_documents()


def open_single_run(ledger: Ledger, name: str) -> tuple[int, list[Batch]]:
    run_id = runs.open_run(ledger.db, dag_id="send_new_invoices", dag_run_id=name, period=None)
    return run_id, select.select_new_invoices(ledger.db, run_id)


def state_of(ledger: Ledger, delivery_id: int) -> str:
    row = ledger.db.execute("SELECT state FROM invoicing.delivery WHERE id = %s", [delivery_id]).fetchone()
    assert row is not None
    return str(row["state"])


@pytest.fixture
def hopeless(ledger: Ledger, relay: FaultyRelay) -> int:
    """A single invoice's delivery that was put off each time, and whose run has ended."""
    ledger.make(tenants=2)
    ledger.send(relay.port)
    make_singles(ledger, "T0001")
    relay.script(on(Step.RCPT, reply(LATER), times=1))
    run_id, (batch,) = open_single_run(ledger, "first")
    assert not batch.is_leftover
    with pytest.raises(TemporaryFailureError, match="greylisted"):
        send_here(ledger, relay, batch, run="first")
    with pytest.raises(PermanentFailureError, match="1 delivery is pending"):
        closing.close_run(ledger.db, run_id)
    return batch.delivery_ids[0]


def test_a_later_run_is_not_held_up_by_what_an_earlier_one_left_over(
    ledger: Ledger, relay: FaultyRelay, hopeless: int
) -> None:
    make_singles(ledger, "T0002")
    run_id, (new, left_over) = open_single_run(ledger, "second")
    assert (new.is_leftover, left_over.is_leftover) == (False, True)
    assert left_over.delivery_ids == (hopeless,)

    assert send_here(ledger, relay, new, run="second") == {"sent": 1}
    relay.script(on(Step.RCPT, reply(LATER), times=1))
    assert send_here(ledger, relay, left_over, run="second") == {"pending": 1}
    assert closing.close_run(ledger.db, run_id) == {"deliveries": {"sent": 1}}

    # Nor is the next one; there it is accepted.
    run_id, (left_over,) = open_single_run(ledger, "third")
    assert left_over.is_leftover
    assert send_here(ledger, relay, left_over, run="third") == {"sent": 1}
    closing.close_run(ledger.db, run_id)
    assert open_single_run(ledger, "fourth")[1] == []


def test_a_leftover_that_is_refused_now_is_told_of_by_the_run_that_tried(
    ledger: Ledger, relay: FaultyRelay, hopeless: int
) -> None:
    relay.script(on(Step.RCPT, reply(NEVER), times=1))
    run_id, (left_over,) = open_single_run(ledger, "second")

    with pytest.raises(PermanentFailureError, match="no such user"):
        send_here(ledger, relay, left_over, run="second")
    with pytest.raises(PermanentFailureError, match="1 delivery is failed"):
        closing.close_run(ledger.db, run_id)

    assert state_of(ledger, hopeless) == "failed"
    assert open_single_run(ledger, "third")[1] == []


def test_a_leftover_goes_to_the_address_of_today(ledger: Ledger, relay: FaultyRelay, hopeless: int) -> None:
    ledger.change_tenant("T0001", emails=["corregida@correo.example"])
    _, (left_over,) = open_single_run(ledger, "second")

    assert send_here(ledger, relay, left_over, run="second") == {"sent": 1}
    assert relay.messages[-1].recipients == ("corregida@correo.example",)
    assert state_of(ledger, hopeless) == "sent"


def test_what_the_brake_stopped_holds_up_no_later_run(ledger: Ledger, relay: FaultyRelay) -> None:
    ledger.make(tenants=2)
    ledger.send(relay.port)
    make_singles(ledger, "T0001")
    run_id, (batch,) = open_single_run(ledger, "first")
    ledger.change_tenant("T0001", auto_send=False)
    with pytest.raises(PermanentFailureError, match="switched off"):
        send_here(ledger, relay, batch, run="first")
    with pytest.raises(PermanentFailureError):
        closing.close_run(ledger.db, run_id)

    run_id, (left_over,) = open_single_run(ledger, "second")
    assert left_over.is_leftover
    assert send_here(ledger, relay, left_over, run="second") == {"pending": 1}
    assert closing.close_run(ledger.db, run_id) == {"deliveries": {}}


def test_what_an_earlier_run_never_tried_is_a_later_ones_own(ledger: Ledger, relay: FaultyRelay) -> None:
    """The relay was away all the while: it has its retries, and reddens the run that gives up on it."""
    ledger.make()
    ledger.send(relay.port)
    make_singles(ledger, "T0001")
    run_id, _ = open_single_run(ledger, "first")
    with pytest.raises(PermanentFailureError):
        closing.close_run(ledger.db, run_id)

    assert [batch.is_leftover for batch in open_single_run(ledger, "second")[1]] == [False]


# Several hosts


def test_a_document_of_another_hosts_disk_is_awaited_and_not_given_up(
    ledger: Ledger, relay: FaultyRelay, tmp_path: Path
) -> None:
    """Two hosts with an archive each, by mistake: what one rendered, the other has not."""
    ledger.make(tenants=2)
    with on_host(ledger, tmp_path / "b"):
        ending = ledger.send(relay.port)
    assert ending.ended == "temporary"
    assert ledger.states() == {"pending": 2}

    assert ledger.send(relay.port).ended == "done"
    ledger.check(relay.accepted_ids)


def test_a_journal_is_settled_by_its_own_host_wherever_the_sweep_runs(
    ledger: Ledger,
    relay: FaultyRelay,
    start_proxy: Callable[..., Proxy],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ledger.make()
    known = conninfo_to_dict(ledger.dsn)
    proxy = start_proxy((str(known["host"]), int(str(known["port"]))))

    def lose_the_database(session: Session) -> bool:
        proxy.refuse()
        proxy.cut()
        return False

    relay.script(on(Step.DOT, lose_the_database, then=accept, times=1))
    dsn = make_conninfo(ledger.dsn, port=proxy.port)
    ending = ledger.send(relay.port, dsn=dsn, **{"ledger._SETTLE_SECONDS": 0.5})
    assert "journal" in ending.message

    # The other host knows nothing: to it the transmission is in doubt, and it sends nothing.
    with on_host(ledger, tmp_path / "b"):
        assert ledger.sweep()["journal"] == 0
        ledger.end_claims()
        assert ledger.sweep()["doubted"] == 1
        assert ledger.send(relay.port).ended == "permanent"
    assert ledger.states() == {"in_doubt": 1}
    assert relay.accepted == 1

    # Whatever task comes next to the host that knows.
    monkeypatch.setenv("AIRFLOW_CONN_INVOICING_DB", airflow_connection(ledger.dsn))
    monkeypatch.delenv("INVOICING_JOURNAL", raising=False)
    monkeypatch.setenv("INVOICING_STATE", str(tmp_path / "b"))
    with open_database():
        assert ledger.states() == {"in_doubt": 1}
    monkeypatch.setenv("INVOICING_STATE", str(ledger.folder))
    with open_database():
        assert ledger.states() == {"sent": 1}
    assert not list(ledger.journal.settlements())
    ledger.check(relay.accepted_ids)


def test_a_journal_that_cannot_be_read_stops_no_task(
    ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger.make()
    monkeypatch.setenv("AIRFLOW_CONN_INVOICING_DB", airflow_connection(ledger.dsn))
    monkeypatch.setenv("INVOICING_JOURNAL", str(tmp_path))
    (tmp_path / "1-1.json").mkdir()
    with open_database() as db:
        assert db.execute("SELECT 1 AS one").fetchone() == {"one": 1}
