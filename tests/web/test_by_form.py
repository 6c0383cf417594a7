"""Single invoices, tenants and leases by form and by the JSON API: nothing typed is lost, nothing is made twice."""

import re
from collections.abc import Callable, Iterator
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from httpx import Response

from invoicing.db.connection import Database
from invoicing.services.agency import settings
from invoicing.services.agency.lease_editing import show_lease
from invoicing.services.views.tenants import show_tenant
from support.visiting import App, Browser, open_app

REPAIR = {"description": "Reparación de la puerta", "amount": "480000", "tax": "iva"}
KEYS = {"description": "Copia de llaves", "amount": "35000", "tax": "none"}
NEW_TENANT = {"code": "N1", "name": "Nueva & Cía", "document_type": "NIT", "document_number": "900.100.200-1"}
NEW_LEASE = {
    "code": "NL1",
    "tenant_code": "T00001",
    "property": "Calle 1 # 2-3",
    "city": "Medellín",
    "use": "commercial",
    "start_date": "2026-01-01",
    "end_date": "",
    "rent": "2500000",
    "currency": "COP",
}
PARKING = {
    "concept": "parking",
    "description": "Parqueadero",
    "amount": "131000",
    "tax": "iva",
    "prorated": "no",
    "from_period": "",
    "to_period": "2027-01",
}


@pytest.fixture
def told() -> list[str]:
    """What Airflow was told."""
    return []


@pytest.fixture
def app(dsn: str, tmp_path: Path, told: list[str]) -> Iterator[App]:
    with open_app(dsn, tmp_path / "archive", announce=lambda: told.append("invoices")) as opened:
        yield opened


@pytest.fixture
def sending(agency: Database) -> Database:
    settings.change_settings(agency, {"auto_send": True, "from_email": "f@agencia.example"}, actor="test")
    agency.execute("UPDATE invoicing.tenant SET auto_send = true WHERE code = 'T00001'")
    return agency


def rows(name: str, *given: dict[str, str]) -> dict[str, str]:
    return {f"{name}.{at}.{field}": text for at, row in enumerate(given) for field, text in row.items()}


def form(*lines: dict[str, str], action: str = "create", **fields: str) -> dict[str, str]:
    head = {"tenant": "T00001", "lease": "", "reference": "F-1", "action": action}
    return {**head, **fields, **rows("lines", *(lines or (REPAIR, KEYS)))}


def invoices(db: Database) -> list[dict[str, Any]]:
    return db.execute("SELECT number, reference, total FROM invoicing.invoice ORDER BY id").fetchall()


def kept(page: Response, **fields: str) -> bool:
    """Whether the form of the page still has what was typed."""
    text = unescape(page.text)
    return all(
        f'name="{name}" type="text" value="{value}"' in text
        or re.search(rf'value="{re.escape(value)}" selected', text)
        for name, value in fields.items()
    )


# A single invoice.


def test_one_form_makes_one_invoice_and_has_it_sent(editor: Browser, sending: Database, told: list[str]):
    page = editor.submit("/new/invoice", form())

    assert "Factura creada." in page.text
    assert [each["total"] for each in invoices(sending)] == [606_200]
    assert told == ["invoices"]


def test_the_form_has_a_reference_of_its_own(editor: Browser, agency: Database):
    found = [
        re.search(r'name="reference" type="text" value="([^"]+)"', editor.see("/new/invoice").text)
        for _ in "ab"
    ]

    assert all(found)
    assert len({each[1] for each in found if each}) == 2


def test_the_same_form_twice_makes_one_invoice_and_says_so(
    editor: Browser, sending: Database, told: list[str]
):
    editor.submit("/new/invoice", form())
    again = editor.submit("/new/invoice", form())

    assert "Esta factura ya existía: no se creó otra." in again.text
    assert len(invoices(sending)) == 1
    assert told == ["invoices"]


def test_a_used_form_with_something_else_in_it_makes_nothing(editor: Browser, sending: Database):
    editor.submit("/new/invoice", form())
    other = editor.submit("/new/invoice", form({**REPAIR, "amount": "500000"}))

    assert other.status_code == 422
    assert "ya es de otra factura" in other.text
    assert kept(other, **{"lines.0.amount": "500000"})
    assert len(invoices(sending)) == 1


@pytest.mark.parametrize(
    ("view", "shown"), [("pages", "data:image/png;base64"), ("mail", "FV-000"), ("text", "Asunto:")]
)
def test_a_preview_takes_no_number(editor: Browser, sending: Database, view: str, shown: str):
    before = sending.execute("SELECT * FROM invoicing.invoice_series").fetchall()

    page = editor.submit(f"/new/invoice/preview?view={view}", form(action="preview"))
    checked = editor.submit("/new/invoice", form(action="check"))

    assert shown in page.text
    assert "606.200" in checked.text
    assert invoices(sending) == []
    assert sending.execute("SELECT * FROM invoicing.invoice_series").fetchall() == before


def test_a_preview_of_what_cannot_be_says_what_is_to_be_mended(editor: Browser, sending: Database):
    page = editor.submit("/new/invoice/preview?view=mail", form({**REPAIR, "amount": "x"}))

    assert "Línea 1, valor" in page.text


def test_lines_are_added_and_taken_away_without_a_script(editor: Browser, sending: Database):
    more = editor.submit("/new/invoice", form(action="add"))
    less = editor.submit("/new/invoice", form(action="remove:0"))

    assert "Línea 3" in more.text
    assert kept(
        more, **{"lines.0.description": REPAIR["description"], "lines.1.description": KEYS["description"]}
    )
    assert kept(less, **{"lines.0.description": KEYS["description"]})
    assert "Línea 2" not in less.text
    assert invoices(sending) == []


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (form({**REPAIR, "amount": "480.000"}), "escriba 480000"),
        (form({**REPAIR, "amount": "cuatro"}), "Línea 1, valor"),
        (form({**REPAIR, "amount": "-5"}), "una factura se emite por más de cero"),
        (form(*[KEYS] * 200), "tiene 200 líneas; una factura admite 100"),
        (form({**REPAIR, "description": " "}), "Línea 1, descripción"),
        (form(tenant="nadie así"), "ningún tercero tiene"),
        (form(tenant="ferreteria"), "elija uno"),
        (form(lease="L-otra"), "no tiene el contrato"),
        (form({"description": "", "amount": "", "tax": "iva"}), "al menos una línea"),
    ],
)
def test_what_is_wrong_is_said_and_what_was_typed_stays(
    editor: Browser, sending: Database, typed: dict[str, str], said: str
):
    page = editor.submit("/new/invoice", typed)

    assert page.status_code == 422
    assert said in unescape(page.text)
    assert kept(
        page,
        **{
            name: text
            for name, text in typed.items()
            if name.endswith((".amount", "tenant")) and text and name != "tenant"
        },
    )
    assert invoices(sending) == []


def test_a_tenant_is_found_by_name_and_chosen_by_a_button(editor: Browser, sending: Database):
    several = editor.submit("/new/invoice", form(tenant="ferreteria nunez", action="check"))
    (first, *_) = re.findall(r'name="action" value="tenant:([^"]+)"', several.text)
    chosen = editor.submit("/new/invoice", form(tenant="ferreteria nunez", action=f"tenant:{first}"))
    alone = editor.submit("/new/invoice", form(tenant="NÚÑEZ ferretería t00001", action="check"))

    assert re.search(rf'name="tenant" type="text" value="{first} · ', chosen.text)
    assert 'value="T00001 · ' in alone.text


def test_what_would_not_be_sent_is_not_made_unasked(editor: Browser, sending: Database):
    sending.execute("UPDATE invoicing.tenant SET auto_send = false WHERE code = 'T00001'")

    asked = editor.submit("/new/invoice", form())
    assert "No se creó nada: no se enviaría." in asked.text
    assert "Crear sin enviar" in asked.text
    assert invoices(sending) == []

    made = editor.submit("/new/invoice", form(unsent="tenant_disabled"))
    assert "Factura creada, sin enviar." in made.text
    assert len(invoices(sending)) == 1


def test_it_is_made_though_airflow_does_not_answer(dsn: str, tmp_path: Path, sending: Database):
    def fail() -> None:
        raise OSError("nobody there")

    with open_app(dsn, tmp_path / "archive", announce=fail) as app:
        page = app.as_editor().submit("/new/invoice", form())

    assert "Airflow no respondió" in page.text
    assert len(invoices(sending)) == 1


def test_the_api_makes_single_invoices_by_the_same_rules(editor: Browser, sending: Database, told: list[str]):
    body = {"reference": "A-1", "tenant": "T00001", "lines": [REPAIR, KEYS]}

    tried = editor.ask("POST", "/invoices", {**body, "dry_run": True}).json()
    first = editor.ask("POST", "/invoices", body).json()
    again = editor.ask("POST", "/invoices", body).json()
    other = editor.ask("POST", "/invoices", {**body, "lines": [KEYS]})
    many = editor.ask("POST", "/invoices", {**body, "reference": "A-2", "lines": [KEYS] * 200})

    assert (tried["created"], tried["number"], tried["total"]) == (False, None, "606200")
    assert (first["created"], first["decision"], first["told"]) == (True, "send", True)
    assert (again["created"], again["number"]) == (False, first["number"])
    assert (other.status_code, other.json()["errors"][0]["code"]) == (422, "reference_of_other_invoice")
    assert many.json()["errors"] == [
        {
            "field": "lines",
            "message": "it has 200 lines; an invoice has at most 100",
            "code": "lines_too_many",
        }
    ]
    assert len(invoices(sending)) == 1
    assert told == ["invoices"]


# Tenants.


def test_a_new_tenant_by_form(editor: Browser, agency: Database):
    page = editor.submit(
        "/new/tenant", {**NEW_TENANT, "emails": "a@nueva.co\nb@nueva.co", "auto_send": "yes"}
    )

    assert "Tercero creado." in page.text
    made = show_tenant(agency, "N1")
    assert (made.name, made.emails, made.auto_send) == ("Nueva & Cía", ["a@nueva.co", "b@nueva.co"], True)
    assert (made.withholding_agent, made.language) == (False, "es")


def test_a_wrong_new_tenant_keeps_what_was_typed(editor: Browser, agency: Database):
    page = editor.submit(
        "/new/tenant",
        {**NEW_TENANT, "code": "T00001", "document_number": "", "city": "Cali", "emails": "a@@b"},
    )
    taken = editor.submit("/new/tenant", {**NEW_TENANT, "code": "T00001"})

    assert page.status_code == 422
    assert page.text.count('aria-invalid="true"') == 2
    assert kept(page, code="T00001", name="Nueva & Cía", city="Cali")
    assert "a@@b" in page.text
    assert "ya existe: use otro" in taken.text


def test_all_of_a_tenant_is_changed_by_form(editor: Browser, agency: Database):
    before = show_tenant(agency, "T00001")
    typed = {
        "name": "Otra razón",
        "document_type": "NIT",
        "document_number": "1-2",
        "city": "",
        "withholding_agent": "yes",
        "emails": "a@otra.co",
        "language": "en",
        "seen_at": before.updated_at.isoformat(),
    }
    page = editor.submit("/tenants/T00001", typed)
    stale = editor.submit("/tenants/T00001", {**typed, "name": "Tarde"})
    wrong = editor.submit(
        "/tenants/T00001",
        {**typed, "name": "", "seen_at": show_tenant(agency, "T00001").updated_at.isoformat()},
    )

    after = show_tenant(agency, "T00001")
    assert "Guardado" in page.text
    assert (after.name, after.city, after.withholding_agent, after.language) == ("Otra razón", "", True, "en")
    assert stale.status_code == 409
    assert 'value="Tarde"' in stale.text
    assert wrong.status_code == 422
    assert 'id="name-error"' in wrong.text


def test_tenants_are_made_and_changed_by_the_api(editor: Browser, agency: Database):
    made = editor.ask("POST", "/tenants", {**NEW_TENANT, "city": "Cali"})
    again = editor.ask("POST", "/tenants", NEW_TENANT)
    changed = editor.ask("PATCH", "/tenants/N1", {"name": "Otra", "withholding_agent": True})
    stale = editor.ask("PATCH", "/tenants/N1", {"city": "x", "seen_at": made.json()["updated_at"]})
    wrong = editor.ask("PATCH", "/tenants/N1", {"name": "a\nb"})

    assert (made.status_code, made.json()["city"]) == (201, "Cali")
    assert (again.status_code, again.json()["errors"][0]["code"]) == (422, "code_taken")
    assert (changed.json()["name"], changed.json()["withholding_agent"]) == ("Otra", True)
    assert stale.status_code == 409
    assert (wrong.status_code, wrong.json()["errors"][0]["field"]) == (422, "name")


# Leases.


def test_a_lease_with_its_charges_by_form(editor: Browser, agency: Database):
    more = editor.submit("/new/lease", {**NEW_LEASE, "action": "add"})
    page = editor.submit("/new/lease", {**NEW_LEASE, **rows("charges", PARKING), "action": "save"})

    assert "Cargo 1" in more.text
    assert kept(more, property="Calle 1 # 2-3", rent="2500000")
    assert "Contrato creado." in page.text
    made = show_lease(agency, "NL1")
    assert (made.rent, [each.concept for each in made.charges]) == (2_500_000, ["parking"])
    assert made.changes[0].actor == "ana"


def test_a_wrong_lease_keeps_what_was_typed(editor: Browser, agency: Database):
    typed = {**NEW_LEASE, "rent": "2.500", "property": "", **rows("charges", {**PARKING, "amount": "1,5"})}
    page = editor.submit("/new/lease", {**typed, "action": "save"})
    other = editor.submit("/new/lease", {**typed, "rent": "2500", "action": "save"})

    assert (page.status_code, other.status_code) == (422, 422)
    assert "escriba 2500, sin puntos de miles" in page.text
    assert 'id="property-error"' in other.text
    assert 'id="charges.0.amount-error"' in other.text
    assert "Cargo 1, valor" in other.text
    assert kept(other, **{"charges.0.amount": "1,5", "charges.0.concept": "parking"})


def test_a_lease_is_changed_as_it_was_seen_or_not_at_all(editor: Browser, agency: Database):
    editor.submit("/new/lease", {**NEW_LEASE, **rows("charges", PARKING), "action": "save"})
    seen = {"seen": show_lease(agency, "NL1").version, "action": "save"}
    saved = editor.submit("/leases/NL1", {**NEW_LEASE, "rent": "2600000", **seen})
    stale = editor.submit("/leases/NL1", {**NEW_LEASE, "rent": "2700000", **seen})

    assert "Guardado" in saved.text
    after = show_lease(agency, "NL1")
    assert (after.rent, after.charges) == (2_600_000, [])
    assert stale.status_code == 409
    assert 'value="2700000"' in stale.text
    again = re.search(r'name="seen" value="([^"]+)"', stale.text)
    assert again
    assert (
        "Guardado"
        in editor.submit("/leases/NL1", {**NEW_LEASE, "rent": "2700000", **seen, "seen": again[1]}).text
    )


def test_leases_are_made_and_changed_by_the_api(editor: Browser, agency: Database):
    charge = {
        "concept": "parking",
        "description": "P",
        "amount": "131000",
        "tax": "iva",
        "to_period": "2027-01",
    }
    made = editor.ask("POST", "/leases", {**NEW_LEASE, "end_date": None, "charges": [charge]})
    version = made.json()["version"]
    changed = editor.ask(
        "PATCH", "/leases/NL1", {"rent": "2600000", "end_date": "2027-12-31", "seen": version}
    )
    stale = editor.ask("PATCH", "/leases/NL1", {"rent": "1", "seen": version})
    wrong = editor.ask(
        "PATCH", "/leases/NL1", {"charges": [charge, {**charge, "amount": "x"}], "start_date": "2026-02-31"}
    )
    opened = editor.ask("PATCH", "/leases/NL1", {"end_date": None, "charges": []})

    assert made.status_code == 201
    assert made.json()["charges"][0]["amount"] == "131000"
    assert (changed.json()["rent"], changed.json()["end_date"], len(changed.json()["charges"])) == (
        "2600000",
        "2027-12-31",
        1,
    )
    assert stale.status_code == 409
    assert {each["field"] for each in wrong.json()["errors"]} == {"charges.1.amount", "start_date"}
    assert (opened.json()["end_date"], opened.json()["charges"]) == (None, [])
    assert editor.ask("GET", "/leases/nada").status_code == 404


# Who may.


@pytest.mark.parametrize(
    "act",
    [
        lambda browser: browser.submit("/new/invoice", form()),
        lambda browser: browser.submit("/new/tenant", NEW_TENANT),
        lambda browser: browser.submit("/new/lease", {**NEW_LEASE, "action": "save"}),
        lambda browser: browser.ask(
            "POST", "/invoices", {"reference": "A", "tenant": "T00001", "lines": [KEYS]}
        ),
        lambda browser: browser.ask("POST", "/tenants", NEW_TENANT),
        lambda browser: browser.ask("POST", "/leases", NEW_LEASE),
    ],
)
def test_nobody_makes_anything_without_the_duty(
    viewer: Browser, sending: Database, act: Callable[[Browser], Response]
):
    before = sending.execute("SELECT count(*) AS n FROM invoicing.audit_event").fetchone()

    assert act(viewer).status_code == 403
    assert sending.execute("SELECT count(*) AS n FROM invoicing.audit_event").fetchone() == before
    assert (
        "/new/"
        not in viewer.see("/tenants/T00001").text + viewer.see("/cycles").text + viewer.see("/tenants").text
    )


def test_the_pages_speak_english_too(app: App, sending: Database):
    browser = app.as_editor("en")

    assert "Create and send" in browser.see("/new/invoice?tenant=T00001").text
    assert "Line 1, amount" in browser.submit("/new/invoice", form({**REPAIR, "amount": "x"})).text
    assert "New tenant" in browser.see("/new/tenant").text
    assert "Add a charge" in browser.see("/new/lease?tenant=T00001").text
    assert browser.see("/new/lease?tenant=nobody").status_code == 404
