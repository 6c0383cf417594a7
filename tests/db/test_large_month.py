"""Large months: 100,000 leases within a minute and a gigabyte and a half; ten times the tenants in the same memory."""

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import pytest

from invoicing.db.connection import connect
from invoicing.domain.period import Period
from invoicing.services.agency import settings
from invoicing.services.billing import runs
from support.database import Server, as_owner
from support.pace import slowness
from support.relay import FaultyRelay
from support.stage import Measure, measured

pytestmark = [pytest.mark.long, pytest.mark.alone, pytest.mark.timeout(3600)]

PERIOD = Period(2026, 11)
LEASES = 100_000
MOST_SECONDS = 60
MOST_MB = 1_500


@contextmanager
def large_agency(leases: int) -> Iterator[str]:
    """An agency of so many leases, on the disk as a month's is; its conninfo."""
    script = (Path(__file__).parents[1] / "support" / "large_month.sql").read_text(encoding="utf-8")
    with (
        tempfile.TemporaryDirectory(prefix="inv-large-", ignore_cleanup_errors=True) as folder,
        Server(Path(folder), durable=True) as server,
        server.fresh_copy() as dsn,
    ):
        with connect(as_owner(dsn)) as owner:
            for statement in script.split(";\n"):
                if statement.strip():
                    owner.execute(statement.encode(), {"leases": leases})
            owner.execute("VACUUM ANALYZE")
        with connect(dsn) as db:
            settings.change_settings(
                db, {"auto_send": True, "from_email": "facturas@agencia.example"}, actor="test"
            )
        yield dsn


def test_a_hundred_thousand_leases_are_generated_counted_and_decided(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found: dict[str, Measure] = {}
    with large_agency(LEASES) as dsn:
        with connect(dsn) as db:
            run_id = runs.open_run(db, dag_id="monthly_invoicing", dag_run_id="large", period=PERIOD)
        for stage in ("generate", "count", "decide"):
            found[stage] = measured(stage, dsn, run_id, tmp_path)
        for stage in ("generate", "count", "decide"):
            found[f"{stage} again"] = measured(stage, dsn, run_id, tmp_path)
    with capsys.disabled():
        for stage, measure in found.items():
            print(f"\n{stage}: {json.dumps(asdict(measure))}", end="")
    first = [found[stage] for stage in ("generate", "count", "decide")]

    assert found["generate"].result["issued"] > 0.99 * LEASES
    # Other tests' work is not its own: of a processor, not of the clock.
    assert sum(each.work_seconds for each in first) < MOST_SECONDS * slowness()
    assert max(each.peak_mb for each in found.values()) < MOST_MB


def test_a_million_tenants_are_decided_on(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with server.fresh_copy() as dsn:
        found = measured("rules", dsn, 1_000_000, tmp_path)
    with capsys.disabled():
        print(f"\nrules, a million tenants: {json.dumps(asdict(found))}", end="")

    assert sum(found.result["outcomes"].values()) == 1_000_000
    assert found.result["seconds"] < 30 * slowness()


FLAT = ("generate", "count", "decide", "prepare", "render", "send", "close", "report", "csv")


def test_ten_times_the_tenants_need_no_more_memory(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    peaks: dict[str, dict[int, float]] = {}
    for leases in (1_000, 10_000):
        folder = tmp_path / str(leases)
        folder.mkdir()
        with large_agency(leases) as dsn, FaultyRelay(folder / "relay.log") as relay:
            (folder / "relay").write_text(str(relay.port))
            with connect(dsn) as db:
                run_id = runs.open_run(db, dag_id="monthly_invoicing", dag_run_id="large", period=PERIOD)
            for stage in (*FLAT, "generate", "decide"):
                name = f"{stage} again" if leases in peaks.get(stage, {}) else stage
                peaks.setdefault(name, {})[leases] = measured(stage, dsn, run_id, folder).peak_mb
    with capsys.disabled():
        print(f"\n{json.dumps(peaks, indent=1)}")

    grown = {name: mb for name, mb in peaks.items() if mb[10_000] > 1.1 * mb[1_000]}
    assert grown == {}
