"""One stage of a month as its task does it, in a process of its own that is measured; it prints a line of JSON.

``python -m support.stage STAGE DSN RUN FOLDER``; from a test: `measured`. Each stage imports what it works with by
itself, as its task does.
"""

import asyncio
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
_FEW = 20


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


def measured(stage: str, dsn: str, run_id: int, folder: Path) -> Measure:
    """Do ``stage`` in a child process.

    Args:
        folder: For what stages hand on; with the port of a mail relay in the file ``relay`` where one sends.
    """
    done = subprocess.run(
        [sys.executable, "-m", "support.stage", stage, dsn, str(run_id), str(folder)],
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


Stage = Callable[[Any, int, Path], Any]
"""Of a connection, the run, and a folder with what else the stage needs."""


def _generate(db: Any, run_id: int, _: Path) -> Any:
    from invoicing.services.billing import generate

    return generate.generate_invoices(db, run_id)


def _count(db: Any, run_id: int, _: Path) -> Any:
    from invoicing.services.billing import count

    return count.count_invoices(db, run_id)


def _decide(db: Any, run_id: int, folder: Path) -> Any:
    """As the task hands them on, the batches go to a file."""
    from dataclasses import asdict

    from invoicing.services.delivery import select

    batches = select.select_recipients(db, run_id)
    (folder / "batches.json").write_text(json.dumps([asdict(batch) for batch in batches]))
    return {"batches": len(batches), "deliveries": sum(len(batch.delivery_ids) for batch in batches)}


def _batches(folder: Path) -> Any:
    from invoicing.domain.delivery import Batch

    kept = json.loads((folder / "batches.json").read_text())
    return [Batch(**{**each, "delivery_ids": tuple(each["delivery_ids"])}) for each in kept]


def _few(folder: Path) -> Any:
    """The first batch, as large as it is at any size of a month, and of it as much as a test has time for."""
    from dataclasses import replace

    first = _batches(folder)[0]
    return replace(first, delivery_ids=first.delivery_ids[:_FEW])


def _render(db: Any, run_id: int, folder: Path) -> Any:
    from invoicing.services.delivery import render
    from support.archive import archive_in

    return render.render_batch(db, archive_in(folder / "archive"), run_id, _few(folder))


def _prepare(db: Any, run_id: int, folder: Path) -> Any:
    """What `check_mail_server` shares out to those that send."""
    from invoicing.services.delivery import shares

    return len(shares.for_sending(db, run_id, _batches(folder)))


def _send(db: Any, _: int, folder: Path) -> Any:
    from invoicing.mail.conversation import BoundedSMTP
    from invoicing.mail.transmission import Relay
    from invoicing.services.delivery import deliver
    from invoicing.services.delivery.journal import Journal
    from invoicing.services.delivery.ledger import Worker
    from support.archive import archive_in

    port = int((folder / "relay").read_text())
    with Relay(
        lambda: BoundedSMTP("127.0.0.1", port), host="127.0.0.1", port=port, messages_per_connection=50
    ) as relay:
        worker = Worker("test", "test", "test")
        archive, journal = archive_in(folder / "archive"), Journal(folder / "journal")
        return deliver.send_batch(db, relay, archive, journal, _few(folder), worker)


def _close(db: Any, run_id: int, _: Path) -> Any:
    from invoicing.domain.errors import PermanentFailureError
    from invoicing.services.audit import history
    from invoicing.services.delivery import closing

    history.seal(db)
    try:
        return closing.close_run(db, run_id)
    except PermanentFailureError as error:
        return str(error)


def _report(db: Any, _: int, __: Path) -> Any:
    from invoicing.domain.period import Period
    from invoicing.services.views import report

    return report.cycle_report(db, Period(2026, 11))["invoices"]


def _csv(db: Any, _: int, folder: Path) -> Any:
    """The month's two tables for spreadsheet programs, for a reader that keeps nothing."""
    from support.visiting import open_app

    with open_app(db.info.dsn, folder / "archive") as app:
        parent = app.as_editor().app
        return [
            asyncio.run(_length_of(parent, f"/invoicing/cycles/2026-11/{table}.csv"))
            for table in ("tenants", "invoices")
        ]


async def _length_of(app: Any, path: str) -> int:
    """Bytes of an answer; `TestClient` would hold them all."""
    length = 0

    async def receive() -> dict[str, Any]:
        await asyncio.sleep(3600)
        return {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        nonlocal length
        assert message.get("status", 200) == 200
        length += len(message.get("body", b""))

    headers = [(b"host", b"airflow.test"), (b"cookie", b"visitor=ana")]
    scope = {"type": "http", "http_version": "1.1", "method": "GET", "scheme": "http", "path": path}
    place = {"raw_path": path.encode(), "query_string": b"", "root_path": "", "server": ("airflow.test", 80)}
    await app({**scope, **place, "headers": headers, "client": ("127.0.0.1", 1)}, receive, send)
    return length


def _rules(_: Any, tenants: int, __: Path) -> Any:
    """The rules asked of so many tenants, who need no database."""
    import pandas as pd  # noqa: F401 (not measured)

    from invoicing.domain.eligibility import SendPolicy
    from invoicing.services.billing import decide

    counted = [_counted_tenant(n) for n in range(tenants)]
    begun = time.monotonic()
    frame = decide.apply_rules(counted, SendPolicy(auto_send=True, recipients="all"))
    seconds = time.monotonic() - begun
    return {"seconds": round(seconds, 2), "outcomes": frame["outcome"].value_counts().to_dict()}


STAGES: dict[str, Stage] = {
    "generate": _generate,
    "count": _count,
    "decide": _decide,
    "render": _render,
    "prepare": _prepare,
    "send": _send,
    "close": _close,
    "report": _report,
    "csv": _csv,
    "rules": _rules,
}


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
    stage, dsn, run_id, folder = sys.argv[1:]
    begun = time.monotonic()
    from invoicing.db.connection import connect

    with connect(dsn) as db:
        backend = db.info.backend_pid
        result = STAGES[stage](db, int(run_id), Path(folder))
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
