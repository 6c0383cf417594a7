"""What is remembered of earlier documents is never seen in a later one."""

import hashlib
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import weasyprint

from invoicing.rendering import printer_memory
from invoicing.rendering.document import InvoiceDocument, Line
from invoicing.rendering.sample import sample_invoice, sample_invoices
from invoicing.rendering.templates import Template, load_shipped
from invoicing.rendering.typesetting import Typesetter
from support.rendering import template_of

# Each of what WeasyPrint computes by more than a rule: by the page, by the element, by the document's own words.
CURIOUS_CSS = """
    @page { size: A5; margin: 12mm; @top-right { content: string(name) " " counter(page) "/" counter(pages) } }
    @page :first { margin: 20mm; background: #eee }
    @page wide { size: A5 landscape }
    body { --size: 10pt; font-size: var(--size) }
    h1 { string-set: name content(); bookmark-level: 1; page: auto }
    .wide { page: wide }
    p::first-letter { font-size: 2em; color: red } p::before { content: attr(title) " " }
    .justified { text-align: justify; hyphens: auto; width: calc(30% + 10mm); text-indent: 2ex }
    .cut { width: 20mm; white-space: nowrap; overflow: hidden; text-overflow: ellipsis }
    .noted { float: footnote } td { border: 1pt solid } .collapsed { border-collapse: collapse }
    .box { box-sizing: border-box; width: 30mm; padding: 3mm } ul { min-height: 10%; border-radius: 20% }
    a::after { content: " (" target-counter(attr(href), page) ")" } li { text-decoration: underline }
"""
# By the first page's size, which is not the same in every document.
SIZED_CSS = "h1 { width: 50vw; border: 1pt solid; font-size: 4vmin }"
CURIOUS_HTML = """<html lang="{{ language }}" style="--colour: {{ '#123' if invoice.tax else '#a00' }}">
    {% if invoice.void %}<style>.box { width: 60mm } @page { size: A6 }</style>{% endif %}
    {% if invoice.lines|length > 4 %}<div class="wide">{{ tenant.name }}</div>{% endif %}
    <h1 id="{{ invoice.number }}">{{ invoice.number }}</h1>
    <p title="{{ invoice.number }}">first</p><a href="#{{ invoice.number }}">there</a>
    <div class="justified" lang="{{ 'en' if invoice.tax else 'es' }}">
      {{ (tenant.name ~ ' extraordinariamente ') * 9 }}</div>
    <div class="cut">{{ tenant.name }}</div> note<span class="noted">{{ invoice.total }}</span>
    <table class="{{ 'collapsed' if invoice.tax }}"><tr><td>{{ invoice.total }}
      <td style="width: {{ invoice.lines|length }}cm">x</table>
    <div class="box">{{ tenant.name }}</div><ul><li>{{ tenant.name }}</ul><pre>a\tb</pre>
    <svg width="{{ invoice.lines|length }}cm" height="1cm"><rect width="10" height="10" /></svg>
"""


def documents() -> list[InvoiceDocument]:
    many = tuple(Line("charge", f"Renglón {number}", sample_invoice().total) for number in range(30))
    credit = replace(sample_invoice(), corrects="FV-1", corrects_on=sample_invoice().issued_on)
    return [*sample_invoices(), replace(sample_invoice(), lines=many), credit, sample_invoice()]


def templates() -> list[Template]:
    curious = (template_of(CURIOUS_HTML, css=css) for css in (CURIOUS_CSS, CURIOUS_CSS + SIZED_CSS))
    return [load_shipped(), *curious]


def hashes(*, backwards: bool = False) -> list[list[str]]:
    """Of every document in every template, printed in one process."""
    hashed = []
    for template in templates():
        typesetter = Typesetter(template, 2**23)
        order = documents()[::-1] if backwards else documents()
        of_template = [hashlib.sha256(typesetter.typeset(document)).hexdigest() for document in order]
        # Another style sheet, with the same fonts; then the first once more.
        between = typesetter.typeset_picture(sample_invoice().agency.logo, 40, 30)
        again = typesetter.typeset(order[-1])
        assert hashlib.sha256(again).hexdigest() == of_template[-1]
        ordered = of_template[::-1] if backwards else of_template
        hashed.append([*ordered, hashlib.sha256(between).hexdigest()])
    return hashed


def test_the_bytes_are_those_of_a_printer_that_remembers_nothing() -> None:
    """Whatever was printed before: forwards, backwards, and by a WeasyPrint that this project left alone."""
    unknown = (
        "import weasyprint; weasyprint.__version__ = '0'; from rendering.test_printer_memory import hashes"
    )
    forgetful = subprocess.run(
        [sys.executable, "-c", f"import json; {unknown}; print(json.dumps(hashes()))"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        cwd=Path(__file__).parents[1],
        capture_output=True,
        check=True,
    )

    assert hashes() == hashes(backwards=True) == json.loads(forgetful.stdout)


def test_of_another_style_sheet_nothing_is_remembered() -> None:
    """The rules of one that is gone may have left their places in memory to another's."""
    memory = printer_memory.StyleMemory()
    first, second = object(), object()
    memory.begin_document([first])
    memory.by_rules[1,] = {}
    memory.begin_document([first])
    assert memory.by_rules

    memory.begin_document([second])
    assert not memory.by_rules


def test_it_is_this_version_of_weasyprint_that_is_known() -> None:
    """An update brings `printer_memory` up for review; until then all is right, and slow."""
    assert weasyprint.__version__ == printer_memory.VERSION
    assert printer_memory.IS_KNOWN


def test_documents_without_end_leave_a_memory_of_some_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(printer_memory, "MOST_STYLES", 100)
    typesetter = Typesetter(template_of('<p style="width: {{ invoice.number }}mm">x'), 2**23)
    sizes = []
    for number in range(40):
        typesetter.typeset(replace(sample_invoice(), number=str(number)))
        sizes.append(len(typesetter._look.memory.by_values))

    assert max(sizes) < 200
    assert len(set(sizes)) > 2, "it fills, and is emptied"
