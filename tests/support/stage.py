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

    def rules(_: Any, tenants: int, __: Path | None) -> Any:
        """The rules asked of so many tenants, who need no database."""
        import pandas as pd  # noqa: F401 (not measured)

        from invoicing.domain.eligibility import SendPolicy
        from invoicing.services.billing import decide

        counted = [_counted_tenant(n) for n in range(tenants)]
        begun = time.monotonic()
        frame = decide.apply_rules(counted, SendPolicy(auto_send=True, recipients="all"))
        seconds = time.monotonic() - begun
        return {"seconds": round(seconds, 2), "outcomes": frame["outcome"].value_counts().to_dict()}

    return {"generate": generate, "count": count, "decide": decide, "rules": rules}


def _counted_tenant(n: int) -> Any:
    from invoicing.services.billing.decide import CountedTenant

    emails = [] if n % 40 == 0 else [f"roto{n}@@correo.example" if n % 1000 == 1 else f"t{n}@correo.example"]
    return CountedTenant(
        tenant_id=n,
        code=f"T{n:07}",
        name=f"Íngrid Ñáñez {n}",
        emails=emails,
        cc_emails=[f"copia{n}@correo.example"] if n % 20 == 1 else [],
        language="es",
        withholding_agent=n % 6 == 0,
        auto_send=n % 11 != 0,
        only_multiple=n % 13 == 0,
        is_held=n % 500 == 3,
        doubtful_address=n % 1000 == 1,
        invoices=1 + (n % 9 == 0),
        decision_id=n,
        decided_reason=None,
        decided_count=1,
        has_message=n % 7 == 0,
        has_open=False,
        uncovered=[n],
    )


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
