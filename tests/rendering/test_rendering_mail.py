"""What a message says, and what cannot be smuggled into it."""

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from invoicing.domain.settings import DEFAULT_SUBJECT
from invoicing.rendering.assignment import Limits
from invoicing.rendering.document import MailDocument
from invoicing.rendering.errors import RenderFailedError
from invoicing.rendering.mail import MailRenderer, render_mail
from invoicing.rendering.sample import sample_mail, sample_mails
from invoicing.rendering.templates import MAIL_HTML, Template, load_shipped


@pytest.fixture(scope="module")
def shipped() -> Iterator[MailRenderer]:
    with MailRenderer(load_shipped(), DEFAULT_SUBJECT) as renderer:
        yield renderer


def template_of(html: str) -> Template:
    return Template("test", 1, {**load_shipped().parts, MAIL_HTML: html})


def named(name: str) -> MailDocument:
    document = sample_mail()
    return replace(document, tenant=replace(document.tenant, name=name))


def spaced(text: str) -> str:
    return text.replace("\N{NO-BREAK SPACE}", " ").replace("&nbsp;", " ")


def test_a_message_lists_its_invoices_with_amounts_and_due_dates(shipped: MailRenderer) -> None:
    content = shipped.render(sample_mail())

    assert content.subject == "Factura de arriendo, noviembre de 2026 – Inmobiliaria de Muestra S.A.S."
    for body in (spaced(content.text), spaced(content.html)):
        for words in (
            "FV-1042",
            "FV-1043",
            "FV-1042.pdf",
            "$ 4.795.890",
            "$ 3.150.000",
            "$ 7.945.890",
            "sus 2 facturas",
        ):
            assert words in body, words
        assert "6 de noviembre de 2026" in body
    assert "Vence el 6 nov 2026" in content.html
    assert "\n\nFV-1042 · Carrera 15 # 88-64, local 3\n" in content.text


def test_a_single_english_invoice_reads_as_one(shipped: MailRenderer) -> None:
    document = sample_mail("en")
    content = shipped.render(replace(document, invoices=document.invoices[:1]))

    assert content.subject == "Rent invoice, November 2026 – Inmobiliaria de Muestra S.A.S."
    assert (
        "Please find attached your invoice for November 2026. Kindly pay it by November 6, 2026."
        in content.text
    )


def test_different_due_dates_and_currencies_are_told_apart(shipped: MailRenderer) -> None:
    document = sample_mail()
    first, second = document.invoices
    later = replace(second, due_on=second.due_on.replace(day=20), currency="USD")
    text = shipped.render(replace(document, invoices=(first, later))).text.replace("\N{NO-BREAK SPACE}", " ")

    assert "La primera vence el 6 de noviembre de 2026." in text
    assert "Total a pagar: $ 4.795.890" in text
    assert "Total a pagar: US$ 3.150.000,00" in text


def test_a_single_invoice_has_no_month(shipped: MailRenderer) -> None:
    content = shipped.render(sample_mails()[2])

    assert content.subject == "Factura de arriendo – Inmobiliaria de Muestra S.A.S."
    assert "Adjuntamos su factura." in content.text


def test_styles_are_inline_and_what_cannot_be_stays(shipped: MailRenderer) -> None:
    html = shipped.render(sample_mail()).html

    assert re.search(r'<td[^>]* style="[^"]*font-family', html)
    assert "prefers-color-scheme" in html
    assert ".sheet { width" not in html
    assert len(html) < 100_000


def test_markup_in_a_name_is_text(shipped: MailRenderer) -> None:
    content = shipped.render(named("<script>alert(1)</script>{{7*7}}"))

    assert "<script" not in content.html
    assert "&lt;script&gt;alert(1)&lt;/script&gt;{{7*7}}" in content.html
    assert "<script>alert(1)</script>{{7*7}}" in content.text


def test_a_name_cannot_turn_the_text_around_it(shipped: MailRenderer) -> None:
    content = shipped.render(named("שלום \u202egnirts\u202c\u2066x\u2069\x07"))

    assert "שלום gnirtsx:" in content.text
    assert "שלום gnirtsx:" in content.html


@pytest.mark.parametrize("ending", ["\r\nBcc: x@y.example", "\nBcc: x@y.example", "\rX", "\u2028X", "\x85X"])
def test_a_line_break_in_the_subject_is_refused(ending: str) -> None:
    with pytest.raises(RenderFailedError) as caught:
        render_mail(load_shipped(), "Para {{ tenant.name }}.", named("Ana" + ending))

    assert "message to tenant T00001 (FV-1042, FV-1043)" in str(caught.value)
    assert "line break" in str(caught.value)


def test_spaces_around_the_subject_go(shipped: MailRenderer) -> None:
    assert render_mail(load_shipped(), "  Hola {{ tenant.code }} \n", sample_mail()).subject == "Hola T00001"


@pytest.mark.parametrize(
    "subject", ["", "  ", "{{ nobody }}", "{{ ''.__class__ }}", "{% if %}", "x" * 10_000]
)
def test_a_bad_subject_is_refused_by_name(subject: str) -> None:
    with pytest.raises(RenderFailedError, match="subject"):
        render_mail(load_shipped(), subject, sample_mail())


def test_inlining_reads_no_file_and_no_network(tmp_path: Path) -> None:
    sheet = tmp_path / "secret.css"
    sheet.write_text("p { color: #abcdef }")
    html = f'<link rel="stylesheet" href="{sheet}"><link rel="stylesheet" href="{sheet.as_uri()}"><p>x</p>'
    content = render_mail(template_of(html), DEFAULT_SUBJECT, sample_mail())

    assert "abcdef" not in content.html


def test_a_bomb_costs_its_own_message_and_not_the_next() -> None:
    endless = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"
    html = "{% if tenant.code == 'BOMB' %}" + endless + "{% endif %}"
    document = sample_mail()
    with MailRenderer(template_of(html + "<p>x</p>"), DEFAULT_SUBJECT, Limits(seconds=1)) as renderer:
        with pytest.raises(RenderFailedError, match=r"message to tenant BOMB .* longer than 1 s"):
            renderer.render(replace(document, tenant=replace(document.tenant, code="BOMB")))
        assert "<p>x</p>" in renderer.render(document).html


def test_too_much_output_is_refused() -> None:
    html = "{% for a in range(99999) %}{{ 'x' * 9999 }}{% endfor %}"
    with pytest.raises(RenderFailedError, match=r"mail\.html: it prints more than 1 MB"):
        render_mail(template_of(html), DEFAULT_SUBJECT, sample_mail())
