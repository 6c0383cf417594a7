"""How long a month of a large agency takes, part by part; ``bench_month.py`` has it whole, through the scheduler.

The services on a real PostgreSQL, a real renderer and a real SMTP conversation with the embedded inbox, without
Airflow, whose share is about a second a task instance. Machines differ: compare the ratios, within one run.
"""

import argparse
import json
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from rich.console import Console
from rich.progress import track
from rich.table import Table

from invoicing.db.connection import Database, connect
from invoicing.domain.delivery import Batch
from invoicing.domain.period import Period
from invoicing.mail.conversation import BoundedSMTP
from invoicing.mail.transmission import Relay
from invoicing.rendering.invoice import InvoiceRenderer
from invoicing.services.agency import settings
from invoicing.services.agency.imports import import_folder
from invoicing.services.billing import count, generate, out_of_step, runs
from invoicing.services.delivery import deliver, documents, render, select
from invoicing.services.delivery.journal import Journal
from invoicing.services.delivery.ledger import Worker
from invoicing.services.views import report, simulate
from support.archive import archive_in
from support.database import Server
from support.project import DEMO, PYTHON_PATH, ROOT, free_port

PERIOD = Period(2026, 11)
Result = TypeVar("Result")


def write_agency(folder: Path, leases: int) -> None:
    """An agency of so many leases, in which one tenant in nine has two."""
    tenants = [f"T{number:06}" for number in range(leases - leases // 10)]
    uses = ("commercial", "residential", "residential", "residential", "residential")
    files = {
        "tenants": [
            f"{code},CC,{code[1:]},Arrendatario Ñandú {code},{code.lower()}@correo.example,,es,Bogotá,no,yes,no"
            for code in tenants
        ],
        "leases": [
            f"L{n:06},{tenants[n % len(tenants)]},Calle {n} # 1-23,Bogotá,{uses[n % 5]},2024-01-01,,{1_000_000 + n},COP"
            for n in range(leases)
        ],
        "charges": [f"L{n:06},administration,Administración,250000,none,no,," for n in range(leases)],
        "tax_rates": ["iva,,0.19,0,2017-01-01,"],
    }
    for name, rows in files.items():
        header = (DEMO / f"{name}.csv").read_text(encoding="utf-8").splitlines()[0]
        (folder / f"{name}.csv").write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")


@contextmanager
def inbox(folder: Path) -> Iterator[int]:
    port = free_port()
    (folder / "mailbox").mkdir(exist_ok=True)
    process = subprocess.Popen(
        [sys.executable, "-m", "invoicing.stack.inbox", str(folder / "mailbox"), str(port)],
        env={"PYTHONPATH": PYTHON_PATH},
    )
    try:
        for _ in range(100):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.1)
        yield port
    finally:
        process.terminate()
        process.wait(10)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--leases", type=int, default=10_000)
    parser.add_argument(
        "--messages", type=int, default=200, help="how many tenants' mail is rendered and sent"
    )
    arguments = parser.parse_args()
    measured: dict[str, dict[str, Any]] = {}

    def measure(name: str, items: int, work: Callable[[], Result]) -> Result:
        started = time.perf_counter()
        result = work()
        seconds = time.perf_counter() - started
        measured[name] = {
            "items": items,
            "seconds": round(seconds, 3),
            "ms_an_item": round(1000 * seconds / items, 3),
        }
        console.print(f"{name}: {seconds:.2f} s")
        return result

    console = Console(stderr=True)
    with tempfile.TemporaryDirectory(prefix="inv-bench-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        (folder / "files").mkdir()
        write_agency(folder / "files", arguments.leases)
        # On the disk, as a month's are: other tests' databases are in memory.
        with (
            Server(folder / "postgres", durable=True) as server,
            server.fresh_copy() as dsn,
            connect(dsn) as db,
            inbox(folder) as port,
        ):
            measure("import", arguments.leases, lambda: import_folder(db, folder / "files", actor="bench"))
            measure(
                "import again", arguments.leases, lambda: import_folder(db, folder / "files", actor="bench")
            )
            settings.change_settings(
                db,
                {"auto_send": True, "from_email": "facturas@agencia.example", "agency_name": "Agencia"},
                actor="bench",
            )
            measure("simulate", arguments.leases, lambda: simulate.simulate(db, PERIOD))
            run_id = runs.open_run(db, dag_id="bench", dag_run_id="bench", period=PERIOD)
            measure("generate", arguments.leases, lambda: generate.generate_invoices(db, run_id))
            measure("generate again", arguments.leases, lambda: generate.generate_invoices(db, run_id))
            measure("compare with the leases", arguments.leases, lambda: out_of_step.compare(db, PERIOD))
            measure("count", arguments.leases, lambda: count.count_invoices(db, run_id))
            batches = measure("select", arguments.leases, lambda: select.select_recipients(db, run_id))
            measure("select again", arguments.leases, lambda: select.select_recipients(db, run_id))
            measure("show the cycle", arguments.leases, lambda: report.cycle_report(db, PERIOD))
            due = [id_ for batch in batches for id_ in batch.delivery_ids][: arguments.messages]
            batch = Batch("bench", tuple(due))
            archive = archive_in(folder / "archive")
            rendered = measure("render", len(due), lambda: render.render_batch(db, archive, run_id, batch))
            measured["render"] |= {
                "items": rendered,
                "ms_an_item": round(1000 * measured["render"]["seconds"] / rendered, 1),
            }
            with Relay(
                lambda: BoundedSMTP("127.0.0.1", port),
                host="127.0.0.1",
                port=port,
                messages_per_connection=50,
            ) as relay:
                measure(
                    "send",
                    len(due),
                    lambda: deliver.send_batch(
                        db,
                        relay,
                        archive,
                        Journal(folder / "journal"),
                        batch,
                        Worker("bench", "bench", "bench"),
                    ),
                )
            measured["one invoice, renderer warm"] = warm_render(db, run_id)
    show(measured, arguments.leases)


def warm_render(db: Database, run_id: int) -> dict[str, Any]:
    """The median of rendering one invoice over and over, without starting the process."""
    run = runs.load_run(db, run_id)
    row = db.execute("SELECT min(id) AS id FROM invoicing.invoice").fetchone()
    assert row is not None
    (invoice,) = documents.load_invoices(db, [row["id"]])
    times = []
    with InvoiceRenderer(run.template.template) as renderer:
        renderer.render(invoice)
        for _ in track(range(20), "rendering", console=Console(stderr=True), transient=True):
            started = time.perf_counter()
            renderer.render(invoice)
            times.append(time.perf_counter() - started)
    median = statistics.median(times)
    return {"items": 1, "seconds": round(median, 4), "ms_an_item": round(1000 * median, 1)}


def show(measured: dict[str, dict[str, Any]], leases: int) -> None:
    one_render = measured["one invoice, renderer warm"]["ms_an_item"]
    for row in measured.values():
        row["in_renders"] = round(row["ms_an_item"] / one_render, 4)
    table = Table(title=f"One month of {leases:,} leases")
    for column in ("part", "items", "seconds", "ms an item", "ratio to rendering one invoice"):
        table.add_column(column, justify="left" if column == "part" else "right")
    for name, row in measured.items():
        table.add_row(
            name,
            str(row["items"]),
            f"{row['seconds']:.2f}",
            f"{row['ms_an_item']:.2f}",
            f"{row['in_renders']:.4f}",
        )
    Console().print(table)
    target = ROOT / "var" / "bench-parts.json"
    target.parent.mkdir(exist_ok=True)
    target.write_text(json.dumps({"leases": leases, "parts": measured}, indent=2) + "\n", encoding="utf-8")
    Console(stderr=True).print(f"written to {target}")


if __name__ == "__main__":
    main()
