"""Beside each problem stands what helps; what is as usual is quiet; tables tell amounts, numbers and local times."""

import csv
import io
import re

import pytest

from invoicing.services.agency import clock
from support.month import Month
from support.visiting import Browser

HERE = "/cycles/2026-11"
RITA = f"{HERE}/tenants/RITA"


def plain(page: str) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", page).split())


def emails(month: Month, code: str) -> list[str]:
    row = month.db.execute("SELECT emails FROM invoicing.tenant WHERE code = %s", [code]).fetchone()
    assert row is not None
    return list(row["emails"])


def test_a_wrong_address_is_mended_and_the_invoice_sent_by_one_form(month: Month, page: Browser):
    failed = month.delivery("RITA")
    for path in (HERE, RITA, f"/deliveries/{failed}"):
        html = page.see(path).text
        assert f'action="/invoicing{RITA}/address"' in html, path
        assert "This address does not exist at its server." in html, path

    answer = page.submit(
        f"{RITA}/address", {"emails": " rita@correo.example ", "seen_at": month.seen_at("RITA")}
    )

    assert answer.status_code == 200
    assert "It will be sent in a moment" in answer.text
    assert emails(month, "RITA") == ["rita@correo.example"]
    assert month.announced == ["invoices"]
    month.send_again()
    assert month.state(failed) == "sent"
    assert any(b"rita@correo.example" in message for message in month.inbox.messages)


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ("", "type an e-mail address; nothing was changed"),
        (" ; ,\n", "type an e-mail address; nothing was changed"),
        ("rita@@correo", "rita@@correo"),
        ("\n".join(f"r{number}@correo.example" for number in range(300)), "at most"),
        ("<script>alert(1)</script>", "&lt;script&gt;"),
    ],
)
def test_an_address_that_is_none_changes_nothing_and_stays_typed(
    month: Month, page: Browser, typed: str, words: str
):
    before = emails(month, "RITA")

    answer = page.submit(f"{RITA}/address", {"emails": typed, "seen_at": month.seen_at("RITA")})

    assert answer.status_code == 422
    assert words in answer.text
    assert "<script>alert" not in answer.text
    assert emails(month, "RITA") == before
    assert month.state(month.delivery("RITA")) == "failed"
    assert month.announced == []


def test_what_somebody_else_changed_meanwhile_is_not_overwritten(month: Month, page: Browser):
    seen = month.seen_at("RITA")
    page.submit("/tenants/RITA", {"auto_send": "yes", "emails": "otra@correo.example", "language": "es"})

    answer = page.submit(f"{RITA}/address", {"emails": "rita@correo.example", "seen_at": seen})

    assert answer.status_code == 422
    assert "somebody else or an import changed it" in answer.text
    assert "otra@correo.example" in answer.text
    assert emails(month, "RITA") == ["otra@correo.example"]


def test_where_it_cannot_be_sent_the_address_is_not_changed_either(month: Month, page: Browser):
    month.db.execute("UPDATE invoicing.cycle_run SET state = 'running', decided_at = NULL, ended_at = NULL")
    before = emails(month, "RITA")

    answer = page.submit(f"{RITA}/address", {"emails": "rita@correo.example"})

    assert answer.status_code == 422
    assert "has not decided yet" in answer.text
    assert emails(month, "RITA") == before


def test_who_has_no_address_gets_one_and_the_invoice(month: Month, page: Browser):
    there = f"{HERE}/tenants/EVA"
    assert f'action="/invoicing{there}/address"' in page.see(there).text

    answer = page.submit(f"{there}/address", {"emails": "eva@correo.example"})

    assert "It will be sent in a moment" in answer.text
    month.send_again()
    assert month.state(month.delivery("EVA")) == "sent"


def test_only_who_may_change_addresses_and_send_does_either(month: Month):
    for who in (month.app.as_viewer("en"), month.app.as_accountant("en")):
        assert "/address" not in who.see(RITA).text
        assert who.submit(f"{RITA}/address", {"emails": "x@correo.example"}).status_code == 403


def test_what_is_meant_is_told_to_who_may_not_read_the_relays_words(month: Month):
    html = month.app.as_accountant("es").see(HERE).text

    assert "Esta dirección no existe en su servidor." in html
    assert "rechazo@correo.example" not in html


@pytest.mark.parametrize(
    ("code", "place"),
    [
        ("CAM", "/tenants/CAM#only_multiple"),
        ("DAN", "/tenants/DAN#auto_send"),
        ("EVA", "/tenants/EVA#emails"),
    ],
)
def test_a_decision_leads_to_what_made_it(month: Month, page: Browser, code: str, place: str):
    address, _, field = place.partition("#")

    for path in (HERE, f"{HERE}/tenants/{code}", f"/tenants/{code}"):
        assert f'href="/invoicing{place}"' in page.see(path).text, path
    assert f'id="{field}"' in page.see(address).text


@pytest.mark.parametrize(("change", "field"), [("auto_send", "auto_send"), ("recipients", "recipients")])
def test_a_decision_by_the_agencys_rule_leads_to_that_field(
    month: Month, page: Browser, change: str, field: str
):
    from invoicing.services.agency.settings import change_settings

    value = "no" if change == "auto_send" else "multiple_only"
    change_settings(month.db, {change: value}, actor="test")
    page.submit(f"{RITA}/send", {})

    for path in (HERE, RITA):
        assert f'href="/invoicing/automation#{field}"' in page.see(path).text, path
    assert f'id="{field}"' in page.see("/automation").text


def test_a_rule_that_decides_against_mail_does_not_look_like_an_error(month: Month, page: Browser):
    html = page.see(f"{HERE}/tenants/CAM").text

    rules = html[html.index('class="rules"') : html.index("</ol>", html.index('class="rules"'))]
    assert "icon--cross" not in rules
    assert "icon--minus" in rules


def test_the_first_page_lists_what_needs_a_person_with_a_link_each(month: Month, page: Browser):
    html = page.see("/cycles").text
    assert "Needs attention: 1" in html
    assert f'href="/invoicing{RITA}#delivery-{month.delivery("RITA")}"' in html

    page.submit(f"{HERE}/tenants/DAN/hold", {"reason": "pays by hand"})
    month.put_in_doubt("RITA")
    (unmade,) = month.db.execute(
        "INSERT INTO invoicing.unmade_document (invoice_id, run_id, problem)"
        """ SELECT i.id, i.run_id, '{"es": "la plantilla falla", "en": "the template fails"}'"""
        " FROM invoicing.invoice i JOIN invoicing.tenant t ON t.id = i.tenant_id WHERE t.code = 'CAM'"
        " RETURNING (SELECT number FROM invoicing.invoice WHERE id = invoice_id)"
    ).fetchall()
    html = page.see("/cycles").text
    assert "Needs attention: 3" in html
    assert f'href="/invoicing/invoices/{unmade["number"]}"' in html
    assert "the template fails" in html
    assert f'href="/invoicing{HERE}/tenants/DAN"' in html
    assert "Nobody knows whether it arrived" in html
    spanish = month.app.as_editor("es").see("/cycles").text
    assert "Necesita atención: 3" in spanish
    assert "la plantilla falla" in spanish
    assert "pays by hand" not in month.app.as_accountant("en").see("/cycles").text


def test_where_nothing_needs_a_person_no_list_is_shown(month: Month, page: Browser):
    month.inbox.refuses = False
    page.submit(f"{RITA}/send", {})
    month.send_again()

    assert "Needs attention" not in page.see("/cycles").text


def test_rows_tell_number_amount_due_date_and_when_it_was_accepted(month: Month, page: Browser):
    at = month.db.execute(
        "SELECT updated_at FROM invoicing.delivery WHERE state = 'sent' ORDER BY id"
    ).fetchone()
    assert at is not None
    local = at["updated_at"].astimezone(clock.zone())

    english = page.see(f"{HERE}?q=ana").text
    row = plain(english.split("<tbody>")[-1])
    spanish = month.app.as_editor("es").see(f"{HERE}?q=bea").text

    assert "FV-1" in row
    assert "1,000,000" in row
    assert f"Accepted {local:%H:%M}" in row
    assert "250 2.0.0" not in english
    assert "No rule objects" not in row
    assert "Colombia Time" in english
    assert "hora de Colombia" in spanish
    assert "2.000.000" in spanish
    assert "Aceptado" in spanish


def test_the_exports_tell_the_same_with_the_zone_named(month: Month, page: Browser):
    tenants = page.see(f"{HERE}/tenants.csv?outcome=send")
    rows = list(csv.DictReader(io.StringIO(tenants.content.decode("utf-8-sig"))))
    assert [(row["code"], row["amount"], row["currency"]) for row in rows] == [
        ("ANA", "1000000", "COP"), ("BEA", "2000000", "COP"), ("RITA", "1000000", "COP"),
    ]  # fmt: skip
    assert rows[1]["numbers"].count("FV-") == 2
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", rows[0]["due"])
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", rows[0][f"updated ({clock.TIMEZONE})"])


@pytest.mark.parametrize(
    ("asked", "codes"),
    [
        ("", ["ANA", "BEA", "BEA", "CAM", "DAN", "EVA", "RITA"]),
        ("?outcome=send", ["ANA", "BEA", "BEA", "RITA"]),
        ("?outcome=skip", ["CAM", "DAN", "EVA"]),
        ("?state=failed", ["RITA"]),
        ("?state=none", ["CAM", "DAN", "EVA"]),
        ("?q=peña", ["ANA"]),
    ],
)
def test_the_invoices_are_exported_one_a_line(month: Month, page: Browser, asked: str, codes: list[str]):
    answer = page.see(f"{HERE}/invoices.csv{asked}")

    assert 'filename="invoices-2026-11.csv"' in answer.headers["content-disposition"]
    rows = list(csv.DictReader(io.StringIO(answer.content.decode("utf-8-sig"))))
    assert sorted(row["code"] for row in rows) == codes
    assert {row["total"] for row in rows} == {"1000000"}
    assert len({row["number"] for row in rows}) == len(rows)
    assert all(not cell.startswith(("=", "+", "-", "@", "\t", "\r")) for row in rows for cell in row.values())
    shown = page.see(f"{HERE}{asked}").text
    assert f'href="/invoicing{HERE}/invoices.csv' in shown


def test_what_is_sent_again_is_not_counted_as_sent(month: Month, page: Browser):
    sent = month.delivery("ANA")
    page.submit(f"/deliveries/{sent}/resend", {"reason": "lost", "back": "delivery"})
    month.send_again()

    html = page.see(HERE).text
    assert re.findall(r'class="funnel__number">([\d,]+)<', html)[-1] == "2"
    assert "and 1 sent again" in html
    assert page.ask("GET", "/cycles/2026-11/progress").json()["sent"] == 2
    assert page.ask("GET", "/cycles").json()["cycles"][0]["sent"] == 2
    # All that the relay took is told by the command line (docs/contract.md).
    assert page.ask("GET", "/cycles/2026-11").json()["deliveries"]["sent"] == 3


def test_a_run_shows_its_steps_and_who_started_it(month: Month, page: Browser):
    month.db.execute("UPDATE invoicing.cycle_run SET state = 'running', ended_at = NULL")
    month.db.execute("UPDATE invoicing.delivery SET state = 'pending' WHERE state = 'failed'")

    html = page.see(HERE).text
    steps = plain(html[html.index('class="phases"') : html.index("</ol>", html.index('class="phases"'))])
    assert re.fullmatch(r'class="phases"> Invoices done Decisions done PDFs 4/4 done Sending 2/3 .+', steps)
    fresh = page.see(f"{HERE}/overview?q=ana").text
    assert re.findall(r'data-part="(\w+)"', fresh) == ["overview", "filters", "tenants"]
    assert "ANA" in fresh
    assert "BEA" not in fresh
    told = page.ask("GET", "/cycles/2026-11/progress").json()["run"]
    assert [phase["name"] for phase in told["phases"]] == ["invoices", "decisions", "documents", "sending"]
    assert told["dag_run_id"].startswith("manual__")


def test_the_frame_of_headers_follows_the_pages_theme(month: Month, page: Browser):
    delivery = month.delivery("ANA")

    raw = page.see(f"/deliveries/{delivery}/message.txt").text

    assert "prefers-color-scheme: dark" in raw
    assert 'id="dark"' in raw
    assert "data-themed" in page.see(f"/deliveries/{delivery}/message").text
    # A message is looked at as its reader sees it.
    assert "prefers-color-scheme" not in page.see("/invoices/FV-1/pages").text
