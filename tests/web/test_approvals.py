"""A month that waits: what its page shows, and who answers on it, and by the JSON API."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser as Chromium

from invoicing.domain.errors import WorkFailedError
from invoicing.domain.period import Period
from invoicing.services.agency.settings import change_settings
from invoicing.services.billing import count, generate, runs
from invoicing.services.delivery import approvals, select
from support.browser import axe_violations, is_wider_than_its_window, rules_of, serve, unfold, visit
from support.month import NOVEMBER, Month, November
from support.visiting import Browser

HERE = "/cycles/2026-11"
API = "/cycles/2026-11"


@pytest.fixture
def told() -> list[tuple[str, str, str]]:
    """Run, answer and person, each time that Airflow was told."""
    return []


@pytest.fixture
def month(november: November, tmp_path: Path, told: list[tuple[str, str, str]]) -> Iterator[Month]:
    """November sent; one lease more, and a run that waits with its invoice."""

    def resume(run: Any, answered: Any, visitor: Any) -> None:
        told.append((run.dag_run_id, answered.state, visitor.id))

    with november.copy(tmp_path, resume=resume) as copied:
        change_settings(copied.db, {"approval": "always"}, actor="test")
        copied.put_out_of_step()
        look(copied)
        yield copied


def look(month: Month) -> approvals.Verdict:
    """What the run does until it waits."""
    run_id = runs.open_run(month.db, dag_id="monthly_invoicing", dag_run_id="late", period=NOVEMBER)
    generate.generate_invoices(month.db, run_id)
    count.count_invoices(month.db, run_id)
    select.select_recipients(month.db, run_id)
    return approvals.look(month.db, run_id)


@pytest.fixture
def page(month: Month) -> Browser:
    return month.app.as_editor("en")


def answer(month: Month) -> tuple[str, str] | None:
    row = month.db.execute("SELECT answer, via FROM invoicing.approval_answer ORDER BY id DESC").fetchone()
    return None if row is None else (row["answer"], row["via"])


def test_the_page_shows_what_would_leave_and_lets_it(
    month: Month, page: Browser, told: list[tuple[str, str, str]]
) -> None:
    shown = page.see(HERE).text
    assert "Waits for approval" in shown
    assert "Every month is approved." in shown
    assert "Approve and send" in shown
    done = page.submit(f"{HERE}/approve", {"reason": "looked <b>at it</b>"})
    assert "Approved: the messages leave in a moment" in done.text
    assert "looked &lt;b&gt;at it" in done.text
    assert answer(month) == ("approved", "page")
    assert ("late", "approved") in [each[:2] for each in told]
    assert "Approve and send" not in page.see(HERE).text


def test_the_second_answer_is_told_of_the_first(month: Month, page: Browser) -> None:
    assert "give a reason" in page.submit(f"{HERE}/reject", {"reason": " "}).text.lower()
    assert answer(month) is None
    assert "Rejected: nothing leaves" in page.submit(f"{HERE}/reject", {"reason": "a wrong text"}).text
    second = page.submit(f"{HERE}/approve", {"reason": ""})
    assert second.status_code == 422
    assert "was rejected already, by" in second.text
    assert answer(month) == ("rejected", "page")


def test_what_changed_while_the_page_was_open_is_not_approved(month: Month, page: Browser) -> None:
    month.db.execute("UPDATE invoicing.tenant SET cc_emails = '{otra@correo.example}' WHERE code = 'RITA'")
    refused = page.submit(f"{HERE}/approve", {"reason": ""})
    assert refused.status_code == 422
    assert "changed meanwhile" in refused.text
    assert answer(month) == ("overtaken", "page")
    assert look(month).state == "wait"
    assert "It is asked again" in page.see(HERE).text


def test_who_only_looks_sees_it_and_cannot_answer(month: Month) -> None:
    viewer = month.app.as_viewer("en")
    assert "Waits for approval" in viewer.see(HERE).text
    assert "Approve and send" not in viewer.see(HERE).text
    assert viewer.submit(f"{HERE}/approve", {"reason": ""}).status_code == 403
    assert viewer.submit(f"{HERE}/reject", {"reason": "x"}).status_code == 403
    assert answer(month) is None


def test_the_json_api_answers_too(month: Month, page: Browser) -> None:
    waiting = page.ask("GET", API).json()["approval"]
    assert (waiting["state"], waiting["actor"], waiting["reason"]) == ("waiting", None, None)
    done = page.ask("POST", f"{API}/approve", {"reason": "fine"})
    assert done.status_code == 200, done.text
    assert done.json()["airflow_told"] is True
    assert done.json()["approval"]["state"] == "approved"
    again = page.ask("POST", f"{API}/reject", {"reason": "no"})
    assert (again.status_code, again.json()["code"]) == (422, "approval_approved_already")


def test_an_answer_that_airflow_does_not_hear_of_is_kept_and_said(november: November, tmp_path: Path) -> None:
    def away(*_: object) -> None:
        raise WorkFailedError("airflow_absent")

    with november.copy(tmp_path, resume=away) as month:
        change_settings(month.db, {"approval": "always"}, actor="test")
        month.put_out_of_step()
        look(month)
        said = month.app.as_editor("en").submit(f"{HERE}/approve", {"reason": ""}).text
        assert "It is stored, but Airflow was not told" in said
        assert answer(month) == ("approved", "page")


def test_what_waits_is_for_everybody_to_read(month: Month, chromium: Chromium) -> None:
    """Light and dark, narrow and wide, both languages; answered with the month before beside it."""
    october = runs.open_run(month.db, dag_id="monthly_invoicing", dag_run_id="o", period=Period(2026, 10))
    generate.generate_invoices(month.db, october)
    count.count_invoices(month.db, october)
    select.select_recipients(month.db, october)
    month.db.execute("UPDATE invoicing.tenant SET cc_emails = '{otra@correo.example}' WHERE code = 'RITA'")
    look(month)
    found: dict[str, str] = {}
    with serve(month.app) as address:
        for scheme, width, language in (("light", 390, "es"), ("dark", 1280, "en")):
            with visit(chromium, address, color_scheme=scheme, width=width, language=language) as context:
                page = context.new_page()
                page.goto(f"{address}{HERE}")
                assert page.locator("#approval .tally li").count() > 3
                unfold(page)
                name = f"{scheme} {width}"
                if report := axe_violations(page, {"iframes": False, **rules_of(scheme)}):
                    found[name] = report
                if is_wider_than_its_window(page):
                    found[name] = "wider than its window"
                if folder := os.environ.get("INVOICING_TEST_PICTURES"):
                    page.screenshot(path=f"{folder}/approval-{scheme}-{width}.png", full_page=True)
    assert found == {}
