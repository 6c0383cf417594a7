"""The templates' and cycles' pages in a real browser: usable by everybody, and their scripts do what they promise."""

import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from invoicing.domain.period import Period
from invoicing.services.agency import clock
from invoicing.services.views import foresight
from invoicing.web.outside import Triggered
from support.browser import axe_violations, is_wider_than_its_window, rules_of, serve, unfold, visit
from support.month import Month, November


@dataclass(frozen=True, slots=True)
class Site:
    """The pages of a small agency after its November, served."""

    address: str
    month: Month

    def paths(self) -> dict[str, str]:
        """Every page by a name."""
        failed = self.month.delivery("RITA")
        number = self.month.db.execute("SELECT min(number) AS number FROM invoicing.invoice").fetchone()
        assert number is not None
        places = {
            "cycles": "/cycles",
            "cycle": "/cycles/2026-11",
            "cycle-none": "/cycles/2026-11?q=nadie",
            "foresight": "/foresight/2026-12",
            "foresight-first": "/foresight/2026-11",
            "foresight-none": "/foresight/2026-12?q=nadie",
            "foresight-far": "/foresight/2031-06?run=2031-06+manual+1&paused=yes",
            "foresight-refused": "/foresight/2001-02",
            "foresight-invoice": "/foresight/2026-12/leases/ANA-0",
            "cycle-tenant": "/cycles/2026-11/tenants/RITA",
            "cycle-tenant-skipped": "/cycles/2026-11/tenants/CAM",
            "singles": "/cycles/singles",
            "resends": "/cycles/singles?kind=resends",
            "delivery": f"/deliveries/{failed}",
            "message": f"/deliveries/{failed}/message",
            "invoice": f"/invoices/{number['number']}",
            "templates": "/templates",
            "template": "/templates/default",
            "template-versions": "/templates/default/versions",
            "template-version": "/templates/default/versions/1",
        }
        return {name: self.address + place for name, place in places.items()}


@pytest.fixture(scope="module")
def site(november: November, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with november.copy(tmp_path_factory.mktemp("month")) as month, serve(month.app) as address:
        month.put_out_of_step()
        month.change_for_december()
        yield Site(address, month)


@pytest.fixture
def page(chromium: Browser, site: Site) -> Iterator[Page]:
    with visit(chromium, site.address) as context:
        page = context.new_page()
        page.set_default_timeout(20_000)
        expect.set_options(timeout=20_000)
        yield page


@pytest.mark.parametrize("who", ["ana", "luis"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_violation(chromium: Browser, site: Site, scheme: str, who: str):
    found: dict[str, str] = {}
    with visit(
        chromium, site.address, who, color_scheme=scheme, language="en" if who == "luis" else "es"
    ) as context:
        page = context.new_page()
        for name, address in site.paths().items():
            page.goto(address)
            unfold(page)
            if report := axe_violations(page, {"iframes": False, **rules_of(scheme)}):
                found[name] = report

    assert found == {}, "\n\n".join(f"{name}:\n{report}" for name, report in found.items())


@pytest.mark.parametrize("width", [390, 1280])
def test_no_page_is_wider_than_the_window(chromium: Browser, site: Site, width: int):
    too_wide = []
    with visit(chromium, site.address, width=width) as context:
        page = context.new_page()
        for name, address in site.paths().items():
            page.goto(address)
            unfold(page)
            if is_wider_than_its_window(page):
                too_wide.append(name)

    assert too_wide == []


def test_the_pages_break_no_rule_of_their_own_policy(page: Page, site: Site):
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))

    for name, address in site.paths().items():
        page.goto(address)
        page.wait_for_load_state("networkidle")
        # The browser itself complains of an answer that says no.
        assert complaints == [] or name == "foresight-refused", name
        complaints.clear()


def test_the_preview_follows_what_is_typed(page: Page, site: Site):
    page.goto(f"{site.address}/templates/default")
    area = page.get_by_role("textbox", name="Correo mail.html")
    preview = page.frame_locator("iframe[name=preview]")
    expect(preview.get_by_text("Cordial saludo")).to_be_visible()
    history = page.evaluate("history.length")

    area.fill(area.input_value().replace("Cordial saludo", "Muy buenos días"))

    expect(preview.get_by_text("Muy buenos días")).to_be_visible()
    page.get_by_role("tab", name="Estilo de la factura").click()
    expect(preview.get_by_role("img", name="Página 1 de 1")).to_be_visible()
    expect(page.get_by_role("button", name="Factura", exact=True)).to_have_attribute("aria-pressed", "true")
    assert page.evaluate("history.length") == history


def test_a_problem_stands_beside_its_line_and_leads_to_it(page: Page, site: Site):
    page.goto(f"{site.address}/templates/default")
    page.get_by_role("tab", name="Correo sin formato").click()
    area = page.get_by_role("textbox", name="Correo sin formato mail.txt")

    area.fill("uno\ndos\n{{ nadie }}\ncuatro")

    problem = page.get_by_role("link", name="línea 3")
    expect(problem).to_be_visible()
    expect(page.get_by_text("no existe la variable «nadie»")).to_be_visible()
    expect(page.locator("#panel-mail_txt .code__lines b")).to_have_text("3")
    problem.click()
    expect(area).to_be_focused()
    assert page.evaluate("getSelection().toString()") in ("{{ nadie }}", "")
    assert area.evaluate("area => area.value.slice(area.selectionStart, area.selectionEnd)") == "{{ nadie }}"
    area.fill("uno\n")
    expect(page.get_by_text("Sin problemas")).to_be_visible()
    expect(problem).to_be_hidden()


def test_what_is_refused_stays_in_the_editor_at_its_part(page: Page, site: Site):
    page.goto(f"{site.address}/templates/default")
    page.get_by_role("tab", name="Factura", exact=True).click()
    area = page.get_by_role("textbox", name="Factura invoice.html")
    area.fill('<p>{{ invoice.number }}</p>\n<img src="file:///etc/passwd" alt="">')

    page.get_by_role("button", name="Guardar versión").click()

    summary = page.get_by_role("alert")
    expect(summary).to_be_focused()
    expect(summary).to_contain_text("está bloqueado")
    expect(page.get_by_role("tab", name=re.compile("^Factura"))).to_have_attribute("aria-selected", "true")
    expect(area).to_have_value(re.compile("/etc/passwd"))
    summary.get_by_role("link").first.click()
    expect(area).to_be_focused()


def test_parts_are_walked_through_by_keyboard(page: Page, site: Site):
    page.goto(f"{site.address}/templates/default")
    page.get_by_role("tab", name="Correo", exact=True).focus()

    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("tab", name="Correo sin formato")).to_be_focused()
    page.keyboard.press("End")
    expect(page.get_by_role("tab", name="Estilo de la factura")).to_be_focused()
    page.keyboard.press("Tab")

    expect(page.get_by_role("textbox", name="Estilo de la factura invoice.css")).to_be_focused()


def test_a_tenant_is_found_for_the_preview(page: Page, site: Site):
    page.goto(f"{site.address}/templates/default")
    preview = page.frame_locator("iframe[name=preview]")

    page.get_by_label("Tercero").press_sequentially("peñ")
    expect(page.locator("#tenant-list option")).to_have_attribute("value", "ANA · Ana Peña")
    page.get_by_label("Tercero").fill("ANA · Ana Peña")
    page.get_by_label("Período").fill("2026-11")
    page.get_by_label("Período").press("Enter")

    expect(preview.get_by_text("Ana Peña")).to_be_visible()


def test_nothing_runs_in_a_preview(page: Page, site: Site):
    complaints: list[str] = []
    page.on("dialog", lambda dialog: complaints.append(dialog.message))
    page.goto(f"{site.address}/templates/default")
    area = page.get_by_role("textbox", name="Correo mail.html")
    preview = page.frame_locator("iframe[name=preview]")
    shown = area.input_value()

    # The gate refuses it: what is in its way is said in its place.
    area.fill(shown.replace("</body>", "<script>parent.alert(1)</script><p onclick=x()>AQUÍ</p></body>"))
    page.get_by_role("button", name="Correo", exact=True).click()

    expect(preview.get_by_text("script")).to_be_visible(timeout=20_000)
    expect(preview.get_by_text("AQUÍ")).to_have_count(0)
    assert complaints == []
    frame = next(frame for frame in page.frames if frame.name == "preview")
    assert frame.url.endswith("preview?view=mail")


def test_a_reader_previews_too(chromium: Browser, site: Site):
    with visit(chromium, site.address, "luis") as context:
        page = context.new_page()
        page.goto(f"{site.address}/templates/default")
        preview = page.frame_locator("iframe[name=preview]")
        page.get_by_role("button", name="Sin formato", exact=True).click()

        expect(preview.get_by_text("Asunto:")).to_be_visible(timeout=20_000)
        expect(page.get_by_role("button", name="Guardar versión")).to_have_count(0)


def test_the_editor_works_without_scripts(chromium: Browser, site: Site):
    context = visit(chromium, site.address, java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{site.address}/templates/default")

    expect(page.locator("textarea")).to_have_count(4)
    page.locator("textarea#mail_txt").fill("Sin guiones {{ tenant.name }}")
    page.get_by_role("button", name="Sin formato", exact=True).click()

    expect(page.frame_locator("iframe[name=preview]").get_by_text("Sin guiones")).to_be_visible(
        timeout=20_000
    )
    context.close()


def test_progress_moves_by_itself_and_stops_when_it_is_over(page: Page, site: Site):
    db = site.month.db
    db.execute("UPDATE invoicing.cycle_run SET state = 'running', ended_at = NULL")
    page.goto(f"{site.address}/cycles/2026-11")
    expect(page.locator(".progress")).to_contain_text("2 de 3")

    rita = site.month.delivery("RITA")
    for state in ("pending", "claimed", "transmitting", "sent"):
        db.execute(
            "UPDATE invoicing.delivery SET state = %(state)s,"
            " claim_until = CASE WHEN %(state)s IN ('claimed', 'transmitting') THEN now() + interval '1 hour' END"
            " WHERE id = %(id)s",
            {"state": state, "id": rita},
        )
    expect(page.locator(".progress")).to_contain_text("3 de 3")
    expect(page.get_by_role("heading", name="1 fallido")).to_have_count(0)
    db.execute("UPDATE invoicing.cycle_run SET state = 'success', ended_at = now()")

    expect(page.locator(".progress")).to_have_count(0)
    expect(page.locator("[data-overview]")).to_have_attribute("data-running", "no")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_a_month_that_takes_long_shows_itself_when_it_is_ready(
    chromium: Browser, site: Site, monkeypatch: pytest.MonkeyPatch, scheme: str, width: int
):
    go_on, foresee = threading.Event(), foresight.foresee

    def take_long(*arguments: Any) -> foresight.Foresight:
        assert go_on.wait(30)
        return foresee(*arguments)

    monkeypatch.setattr(foresight, "foresee", take_long)
    with visit(chromium, site.address, color_scheme=scheme, width=width) as context:
        page = context.new_page()
        # A month that nobody has asked for yet.
        month = f"20{30 + width // 390}-0{1 if scheme == 'light' else 2}"
        page.goto(f"{site.address}/foresight/{month}?change=any")
        expect(page.get_by_role("heading", name="Se está calculando")).to_be_visible()
        assert axe_violations(page) == ""
        assert not is_wider_than_its_window(page)

        go_on.set()

        expect(page.get_by_role("heading", name="Qué saldría")).to_be_visible(timeout=20_000)
        expect(page).to_have_url(f"{site.address}/foresight/{month}?change=any")


def test_a_month_is_run_by_three_clicks_from_the_first_page(
    chromium: Browser, november: November, tmp_path: Path
):
    asked: list[str] = []

    def run_month(period: Period, _is_confirmed: bool, _by: str) -> Triggered:
        asked.append(str(period))
        return Triggered(f"{period} manual 1")

    with (
        november.copy(tmp_path, run_month=run_month) as month,
        serve(month.app) as address,
        visit(chromium, address) as context,
    ):
        page = context.new_page()
        page.goto(f"{address}/cycles")
        page.get_by_role("link", name="Ver el próximo mes").click()
        page.get_by_text("Ejecutar este mes…").click()
        page.get_by_role("button", name=re.compile("^Ejecutar")).click()

        expect(page.get_by_role("status").first).to_contain_text("Airflow tiene la ejecución")
        assert asked == [str(Period.containing(clock.today()).following)]


def test_the_months_document_and_message_are_seen_in_frames(page: Page, site: Site):
    paths = site.paths()
    page.goto(paths["invoice"])
    expect(page.frame_locator("iframe").get_by_role("img", name="Página 1 de 1")).to_be_visible()
    with page.expect_download() as download:
        page.get_by_role("link", name="Descargar PDF").click()
    assert download.value.suggested_filename.endswith(".pdf")

    page.goto(f"{site.address}/deliveries/{site.month.delivery('ANA')}/message")
    expect(page.frame_locator("iframe").first.get_by_text("Cordial saludo, Ana Peña")).to_be_visible()
    page.locator("iframe").nth(1).scroll_into_view_if_needed()
    expect(page.frame_locator("iframe").nth(1).get_by_text("Idéntico, byte por byte")).to_be_visible()
