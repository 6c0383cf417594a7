"""Where the processors' time of an invoice goes between its row and the relay, without Airflow: process by process.

    PYTHONPATH=plugins:tests .venv/bin/python tests/bench/bench_message.py [--messages 200] [--logo] [--profile]

A month's rendering and sending through the services, on a real PostgreSQL and into the embedded inbox; milliseconds of
processors a document and a message, by who spent them, and round trips to the database. ``--profile`` says where this
process, which is what a task is, spent its own.
"""

import argparse
import cProfile
import io
import json
import os
import pstats
import random
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
from bench_cycle import PERIOD, inbox, write_agency
from PIL import Image
from rich.console import Console
from rich.table import Table

from invoicing.db.connection import Database, connect
from invoicing.domain.delivery import Batch
from invoicing.domain.task_address import TaskAddress
from invoicing.mail.conversation import BoundedSMTP
from invoicing.mail.transmission import Relay
from invoicing.rendering.assignment import Inspection
from invoicing.rendering.sandbox import TemplateProcess
from invoicing.services.agency.imports import import_folder
from invoicing.services.agency.logo import logo_uri
from invoicing.services.agency.settings import change_settings
from invoicing.services.billing import count, generate, runs
from invoicing.services.delivery import deliver, render, select
from invoicing.services.delivery.journal import Journal
from invoicing.services.delivery.ledger import Worker
from support.archive import archive_in
from support.database import Server
from support.round_trips import RoundTrips


class _Spent:
    """Seconds of processors by who spent them, and round trips."""

    def __init__(self, db: Database, inbox_pid: int) -> None:
        self._backend = psutil.Process(db.info.backend_pid)
        self._postgres = psutil.Process(self._backend.ppid())
        self._inbox = psutil.Process(inbox_pid)
        self._children: dict[str, float] = defaultdict(float)

    @contextmanager
    def watching_children(self) -> Iterator[None]:
        """Note what each process of a template has spent when it is ended."""
        close, children = TemplateProcess.close, self._children

        def noting(process: TemplateProcess) -> None:
            if process.pid is not None:
                name = process._assignment.product
                kind = "its inspection" if isinstance(process._assignment, Inspection) else "its template"
                children[f"{name}: {kind}"] += _seconds(psutil.Process(process.pid))
            close(process)

        TemplateProcess.close = noting  # type: ignore[method-assign]
        try:
            yield
        finally:
            TemplateProcess.close = close  # type: ignore[method-assign]

    def now(self) -> dict[str, float]:
        """So far."""
        others = [each for each in self._postgres.children() if each.pid != self._backend.pid]
        return {
            "this process": time.process_time(),
            "PostgreSQL, its connection": _seconds(self._backend),
            "PostgreSQL, the rest": sum(map(_seconds, others)),
            "the inbox": _seconds(self._inbox),
            **self._children,
        }


def _seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def measure(messages: int, *, logo: bool, profile: bool, out: Console) -> dict[str, Any]:
    """Render and send so many; milliseconds by stage and by who spent them."""
    report: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="inv-bench-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        (folder / "files").mkdir()
        write_agency(folder / "files", messages * 10 // 9)
        with (
            Server(folder / "postgres", durable=True) as server,
            server.fresh_copy() as dsn,
            connect(dsn) as db,
            inbox(folder) as port,
        ):
            run_id, ids = _month(db, folder / "files", logo=logo)
            batch = Batch("bench", tuple(ids))
            archive, journal = archive_in(folder / "archive"), Journal(folder / "journal")
            spent = _Spent(db, _listener(port))
            worker = Worker(TaskAddress("bench", "bench", "send", 0), "bench/0", "bench")
            relay = Relay(
                lambda: BoundedSMTP("127.0.0.1", port, timeout=10, setup_timeout_seconds=10),
                host="127.0.0.1",
                port=port,
                messages_per_connection=100,
            )

            def stage(title: str, work: Callable[[], Any]) -> None:
                before, began = spent.now(), time.perf_counter()
                profiler = cProfile.Profile(time.process_time)
                with spent.watching_children(), RoundTrips(db) as trips:
                    if profile:
                        profiler.enable()
                    done = work()
                    profiler.disable()
                items = done if isinstance(done, int) else sum(done.values())
                seconds, after = time.perf_counter() - began, spent.now()
                each = {who: 1000 * (after[who] - before.get(who, 0.0)) / items for who in after}
                report[title] = {
                    "items": items,
                    "wall_ms": round(1000 * seconds / items, 1),
                    "cpu_ms": round(sum(each.values()), 1),
                    "round_trips": round(trips.count / items, 2),
                    "by": {who: round(ms, 2) for who, ms in each.items() if ms > 0.005},
                }
                if profile:
                    said = io.StringIO()
                    pstats.Stats(profiler, stream=said).sort_stats("cumtime").print_stats(45)
                    out.print(said.getvalue(), markup=False, highlight=False)

            stage("document", lambda: render.render_batch(db, archive, run_id, batch))
            with relay:
                stage("message", lambda: deliver.send_batch(db, relay, archive, journal, batch, worker))
    return report


def _month(db: Database, files: Path, *, logo: bool) -> tuple[int, list[int]]:
    import_folder(db, files, actor="bench")
    settings: dict[str, Any] = {
        "auto_send": True,
        "from_email": "facturas@agencia.example",
        "agency_name": "Agencia",
    }
    if logo:
        settings["agency_logo"] = logo_uri(_photograph())
    change_settings(db, settings, actor="bench")
    run_id = runs.open_run(db, dag_id="bench", dag_run_id="bench", period=PERIOD)
    generate.generate_invoices(db, run_id)
    count.count_invoices(db, run_id)
    batches = select.select_recipients(db, run_id)
    return run_id, [id_ for batch in batches for id_ in batch.delivery_ids]


def _photograph() -> bytes:
    """A PNG of some 280 kB, which does not shrink."""
    dots = random.Random(1).randbytes(3 * 400 * 230)
    written = io.BytesIO()
    Image.frombytes("RGB", (400, 230), dots).save(written, "PNG")
    return written.getvalue()


def _listener(port: int) -> int:
    for child in psutil.Process(os.getpid()).children():
        if str(port) in child.cmdline():
            return child.pid
    raise LookupError(port)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--messages", type=int, default=200)
    parser.add_argument("--logo", action="store_true", help="a picture of 280 kB in the settings")
    parser.add_argument(
        "--profile", action="store_true", help="this process's own functions; all is slower then"
    )
    asked = parser.parse_args()
    report = measure(asked.messages, logo=asked.logo, profile=asked.profile, out=Console(stderr=True))
    for title, row in report.items():
        table = Table(
            title=f"A {title}: {row['cpu_ms']} ms of processors, {row['wall_ms']} ms, "
            f"{row['round_trips']} round trips ({row['items']})"
        )
        table.add_column("who")
        table.add_column("ms", justify="right")
        for who, ms in sorted(row["by"].items(), key=lambda each: -each[1]):
            table.add_row(who, f"{ms:.2f}")
        Console().print(table)
    print(json.dumps(report))


if __name__ == "__main__":
    main()
