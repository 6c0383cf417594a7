"""How long each page takes on an agency of 10,000 tenants with a year behind it; fails above 300 ms.

    PYTHONPATH=plugins:tests .venv/bin/python tests/bench/bench_pages.py [--tenants N] [--months N] [--json FILE]

Run by ``make bench``. Times are those of the app itself over a real PostgreSQL (the median of five, after one to
warm up), without Airflow around it.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
import warnings
from pathlib import Path

from invoicing.db.connection import connect
from support.database import Server, as_owner
from support.large_agency import fill
from support.visiting import Browser, open_app

LIMIT_MS = 300
ROUNDS = 5
PAGES = (
    "/cycles",
    "/cycles/2026-11",
    "/cycles/2026-11?page=300",
    "/cycles/2026-11?q=zuluaga+99",
    "/cycles/2026-11?outcome=tenant_only_multiple&sort=-name",
    "/cycles/2026-11?state=failed",
    "/cycles/2026-11?state=none&sort=-updated",
    "/cycles/2026-11?sort=state&size=100",
    "/cycles/2026-11/overview",
    "/cycles/2026-11/tenants/T05001",
    "/cycles/singles",
    "/cycles/singles?kind=resends",
    "/deliveries/5001",
    "/deliveries/5001/message",
    "/invoices/FV-5001",
    "/templates",
    "/templates/default",
    "/templates/default/versions",
    "/templates/default/versions/1",
    "/tenants",
    "/tenants?q=zuluaga+99",
    "/tenants?problem=invalid_email",
    "/tenants?sort=-name&page=100",
    "/tenants/T05001",
    "/automation",
    "/automation/history",
    "/api/v1/cycles",
    "/api/v1/cycles/2026-11",
    "/api/v1/cycles/2026-11/progress",
)


def measure(browser: Browser, path: str) -> float:
    """Median milliseconds of an answer."""
    times = []
    for _ in range(ROUNDS + 1):
        started = time.perf_counter()
        answer = browser.see(path)
        times.append((time.perf_counter() - started) * 1000)
        assert answer.status_code == 200, f"{path}: {answer.status_code}"
    return statistics.median(times[1:])


def main() -> int:
    warnings.filterwarnings("ignore")
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tenants", type=int, default=10_000)
    parser.add_argument("--months", type=int, default=12)
    parser.add_argument("--json", type=Path, help="write the times there too")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="inv-bench-", ignore_cleanup_errors=True) as folder:
        started = time.perf_counter()
        # On the disk, as an agency's is: other tests' databases are in memory.
        with Server(Path(folder), durable=True) as server, server.fresh_copy() as dsn:
            with connect(as_owner(dsn)) as db:
                fill(db, asked.tenants, asked.months)
            print(
                f"{asked.tenants} tenants, {asked.months} months, filled in {time.perf_counter() - started:.0f} s"
            )
            with open_app(dsn, Path(folder) / "archive") as app:
                browser = app.as_editor()
                times = {path: measure(browser, path) for path in PAGES}
    width = max(map(len, times))
    for path, milliseconds in times.items():
        print(f"  {path:<{width}}  {milliseconds:7.1f} ms{'   TOO SLOW' if milliseconds > LIMIT_MS else ''}")
    if asked.json:
        asked.json.write_text(json.dumps({path: round(ms, 1) for path, ms in times.items()}, indent=2) + "\n")
    slow = [path for path, milliseconds in times.items() if milliseconds > LIMIT_MS]
    print(f"{len(times)} pages, {len(slow)} above {LIMIT_MS} ms")
    return 1 if slow else 0


if __name__ == "__main__":
    sys.exit(main())
