"""A page of a list takes no longer with 100,000 tenants than with 10,000; nor does the first row of a CSV file."""

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from invoicing.db.connection import connect
from support.database import Server, as_superuser
from support.large_agency import fill
from support.pace import slowness
from support.visiting import App, open_app

pytestmark = [pytest.mark.long, pytest.mark.alone, pytest.mark.timeout(1_800)]

SMALL, LARGE = 10_000, 100_000
MONTHS = 2
MOST = 1.5
# What a median may be off by, whatever the ratio.
NOISE_SECONDS = 0.010
ROUNDS = 7
PAGES = (
    "/tenants",
    "/tenants?page=300&after=T07500",
    "/tenants?page=299&before=T07501",
    "/tenants?sort=-name&page=100&after=T05000",
    "/tenants?sort=updated&size=100",
    "/tenants?q=zuluaga+9999",
    "/tenants?q=t7777@correo",
    "/tenants?problem=no_email",
    "/tenants?problem=invalid_email",
    "/tenants?auto_send=no&sort=name",
    "/cycles",
    "/cycles/2026-11",
    "/cycles/2026-11?page=300&after=T07500",
    "/cycles/2026-11?q=t7777@correo",
    "/cycles/2026-11?outcome=tenant_only_multiple&sort=-name",
    "/cycles/2026-11?outcome=skip",
    "/cycles/2026-11?state=failed",
    "/cycles/2026-11?state=none&sort=-updated",
    "/cycles/2026-11?sort=state&size=100",
    "/cycles/2026-11?sort=-updated",
    "/cycles/2026-11?sort=-invoices",
    "/cycles/2026-11?sort=decision",
    "/cycles/2026-11/overview",
    "/cycles/singles",
    "/cycles/singles?kind=resends",
    "/api/v1/tenants?limit=100&q=t77777",
)
FILES = ("/cycles/2026-11/tenants.csv", "/cycles/2026-11/invoices.csv")


@pytest.fixture(scope="module")
def agencies(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[int, App]]:
    """The same agency twice, by its number of tenants."""
    with ExitStack() as stack:
        apps = {}
        for tenants in (SMALL, LARGE):
            dsn = stack.enter_context(server.fresh_copy())
            with connect(as_superuser(dsn)) as db:
                db.execute("SET session_replication_role = replica")
                fill(db, tenants, MONTHS)
            apps[tenants] = stack.enter_context(open_app(dsn, tmp_path_factory.mktemp("archive")))
        yield apps


def in_turns(measure: Callable[[App], float], agencies: dict[int, App]) -> dict[int, float]:
    """Medians, measured alternately: what else the machine does falls on both."""
    times: dict[int, list[float]] = {tenants: [] for tenants in agencies}
    for _ in range(ROUNDS + 1):
        for tenants, app in agencies.items():
            times[tenants].append(measure(app))
    return {tenants: statistics.median(each[1:]) for tenants, each in times.items()}


def test_a_page_takes_no_longer_with_ten_times_the_tenants(
    agencies: dict[int, App], capsys: pytest.CaptureFixture[str]
) -> None:
    browsers = {tenants: app.as_editor() for tenants, app in agencies.items()}
    by_app = {id(app): browsers[tenants] for tenants, app in agencies.items()}

    def see(path: str) -> Callable[[App], float]:
        def measure(app: App) -> float:
            begun = time.perf_counter()
            assert by_app[id(app)].see(path).status_code == 200, path
            return time.perf_counter() - begun

        return measure

    medians = {path: in_turns(see(path), agencies) for path in PAGES}
    noise = NOISE_SECONDS * slowness()

    with capsys.disabled():
        print()
        for path, found in medians.items():
            ratio = found[LARGE] / found[SMALL]
            print(f"  {1000 * found[SMALL]:6.0f} ms {1000 * found[LARGE]:6.0f} ms  x {ratio:4.2f}  {path}")
    assert [path for path, found in medians.items() if found[LARGE] > MOST * found[SMALL] + noise] == []


def test_a_csv_file_begins_as_soon_and_is_read_as_fast_with_ten_times_the_tenants(
    agencies: dict[int, App], capsys: pytest.CaptureFixture[str]
) -> None:
    for path in FILES:
        first: dict[int, list[float]] = {tenants: [] for tenants in agencies}
        pace: dict[int, list[float]] = {tenants: [] for tenants in agencies}
        for _ in range(3):
            for tenants, app in agencies.items():
                until_first, seconds, rows = read(app, path)
                assert rows >= tenants
                first[tenants].append(until_first)
                pace[tenants].append(rows / seconds)
        begins = {tenants: statistics.median(each) for tenants, each in first.items()}
        rows_per_second = {tenants: statistics.median(each) for tenants, each in pace.items()}
        with capsys.disabled():
            print(
                f"\n  first row {1000 * begins[SMALL]:.0f} ms, {1000 * begins[LARGE]:.0f} ms,"
                f" x {begins[LARGE] / begins[SMALL]:.2f}; {rows_per_second[SMALL]:.0f} and"
                f" {rows_per_second[LARGE]:.0f} rows a second, x"
                f" {rows_per_second[SMALL] / rows_per_second[LARGE]:.2f}  {path}"
            )
        assert begins[LARGE] <= MOST * begins[SMALL] + NOISE_SECONDS * slowness()
        assert rows_per_second[SMALL] <= MOST * rows_per_second[LARGE]


def read(app: App, path: str) -> tuple[float, float, int]:
    """Seconds until the first row, and until the end, and the rows: of the app itself, as a server asks it."""
    arrived: list[tuple[float, int]] = []

    async def receive() -> dict[str, Any]:
        await anyio.lowlevel.checkpoint()
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            assert message["status"] == 200
        elif message.get("body"):
            arrived.append((time.perf_counter(), message["body"].count(b"\r\n")))

    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": f"/invoicing{path}",
        "raw_path": f"/invoicing{path}".encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(b"host", b"airflow.test"), (b"cookie", b"visitor=ana")],
        "client": ("127.0.0.1", 50_000),
        "server": ("airflow.test", 80),
    }
    begun = time.perf_counter()
    anyio.run(app.parent, scope, receive, send)
    return arrived[0][0] - begun, arrived[-1][0] - begun, sum(rows for _, rows in arrived) - 1
