"""The templates' and cycles' pages in a real browser: usable by everybody, and their scripts do what they promise."""

import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from invoicing.db.connection import Database
from invoicing.domain.period import Period
from invoicing.services.agency import clock
from invoicing.services.views import foresight, preview
from invoicing.web.outside import Triggered
from support.browser import (
    axe_violations,
    faults_of_pages,
    is_wider_than_its_window,
    serve,
    unfold,
    visit,
)
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
            "message-of-today": f"/deliveries/{failed}/message-of-today",
            "retry": "/cycles/2026-11/retry",
            "correct": "/cycles/2026-11/correct",
            "story": f"/deliveries/{failed}/story",
            "invoice": f"/invoices/{number['number']}",
            "templates": "/templates",
            "template": "/templates/default",
            "template-banner": "/templates/banner",
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


@pytest.mark.parametrize(
    ("who", "language", "width"),
    [("ana", "es", 1280), pytest.param("luis", "en", 390, marks=pytest.mark.long)],
)
def test_each_page_is_for_everybody_and_breaks_no_rule_of_its_own_policy(
    chromium: Browser, site: Site, who: str, language: str, width: int
):
    with visit(chromium, site.address, who, language=language) as context:
        page = context.new_page()
        assert (
            faults_of_pages(
                page, site.paths(), width=width, refused="foresight-refused", options={"iframes": False}
            )
            == ""
        )


def open_code(page: Page, site: Site) -> None:
    """The editor of the shipped template, its code unfolded."""
    page.goto(f"{site.address}/templates/default")
    page.get_by_text("Avanzado: el código").click()


def test_a_sentence_is_changed_in_four_clicks_and_its_preview_follows(page: Page, site: Site):
    preview = page.frame_locator("iframe[name=preview]")
    page.goto(f"{site.address}/cycles")

    page.get_by_role("navigation").get_by_role("link", name="Plantillas").click()
    page.get_by_role("link", name="banner", exact=True).click()
    greeting = page.get_by_role("textbox", name="Saludo, Español")
    greeting.click()
    page.keyboard.press("Control+A")
    page.keyboard.type("Apreciado {tenant} <b>:")
    expect(preview.get_by_text("Apreciado Ferretería Núñez & Hijos Ltda. <b>:")).to_be_visible()
    page.get_by_role("button", name="Guardar versión").click()

    expect(page.get_by_role("status").first).to_contain_text("Guardada como versión 2")
    expect(page.get_by_text("Avanzado: el código")).to_be_visible()
    expect(page.get_by_role("tab", name="Correo", exact=True)).to_be_hidden()


def test_a_field_that_is_wrong_says_so_while_it_is_typed(page: Page, site: Site):
    page.goto(f"{site.address}/templates/default")
    closing = page.get_by_role("textbox", name="Despedida, Español")

    closing.fill("Adiós {{ tenant.name }}")
    expect(page.locator("#closing_es-error")).to_contain_text("aquí no se escribe código")
    expect(page.locator("#closing_en-error")).to_contain_text("falta en este idioma")
    expect(closing).to_have_attribute("aria-invalid", "true")

    closing.fill("Adiós, ")
    page.get_by_role("button", name="tercero", exact=True).click()
    page.get_by_role("textbox", name="Despedida, Inglés").fill("Bye, {tenant}")
    expect(page.get_by_text("Sin problemas")).to_be_visible()
    expect(page.locator("#closing_es-error")).to_be_hidden()
    expect(closing).to_have_value("Adiós, {tenant}")
    # In the language of the sentence that was typed last.
    expect(
        page.frame_locator("iframe[name=preview]").get_by_text("Bye, Ferretería Núñez & Hijos Ltda.")
    ).to_be_visible()


def test_the_note_on_the_invoice_shows_the_invoice(page: Page, site: Site):
    page.goto(f"{site.address}/templates/default")
    page.get_by_role("textbox", name="Nota en la factura (PDF), Español").fill("Cite {number}")

    expect(page.get_by_role("button", name="Factura", exact=True)).to_have_attribute("aria-pressed", "true")
    expect(
        page.frame_locator("iframe[name=preview]").get_by_role("img", name="Página 1 de 1")
    ).to_be_visible()


def test_the_preview_works_on_the_page_that_answers_a_test(page: Page, site: Site):
    page.goto(f"{site.address}/templates/default")
    page.get_by_role("textbox", name="Saludo, Español").fill("Prueba para {tenant}")
    page.get_by_label("Enviarme una prueba a").fill("nadie")
    page.get_by_role("button", name="Enviar prueba").click()
    page.wait_for_url(re.compile("/templates/default/test$"))

    preview = page.frame_locator("iframe[name=preview]")
    expect(preview.get_by_text("Prueba para Ferretería")).to_be_visible()
    page.get_by_role("button", name="Sin formato", exact=True).click()
    expect(preview.get_by_text("Asunto:")).to_be_visible()


def test_the_preview_follows_what_is_typed(page: Page, site: Site):
    open_code(page, site)
    area = page.get_by_role("textbox", name="Correo mail.html")
    preview = page.frame_locator("iframe[name=preview]")
    expect(preview.get_by_text("Cordial saludo")).to_be_visible()
    history = page.evaluate("history.length")

    area.fill(
        area.input_value().replace('<p class="break">{{ lines(texts.greeting) }}', "<p>Muy buenos días")
    )

    expect(preview.get_by_text("Muy buenos días")).to_be_visible()
    page.get_by_role("tab", name="Estilo de la factura").click()
    expect(preview.get_by_role("img", name="Página 1 de 1")).to_be_visible()
    expect(page.get_by_role("button", name="Factura", exact=True)).to_have_attribute("aria-pressed", "true")
    assert page.evaluate("history.length") == history


def test_a_problem_stands_beside_its_line_and_leads_to_it(page: Page, site: Site):
    open_code(page, site)
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
    open_code(page, site)
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
    open_code(page, site)
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


def test_previews_wait_for_each_other_and_the_last_choice_is_what_stays(
    page: Page, site: Site, monkeypatch: pytest.MonkeyPatch
):
    chosen_all = threading.Event()
    asked: list[str] = []
    gather = preview.gather

    def gather_slowly(db: Database, tenant: str, *which: Any) -> preview.Documents:
        asked.append(tenant)
        assert chosen_all.wait(30)
        return gather(db, tenant, *which)

    page.goto(f"{site.address}/templates/default")
    shown = page.frame_locator("iframe[name=preview]")
    expect(shown.locator("body")).not_to_be_empty()
    monkeypatch.setattr(preview, "gather", gather_slowly)

    for tenant in ("BEA", "CAM", "EVA", "DAN", "ANA"):
        page.get_by_label("Tercero").fill(tenant)
        page.get_by_label("Tercero").press("Enter")
    chosen_all.set()

    expect(shown.get_by_text("Ana Peña")).to_be_visible()
    assert asked == ["BEA", "ANA"]


def test_nothing_runs_in_a_preview(page: Page, site: Site):
    complaints: list[str] = []
    page.on("dialog", lambda dialog: complaints.append(dialog.message))
    open_code(page, site)
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

    page.get_by_text("Avanzado: el código").click()
    expect(page.locator("textarea.code__text")).to_have_count(4)
    page.locator("textarea#mail_txt").fill("Sin guiones {{ tenant.name }}")
    page.get_by_role("button", name="Sin formato", exact=True).click()

    expect(page.frame_locator("iframe[name=preview]").get_by_text("Sin guiones")).to_be_visible(
        timeout=20_000
    )
    context.close()


def move(month: Month, delivery: int, *states: str) -> None:
    for state in states:
        month.db.execute(
            "UPDATE invoicing.delivery SET state = %(state)s,"
            " claim_until = CASE WHEN %(state)s IN ('claimed', 'transmitting') THEN now() + interval '1 hour' END"
            " WHERE id = %(id)s",
            {"state": state, "id": delivery},
        )


def test_a_run_shows_itself_step_by_step_with_the_table_and_stops_when_it_is_over(
    chromium: Browser, november: November, tmp_path: Path
):
    with november.copy(tmp_path) as month, serve(month.app) as address, visit(chromium, address) as context:
        rita = month.delivery("RITA")
        month.db.execute("UPDATE invoicing.cycle_run SET state = 'running', ended_at = NULL")
        page = context.new_page()
        page.set_default_timeout(20_000)
        page.goto(f"{address}/cycles/2026-11?sort=-code")
        steps = page.locator(".phases")
        row = page.locator(".cycle-tenants tbody tr").first
        expect(steps).to_contain_text("2/3")
        expect(row).to_contain_text("no existe en su servidor")
        row.get_by_role("link", name="Rita").focus()

        move(month, rita, "pending", "claimed", "transmitting", "sent")

        expect(steps).to_contain_text("3/3", timeout=20_000)
        # The row was refreshed together with the figures, and the focus stayed where it was.
        expect(row).to_contain_text(re.compile("Aceptado|Enviado"), timeout=1_000)
        expect(row.get_by_role("link", name="Rita")).to_be_focused()
        expect(page.get_by_role("heading", name="1 fallido")).to_have_count(0)
        month.db.execute("UPDATE invoicing.cycle_run SET state = 'success', ended_at = now()")

        expect(steps).to_have_count(0, timeout=20_000)
        expect(page.locator("[data-overview]")).to_have_attribute("data-running", "no")


def test_what_somebody_types_beside_a_failure_is_not_refreshed_away(
    chromium: Browser, november: November, tmp_path: Path
):
    with november.copy(tmp_path) as month, serve(month.app) as address, visit(chromium, address) as context:
        month.db.execute("UPDATE invoicing.cycle_run SET state = 'running', ended_at = NULL")
        page = context.new_page()
        page.goto(f"{address}/cycles/2026-11")
        page.get_by_text("Corregir la dirección…").click()
        page.get_by_label("Direcciones de correo, una por línea").fill("rita@cor")
        with page.expect_response(re.compile("/overview"), timeout=20_000):
            move(month, month.delivery("RITA"), "pending")
        page.wait_for_timeout(300)

        expect(page.get_by_label("Direcciones de correo, una por línea")).to_have_value("rita@cor")


@pytest.mark.parametrize(
    ("scheme", "width"), [("light", 390), ("light", 1280), ("dark", 390), ("dark", 1280)]
)
@pytest.mark.one_in(3)
def test_a_run_under_way_and_a_refused_address_are_for_everybody(
    chromium: Browser, november: November, tmp_path: Path, scheme: str, width: int
):
    with november.copy(tmp_path) as month, serve(month.app) as address:
        month.db.execute("UPDATE invoicing.cycle_run SET state = 'running', ended_at = NULL")
        for language in ("es", "en"):
            with visit(chromium, address, color_scheme=scheme, width=width, language=language) as context:
                page = context.new_page()
                for place in ("/cycles", "/cycles/2026-11", "/cycles/2026-11/tenants/EVA"):
                    page.goto(address + place)
                    unfold(page)
                    assert axe_violations(page) == "", place
                    assert not is_wider_than_its_window(page), place
                page.get_by_role("button", name=re.compile("Guardar y enviar|Save and send")).click()
                expect(page.locator("[aria-invalid=true]")).to_be_focused()
                assert axe_violations(page) == ""


def test_from_a_wrong_address_to_sent_in_two_clicks_on_one_page(
    chromium: Browser, november: November, tmp_path: Path
):
    with november.copy(tmp_path) as month, serve(month.app) as address, visit(chromium, address) as context:
        page = context.new_page()
        clicks = 0
        for place in ("/cycles/2026-11", "/cycles/2026-11/tenants/EVA"):
            page.goto(address + place)
            page.get_by_text("Corregir la dirección…").click()
            page.get_by_label("Direcciones de correo, una por línea").fill("nueva@correo.example")
            page.get_by_role("button", name="Guardar y enviar").click()
            clicks += 2

            expect(page.get_by_role("status").first).to_contain_text("Se enviará en un momento")
        month.send_again()

        assert {month.state(month.delivery(code)) for code in ("RITA", "EVA")} == {"sent"}
        assert clicks == 4


def test_the_chart_shows_its_bars_on_a_phone(chromium: Browser, site: Site):
    with visit(chromium, site.address, width=390) as context:
        page = context.new_page()
        page.goto(f"{site.address}/cycles")
        for bar in page.locator(".chart__bar").all():
            box = bar.bounding_box()
            assert box is not None
            assert box["x"] >= 0
            assert box["x"] + box["width"] <= 390
            assert box["width"] > 8


def test_the_frame_of_headers_is_as_dark_as_the_page(chromium: Browser, site: Site):
    def ground(context: Any, choice: str | None) -> str:
        page = context.new_page()
        page.goto(f"{site.address}/cycles")
        page.evaluate(
            "choice => choice ? localStorage.setItem('theme', choice) : localStorage.clear()", choice
        )
        page.goto(f"{site.address}/deliveries/{site.month.delivery('ANA')}/message")
        page.locator("iframe").nth(1).scroll_into_view_if_needed()
        frame = page.frame_locator("iframe").nth(1)
        frame.get_by_text("Idéntico, byte por byte").wait_for()
        return str(frame.locator("body").evaluate("body => getComputedStyle(body).backgroundColor"))

    white, dark = "rgb(255, 255, 255)", "rgb(27, 35, 48)"
    with visit(chromium, site.address, color_scheme="dark") as context:
        # The system's choice, and then Airflow's own.
        assert [ground(context, choice) for choice in (None, "light", "dark")] == [dark, white, dark]
    with visit(chromium, site.address, color_scheme="light") as context:
        assert [ground(context, choice) for choice in (None, "light", "dark")] == [white, white, dark]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.one_in(3)
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
