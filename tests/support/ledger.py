"""A ledger to be hurt: an agency with deliveries to send, and workers that send them.

ledger.make(tenants=3)
worker = ledger.start(relay.port)           # a process; kill(), freeze(), thaw(), wait()
relay.wait_for(Step.DATA)
worker.kill()
ledger.send(relay.port)                     # Airflow's retry: the same owner, the same execution
ledger.check(relay.accepted_ids)            # I1 to I9
"""

import contextlib
import hashlib
import itertools
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from invoicing.db.connection import Database, connect
from invoicing.domain.period import Period
from invoicing.services.agency import settings
from invoicing.services.billing import count, generate, runs
from invoicing.services.delivery import select as selection
from invoicing.services.delivery import sweep
from invoicing.services.delivery.journal import Journal
from support.archive import archive_in
from support.database import Server
from support.invariants import Quiet, violations
from support.project import PYTHON_PATH
from support.waiting import WAIT_SECONDS, wait_until

PERIOD = Period(2026, 11)


@dataclass(frozen=True, slots=True)
class Ending:
    """How a worker ended: ``done``, ``temporary`` (Airflow retries), ``permanent`` (it does not), ``killed``."""

    ended: str
    message: str = ""
    counts: dict[str, int] | None = None


class WorkerProcess:
    """A worker at work."""

    def __init__(self, pid: int, result: Path) -> None:
        self.pid = pid
        self.started_at = time.monotonic()
        self._result = result
        try:
            self._handle: int | None = os.pidfd_open(pid)
        except ProcessLookupError:
            self._handle = None  # it is over already

    @property
    def is_alive(self) -> bool:
        if self._handle is None:
            return False
        poll = select.poll()
        poll.register(self._handle, select.POLLIN)
        return not poll.poll(0)

    def strike(self) -> None:
        """As by ``kill -9``."""
        self._signal(signal.SIGKILL)

    def kill(self) -> None:
        """The same; returns when it is gone."""
        self.strike()
        self.wait()

    def terminate(self) -> None:
        """As Airflow ends a task: a signal that raises an exception wherever the task is."""
        self._signal(signal.SIGTERM)

    def freeze(self) -> None:
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def wait(self, timeout_seconds: float = WAIT_SECONDS) -> Ending:
        """Wait for its end."""
        wait_until(lambda: not self.is_alive, "the worker ends", timeout_seconds)
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None
        if not self._result.exists():
            return Ending("killed")
        return Ending(**json.loads(self._result.read_text()))

    def _signal(self, number: signal.Signals) -> None:
        if self._handle is not None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._handle, number)


class Workshop:
    """Forks workers; see `support.worker`."""

    def __init__(self, folder: Path, environ: dict[str, str] | None = None) -> None:
        self.log = folder / "workers.log"
        self._folder = folder
        self._numbers = itertools.count(1)
        self._workers: list[WorkerProcess] = []
        self._process = subprocess.Popen(
            [sys.executable, "-m", "support.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": PYTHON_PATH, **(environ or {})},
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end_workers()
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(30)
        self._process.stdout.close()

    def start(self, request: dict[str, Any]) -> WorkerProcess:
        result = self._folder / f"result-{next(self._numbers)}.json"
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({**request, "result": str(result), "log": str(self.log)}) + "\n")
        self._process.stdin.flush()
        worker = WorkerProcess(int(self._process.stdout.readline()), result)
        self._workers = [known for known in self._workers if known.is_alive] + [worker]
        return worker

    def end_workers(self) -> None:
        """Kill what a test left behind."""
        for worker in self._workers:
            worker.kill()
        self._workers.clear()


class Ledger:
    """One agency's month in a database of its own.

    Args:
        dsn: Of a fresh, migrated database.
        workshop: Who starts the workers.
        folder: For documents and the journal.
    """

    def __init__(self, dsn: str, workshop: Workshop, folder: Path) -> None:
        self.dsn = dsn
        self.folder = folder
        self.journal = Journal(folder / "journal")
        self.db: Database = connect(dsn)
        self.run_id = 0
        self.leases = 0
        self._workshop = workshop
        self._runs = itertools.count(1)

    def close(self) -> None:
        self.db.close()

    def reconnect(self) -> None:
        """After a crash of the server."""
        self.db.close()
        self.db = connect(self.dsn)

    # The agency.

    def make(
        self, tenants: int = 1, *, leases: int = 1, document_bytes: int = 600, **changes: Any
    ) -> list[int]:
        """An agency with ``tenants``, its month up to the deliveries, their documents; the deliveries' ids."""
        self.set(auto_send=True, from_email="facturas@agencia.example", agency_name="Agencia", **changes)
        codes = [f"T{number:04}" for number in range(1, tenants + 1)]
        with self.db.cursor() as cursor:
            cursor.executemany(
                "INSERT INTO invoicing.tenant (code, document_type, document_number, name, emails, auto_send)"
                " VALUES (%s, 'CC', '1', %s, %s, true)",
                [(code, f"Inquilina {code}", [f"{code.lower()}@correo.example"]) for code in codes],
            )
        for code in codes:
            for number in range(leases):
                self.add_lease(code, f"{code}-{number}")
        self.plan()
        self.store_documents(document_bytes)
        return self.ids()

    def set(self, *, db: Database | None = None, **changes: Any) -> None:
        settings.change_settings(db or self.db, changes, actor="test")

    def add_lease(self, tenant: str, code: str, *, db: Database | None = None) -> None:
        self.leases += 1
        (db or self.db).execute(
            "INSERT INTO invoicing.lease (code, tenant_id, property, use, start_date, rent, currency)"
            " SELECT %s, id, 'Calle 1', 'residential', '2020-01-01', 1000000, 'COP'"
            " FROM invoicing.tenant WHERE code = %s",
            [code, tenant],
        )

    def change_tenant(self, code: str, **columns: Any) -> None:
        for column, value in columns.items():
            self.db.execute(
                f"UPDATE invoicing.tenant SET {column} = %s WHERE code = %s".encode(), [value, code]
            )

    def plan(self, name: str | None = None, *, db: Database | None = None) -> int:
        """A DAG run of the month up to its deliveries."""
        db = db or self.db
        self.run_id = runs.open_run(
            db, dag_id="monthly_invoicing", dag_run_id=name or f"run-{next(self._runs)}", period=PERIOD
        )
        self.plan_again(db)
        return self.run_id

    def plan_again(self, db: Database) -> None:
        """The run's tasks once more, without the first: the snapshot stays."""
        generate.generate_invoices(db, self.run_id)
        count.count_invoices(db, self.run_id)
        selection.select_recipients(db, self.run_id)

    def store_documents(self, size_bytes: int = 600, *, db: Database | None = None) -> None:
        """Give every invoice that has none a document: small, a PDF by its looks, and nobody's but its own."""
        db = db or self.db
        archive = archive_in(self.folder / "archive")
        template = db.execute("SELECT max(id) AS id FROM invoicing.template_version").fetchone()
        assert template is not None
        rows = db.execute(
            "SELECT id, number FROM invoicing.invoice i WHERE NOT EXISTS"
            " (SELECT FROM invoicing.invoice_document d WHERE d.invoice_id = i.id)"
        ).fetchall()
        documents = []
        for row in rows:
            content = f"%PDF-1.4\n% {row['number']}\n".encode().ljust(size_bytes, b"x") + b"\n%%EOF\n"
            key = f"{row['number']}.pdf"
            archive.store(key, content)
            documents.append(
                (row["id"], key, hashlib.sha256(content).hexdigest(), len(content), template["id"])
            )
        with db.cursor() as cursor:
            cursor.executemany(
                "INSERT INTO invoicing.invoice_document (invoice_id, key, sha256, size_bytes,"
                " template_version_id) VALUES (%s, %s, %s, %s, %s)",
                documents,
            )

    # The workers.

    def start(
        self,
        relay_port: int,
        ids: Sequence[int] | None = None,
        *,
        owner: str = "send",
        execution: str = "1",
        patience_seconds: float = 8.0,
        payload_seconds: float | None = None,
        acceptance_seconds: float | None = None,
        messages_per_connection: int = 50,
        login: tuple[str, str] | None = None,
        certificate: Path | None = None,
        dsn: str | None = None,
        largest_file_bytes: int | None = None,
        workshop: Workshop | None = None,
        **tuned: Any,
    ) -> WorkerProcess:
        """A worker that sends ``ids``, all where none are given.

        Args:
            owner: The task instance. The same once more is Airflow's retry.
            execution: Another one is a person's clear.
            tuned: Waits of ``services.deliver`` that a test cannot sit out, by their names.
        """
        request = {
            "task": "send",
            "dsn": dsn or self.dsn,
            "journal": str(self.journal.folder),
            "archive": str(self.folder / "archive"),
            "relay_port": relay_port,
            "ids": list(self.ids() if ids is None else ids),
            "owner": owner,
            "execution": f"{owner}/{execution}",
            "name": f"{owner} try",
            "patience_seconds": patience_seconds,
            "payload_seconds": payload_seconds,
            "acceptance_seconds": acceptance_seconds,
            "messages_per_connection": messages_per_connection,
            "login": login,
            "certificate": certificate and str(certificate),
            "largest_file_bytes": largest_file_bytes,
            "tuned": tuned,
        }
        return (workshop or self._workshop).start(request)

    def send(self, relay_port: int, ids: Sequence[int] | None = None, **options: Any) -> Ending:
        """A worker's whole life."""
        return self.start(relay_port, ids, **options).wait()

    def sweep(self) -> dict[str, int]:
        return sweep.sweep_deliveries(self.db, self.journal)

    def end_claims(self, ids: Sequence[int] | None = None) -> None:
        """Twenty minutes go by."""
        self.db.execute(
            "UPDATE invoicing.delivery SET claim_until = now() - interval '1 second'"
            " WHERE state IN ('claimed', 'transmitting') AND (%(ids)s::bigint[] IS NULL OR id = ANY(%(ids)s))",
            {"ids": None if ids is None else list(ids)},
        )

    # What there is to see.

    def ids(self) -> list[int]:
        rows = self.db.execute("SELECT id FROM invoicing.delivery WHERE state <> 'cancelled' ORDER BY id")
        return [row["id"] for row in rows]

    def states(self) -> dict[str, int]:
        return dict(Counter(row["state"] for row in self.rows()))

    def rows(self) -> list[dict[str, Any]]:
        return self.db.execute(
            "SELECT * FROM invoicing.delivery WHERE state <> 'cancelled' ORDER BY id"
        ).fetchall()

    def row(self) -> dict[str, Any]:
        """The only delivery."""
        (row,) = self.rows()
        return row

    def row_states(self) -> list[str]:
        return [row["state"] for row in self.rows()]

    def wait_for_state(self, state: str, count_: int = 1) -> None:
        wait_until(lambda: self.states().get(state, 0) >= count_, f"{count_} deliveries are {state}")

    def attempts(self) -> list[tuple[str | None, str, int | None]]:
        """Verdict, phase and code of every attempt, oldest first."""
        rows = self.db.execute("SELECT * FROM invoicing.delivery_attempt ORDER BY started_at, delivery_id")
        return [(row["verdict"], row["phase"], row["code"]) for row in rows]

    def history(self) -> list[str]:
        """The states that the deliveries went through, oldest first."""
        return [
            row["to_state"] for row in self.db.execute("SELECT * FROM invoicing.delivery_event ORDER BY id")
        ]

    def violations(
        self, accepted: Counter[str], *, resent_on_purpose: int = 0, quiets: Sequence[Quiet] = ()
    ) -> list[str]:
        return violations(
            self.db,
            accepted,
            period=PERIOD,
            invoices=self.leases,
            resent_on_purpose=resent_on_purpose,
            quiets=quiets,
        )

    def check(self, accepted: Counter[str], *, resent_on_purpose: int = 0) -> None:
        """I1 to I9 hold."""
        found = self.violations(accepted, resent_on_purpose=resent_on_purpose)
        assert not found, "\n".join(found)


@contextlib.contextmanager
def opened(server: Server, workshop: Workshop, folder: Path) -> Iterator[Ledger]:
    """A ledger in a fresh database of ``server``."""
    with server.fresh_copy() as dsn:
        ledger = Ledger(dsn, workshop, folder)
        try:
            yield ledger
        finally:
            workshop.end_workers()
            ledger.close()
