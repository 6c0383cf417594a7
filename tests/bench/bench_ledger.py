"""What a ledger of a million tenants takes of the disk, and how fast workers write to it, from ever more connections.

    PYTHONPATH=plugins:tests .venv/bin/python tests/bench/bench_ledger.py [--tenants N] [--json FILE]

A month of so many tenants lies in a real PostgreSQL that waits for its disk (``large_agency.sql``); processes claim,
mark and settle deliveries of the next month, each on a connection of its own, with the statements that sending uses and
nothing between them: no page is made, no message sent. What the database itself spends on a delivery, of processors and
of its log, does not depend on who else works on the machine; the rates do. Run by hand: filling takes minutes.
"""

import argparse
import json
import multiprocessing
import os
import sys
import tempfile
import time
import warnings
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil
from bench_pages import fill
from rich.console import Console
from rich.table import Table

from invoicing.db.connection import Database, connect
from invoicing.domain.names import MONTHLY_DAG
from invoicing.domain.period import Period
from invoicing.domain.task_address import TaskAddress
from invoicing.mail.transmission import Outcome, Phase, Verdict
from invoicing.services.delivery.journal import Journal
from invoicing.services.delivery.ledger import Ledger, Worker
from invoicing.services.views import report
from support.database import Server, as_owner, as_superuser

CONNECTIONS = (1, 2, 4, 8, 16, 32)
_EACH_SECONDS = 8.0
_MOST = 4_000
_SHA256 = "0" * 64

_PENDING = "SELECT id FROM invoicing.delivery WHERE period = '2026-12' ORDER BY random()"
_SIZES = """
SELECT c.relname AS table, greatest(c.reltuples, 0)::bigint AS rows, pg_table_size(c.oid) AS table_bytes,
       pg_indexes_size(c.oid) AS index_bytes
FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE n.nspname = 'invoicing' AND c.relkind = 'r' AND pg_total_relation_size(c.oid) > 1000000
ORDER BY pg_total_relation_size(c.oid) DESC
"""


@dataclass(frozen=True, slots=True)
class Rate:
    """How fast deliveries went through the ledger.

    Args:
        a_second: Claimed, marked and settled, all connections together.
        database_ms: Of a processor, that the server spent on each.
        wal_bytes: That it wrote to its log for each.
        disk_bytes: By which the database has grown for each, with what updates leave behind.
    """

    connections: int
    a_second: float
    database_ms: float
    wal_bytes: int
    disk_bytes: int


def work(dsn: str, ids: Sequence[int], number: int, start: Any, done: Any) -> None:
    """One worker's way through ``ids``, for some seconds; tells how many it settled."""
    address = TaskAddress(MONTHLY_DAG, "manual__2026-12", "send_invoices", number)
    worker = Worker(address, f"{address}/6", f"{address} try 1")
    accepted = Outcome(Verdict.ACCEPTED, Phase.ACCEPTANCE, 250, "2.0.0 Ok: queued")
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack, connect(dsn) as db:
        ledger = Ledger(
            db, Journal(Path(folder)), worker,
            keep_open=lambda opened: stack.callback(opened.close), longest_transmission_seconds=600,
        )  # fmt: skip
        start.wait(60)
        ends, settled = time.monotonic() + _EACH_SECONDS, 0
        for id_ in ids:
            if time.monotonic() > ends:
                break
            token = ledger.claim(id_)
            assert token is not None
            ledger.mark(id_, token, _SHA256)
            ledger.settle(id_, token, accepted)
            settled += 1
        done.put(settled)


def run_script(db: Database, name: str, **parameters: int) -> None:
    """Run a file of statements that stands beside this one, in one transaction."""
    script = Path(__file__).with_name(name).read_text(encoding="utf-8")
    with db.transaction():
        for statement in script.split(";\n"):
            if statement.strip():
                db.execute(statement.encode(), parameters or None)


def measure(db: Database, dsn: str, server: psutil.Process, connections: int, ids: Sequence[int]) -> Rate:
    """Let so many processes work at once."""
    start, done = multiprocessing.Barrier(connections + 1), multiprocessing.Queue()
    share = len(ids) // connections
    processes = [
        multiprocessing.Process(target=work, args=(dsn, ids[at * share : (at + 1) * share], at, start, done))
        for at in range(connections)
    ]
    for process in processes:
        process.start()
    # A backend's time is its own until it ends: those that ended are the postmaster's children's.
    before_ms, before_wal, before_size = _spent_ms(server), *_written(db)
    start.wait(60)
    begun = time.monotonic()
    settled = sum(done.get(timeout=10 * _EACH_SECONDS) for _ in processes)
    seconds = time.monotonic() - begun
    for process in processes:
        process.join()
    wal, size = _written(db)
    return Rate(
        connections,
        round(settled / seconds, 1),
        round((_spent_ms(server) - before_ms) / settled, 2),
        round((wal - before_wal) / settled),
        round((size - before_size) / settled),
    )


def _spent_ms(server: psutil.Process) -> float:
    def of(process: psutil.Process) -> float:
        try:
            times = process.cpu_times()
        except psutil.NoSuchProcess:
            return 0.0
        return float(times.user + times.system)

    ended = server.cpu_times()
    return 1000 * (
        ended.children_user
        + ended.children_system
        + of(server)
        + sum(map(of, server.children(recursive=True)))
    )


def _written(db: Database) -> tuple[int, int]:
    row = db.execute(
        "SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn AS wal, pg_database_size(current_database()) AS size"
    ).fetchone()
    assert row is not None
    return int(row["wal"]), int(row["size"])


def main() -> int:
    warnings.filterwarnings("ignore")
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tenants", type=int, default=1_000_000)
    parser.add_argument("--json", type=Path, help="write the figures there too")
    asked = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="inv-bench-", ignore_cleanup_errors=True) as folder,
        Server(Path(folder), durable=True) as server,
        server.fresh_copy() as dsn,
    ):
        begun = time.monotonic()
        with connect(as_superuser(dsn)) as filler:
            # No triggers: with them it would take an hour. What they write is written for them.
            filler.execute("SET session_replication_role = replica")
            fill(filler, asked.tenants, 1)
            run_script(filler, "sent_month.sql")
            filler.execute("VACUUM ANALYZE")
        filled = time.monotonic() - begun
        print(f"{asked.tenants} tenants, filled in {filled:.0f} s", flush=True)
        with connect(as_owner(dsn)) as db:
            sizes = [dict(row) for row in db.execute(_SIZES)]
            begun = time.monotonic()
            report.cycle_report(db, Period(2026, 11))
            reported = time.monotonic() - begun
            run_script(db, "next_month.sql", deliveries=_MOST * len(CONNECTIONS))
            db.execute("ANALYZE")
            ids = [row["id"] for row in db.execute(_PENDING)]
            assert server._process is not None
            postmaster = psutil.Process(server._process.pid)
            each = min(_MOST, len(ids) // len(CONNECTIONS))
            rates = []
            for at, connections in enumerate(CONNECTIONS):
                mine = ids[at * each : (at + 1) * each]
                rates.append(measure(db, dsn, postmaster, connections, mine))
                print(rates[-1], flush=True)
    show(sizes, rates)
    print(f"cycle show of the month: {reported:.1f} s")
    if asked.json:
        document = {
            "tenants": asked.tenants, "cores": os.cpu_count(), "filled_seconds": round(filled),
            "cycle_show_seconds": round(reported, 1), "sizes": sizes, "rates": [asdict(rate) for rate in rates],
        }  # fmt: skip
        asked.json.write_text(json.dumps(document, indent=2) + "\n")
    return 0


def show(sizes: Sequence[dict[str, Any]], rates: Sequence[Rate]) -> None:
    """Print both tables."""
    console = Console()
    table = Table("table", "rows", "table MB", "indexes MB", "bytes a row")
    for size in sizes:
        total = size["table_bytes"] + size["index_bytes"]
        table.add_row(
            size["table"], f"{size['rows']:,}", f"{size['table_bytes'] / 1e6:,.0f}",
            f"{size['index_bytes'] / 1e6:,.0f}", f"{total / max(1, size['rows']):,.0f}",
        )  # fmt: skip
    console.print(table)
    table = Table(
        "connections", "deliveries a second", "database ms each", "log bytes each", "disk bytes each"
    )
    for rate in rates:
        table.add_row(*map(str, asdict(rate).values()))
    console.print(table)


if __name__ == "__main__":
    sys.exit(main())
