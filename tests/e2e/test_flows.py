"""What people do with the pages, inside the real Airflow, and what the next run makes of it."""

import re
from datetime import date as day
from pathlib import Path

import pytest
from playwright.sync_api import Browser, FrameLocator, Page, expect

from support.browser import open_airflow, open_in_airflow
from support.running_stack import Stack

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

TENANTS = """\
tenant_code,document_type,document_number,name,emails,cc_emails,language,city,withholding_agent,auto_send,only_multiple
W1,NIT,900100001,Ferretería Dos Locales,w1@correo.example,,es,Cali,no,yes,no
W2,CC,10100002,Ana Una Factura,w2@correo.example,,es,Cali,no,yes,no
W3,CC,10100003,Luis Sin Correo,,,es,Cali,no,yes,no
"""
LEASES = """\
lease_code,tenant_code,property,city,use,start_date,end_date,rent,currency
WL1,W1,Calle 1 local 1,Cali,residential,2025-01-01,,1000000,COP
WL2,W1,Calle 1 local 2,Cali,residential,2025-01-01,,2000000,COP
WL3,W2,Calle 2,Cali,residential,2025-01-01,,3000000,COP
WL4,W3,Calle 3,Cali,residential,2025-01-01,,4000000,COP
"""


@pytest.fixture(scope="module")
def agency(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Stack:
    folder: Path = tmp_path_factory.mktemp("agency")
    (folder / "tenants.csv").write_text(TENANTS)
    (folder / "leases.csv").write_text(LEASES)
    stack.run("import", str(folder))
    return stack


@pytest.fixture(scope="module")
def airflow(agency: Stack, chromium: Browser) -> Page:
    """Airflow's UI, somebody logged in."""
    return open_airflow(chromium, agency, "es")


def save(frame: FrameLocator) -> None:
    frame.get_by_role("button", name="Guardar", exact=True).click()
    # The subject is proofread in a process of its own, which takes its time on a busy machine.
    expect(frame.get_by_role("status").first).to_contain_text("Guardado", timeout=30_000)


def decisions(stack: Stack, period: str) -> dict[str, str]:
    return {row["tenant"]: row["reason"] or "send" for row in stack.json("cycle", "tenants", period)}


def test_the_next_run_obeys_what_is_set_on_the_page(agency: Stack, airflow: Page):
    form = open_in_airflow(airflow, "automation")

    form.get_by_role("switch", name="Habilitar envío automático").check()
    form.get_by_label("Asunto", exact=True).fill("Prueba {{ period|month_name }}")
    form.get_by_label("Solo los que tienen más de una factura").check()
    form.get_by_label("Un mensaje por factura").check()
    form.get_by_label("Nombre del remitente").fill("Cartera Prueba")
    form.get_by_label("Dirección del remitente").fill("cartera@prueba.example")
    form.get_by_label("Responder a").fill("respuestas@prueba.example")
    form.get_by_label("Días para el vencimiento").fill("9")
    form.get_by_label("Prefijo de las facturas").fill("PW-")
    form.get_by_label("Nombre de la agencia").fill("Agencia de Prueba")
    save(form)
    agency.run("run", "--period", "2027-01", "--wait", "--yes")

    assert decisions(agency, "2027-01") == {
        "W1": "send",
        "W2": "global_only_multiple",
        "W3": "global_only_multiple",
    }
    messages = agency.mailbox()
    assert len(messages) == 2
    assert {str(message["subject"]) for message in messages} == {"Prueba enero de 2027"}
    assert {str(message["from"]) for message in messages} == {"Cartera Prueba <cartera@prueba.example>"}
    assert {str(message["reply-to"]) for message in messages} == {"respuestas@prueba.example"}
    invoices = agency.json("cycle", "invoices", "2027-01")
    assert all(invoice["number"].startswith("PW-") for invoice in invoices)
    assert {(day.fromisoformat(i["due_on"]) - day.fromisoformat(i["issued_on"])).days for i in invoices} == {
        9
    }


@pytest.mark.long
def test_a_tenant_that_is_switched_off_is_left_out_and_its_page_says_why(agency: Stack, airflow: Page):
    form = open_in_airflow(airflow, "automation")
    form.get_by_label("Todos los terceros con facturas").check()
    form.get_by_label("Un mensaje por tercero").check()
    save(form)
    tenant = open_in_airflow(airflow, "tenants/W1")
    tenant.get_by_role("switch", name="¿Envío automático habilitado?").uncheck()
    save(tenant)
    agency.run("run", "--period", "2027-02", "--wait", "--yes")

    assert decisions(agency, "2027-02") == {"W1": "tenant_disabled", "W2": "send", "W3": "no_email"}
    shown = open_in_airflow(airflow, "tenants/W1")
    expect(shown.get_by_text("El tercero tiene el envío apagado")).to_be_visible()
    expect(shown.get_by_text("admin").first).to_be_visible()


def test_a_delivery_leads_to_the_task_instance_that_sent_it(agency: Stack, airflow: Page):
    tenant = open_in_airflow(airflow, "tenants/W1")

    tenant.get_by_text(re.compile("Historia del envío")).first.click()
    tenant.get_by_role("link", name="Tarea que lo envió").first.click()

    airflow.wait_for_url(re.compile(r"/dags/monthly_invoicing/runs/.+/tasks/send_invoices/mapped/\d+"))
    expect(airflow.get_by_text("send_invoices").first).to_be_visible()


def test_a_pages_address_in_airflow_leads_back_to_it(agency: Stack, airflow: Page):
    listed = open_in_airflow(airflow, "tenants?q=ferreteria")
    listed.get_by_role("link", name="Ferretería Dos Locales").click()
    expect(listed.get_by_role("heading", level=1)).to_have_text("Ferretería Dos Locales")

    airflow.wait_for_url(re.compile("/plugin/invoicing-tenants/invoicing/tenants/W1"))
    airflow.reload()

    expect(airflow.frame_locator("iframe").get_by_role("heading", level=1)).to_have_text(
        "Ferretería Dos Locales"
    )


def test_airflows_menu_and_runs_show_the_pages(agency: Stack, airflow: Page):
    run_id = agency.json("cycle", "show", "2027-01")["runs"][0]["dag_run_id"]

    airflow.goto("/")
    expect(airflow.get_by_text("Invoicing", exact=True).first).to_be_visible()
    airflow.goto(f"/dags/monthly_invoicing/runs/{run_id}")
    airflow.get_by_role("link", name="Cycle", exact=True).click()

    # Airflow opens the run's cycle in our frame.
    airflow.frame_locator("iframe").locator("main").wait_for()
    assert any("/invoicing/cycles/2027-01" in frame.url for frame in airflow.frames)
