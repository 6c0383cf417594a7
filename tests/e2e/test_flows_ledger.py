"""Templates and cycles inside the real Airflow: what is edited reaches the mailbox, what failed is fixed and sent."""

import re
from email.message import EmailMessage
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from support.browser import open_airflow, open_in_airflow
from support.running_stack import Stack, wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

# The inbox takes no address whose part before the @ is not ASCII: to N2 nothing can be sent.
TENANTS = """\
tenant_code,document_type,document_number,name,emails,cc_emails,language,city,withholding_agent,auto_send,only_multiple
N1,CC,20100001,Nora Normal,n1@correo.example,,es,Cali,no,yes,no
N2,CC,20100002,Nelson Ñandú,ñandú@correo.example,,es,Cali,no,yes,no
"""
LEASES = """\
lease_code,tenant_code,property,city,use,start_date,end_date,rent,currency
NL1,N1,Calle 10,Cali,residential,2028-01-01,2028-12-31,1000000,COP
NL2,N2,Calle 11,Cali,residential,2028-02-01,2028-02-29,2000000,COP
"""


@pytest.fixture(scope="module")
def agency(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Stack:
    folder: Path = tmp_path_factory.mktemp("ledger")
    (folder / "tenants.csv").write_text(TENANTS)
    (folder / "leases.csv").write_text(LEASES)
    stack.run("import", str(folder))
    stack.run(
        *("settings", "set", "auto_send=yes", "from_email=facturas@agencia.example", "agency_name=Agencia"),
        *("recipients=all", "grouping=per_tenant"),
    )
    return stack


@pytest.fixture(scope="module")
def airflow(agency: Stack, chromium: Browser) -> Page:
    """Airflow's UI in English, somebody logged in."""
    expect.set_options(timeout=60_000)
    return open_airflow(chromium, agency, "en")


def text_of(message: EmailMessage) -> str:
    body = message.get_body(("plain",))
    assert body is not None
    return str(body.get_content())


def to(stack: Stack, address: str) -> list[EmailMessage]:
    return [message for message in stack.mailbox() if address in str(message["To"])]


@pytest.mark.long
def test_what_is_edited_is_previewed_tried_saved_and_sent(agency: Stack, airflow: Page):
    agency.run("settings", "set", "test_domains=agencia.example")
    editor = open_in_airflow(airflow, "templates/default")
    preview = editor.frame_locator("iframe[name=preview]")
    expect(preview.get_by_text("Cordial saludo")).to_be_visible()

    editor.get_by_role("textbox", name="Greeting, Spanish").fill("Muy felices pascuas, {tenant}:")
    expect(preview.get_by_text("Muy felices pascuas")).to_be_visible()

    editor.get_by_label("Send me a test at").fill("yo@agencia.example")
    editor.get_by_role("button", name="Send test").click()
    expect(editor.get_by_role("status").filter(has_text="Test sent to yo@agencia.example")).to_be_visible()
    (tried,) = to(agency, "yo@agencia.example")
    assert str(tried["Subject"]).startswith("[PRUEBA] ")
    assert "Muy felices pascuas" in text_of(tried)

    editor.get_by_role("button", name="Save version").click()
    expect(editor.get_by_role("status").filter(has_text="Saved as version")).to_be_visible()
    agency.run("run", "--period", "2028-01", "--wait", "--yes")

    (sent,) = to(agency, "n1@correo.example")
    assert "Muy felices pascuas, Nora Normal" in text_of(sent)
    cycle = open_in_airflow(airflow, "cycles/2028-01")
    cycle.get_by_role("link", name=re.compile("template default")).first.click()
    expect(cycle.get_by_text("Muy felices pascuas").first).to_be_attached()


def test_what_failed_leads_to_its_task_and_is_sent_once_that_is_cleared(agency: Stack, airflow: Page):
    agency.run("run", "--period", "2028-02", "--wait", "--yes", check=False)
    cycle = open_in_airflow(airflow, "cycles/2028-02")
    expect(cycle.get_by_role("heading", name="1 failed")).to_be_visible()
    assert agency.json("cycle", "show", "2028-02")["deliveries"]["failed"] == 1

    tenant = open_in_airflow(airflow, "tenants/N2")
    tenant.get_by_label("E-mail addresses").fill("nelson@correo.example")
    tenant.get_by_role("button", name="Save", exact=True).click()
    expect(tenant.get_by_role("status").first).to_contain_text("Saved")

    cycle = open_in_airflow(airflow, "cycles/2028-02")
    cycle.get_by_role("link", name="Task in Airflow").click()
    airflow.wait_for_url(re.compile(r"/dags/monthly_invoicing/runs/.+/tasks/send_invoices/mapped/\d+"))
    airflow.get_by_role("button", name=re.compile("to clear$")).click()
    airflow.get_by_role("button", name="Confirm").click()

    wait_for(lambda: to(agency, "nelson@correo.example"), "the message arrives")
    wait_for(lambda: agency.json("cycle", "show", "2028-02")["state"] == "closed", "the cycle is closed")
    cycle = open_in_airflow(airflow, "cycles/2028-02?q=N2")
    expect(cycle.get_by_role("heading", name="1 failed")).to_have_count(0)
    expect(
        cycle.get_by_role("row", name=re.compile("Nelson")).get_by_text(re.compile("^Accepted"))
    ).to_be_visible()
    assert len(to(agency, "nelson@correo.example")) == 1


def test_what_is_sent_again_on_a_page_goes_out_by_itself(agency: Stack, airflow: Page):
    cycle = open_in_airflow(airflow, "cycles/2028-02?q=N1")
    cycle.get_by_role("link", name="Nora Normal").first.click()
    cycle.get_by_text("Send again…").click()
    cycle.get_by_label("Reason").fill("the tenant lost it")
    before = len(to(agency, "n1@correo.example"))

    cycle.get_by_role("button", name="Send again").click()

    expect(cycle.get_by_text("Airflow has been told")).to_be_visible()
    wait_for(lambda: len(to(agency, "n1@correo.example")) == before + 1, "it arrives once more")


def test_a_kept_invoice_is_seen_inside_airflow(agency: Stack, airflow: Page):
    invoices = agency.json("cycle", "invoices", "2028-02")
    number = next(invoice["number"] for invoice in invoices if invoice["tenant"] == "N1")

    invoice = open_in_airflow(airflow, f"cycles/../invoices/{number}")

    expect(invoice.frame_locator("iframe").get_by_role("img", name="Page 1 of 1")).to_be_visible()


def test_a_single_invoice_by_one_form_reaches_the_mailbox_once(agency: Stack, airflow: Page):
    form = open_in_airflow(airflow, "cycles")
    form.get_by_role("link", name="Single invoice", exact=True).click()
    form.get_by_role("combobox", name="Tenant").fill("normal nora")
    form.get_by_label("Description").fill("Copy of the keys")
    form.get_by_label("Amount").fill("35000")
    form.get_by_label("Tax").select_option("none")
    form.get_by_role("button", name="Message", exact=True).click()
    expect(form.frame_locator("iframe[name=preview]").get_by_text("Nora Normal").first).to_be_visible()
    form.get_by_role("button", name="Create and send").click()
    expect(form.get_by_text("Invoice created.")).to_be_visible()
    number = form.get_by_role("heading", level=1).inner_text().split()[-1]

    wait_for(lambda: any(number in text_of(each) for each in to(agency, "n1@correo.example")), "it arrives")

    (single,) = [each for each in agency.json("invoices", "list") if each["number"] == number]
    assert (single["decision"], single["total"]) == ("send", "35000")
    assert sum(number in text_of(each) for each in to(agency, "n1@correo.example")) == 1
