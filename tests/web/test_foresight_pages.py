"""The page of a month that did not happen yet: what it says, what it leads to, and the run that it asks for."""

import csv
import datetime
import io
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from invoicing.db.connection import Database, connect
from invoicing.domain.errors import WorkFailedError
from invoicing.domain.period import Period
from invoicing.services.agency import clock
from invoicing.services.billing import runs
from invoicing.services.views import foresight, simulate
from invoicing.services.views.simulate import Stage
from invoicing.web import foresights
from invoicing.web.outside import Triggered
from invoicing.web.pages import foresight as page_of_foresight
from support.month import Month, November
from support.visiting import Browser

DECEMBER = Period(2026, 12)
HERE = "/foresight/2026-12"


@pytest.fixture(autouse=True)
def november_20(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "today", lambda: datetime.date(2026, 11, 20))


@pytest.fixture(autouse=True)
def patient_page(monkeypatch: pytest.MonkeyPatch) -> None:
    """A crowded machine may take a second for a small month: only tests of waiting see how far it is."""
    monkeypatch.setattr(page_of_foresight, "_PAGE_PATIENCE_SECONDS", 30)


@pytest.fixture
def asked() -> list[tuple[str, bool, str]]:
    """The runs that Airflow was asked for: month, whether it was confirmed, by whom."""
    return []


@pytest.fixture
def month(november: November, tmp_path: Path, asked: list[tuple[str, bool, str]]) -> Iterator[Month]:
    def run_month(period: Period, is_confirmed: bool, by: str) -> Triggered:
        asked.append((str(period), is_confirmed, by))
        return Triggered(f"{period} manual 1", is_paused=len(asked) > 1)

    with november.copy(tmp_path, run_month=run_month) as copied:
        db = copied.db
        db.execute("UPDATE invoicing.lease SET rent = 1200000 WHERE code = 'ANA-0'")
        db.execute("UPDATE invoicing.lease SET end_date = '2026-11-30' WHERE code IN ('BEA-1', 'DAN-0')")
        db.execute(
            "INSERT INTO invoicing.lease (code, tenant_id, property, use, start_date, rent, currency)"
            " SELECT 'CAM-1', id, 'Calle 2', 'residential', '2026-12-01', 900000, 'COP'"
            " FROM invoicing.tenant WHERE code = 'CAM'"
        )
        yield copied


@pytest.fixture
def page(month: Month) -> Browser:
    return month.app.as_editor("en")


def words(html: str) -> str:
    html = re.sub(r"(?s)<(script|style).*?</\1>", " ", html)
    return " ".join(re.sub(r"<[^>]+>", " ", html).replace("\xa0", " ").replace("&#39;", "'").split())


def tenants_shown(html: str) -> list[str]:
    return re.findall(r'<span class="second mono">(\w+)</span></th>', html)


def test_the_first_page_leads_to_the_next_month_in_one_click(page: Browser):
    assert 'href="/invoicing/foresight"' in page.see("/cycles").text

    answer = page.see("/foresight")

    assert (answer.status_code, answer.url.path) == (200, f"/invoicing{HERE}")
    assert page.see("/foresight?period=2027-03").url.path == "/invoicing/foresight/2027-03"
    assert page.see("/foresight?period=marzo").status_code == 422
    assert page.see("/foresight/2026-13").status_code == 422


def test_the_page_tells_what_a_run_would_do_and_what_differs(page: Browser, month: Month):
    html = page.see(HERE).text
    told = words(html)

    assert "6 invoices 5 tenants" in told
    assert "COP COP 6,100,000 COP 0 COP 0 COP 6,100,000 COP 7,000,000 -COP 900,000 -12.9%" in told
    assert "New leases +COP 900,000 1" in told
    assert "Ended leases -COP 2,000,000 2" in told
    assert "Leases with another amount +COP 200,000 1" in told
    # Bea and Camila changed places: she has one invoice now, and he has two.
    assert "Tenants with another decision 2" in told
    assert "COP 1,000,000 → COP 1,200,000 · +COP 200,000 +20%" in told
    assert tenants_shown(html) == ["EVA", "BEA", "ANA", "DAN", "CAM", "RITA"]
    assert month.db.execute("SELECT count(*) AS n FROM invoicing.billing_cycle").fetchone() == {"n": 1}


def test_amounts_and_dates_are_written_as_colombians_write_them(month: Month):
    told = words(month.app.as_viewer().see(HERE).text)

    assert "$ 6.100.000" in told
    assert "-$ 900.000 -12,9 %" in told
    assert "Diciembre de 2026" in told or "diciembre de 2026" in told


@pytest.mark.parametrize(
    ("asked_for", "found"),
    [
        ("?change=ended", ["BEA", "DAN"]),
        ("?change=any", ["BEA", "ANA", "DAN", "CAM"]),
        ("?outcome=send", ["ANA", "CAM", "RITA"]),
        ("?outcome=no_email", ["EVA"]),
        ("?address=problem", ["EVA"]),
        ("?q=pena ana-0", ["ANA"]),
        ("?q=nobody", []),
        ("?sort=-total", ["CAM", "ANA", "BEA", "EVA", "RITA", "DAN"]),
        ("?sort=name&size=25", ["BEA", "ANA", "CAM", "DAN", "EVA", "RITA"]),
        ("?sort=';drop&change=x", ["EVA", "BEA", "ANA", "DAN", "CAM", "RITA"]),
    ],
)
def test_tenants_are_found_filtered_and_sorted(page: Browser, asked_for: str, found: list[str]):
    assert tenants_shown(page.see(f"{HERE}{asked_for}").text) == found


def test_what_tenants_are_called_is_never_markup(page: Browser):
    for path in (HERE, f"{HERE}?q=<script>alert(1)</script>"):
        html = page.see(path).text
        assert "<img src=x" not in html
        assert "<script>alert" not in html
        assert not re.search(r"\sstyle=|\son\w+=", re.sub(r"&lt;.*?&gt;", "", html))


def test_the_export_has_a_row_a_lease_and_no_formula(page: Browser):
    answer = page.see(f"{HERE}/invoices.csv?change=any")

    assert 'filename="next-month-2026-12.csv"' in answer.headers["content-disposition"]
    rows = {row["lease"]: row for row in csv.DictReader(io.StringIO(answer.content.decode("utf-8-sig")))}
    assert set(rows) == {"ANA-0", "BEA-0", "BEA-1", "DAN-0", "CAM-0", "CAM-1"}
    ana, ended = rows["ANA-0"], rows["BEA-1"]
    assert (ana["total"], ana["month before"], ana["increase"], ana["decrease"]) == (
        "1200000",
        "1000000",
        "200000",
        "",
    )
    assert (ana["% of the month before"], ana["what changes"]) == ("120.0", "Another amount")
    assert (ended["total"], ended["decrease"], ended["% of the month before"]) == ("", "1000000", "0.0")
    assert rows["BEA-0"]["name"] == "'=cmd|'/c calc'!A1"
    assert rows["BEA-0"]["decision before"] == "mail"
    assert rows["ANA-0"]["to"] == "ana@correo.example"
    assert all(
        not cell.startswith(("=", "+", "-", "@", "\t", "\r"))
        for row in rows.values()
        for cell in row.values()
    )


def test_an_invoice_is_seen_before_it_is_issued(page: Browser, month: Month):
    number = re.search(rf'href="/invoicing{HERE}/leases/ANA-0">([^<]+)</a>', page.see(HERE).text)
    assert number

    shown = page.see(f"{HERE}/leases/ANA-0").text
    pdf = page.see(f"{HERE}/leases/ANA-0/invoice.pdf")
    frame = page.see(f"{HERE}/leases/ANA-0/pages")

    assert f"Preview {number[1]}" in words(shown)
    assert "COP 1,200,000" in words(shown)
    assert pdf.content.startswith(b"%PDF")
    assert number[1] in pdf.headers["content-disposition"]
    assert "data:image/png;base64," in frame.text
    assert frame.headers["content-security-policy"].startswith("sandbox; default-src 'none'")
    assert month.db.execute("SELECT count(*) AS n FROM invoicing.invoice_document").fetchone() == {"n": 4}
    for lease in ("BEA-1", "nothing", "%00"):
        assert page.see(f"{HERE}/leases/{lease}").status_code == 404


def test_an_invoice_that_is_there_is_shown_as_it_is(page: Browser):
    page.see("/foresight/2026-11")

    assert page.see("/foresight/2026-11/leases/EVA-0").url.path.startswith("/invoicing/invoices/FV-")


def test_the_month_is_run_from_its_page(page: Browser, asked: list[Any]):
    answer = page.submit(f"{HERE}/run", {})

    assert asked == [("2026-12", False, "ana")]
    assert "Airflow has the run" in words(answer.text)
    assert "dags/monthly_invoicing/runs/2026-12%20manual%201" in answer.text
    assert "paused" not in words(answer.text)
    assert "The DAG is paused" in words(page.submit(f"{HERE}/run", {}).text)


@pytest.mark.parametrize("typed", ["", "2027-05", "yes"])
def test_a_far_month_is_typed_once_more(page: Browser, asked: list[Any], typed: str):
    refused = page.submit("/foresight/2027-06/run", {"confirm_month": typed})

    assert (refused.status_code, asked) == (422, [])
    assert "type 2027-06 to confirm" in words(refused.text)
    assert f'value="{typed}"' in refused.text
    page.submit("/foresight/2027-06/run", {"confirm_month": " 2027-06 "})
    assert asked == [("2027-06", True, "ana")]


def test_a_month_that_is_open_is_not_typed_again(
    page: Browser, asked: list[Any], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(clock, "today", lambda: datetime.date(2027, 8, 1))

    assert "confirm_month" not in page.see("/foresight/2026-11").text
    page.submit("/foresight/2026-11/run", {})

    assert asked == [("2026-11", False, "ana")]


def test_who_may_not_trigger_sees_no_button_and_is_refused(month: Month, asked: list[Any]):
    viewer = month.app.as_viewer("en")

    assert "Run this month" not in words(viewer.see(HERE).text)
    assert "permission to trigger the DAG monthly_invoicing" in words(viewer.submit(f"{HERE}/run", {}).text)
    assert asked == []


def test_an_airflow_that_refuses_is_told(november: November, tmp_path: Path):
    def refuse(*_: Any) -> Triggered:
        raise WorkFailedError("airflow_dag_absent", dag="monthly_invoicing")

    with november.copy(tmp_path, run_month=refuse) as month:
        answer = month.app.as_editor("en").submit(f"{HERE}/run", {})

    assert answer.status_code == 503
    assert "Airflow knows no DAG monthly_invoicing" in words(answer.text)


def test_a_run_that_would_fail_is_told(page: Browser, month: Month):
    month.db.execute("UPDATE invoicing.lease SET use = 'commercial' WHERE code = 'ANA-0'")

    answer = page.see(HERE)

    assert answer.status_code == 422
    assert "The run would fail. lease ANA-0: no iva rate is in force" in words(answer.text)


@contextmanager
def slow(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], None]]:
    """A month takes long to be worked out, until the function is called."""
    go_on = threading.Event()
    foresee = foresight.foresee

    def take_long(db: Database, period: Period, tell: Callable[[Stage], None]) -> foresight.Foresight:
        tell("decisions")
        assert go_on.wait(30)
        return foresee(db, period, tell)

    monkeypatch.setattr(foresight, "foresee", take_long)
    monkeypatch.setattr(page_of_foresight, "_PAGE_PATIENCE_SECONDS", 0.05)
    try:
        yield go_on.set
    finally:
        go_on.set()


def test_a_month_that_takes_long_shows_how_far_it_is_and_then_itself(
    page: Browser, month: Month, monkeypatch: pytest.MonkeyPatch
):
    with slow(monkeypatch) as go_on:
        waiting = page.see(HERE)
        found = re.search(r'data-awaited="(\w+)"', waiting.text)
        assert found
        awaited = found[1]
        progress = f"/foresight/2026-12/progress?of={awaited}"
        assert waiting.status_code == 202
        told = page.ask("GET", progress).json()
        assert (told["done"], told["stage"], told["stages"]) == (False, 1, 3)

        go_on()
        deadline = time.monotonic() + 20
        while not page.ask("GET", progress).json()["done"]:
            assert time.monotonic() < deadline
            time.sleep(0.05)

    # Something changed meanwhile: whoever waited is shown what they waited for all the same, and for a moment only.
    month.db.execute("UPDATE invoicing.lease SET rent = rent + 1 WHERE code = 'EVA-0'")
    monkeypatch.setattr(page_of_foresight, "_PAGE_PATIENCE_SECONDS", 30)
    assert "COP 6,100,000" in words(page.see(f"{HERE}?of={awaited}").text)
    assert "COP 6,100,001" in words(page.see(HERE).text)
    monkeypatch.setattr(foresights, "_AWAITED_SECONDS", 0)
    assert "COP 6,100,001" in words(page.see(f"{HERE}?of={awaited}").text)


def test_one_month_is_worked_out_at_a_time(page: Browser, month: Month, monkeypatch: pytest.MonkeyPatch):
    with slow(monkeypatch) as go_on:
        assert page.see(HERE).status_code == 202

        busy, by_program = page.see("/foresight/2027-01"), page.ask("GET", "/foresight/2027-01")

        for answer in (busy, by_program):
            assert (answer.status_code, answer.headers["retry-after"]) == (429, "3")
        assert "another month is being worked out" in words(busy.text)
        assert by_program.json()["code"] == "foresights_busy"
        # The same month is one's own.
        assert page.see(HERE).status_code == 202
        # Other pages are served.
        assert page.see("/cycles").status_code == 200
        go_on()


def test_what_nothing_changed_is_worked_out_once(page: Browser, monkeypatch: pytest.MonkeyPatch):
    worked_out: list[Period] = []
    foresee = foresight.foresee

    def counting(db: Database, period: Period, tell: Callable[[Stage], None]) -> foresight.Foresight:
        worked_out.append(period)
        return foresee(db, period, tell)

    monkeypatch.setattr(foresight, "foresee", counting)

    for path in (HERE, f"{HERE}?change=new", f"{HERE}/invoices.csv", HERE):
        assert page.see(path).status_code == 200

    assert worked_out == [DECEMBER]


def test_a_month_at_work_is_a_reason_to_come_back(
    page: Browser, month: Month, dsn_of_month: str, monkeypatch: pytest.MonkeyPatch
):
    run_id = runs.open_run(month.db, dag_id="monthly_invoicing", dag_run_id="other", period=Period(2026, 11))
    with connect(dsn_of_month) as other, other.transaction():
        runs.lock(other, runs.load_run(other, run_id))
        with monkeypatch.context() as impatient:
            impatient.setattr(page_of_foresight, "_PAGE_PATIENCE_SECONDS", 0.05)
            waiting = page.see("/foresight/2026-11")
        awaited = re.search(r'data-awaited="(\w+)"', waiting.text)
        assert awaited
        deadline = time.monotonic() + 20
        while not page.ask("GET", f"/foresight/2026-11/progress?of={awaited[1]}").json()["done"]:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        told = page.see(f"/foresight/2026-11?of={awaited[1]}")
    assert (told.status_code, told.headers["retry-after"]) == (503, "3")
    assert "a run of 2026-11, an import or another look at the month is at work" in words(told.text)
    # It is told once: the next one tries anew.
    assert page.see("/foresight/2026-11").status_code == 200


@pytest.fixture
def dsn_of_month(month: Month) -> str:
    return month.db.info.dsn


def test_a_fault_of_ours_is_told_and_leaves_nothing_behind(page: Browser, monkeypatch: pytest.MonkeyPatch):
    def break_(*_: Any) -> None:
        raise RuntimeError("a bug")

    with monkeypatch.context() as broken:
        broken.setattr(foresight, "foresee", break_)
        assert page.see(HERE).status_code == 503
    assert page.see(HERE).status_code == 200


def test_the_api_has_what_the_page_has(page: Browser, month: Month):
    answer = page.ask("GET", "/foresight/2026-12").json()

    assert answer["compared_with"] == "2026-11"
    assert answer["decisions"] == {"send": 3, "no_email": 1, "tenant_only_multiple": 1}
    assert {row["tenant"]: row["change"] for row in answer["tenants"]} == {
        "ANA": "amount",
        "BEA": "ended",
        "CAM": "new",
        "DAN": "ended",
        "EVA": None,
        "RITA": None,
    }
    assert answer["totals"][0]["total"] == "6100000"
    simulated = {row["tenant"]: row for row in simulate.simulate_rows(month.db, DECEMBER)}
    for row in answer["tenants"]:
        if row["invoices"]:
            assert row["reason"] == simulated[row["tenant"]]["reason"]
            assert row["changes"] == simulated[row["tenant"]]["changes"]


def test_few_months_are_kept(page: Browser):
    for number in range(1, 7):
        assert page.see(f"/foresight/2027-0{number}").status_code == 200

    kept = page.app.routes[-1].app.state.foresights._kept  # type: ignore[attr-defined]

    assert len(kept) == foresights._KEPT
