"""What a month costs through the real scheduler, beside the least that it could cost: ``make bench``.

    PYTHONPATH=plugins:tests .venv/bin/python tests/bench/bench_month.py [--sizes 200,1000,4000] [--sample 300]

The same invoices four ways, by turns on one machine and in one run; all rates are invoices a second, each of them
rendered and sent. *Floor*: a bare loop, a process a core, our renderer, one kept connection to the relay, no
database, no Airflow. *Stock*: the same with plain WeasyPrint calls. *Pipeline*: a month through the scheduler, as it
comes. *Naive*: a task instance a recipient, at 200 tenants. A loop is as fast with few as with many: it is given
``--sample`` of the month's messages in two halves, one before and one after the month. Machines differ: compare
within a run.
"""

import argparse
import json
import os
import pickle
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import psutil
import psycopg
from bare_loop import Job, Letter
from bench_cycle import write_agency
from bench_page import measure as measure_page
from rich.console import Console
from rich.table import Table

from invoicing.db.connection import connect
from invoicing.domain.period import Period
from invoicing.services.agency.imports import import_folder
from invoicing.services.agency.settings import change_settings, current_settings
from invoicing.services.agency.templates import current_template
from invoicing.services.billing import generate, runs
from invoicing.services.delivery import documents
from support.database import Server
from support.project import PYTHON_PATH, ROOT
from support.running_stack import Stack

PERIOD = Period(2026, 11)
NAIVE_AT = 200
# Documents that nobody is mailed come after the mail, and no other way of sending makes them.
SETTINGS = {
    "auto_send": "yes",
    "from_email": "facturas@agencia.example",
    "agency_name": "Agencia",
    "unmailed_documents": "no",
}
HERE = Path(__file__).parent
DAG = "monthly_invoicing"
CORES = os.cpu_count() or 2
# What each kind of task counts by.
ITEMS = {"render_invoices": "documents", "send_invoices": "messages", "generate_invoices": "documents"}

console = Console(stderr=True)


@dataclass(frozen=True, slots=True)
class Month:
    """A run of the scheduler.

    Args:
        seconds: From the trigger to the end of the run.
        stages: By task: wall and processor seconds, items, instances.
        processor_seconds: By part of the stack; of the scheduler with its tasks.
        airflow_share: Of the processors' work, what was neither a task's, nor PostgreSQL's, nor the inbox's.
        peak_rss_mb: By task, of one of its instances with all that it started, by samples of half a second.
    """

    documents: int
    messages: int
    seconds: float
    stages: dict[str, dict[str, float]]
    processor_seconds: dict[str, float]
    airflow_share: float
    peak_rss_mb: dict[str, float]

    @property
    def per_second(self) -> float:
        return self.documents / self.seconds


class Pipeline:
    """A stack of its own with an agency of so many tenants in it, on the disk as an agency's is."""

    def __init__(self, folder: Path) -> None:
        self._notes = folder / "notes.jsonl"
        self.stack = Stack(
            folder / "state",
            {
                "PYTHONPATH": os.pathsep.join([PYTHON_PATH, str(HERE / "watching")]),
                "INVOICING_BENCH_NOTES": str(self._notes),
                "INVOICING_INBOX_MESSAGES": "1000000",
            },
        )
        # As it comes: what tests set to be sooner done is not the default.
        for name in ("AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME", "INVOICING_RETRY_SECONDS"):
            self.stack.environ.pop(name)
        self.stack.run("up")

    def settle_in(self, files: Path) -> None:
        """As new, with the agency of ``files``."""
        self.stack.clear()
        self.stack.run("import", str(files), timeout=1_200)
        self.stack.run("settings", "set", *(f"{name}={value}" for name, value in SETTINGS.items()))

    def run(self, period: Period) -> Month:
        """Bill and send ``period``."""
        self._notes.unlink(missing_ok=True)
        before = self._processors()
        with watched_memory(self.stack.pid("scheduler")) as peak_of:
            self.stack.run("run", "--period", str(period), "--wait", "--yes", timeout=3 * 3_600)
        after = self._processors()
        stages, seconds = self._stages(period)
        peaks: dict[str, float] = defaultdict(float)
        for note in self._read_notes():
            stage = stages.setdefault(note["task"], {"wall_seconds": 0.0, "instances": 0})
            stage["cpu_seconds"] = stage.get("cpu_seconds", 0.0) + note["cpu_seconds"]
            peaks[note["task"]] = max(peaks[note["task"]], note["rss_mb"], peak_of.get(note["pid"], 0.0))
        counts = self._counts(period)
        for task, stage in stages.items():
            stage["items"] = counts[ITEMS.get(task, "tenants")]
        tasks = sum(stage.get("cpu_seconds", 0.0) for stage in stages.values())
        spent = {name: after[name] - before[name] for name in after}
        airflow = sum(spent[name] for name in spent if name not in ("postgres", "inbox")) - tasks
        return Month(
            counts["documents"],
            counts["messages"],
            seconds,
            {task: {key: round(value, 2) for key, value in stage.items()} for task, stage in stages.items()},
            {name: round(seconds, 1) for name, seconds in spent.items()},
            round(airflow / sum(spent.values()), 3),
            {task: round(peak) for task, peak in peaks.items()},
        )

    def _read_notes(self) -> list[dict[str, Any]]:
        if not self._notes.exists():
            return []
        notes = [json.loads(line) for line in self._notes.read_text(encoding="utf-8").splitlines()]
        return [note for note in notes if " manual " in (note["run"] or "")]

    def _processors(self) -> dict[str, float]:
        """Seconds of processors so far, by part of the stack, with what each has started."""
        spent = {}
        for record in sorted((self.stack.state / "run").glob("*.json")):
            if record.stem == "airflow-migrate":
                continue
            part = psutil.Process(self.stack.pid(record.stem))
            # Of children that have ended their parent's times tell.
            times = [each.cpu_times() for each in (part, *part.children(recursive=True))]
            spent[record.stem] = sum(
                each.user + each.system + each.children_user + each.children_system for each in times
            )
        return spent

    def _stages(self, period: Period) -> tuple[dict[str, dict[str, float]], float]:
        url = self.stack.metadata_url.replace("+psycopg2", "")
        with psycopg.connect(url) as metadata:
            run = metadata.execute(
                "SELECT run_id, extract(epoch FROM end_date - queued_at)::float FROM dag_run"
                " WHERE dag_id = %s AND partition_key = %s ORDER BY id DESC LIMIT 1",
                [DAG, str(period)],
            ).fetchone()
            assert run is not None
            rows = metadata.execute(
                "SELECT task_id, extract(epoch FROM max(end_date) - min(start_date))::float, count(*)"
                " FROM task_instance WHERE dag_id = %s AND run_id = %s AND state = 'success'"
                " GROUP BY task_id ORDER BY min(start_date)",
                [DAG, run[0]],
            ).fetchall()
        return {task: {"wall_seconds": wall, "instances": count} for task, wall, count in rows}, run[1]

    def _counts(self, period: Period) -> dict[str, int]:
        shown = self.stack.json("cycle", "show", str(period))
        assert shown["balanced"], shown
        return {
            "documents": shown["invoices"]["count"],
            "messages": shown["deliveries"]["sent"],
            "tenants": shown["tenants"],
        }

    @property
    def smtp_port(self) -> int:
        port: int = json.loads((self.stack.state / "stack.json").read_text())["inbox_port"]
        return port


@contextmanager
def watched_memory(scheduler: int) -> Iterator[dict[int, float]]:
    """While the block lasts, the most that each task process and its children had in memory: megabytes by its pid."""
    peaks: dict[int, float] = defaultdict(float)
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.5):
            processes = _processes()
            for worker in processes.children[scheduler]:
                for task in processes.children[worker]:
                    peaks[task] = max(peaks[task], processes.held_by(task) / 2**20)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield peaks
    finally:
        over.set()
        watcher.join()


@dataclass(frozen=True, slots=True)
class _Processes:
    """The machine's processes at one moment: pids by their parent's, and bytes in memory by pid."""

    children: dict[int, list[int]]
    held: dict[int, int]

    def held_by(self, pid: int) -> int:
        """Bytes of a process and of all that it started."""
        return self.held[pid] + sum(map(self.held_by, self.children[pid]))


def _processes() -> _Processes:
    """In one pass: who watches takes time from what it watches."""
    seen = _Processes(defaultdict(list), {})
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            # After the name, which may have blanks in it: state, parent, …; pages are the 24th of all.
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            seen.children[int(fields[1])].append(int(folder.name))
            seen.held[int(folder.name)] = int(fields[21]) * resource.getpagesize()
    return seen


def letters_of(files: Path, most: int) -> tuple[list[Letter], Any, str]:
    """So many messages of the agency's month, spread over it; their template and the settings' subject."""
    with (
        tempfile.TemporaryDirectory(prefix="inv-bench-", ignore_cleanup_errors=True) as folder,
        Server(Path(folder)) as server,
        server.fresh_copy() as dsn,
        connect(dsn) as db,
    ):
        import_folder(db, files, actor="bench")
        change_settings(db, SETTINGS, actor="bench")
        run_id = runs.open_run(db, dag_id="bench", dag_run_id="bench", period=PERIOD)
        generate.generate_invoices(db, run_id)
        in_force = current_settings(db).settings
        of_tenants: dict[int, list[int]] = defaultdict(list)
        for row in db.execute("SELECT id, tenant_id FROM invoicing.invoice ORDER BY id"):
            of_tenants[row["tenant_id"]].append(row["id"])
        every = max(1, len(of_tenants) // most)
        letters = []
        for ids in list(of_tenants.values())[::every][:most]:
            invoices = documents.load_invoices(db, ids)
            mail = documents.mail_document(invoices, language="es", settings=in_force)
            letters.append(Letter(f"t{ids[0]}@correo.example", mail, tuple(invoices)))
        return letters, current_template(db, in_force.template).template, in_force.subject


def loop(
    renderer: Literal["ours", "stock"], letters: Sequence[Letter], template: Any, subject: str, smtp_port: int
) -> float:
    """Seconds that a process a core takes for these, all imported and warm."""
    with tempfile.TemporaryDirectory(prefix="inv-bench-") as folder, ExitStack() as stack:
        processes = []
        for core in range(CORES):
            path = Path(folder) / f"{core}.job"
            path.write_bytes(
                pickle.dumps(Job(renderer, template, subject, smtp_port, tuple(letters[core::CORES])))
            )
            process = subprocess.Popen(
                [sys.executable, HERE / "bare_loop.py", path],
                env=os.environ | {"PYTHONPATH": os.pathsep.join([PYTHON_PATH, str(HERE)])},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            processes.append(stack.enter_context(process))
        for process in processes:
            _hear(process, "ready")
        began = time.perf_counter()
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        for process in processes:
            _hear(process, "done")
        return time.perf_counter() - began


def _hear(process: "subprocess.Popen[str]", word: str) -> None:
    assert process.stdout is not None
    heard = process.stdout.readline().strip()
    if heard != word:
        sys.exit(f"bare_loop.py ended: {process.wait()}")


def measure(pipeline: Pipeline, folder: Path, tenants: int, sample: int) -> dict[str, Any]:
    """One size, four ways."""
    files = folder / f"agency-{tenants}"
    files.mkdir()
    # One tenant in nine has two leases.
    write_agency(files, tenants * 10 // 9)
    letters, template, subject = letters_of(files, sample)
    spent: dict[Literal["ours", "stock"], float] = {"ours": 0.0, "stock": 0.0}
    worked: dict[Literal["ours", "stock"], float] = {"ours": 0.0, "stock": 0.0}
    done = 0

    def loops(part: Sequence[Letter], order: Iterator[Literal["ours", "stock"]]) -> None:
        nonlocal done
        done += sum(len(letter.invoices) for letter in part)
        for renderer in order:
            before = _worked()
            spent[renderer] += loop(renderer, part, template, subject, pipeline.smtp_port)
            worked[renderer] += _worked() - before

    pipeline.settle_in(files)
    console.print(f"{tenants} tenants: the bare loops …")
    loops(letters[::2], iter(("ours", "stock")))
    console.print("… the scheduler's month …")
    month = pipeline.run(PERIOD)
    console.print(f"… {month.seconds:.0f} s; the bare loops, and a run with nothing to do …")
    loops(letters[1::2], iter(("stock", "ours")))
    again = pipeline.run(PERIOD)
    console.print(f"… {again.seconds:.0f} s")
    naive = None
    if tenants == NAIVE_AT:
        console.print("… an instance a recipient: some eight minutes …")
        pipeline.stack.run("settings", "set", "largest_batch=1")
        naive = pipeline.run(PERIOD.following)
    return {
        "documents": month.documents,
        "messages": month.messages,
        "pipeline_seconds": round(month.seconds, 1),
        "idle_seconds": round(again.seconds, 1),
        "floor_per_second": round(done / spent["ours"], 2),
        "stock_per_second": round(done / spent["stock"], 2),
        "pipeline_per_second": round(month.per_second, 2),
        "naive_per_second": None if naive is None else round(naive.per_second, 2),
        "processor_seconds": month.processor_seconds,
        # Others on the machine disturb these less. Of the loops without the inbox, with their start.
        "processor_ms_an_invoice": {
            "floor": round(1000 * worked["ours"] / done),
            "stock": round(1000 * worked["stock"] / done),
            "pipeline": round(1000 * sum(month.processor_seconds.values()) / month.documents),
        },
        "airflow_share": month.airflow_share,
        "peak_rss_mb": month.peak_rss_mb,
        "stages": month.stages,
    }


def _worked() -> float:
    """Seconds of processors that processes which have ended took."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def show(sizes: dict[str, dict[str, Any]]) -> None:
    """The tables, on standard output."""
    out = Console()
    table = Table(title=f"Invoices a second, rendered and sent, on {CORES} cores")
    ratios = ("of floor", "of stock", "of naive")
    for column in (
        "tenants",
        "floor",
        "stock",
        "pipeline",
        "naive",
        *ratios,
        "idle run, s",
        "Airflow's share",
    ):
        table.add_column(column, justify="right")
    for size, row in sizes.items():
        rate, naive = row["pipeline_per_second"], row["naive_per_second"]
        table.add_row(
            size,
            *(f"{row[f'{name}_per_second']:.2f}" for name in ("floor", "stock", "pipeline")),
            f"{naive:.2f}" if naive else "",
            f"{rate / row['floor_per_second']:.2f}",
            f"{rate / row['stock_per_second']:.2f}",
            f"{rate / naive:.2f}" if naive else "",
            f"{row['idle_seconds']:.1f}",
            f"{row['airflow_share']:.0%}",
        )
    out.print(table)
    for size, row in sizes.items():
        stages = Table(title=f"{size} tenants: {row['pipeline_seconds']} s")
        for column in ("task", "wall s", "processors s", "items", "instances", "peak MB"):
            stages.add_column(column, justify="left" if column == "task" else "right")
        for task, stage in row["stages"].items():
            stages.add_row(
                task,
                f"{stage['wall_seconds']:.1f}",
                f"{stage.get('cpu_seconds', 0):.1f}",
                f"{stage['items']:.0f}",
                f"{stage['instances']:.0f}",
                f"{row['peak_rss_mb'].get(task, 0):.0f}",
            )
        out.print(stages)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", default="200,1000,4000", help="tenants, with commas")
    parser.add_argument("--sample", type=int, default=300, help="messages that the bare loops are given")
    asked = parser.parse_args()
    target = ROOT / "var" / "bench.json"
    target.parent.mkdir(exist_ok=True)
    console.print("one page, ours and stock …")
    report: dict[str, Any] = {"cores": CORES, "sizes": {}, "render": measure_page()}
    with (
        tempfile.TemporaryDirectory(prefix="inv-bench-", ignore_cleanup_errors=True) as name,
        ExitStack() as stack,
    ):
        pipeline = Pipeline(Path(name))
        stack.callback(pipeline.stack.remove)
        for size in asked.sizes.split(","):
            report["sizes"][size] = measure(pipeline, Path(name), int(size), asked.sample)
            target.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    show(report["sizes"])
    console.print(f"written to {target}")


if __name__ == "__main__":
    main()
