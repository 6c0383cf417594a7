"""A template's fields: what they print, what they never do, and that nothing changes where nobody changed them."""

import datetime
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal

import pypdfium2
import pytest
from PIL import Image, ImageChops

from invoicing.domain.settings import DEFAULT_SUBJECT
from invoicing.rendering.document import Agency, MailDocument
from invoicing.rendering.field_rules import LONGEST_SENTENCE, field_problems
from invoicing.rendering.fields import FIELDS, SENTENCES, Sentence, TemplateFields, contrast, fill, look_of
from invoicing.rendering.invoice import InvoiceRenderer
from invoicing.rendering.mail import MailRenderer, render_mail
from invoicing.rendering.sample import sample_invoice, sample_invoices, sample_mail, sample_mails
from invoicing.rendering.templates import PARTS, Template, load_shipped, shipped_names
from invoicing.words import template_fields
from invoicing.words.failures import tell
from support.project import ROOT
from support.rendering import pages_of

BEFORE = ROOT / "tests" / "data" / "before_fields"
HOSTILE = "{{ 7*7 }} {% raw %} <b>x</b> & {tenant.__class__} {0}"


def before_fields() -> Template:
    """The shipped template as it was before it had fields."""
    parts = {part: (BEFORE / part).read_text(encoding="utf-8") for part in PARTS}
    return Template("default", 1, parts, load_shipped().folder)


def with_fields(name: str = "default", **changed: Sentence | str) -> Template:
    shipped = load_shipped(name)
    return replace(shipped, fields=replace(shipped.fields, **changed))  # type: ignore[arg-type]


def messages() -> Iterator[MailDocument]:
    """Every turn that the sentences take: one or several, with a month or without, due together or not."""
    for mail in sample_mails():
        yield mail
        later = replace(
            mail.invoices[0], number="FV-9", due_on=mail.first_due_on + datetime.timedelta(days=3)
        )
        yield replace(mail, invoices=(later,))
        yield replace(mail, invoices=(*mail.invoices, later))
        yield replace(mail, invoices=(*mail.invoices, later), period=None)
        yield replace(mail, tenant=replace(mail.tenant, name="{month} [x] <i>&amp;"), agency=Agency(name="A"))


def test_untouched_fields_print_the_same_as_before_there_were_fields() -> None:
    """Messages to the byte; the invoice, which has fewer boxes now, to the word and to the eye."""
    with (
        MailRenderer(before_fields(), DEFAULT_SUBJECT) as before,
        MailRenderer(load_shipped(), DEFAULT_SUBJECT) as now,
    ):
        for document in messages():
            assert now.render(document) == before.render(document)
    with InvoiceRenderer(before_fields()) as before_pdf, InvoiceRenderer(load_shipped()) as now_pdf:
        # A voided one has said so in a line of text, too, since.
        for invoice in [each for each in sample_invoices() if not each.void]:
            pdf, pdf_before = now_pdf.render(invoice), before_pdf.render(invoice)
            assert pages_of(pdf) == pages_of(pdf_before)
            # A hairline may lie a hundredth of a millimetre elsewhere, between two pixels.
            assert ImageChops.difference(page_in_grey(pdf), page_in_grey(pdf_before)).getextrema()[1] < 32


def page_in_grey(pdf: bytes) -> Image.Image:
    return pypdfium2.PdfDocument(pdf)[0].render(scale=1.4).to_pil().convert("L")  # type: ignore[no-any-return]


def test_a_version_of_before_prints_no_field_and_takes_none() -> None:
    kept = before_fields()

    assert kept.fields == TemplateFields.from_json({}) == TemplateFields()
    assert kept.fields_in_use == {"logo"}
    changed = replace(kept, fields=load_shipped("banner").fields)
    assert render_mail(changed, "x", sample_mail()) == render_mail(kept, "x", sample_mail())


@pytest.mark.parametrize("name", shipped_names())
def test_every_field_of_what_is_shipped_is_printed_and_sound(name: str) -> None:
    shipped = load_shipped(name)

    assert shipped.fields_in_use == set(FIELDS)
    assert field_problems(shipped.fields) == []
    assert TemplateFields.from_json(shipped.fields.to_json()) == shipped.fields
    assert set(template_fields.LABELS) == set(FIELDS)


@pytest.mark.parametrize("name", shipped_names())
def test_a_changed_sentence_is_in_both_forms_of_the_message_and_on_the_invoice(name: str) -> None:
    said = {each: Sentence(f"ES {each}\nsegunda línea", f"EN {each}\nsecond line") for each in SENTENCES}
    template = with_fields(name, **said)

    several = render_mail(template, "x", sample_mail())
    single = sample_mail("en")
    one = render_mail(template, "x", replace(single, invoices=single.invoices[:1]))
    with InvoiceRenderer(template) as renderer:
        page = pages_of(renderer.render(sample_invoice("en")))[0]

    for each in ("greeting", "opening_several", "payment_note", "closing"):
        assert f"ES {each}<br>segunda línea" in several.html
        assert f"ES {each}\nsegunda línea" in several.text
    assert "EN opening<br>second line" in one.html
    assert "ES opening<" not in several.html
    # The slip has two columns, whose lines alternate in plain text.
    assert "EN invoice_note" in page
    assert "second line" in page


@pytest.mark.parametrize("name", shipped_names())
def test_braces_and_markup_in_a_field_are_shown_as_they_are_typed(name: str) -> None:
    template = with_fields(name, **{each: Sentence(HOSTILE, HOSTILE) for each in SENTENCES})

    content = render_mail(template, "x", sample_mail())
    with InvoiceRenderer(template) as renderer:
        page = pages_of(renderer.render(sample_invoice()))[0]

    assert content.text.count(HOSTILE) == 4
    assert content.html.count("{{ 7*7 }} {% raw %} &lt;b&gt;x&lt;/b&gt; &amp; {tenant.__class__} {0}") == 4
    assert "<b>x" not in content.html
    assert HOSTILE in page


def test_a_value_is_never_read_again() -> None:
    values = {"tenant": "{agency} [{month}] {{ x }}", "agency": "A", "month": ""}

    assert fill("Hola, {tenant}[ de {month}]", values) == "Hola, {agency} [{month}] {{ x }}"


@pytest.mark.parametrize(
    ("text", "filled"),
    [
        ("su factura[ de {month}].", "su factura de mayo."),
        ("su factura[ de {common_due}].", "su factura."),
        ("[a][b {tenant}] {x} [", "[a][b Ana] {x} ["),
        ("[{month} y {common_due}]", ""),
        ("[[{month}]]", "[mayo]"),
    ],
)
def test_a_passage_is_left_out_with_its_value(text: str, filled: str) -> None:
    assert fill(text, {"tenant": "Ana", "month": "mayo", "common_due": ""}) == filled


REFUSED = [
    ("greeting", "Hola {{ tenant.name }}", "braces stand around a name only: {tenant}, {agency}"),
    ("greeting", "Hola {% if x %}", "braces stand"),
    ("greeting", "Hola {tenant", "braces stand"),
    ("greeting", "Hola {nombre}", "{nombre} stands for nothing here; use {tenant}"),
    ("greeting", "Hola {0}", "{0} stands for nothing"),
    ("opening", "De {number}", "{number} stands for nothing"),
    ("invoice_note", "Son {count}", "{count} stands for nothing"),
    ("opening", "Factura de {month}", "put what is left out with it into brackets"),
    ("invoice_note", "[a] {month}", "put what is left out"),
    ("closing", "x" * (LONGEST_SENTENCE + 1), f"at most {LONGEST_SENTENCE}"),
    ("closing", "a\N{RIGHT-TO-LEFT OVERRIDE}b", "U+202E"),
    ("closing", "a\0b", "U+0000"),
    ("closing", "a\ud800b", "U+D800"),
]


@pytest.mark.parametrize(("field", "text", "said"), REFUSED, ids=lambda value: str(value)[:24])
def test_a_sentence_that_would_say_something_else_is_refused_at_its_field(
    field: str, text: str, said: str
) -> None:
    shipped = load_shipped().fields
    kept = replace(shipped, **{field: Sentence("Bien", text)})

    (problem,) = field_problems(kept)

    assert problem.part == f"{field}.en"
    assert said in problem.message
    assert tell(problem, "es") != problem.message


@pytest.mark.parametrize("text", ["", " \n"])
def test_a_sentence_in_one_language_alone_is_refused(text: str) -> None:
    (problem,) = field_problems(replace(load_shipped().fields, closing=Sentence("Adiós", text)))

    assert (problem.part, problem.code) == ("closing.en", "field_untranslated")


def test_a_sentence_may_be_empty_in_both() -> None:
    assert field_problems(TemplateFields()) == []


@pytest.mark.parametrize(
    ("colour", "code"),
    [
        ("red", "field_colour_malformed"),
        ("#FFF", "field_colour_malformed"),
        ("#ffdd00", "field_colour_pale"),
        ("#17405c;} body { display: none", "field_colour_malformed"),
        ("{{ x }}", "field_colour_malformed"),
    ],
)
def test_a_colour_that_is_none_or_is_not_read_on_white_is_refused(colour: str, code: str) -> None:
    (problem,) = field_problems(TemplateFields(colour=colour))

    assert (problem.part, problem.code) == ("colour", code)
    # Whatever came into the ledger: it is printed as a colour, or not at all.
    if code == "field_colour_malformed":
        assert look_of(TemplateFields(colour=colour)).colour == "#17405c"


@pytest.mark.parametrize("colour", ["#17405c", "#1f5a46", "#000000", "#b00020", "#6b4e00", "#767676"])
def test_a_colour_has_a_shade_that_is_read_in_the_dark(colour: str) -> None:
    look = look_of(TemplateFields(colour=colour))

    assert look.colour == colour
    assert contrast(look.colour_on_dark, "#26323b") >= 7


def test_contrast_is_wcags() -> None:
    assert contrast("#000000", "#ffffff") == contrast("#ffffff", "#000000") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.005)


@pytest.mark.parametrize("name", shipped_names())
def test_the_colour_is_in_the_message_and_on_the_paper(name: str) -> None:
    shipped = load_shipped(name)
    template = with_fields(name, colour="#6a1b9a")

    content = render_mail(template, "x", sample_mail())
    with InvoiceRenderer(template) as renderer, InvoiceRenderer(shipped) as untouched:
        coloured, plain = renderer.render(sample_invoice()), untouched.render(sample_invoice())

    assert content.html.count("#6a1b9a") >= 3
    assert shipped.fields.colour not in content.html
    assert look_of(template.fields).colour_on_dark in content.html
    assert coloured != plain


def test_a_templates_logo_takes_the_place_of_the_agencys() -> None:
    dot = "data:image/gif;base64,R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7"
    invoice = sample_invoice()
    bare = replace(invoice, agency=replace(invoice.agency, logo=""))

    with InvoiceRenderer(with_fields(logo=dot)) as renderer, InvoiceRenderer(load_shipped()) as usual:
        assert renderer.render(bare) == usual.render(replace(bare, agency=replace(bare.agency, logo=dot)))
        assert renderer.render(bare) != usual.render(bare)


def test_the_second_template_says_what_a_message_has_to_say() -> None:
    content = render_mail(load_shipped("banner"), DEFAULT_SUBJECT, sample_mail())
    text = content.text.replace("\N{NO-BREAK SPACE}", " ")

    for words in (
        "FV-1042",
        "FV-1043.pdf",
        "$ 4.795.890",
        "$ 7.945.890",
        "6 de noviembre de 2026",
        "NIT 900",
    ):
        assert words in text
    assert "Cuenta de ahorros" in content.html


def test_the_second_templates_invoice_never_orphans_its_totals() -> None:
    invoice = sample_invoice()
    with InvoiceRenderer(load_shipped("banner")) as renderer:
        for count in (1, 4, 17, 18, 19, 20, 60):
            lines = tuple(
                replace(invoice.lines[1], description=f"Cargo {number}", amount=Decimal(1000))
                for number in range(count)
            )
            pages = pages_of(renderer.render(replace(invoice, lines=lines)))

            (last,) = [page for page in pages if "Subtotal" in page]
            assert f"Cargo {count - 1} " in last
            assert all(f"{number}/{len(pages)}" in page for number, page in enumerate(pages, start=1))
            assert all("Concepto" in page for page in pages if "Cargo" in page)


@pytest.mark.parametrize("language", ["es", "en"])
def test_the_second_templates_invoice_is_tagged_and_complete(language: str) -> None:
    with InvoiceRenderer(load_shipped("banner")) as renderer:
        pdf = renderer.render(sample_invoice(language))

    told = subprocess.run(["pdfinfo", "-"], input=pdf, capture_output=True, check=True).stdout.decode()
    assert "Tagged:          yes" in told
    assert "FV-1042" in told
    (page,) = pages_of(pdf)
    for words in ("FV-1042", "4.931.884", "Ferretería") if language == "es" else ("FV-1042", "Total due"):
        assert words in page.replace("\N{NO-BREAK SPACE}", " ")
