"""A credit note, and the message that corrects an invoice: what is on paper, and what is said."""

import datetime
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal

import pytest

from invoicing.rendering.document import InvoiceDocument, MailDocument, MailInvoice
from invoicing.rendering.invoice import InvoiceRenderer
from invoicing.rendering.mail import MailContent, MailRenderer
from invoicing.rendering.sample import sample_invoice, sample_mail
from invoicing.rendering.templates import load_shipped, shipped_names
from support.rendering import SOUND, faults_of, pages_of, template_of

DUE = datetime.date(2026, 11, 6)
NOTE = MailInvoice(
    "NC-7", "Local 3", Decimal(500000), "COP", DUE, "NC-7.pdf", corrects="FV-1042", left=Decimal(0)
)
NEW = MailInvoice("FV-1050", "Local 3", Decimal(4431884), "COP", DUE, "FV-1050.pdf", replaces="FV-1042")


def credit_note(language: str = "es") -> InvoiceDocument:
    return replace(
        sample_invoice(language), number="NC-7", corrects="FV-1042", corrects_on=datetime.date(2026, 11, 1)
    )


@pytest.fixture(scope="module")
def printer() -> Iterator[InvoiceRenderer]:
    with InvoiceRenderer(load_shipped()) as renderer:
        yield renderer


@pytest.fixture(scope="module")
def writer() -> Iterator[MailRenderer]:
    with MailRenderer(load_shipped(), "Factura de {{ tenant.name }}") as renderer:
        yield renderer


def text_of(pdf: bytes) -> str:
    return " ".join(pages_of(pdf)).replace("\N{NO-BREAK SPACE}", " ").replace("N.º ", "")


def test_a_credit_note_says_what_it_corrects_and_asks_for_no_payment(printer: InvoiceRenderer) -> None:
    pdf = printer.render(credit_note())
    page = text_of(pdf)
    for words in (
        "Nota crédito",
        "NC-7",
        "CORRIGE LA FACTURA",
        "FV-1042",
        "Arrendamiento de noviembre de 2026",
        "Subtotal $ 4.420.000",
        "Retención de ICA 0,966 % de $ 4.200.000 -$ 40.572",
        "Total acreditado $ 4.931.884",
        "Página 1 de 1",
    ):
        assert words in page, words
    for words in ("Factura NC-7", "Total a pagar", "Cuenta de ahorros", "PAGUE HASTA"):
        assert words.upper() not in page.upper(), words
    assert faults_of(pdf) == []
    facts = subprocess.run(["pdfinfo", "-"], input=pdf, capture_output=True, check=True).stdout.decode()
    assert "Nota crédito NC-7" in facts
    assert "Tagged:          yes" in facts


def test_in_english_too(printer: InvoiceRenderer) -> None:
    page = text_of(printer.render(credit_note("en")))
    for words in ("Credit note", "FV-1042", "Total credited COP 4,931,884", "Page 1 of 1"):
        assert words in page, words


def test_a_template_that_knows_of_no_credit_notes_makes_none_of_them_an_invoice() -> None:
    with InvoiceRenderer(template_of("<p>Factura: pague {{ invoice.total }}</p>")) as renderer:
        page = text_of(renderer.render(credit_note()))
    assert "Nota crédito" in page
    assert "pague" not in page


@pytest.mark.parametrize("template", [*shipped_names(), "their own"])
def test_a_void_invoice_says_so_whatever_its_template_and_is_sound(template: str) -> None:
    """In words that can be searched for, not in its picture alone; and nobody is asked to pay it."""
    own = template_of("<p>Factura: {{ invoice.total }}</p>")
    with InvoiceRenderer(own if template == "their own" else load_shipped(template)) as renderer:
        for language, word, demands in (
            ("es", "ANULADA", ("Total a pagar", "Pague", "Cuenta de ahorros")),
            ("en", "VOID", ("Total due", "Please pay", "Cuenta de ahorros")),
        ):
            pdf = renderer.render(replace(sample_invoice(language), void=True))
            page = text_of(pdf)
            assert word in page
            assert [each for each in demands if each in page] == []
            assert faults_of(pdf) == []


def test_a_replacement_says_whose_place_it_takes(printer: InvoiceRenderer) -> None:
    assert "Reemplaza la factura FV-9" in text_of(printer.render(replace(sample_invoice(), replaces="FV-9")))


def message(writer: MailRenderer, *invoices: MailInvoice, language: str = "es") -> MailContent:
    document: MailDocument = replace(sample_mail(language), invoices=invoices)
    return writer.render(document)


def flat(text: str) -> str:
    return " ".join(text.split())


def test_the_message_says_in_words_what_was_corrected(writer: MailRenderer) -> None:
    made = message(writer, NOTE, NEW)
    assert made.subject == "Corrección de su factura FV-1042 – Inmobiliaria de Muestra S.A.S."
    for body in (flat(made.text), flat(made.html)):
        assert "Corregimos la factura FV-1042 que le enviamos." in body
        assert "deja sin efecto la factura FV-1042: no la pague" in body
        assert "En su lugar vale la factura FV-1050" in body
        assert "a más tardar el 6 de noviembre de 2026" in body
        assert "NC-7.pdf" in body
        assert "Cuenta de ahorros 000-000000-00" in body
    english = flat(message(writer, NOTE, NEW, language="en").text)
    assert "We have corrected invoice FV-1042" in english
    assert "please do not pay it" in english


def test_a_part_that_is_credited_leaves_the_rest_to_be_paid(writer: MailRenderer) -> None:
    body = flat(message(writer, replace(NOTE, left=Decimal(4431884))).text)
    assert "descuenta $ 500.000 de la factura FV-1042, que queda en $ 4.431.884" in body.replace(
        "\N{NO-BREAK SPACE}", " "
    )
    assert "no la pague" not in body
    assert "Cuenta de ahorros" not in body


def test_a_replacement_that_comes_later_comes_by_itself(writer: MailRenderer) -> None:
    body = flat(message(writer, NEW).text)
    assert "Corregimos la factura FV-1042" in body
    assert "nota crédito" not in body


def test_whatever_the_template_the_words_of_a_correction_are_ours() -> None:
    with MailRenderer(replace(load_shipped(), parts=SOUND), "Pague") as renderer:
        made = message(renderer, NOTE)
    assert made.subject.startswith("Corrección")
    assert "Corregimos" in made.text
