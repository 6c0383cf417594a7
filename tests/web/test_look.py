"""The pages in a real browser: usable by everybody, in both themes, languages and widths."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from invoicing.db.connection import connect
from support.browser import (
    axe_violations,
    faults_of_pages,
    is_wider_than_its_window,
    serve,
    visit,
)
from support.database import Server
from support.site import populate
from support.visiting import open_app

# Paths and a name each; a page that is not here is not looked at.
PAGES = {
    "automation": "/automation",
    "history": "/automation/history",
    "version": "/automation/versions/2",
    "tenants": "/tenants",
    "tenants-none": "/tenants?q=nadie",
    "tenants-problem": "/tenants?problem=invalid_email&size=50",
    "tenant": "/tenants/{failed}",
    "new-tenant": "/new/tenant",
    "lease": "/leases/C051",
    "new-lease": "/new/lease?tenant=T048",
    "new-invoice": "/new/invoice?tenant=T048&lease=C051",
    "run-without-cycle": "/runs/other/manual__9",
    "missing": "/nothing",
}


@pytest.fixture(scope="module")
def site(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of the demo agency's pages."""
    with server.fresh_copy() as dsn:
        with connect(dsn) as db:
            populate(db)
        with open_app(dsn, tmp_path_factory.mktemp("archive")) as app, serve(app) as address:
            yield address


@pytest.fixture
def page(chromium: Browser, site: str) -> Iterator[Page]:
    with visit(chromium, site) as context:
        yield context.new_page()


def paths(page: Page, site: str) -> dict[str, str]:
    """The pages' addresses; the tenant whose mail failed is looked up."""
    page.goto(f"{site}/tenants")
    answer = page.request.get(f"{site}/api/v1/deliveries?state=failed")
    (failed,) = {each["tenant"] for each in answer.json()}
    return {name: f"{site}{path.format(failed=failed)}" for name, path in PAGES.items()}


@pytest.mark.parametrize(("who", "language", "width"), [("ana", "es", 1280), ("luis", "en", 390)])
def test_each_page_is_for_everybody_and_breaks_no_rule_of_its_own_policy(
    chromium: Browser, site: str, who: str, language: str, width: int
):
    with visit(chromium, site, who, language=language) as context:
        page = context.new_page()
        # Who may only look is shown no form.
        refused = ["missing", *(["new-tenant", "new-lease", "new-invoice"] if who == "luis" else [])]
        assert faults_of_pages(page, paths(page, site), width=width, refused=refused) == ""


@pytest.mark.parametrize(("scheme", "language", "width"), [("light", "en", 390), ("dark", "es", 1280)])
def test_a_form_that_was_refused_is_for_everybody_too(
    chromium: Browser, site: str, scheme: str, language: str, width: int
):
    found: dict[str, str] = {}
    with visit(chromium, site, width=width, language=language, color_scheme=scheme) as context:
        page = context.new_page()
        for place in ("/new/invoice?tenant=T004", "/new/tenant", "/new/lease?tenant=T048"):
            page.goto(site + place)
            for button in page.locator("button[value=add]").all():
                button.click()
            page.locator("main .button--primary[type=submit]").click()
            expect(page.get_by_role("alert")).to_be_focused()
            report = axe_violations(page)
            if report or is_wider_than_its_window(page):
                found[place] = report or "wider than its window"

    assert found == {}, "\n\n".join(f"{name}:\n{report}" for name, report in found.items())


def test_a_single_invoice_needs_no_script(chromium: Browser, site: str):
    with visit(chromium, site, java_script_enabled=False) as context:
        page = context.new_page()
        page.goto(f"{site}/new/invoice")
        page.get_by_label("Tercero").fill("taller doble")
        page.get_by_label("Descripción").fill("Copia de llaves")
        page.get_by_label("Valor").fill("35000")
        page.get_by_role("button", name="Agregar línea").click()
        expect(page.get_by_label("Tercero")).to_have_value("T048 · Taller Automotriz Doble Vía S.A.S.")
        page.get_by_label("Contrato").select_option("C051")
        page.get_by_role("button", name="Quitar la línea 2").click()
        page.get_by_role("button", name="Mensaje", exact=True).click()

        shown = page.frame_locator("iframe[name=preview]")
        expect(shown.get_by_text("Taller Automotriz Doble Vía S.A.S.").first).to_be_visible()
        expect(page.get_by_label("Descripción")).to_have_value("Copia de llaves")


def test_leases_follow_the_tenant_that_is_chosen(page: Page, site: str):
    page.goto(f"{site}/new/invoice")
    page.get_by_label("Tercero").press_sequentially("taller doble")
    option = page.locator("#tenant-list option").first
    expect(option).to_have_attribute("value", re.compile("T048 · "))
    page.get_by_label("Tercero").fill("T048 · Taller Automotriz Doble Vía S.A.S.")

    expect(page.get_by_label("Contrato").locator("option")).to_have_count(2)
    page.get_by_label("Tercero").press("Enter")
    expect(page.get_by_text("No se guardó nada.")).to_be_visible()


def test_the_keyboard_reaches_the_content_first(page: Page, site: str):
    page.goto(f"{site}/tenants")

    page.keyboard.press("Tab")
    expect(page.locator(":focus")).to_have_text("Saltar al contenido")
    page.keyboard.press("Enter")

    expect(page.locator("main")).to_be_focused()


def test_a_subject_is_checked_and_shown_as_one_types(page: Page, site: str):
    page.goto(f"{site}/automation")
    subject = page.get_by_label("Asunto", exact=True)

    subject.fill("Facturas para ")
    page.get_by_role("button", name="Tercero", exact=True).click()
    expect(page.locator("#subject-result")).to_contain_text("Facturas para Ferretería", timeout=15_000)
    subject.fill("{{ nadie }}")

    expect(page.locator("#subject-result")).to_contain_text("nadie", timeout=15_000)
    expect(page.locator("#subject-result")).to_contain_text("No se puede usar")


def test_a_mistake_is_announced_and_leads_to_its_field(page: Page, site: str):
    page.goto(f"{site}/automation")
    page.get_by_label("Dirección del remitente").fill("nadie")
    page.get_by_role("button", name="Guardar").click()

    summary = page.get_by_role("alert")
    expect(summary).to_be_focused()
    summary.get_by_role("link", name="Dirección del remitente").click()

    expect(page.get_by_label("Dirección del remitente")).to_be_focused()
    expect(page.get_by_label("Dirección del remitente")).to_have_value("nadie")


def test_tenants_are_ticked_and_switched_together(page: Page, site: str):
    page.goto(f"{site}/tenants")
    boxes = page.locator("input[name=code]")

    boxes.nth(0).check()
    boxes.nth(1).check()
    expect(page.get_by_text("(2)")).to_be_visible()
    page.locator("select#action").select_option("only_multiple:yes")
    page.get_by_role("button", name="Ver cuántos cambian…").click()
    button = page.get_by_role("button", name=re.compile("Cambiar"))
    expect(page.locator(".figure__number").first).to_have_text("2")
    button.click()

    expect(page.get_by_role("status").first).to_contain_text(re.compile("terceros? cambiad"))


def test_the_language_is_chosen_and_stays(page: Page, site: str):
    page.goto(f"{site}/tenants?q=a")

    page.get_by_role("link", name="English").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Tenants")
    page.get_by_role("link", name="Automation").click()

    expect(page.get_by_role("heading", level=1)).to_have_text("Invoice automation")


def test_airflows_theme_wins_over_the_systems(page: Page, site: str):
    page.goto(f"{site}/tenants")
    page.evaluate("localStorage.setItem('theme', 'dark')")
    page.reload()

    assert page.evaluate("getComputedStyle(document.documentElement).colorScheme") == "dark"


def test_pages_work_without_scripts(chromium: Browser, site: str):
    context = visit(chromium, site, java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{site}/tenants")
    page.get_by_label("Buscar terceros").fill("nadie se llama así")
    page.get_by_role("button", name="Buscar").click()

    expect(page.get_by_role("heading", name="Ningún tercero")).to_be_visible()
    context.close()
