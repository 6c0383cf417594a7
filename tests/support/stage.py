"""One stage of a month as its task does it, in a process of its own that is measured: what it prints is a line of JSON.

``python -m support.stage STAGE DSN RUN [FOLDER]``; from a test: `measured`.
"""

import csv
import io
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from support.project import PYTHON_PATH

_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Measure:
    """What a stage took.

    Args:
        seconds: Of the clock, its imports included.
        cpu_seconds: Of its process.
        database_cpu_seconds: Of the server's process that worked for it.
        peak_mb: Of its process.
        database_peak_mb: Of the server's process, of which some is memory that all of them share.
        result: What the stage gave.
    """

    seconds: float
    cpu_seconds: float
    database_cpu_seconds: float
    peak_mb: float
    database_peak_mb: float
    result: Any = None

    @property
    def work_seconds(self) -> float:
        """Of a processor: what the clock would say on a machine that does nothing else."""
        return self.cpu_seconds + self.database_cpu_seconds


def measured(stage: str, dsn: str, run_id: int, folder: Path | None = None) -> Measure:
    """Do ``stage`` in a child process."""
    done = subprocess.run(
        [sys.executable, "-m", "support.stage", stage, dsn, str(run_id), *([str(folder)] if folder else [])],
        env={**os.environ, "PYTHONPATH": PYTHON_PATH},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return Measure(**json.loads(done.stdout.splitlines()[-1]))


def peak_mb(pid: int | str = "self") -> float:
    """The most memory that a process had at a time; unlike ``ru_maxrss`` not that of the process that started it."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")) / 1024


def cpu_seconds(pid: int | str = "self") -> float:
    """What a process has had of the processors."""
    # The name, in brackets, may have spaces.
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _stages() -> dict[str, Callable[[Any, int, Path | None], Any]]:
    """Each imports what it works with, as its task does."""

    def generate(db: Any, run_id: int, _: Path | None) -> Any:
        from invoicing.services.billing import generate

        return generate.generate_invoices(db, run_id)

    def count(db: Any, run_id: int, _: Path | None) -> Any:
        from invoicing.services.billing import count

        return count.count_invoices(db, run_id)

    def decide(db: Any, run_id: int, _: Path | None) -> Any:
        from invoicing.services.delivery import select

        batches = select.select_recipients(db, run_id)
        return {"batches": len(batches), "deliveries": sum(len(batch.delivery_ids) for batch in batches)}

    return {"generate": generate, "count": count, "decide": decide}


def main() -> None:
    stage, dsn, run_id, *rest = sys.argv[1:]
    begun = time.monotonic()
    from invoicing.db.connection import connect

    with connect(dsn) as db:
        backend = db.info.backend_pid
        result = _stages()[stage](db, int(run_id), Path(rest[0]) if rest else None)
        measure = Measure(
            seconds=round(time.monotonic() - begun, 2),
            cpu_seconds=round(cpu_seconds(), 2),
            database_cpu_seconds=round(cpu_seconds(backend), 2),
            peak_mb=round(peak_mb(), 1),
            database_peak_mb=round(peak_mb(backend), 1),
            result=result,
        )
    print(json.dumps(asdict(measure)))


if __name__ == "__main__":
    main()
