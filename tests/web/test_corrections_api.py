"""Void, credit, replace by the JSON API; a voided invoice's document, and what leaves of a correction, by a relay."""

import email
import email.policy
from email.message import EmailMessage
from typing import Any

import pytest

from invoicing.services.delivery import closing
from support.month import Month
from support.rendering import pages_of
from support.visiting import Browser

INVOICES = "/invoices"


def number_of(month: Month, lease: str) -> str:
    row = month.db.execute(
        "SELECT i.number FROM invoicing.invoice i JOIN invoicing.lease l ON l.id = i.lease_id"
        " WHERE l.code = %s AND i.kind = 'invoice' ORDER BY i.id DESC LIMIT 1",
        [lease],
    ).fetchone()
    assert row is not None
    return str(row["number"])


def do(page: Browser, number: str, act: str, **body: Any) -> Any:
    return page.ask("POST", f"{INVOICES}/{number}/{act}", {"reason": "billed wrongly", **body})


def last_message(month: Month) -> EmailMessage:
    return email.message_from_bytes(
        month.inbox.messages[-1], _class=EmailMessage, policy=email.policy.default
    )


def balanced(month: Month) -> bool:
    row = month.db.execute("SELECT id FROM invoicing.billing_cycle").fetchone()
    assert row is not None
    return closing.imbalances(month.db, row["id"]) == []


def test_what_was_sent_is_credited_replaced_and_told(month: Month, page: Browser) -> None:
    number = number_of(month, "ANA-0")
    month.db.execute("UPDATE invoicing.lease SET rent = 900000 WHERE code = 'ANA-0'")
    foreseen = do(page, number, "replace", dry_run=True).json()
    assert (foreseen["state"], foreseen["difference"], foreseen["airflow_told"]) == (
        "credited",
        "-100000",
        None,
    )
    assert not month.announced

    done = do(page, number, "replace").json()

    assert (done["credit_note"], done["replacement"]) == (foreseen["credit_note"], foreseen["replacement"])
    assert month.announced
    before = len(month.inbox.messages)
    month.send_again()
    assert len(month.inbox.messages) == before + 1
    message = last_message(month)
    assert message["subject"] == f"Corrección de su factura {number} – Agencia"
    attached = {part.get_filename(): part.get_content() for part in message.iter_attachments()}
    assert set(attached) == {"NC-1.pdf", f"{done['replacement']['number']}.pdf"}
    assert "Nota crédito" in " ".join(pages_of(attached["NC-1.pdf"]))
    body = message.get_body(("plain",))
    assert body is not None
    assert f"deja sin efecto la factura {number}" in " ".join(body.get_content().split())
    assert balanced(month)
    # The same bytes, whatever became of the invoices since.
    shown = page.ask("GET", f"{INVOICES}/{number}").json()
    assert (shown["state"], shown["replaced_by"]) == ("credited", done["replacement"]["number"])
    assert [each["act"] for each in shown["corrections"]] == ["credit", "replace"]
    assert shown["corrections"][0]["reason"] == "billed wrongly"
    told = page.see(f"/deliveries/{month.delivery('ANA')}/message.txt")
    assert "The same bytes as were transmitted" in told.text


def test_a_part_is_credited_by_line(month: Month, page: Browser) -> None:
    number = number_of(month, "ANA-0")
    done = do(page, number, "credit", lines=[{"position": 1, "amount": "250000", "currency": "COP"}]).json()
    assert (done["state"], done["credit_note"]["total"]) == ("partly_credited", "250000")
    assert page.ask("GET", f"{INVOICES}/{number}").json()["lines"][0]["left"] == "750000"
    month.send_again()
    body = last_message(month).get_body(("plain",))
    assert body is not None
    assert "que queda en" in body.get_content()
    assert page.ask("GET", "/cycles/2026-11").json()["credits"]["count"] == 1


def test_a_void_invoice_says_so_on_paper(month: Month, page: Browser) -> None:
    number = number_of(month, "DAN-0")
    assert do(page, number, "void").json()["state"] == "void"
    pdf = page.see(f"/invoices/{number}/document.pdf")
    assert pdf.status_code == 200
    assert "ANULADA" in " ".join(pages_of(pdf.content)).upper()
    assert "document.pdf" in page.see(f"/invoices/{number}").text
    assert balanced(month)


@pytest.mark.parametrize(
    ("act", "body", "status", "code"),
    [
        ("void", {}, 422, "void_was_sent"),
        ("void", {"reason": " "}, 422, "reason_missing"),
        ("credit", {"lines": [{"position": 1, "amount": "1000001"}]}, 422, "credit_more_than_left"),
        (
            "credit",
            {"lines": [{"position": 1, "amount": "1", "currency": "USD"}]},
            422,
            "credit_other_currency",
        ),
        ("credit", {"lines": []}, 422, "credit_without_lines"),
        ("replace", {}, 422, "replace_same"),
    ],
)
def test_what_cannot_be_done_is_said(
    month: Month, page: Browser, act: str, body: dict[str, Any], status: int, code: str
) -> None:
    answer = do(page, number_of(month, "ANA-0"), act, **body)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert not month.announced


def test_several_are_all_or_none(month: Month, page: Browser) -> None:
    ana, dan = number_of(month, "ANA-0"), number_of(month, "DAN-0")
    orders = [
        {"number": dan, "action": "void", "reason": "x"},
        {"number": ana, "action": "void", "reason": "x"},
    ]
    assert page.ask("POST", "/corrections", {"corrections": orders}).status_code == 422
    assert page.ask("GET", f"{INVOICES}/{dan}").json()["state"] == "issued"
    orders[1]["action"] = "credit"
    done = page.ask("POST", "/corrections", {"corrections": orders}).json()["corrections"]
    assert [each["state"] for each in done] == ["void", "credited"]


def test_on_its_page_what_would_come_out_is_seen_first(month: Month, page: Browser) -> None:
    number = number_of(month, "ANA-0")
    here = f"/invoices/{number}"
    assert "See what would come out" in page.see(here).text
    for typed, words in (
        ({"reason": "x"}, "choose what to do"),
        ({"action": "credit", "reason": " "}, "give a reason"),
        ({"action": "void", "reason": "x"}, "correct it by a credit note"),
        ({"action": "credit", "reason": "x", "line-1": "mil"}, "POSITION=AMOUNT"),
        ({"action": "void", "reason": "x", "line-1": "5"}, "only a credit note"),
        ({"action": "credit", "reason": "x", "line-1": "1000001"}, "has 1000000 left"),
    ):
        refused = page.submit(f"{here}/correct", typed)
        assert refused.status_code == 422
        assert words in refused.text, words
    typed = {"action": "credit", "reason": "a week <b>", "line-1": "250000"}
    foreseen = page.submit(f"{here}/correct", typed)
    for words in ("nothing has changed yet", "NC-1", "250", "Confirm"):
        assert words in foreseen.text, words
    assert page.ask("GET", f"{INVOICES}/{number}").json()["state"] == "issued"

    done = page.submit(f"{here}/correct", {**typed, "step": "do"})

    assert "Corrected." in done.text
    assert "a week &lt;b&gt;" in done.text
    assert month.announced
    assert page.ask("GET", f"{INVOICES}/{number}").json()["state"] == "partly_credited"
    assert "Credit note NC-1" in page.see("/invoices/NC-1").text
    assert "See what would come out" not in page.see("/invoices/NC-1").text
    assert "See what would come out" not in month.app.as_viewer("en").see(here).text


def test_who_only_looks_corrects_nothing(month: Month) -> None:
    answer = do(month.app.as_viewer("en"), number_of(month, "DAN-0"), "void")
    assert (answer.status_code, answer.json()["code"]) == (403, "may_not_change")
