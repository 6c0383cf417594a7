"""What comes out of a rendering child is bounded: texts are cut, and what is too large is refused with a code."""

import json
import os
import random
import struct
import subprocess
import sys
import time
import zlib
from pathlib import Path
from typing import Any

import pytest

from invoicing.rendering import pictures
from invoicing.rendering.assignment import HEADER, LARGEST_MAIL_BYTES, LARGEST_REPLY_BYTES, Limits
from invoicing.rendering.drawing import fitting
from invoicing.rendering.errors import LONGEST_VALUE, DocumentTooLargeError, RenderFailedError, cut
from invoicing.rendering.invoice import InvoiceRenderer
from invoicing.rendering.mail import render_mail
from invoicing.rendering.pictures import draw_pages
from invoicing.rendering.sample import sample_invoice, sample_mail
from invoicing.rendering.sandbox import _reason, _receive_some
from invoicing.rendering.templates import MAIL_HTML, MAIL_TEXT, PARTS, Template
from invoicing.rendering.validation import MOST_PROBLEMS, validate
from invoicing.services.agency.template_editing import _picture_problems
from invoicing.services.views.templates import compare_parts
from invoicing.web.html.template_problems import in_words
from support.rendering import SOUND, template_of

LIMITS = Limits(seconds=30)
LARGEST_PROOF_CHARACTERS = 1_000_000

# Each makes an exception's message of any length.
MESSAGES = {
    "the review's": """{{ tenant["' has no attribute '"*12000] }}""",
    "28 characters": '{{ tenant["x"*9999999] }}',
    "undefined": "{{ tenant['%s'|replace('%', 'abc'*999999)] }}",
    "of a quote": """{{ tenant["'" * 999999] }}""",
    "of a brace": """{{ tenant["{known}" * 199999] }}""",
    "a filter's": "{{ ('1' * 4999999)|float(default=nobody) }}",
    "a number's": "{{ ('9' * 4000)|int ** 9 }}",
    "a test's": "{{ 'x' is divisibleby('y' * 999999) }}",
    "a format's": "{{ ('%(' ~ 'x' * 999999 ~ ')d')|format(x=1) }}",
    "a translation's": "{{ t('{a}' ~ 'x' * 999999, '{a}' ~ 'x' * 999999) }}",
    "syntax": "{{ " + "x" * 400_000 + " y }}",
    "an unknown tag": "{% " + "x" * 400_000 + " %}",
    "many names": " ".join(f"{{{{ nobody{n} }}}}" for n in range(3_000)),
}


@pytest.mark.parametrize("text", MESSAGES.values(), ids=MESSAGES)
@pytest.mark.one_in(3)
def test_what_is_said_of_a_template_is_short_and_quick_to_tell(text: str):
    found = validate(
        {**SOUND, **dict.fromkeys((MAIL_HTML, MAIL_TEXT, "invoice.html"), text)}, "-", limits=LIMITS
    )

    begun = time.perf_counter()
    told = in_words(found)
    as_error = [str(each) for each in found]
    assert time.perf_counter() - begun < 0.2
    assert len(found) <= MOST_PROBLEMS * len(PARTS)
    assert sum(map(len, as_error)) + sum(len(each.text[0]) for each in told) < LARGEST_PROOF_CHARACTERS
    for each in found:
        for value in each.values.values():
            assert len(str(value)) <= LONGEST_VALUE or hasattr(value, "code")


@pytest.mark.parametrize(
    ("part", "text"),
    [
        (MAIL_HTML, "{{ 'x' * 1048577 }}"),
        # Characters of four bytes.
        (MAIL_HTML, "{{ '\N{HOUSE BUILDING}' * 300000 }}"),
        (MAIL_TEXT, "{{ 'ñ' * 600000 }}"),
        # One rule, and a copy of it in each of many paragraphs.
        (
            MAIL_HTML,
            "<style>p{font-family:{{ 'x' * 5000 }}}</style>{% for a in range(3000) %}<p>x</p>{% endfor %}",
        ),
    ],
)
@pytest.mark.one_in(2)
def test_a_message_of_more_than_a_megabyte_is_refused_by_the_check_and_by_the_renderer(part: str, text: str):
    template = Template("test", 1, {**SOUND, part: text})

    with pytest.raises(RenderFailedError) as refused:
        render_mail(template, "Factura", sample_mail())
    problems = validate(template.parts, "-", limits=LIMITS)

    assert str(refused.value.failure) == f"{part}: it prints more than 1 MB"
    assert [(each.part, each.code) for each in problems] == [(part, "template_prints_too_much")]


def test_a_message_just_below_the_limit_is_made():
    text = "ñ" * (LARGEST_MAIL_BYTES // 2 - 100)
    template = Template("test", 1, {**SOUND, MAIL_TEXT: text})

    assert render_mail(template, "Factura", sample_mail()).text == text + "\n"


def test_a_pdf_larger_than_anything_that_is_mailed_is_refused(tmp_path: Path):
    (tmp_path / "noise.png").write_bytes(noise(2000, 2000))
    template = template_of('<img src="noise.png" alt="">', folder=tmp_path)

    with (
        InvoiceRenderer(template, Limits(seconds=60)) as renderer,
        pytest.raises(RenderFailedError) as refused,
    ):
        renderer.render(sample_invoice())

    assert refused.value.failure.code == "document_too_large"
    assert str(refused.value.failure) == "it is larger than 8 MB"


def test_pictures_of_noise_are_fewer_instead_of_larger():
    drawn = iter([bytes(3 * 2**20)] * 9)

    assert len(fitting(drawn)) == 2
    # What does not fit is the last that is drawn.
    assert len(list(drawn)) == 6


def test_a_child_that_draws_more_than_fits_is_ended(monkeypatch: pytest.MonkeyPatch):
    """Its limit is the kernel's: were its own code not what it is, it could not raise it again."""
    act = (
        "import resource, sys; from invoicing.rendering import drawing; drawing.fitting = list;"
        "drawing._draw = lambda page, width: bytes(9 * 2**20); drawing.main(1, 1, 100)"
    )
    with InvoiceRenderer(template_of("<p>x</p>"), LIMITS) as renderer:
        pdf = renderer.render(sample_invoice())
    python = [sys.executable, "-c", act]
    run = subprocess.run
    monkeypatch.setattr(pictures.subprocess, "run", lambda command, **given: run(python, **given))

    with pytest.raises(RenderFailedError, match="its pages cannot be drawn"):
        draw_pages(pdf, "large")


def test_no_more_is_read_of_an_answer_than_there_may_be():
    """Whatever became of a child: it may claim anything."""
    ours, theirs = os.pipe()
    with os.fdopen(ours, "rb", buffering=0) as reading, os.fdopen(theirs, "wb", buffering=0) as writing:
        writing.write(HEADER.pack(2**40))
        with pytest.raises(DocumentTooLargeError, match="larger than 1 MB"):
            _receive_some(reading, bytearray(), LARGEST_REPLY_BYTES["proof"])


def test_what_a_child_gives_as_its_reason_is_cut_once_more():
    told: dict[str, Any] = {"part": "p" * 9999, "line": 3, "code": "c" * 9999, "values": {"name": "n" * 9999}}

    fault = _reason(json.dumps(told).encode())

    assert len(str(fault)) < 3 * LONGEST_VALUE
    assert len(str(fault.values["part"])) == LONGEST_VALUE


def test_values_are_cut_whatever_they_are():
    values = cut(
        {"text": "x" * 9999, "number": 5, "large": 10**400, "list": ["x" * 9999], "none": None, "yes": True}
    )

    assert values["number"] == 5
    assert (values["none"], values["yes"]) == (None, True)
    assert all(len(str(value)) <= LONGEST_VALUE for value in values.values())


def test_pictures_by_the_thousand_are_looked_through_at_once():
    """The line of each was counted from the text's beginning: 24,000 times half a megabyte."""
    many = "data:image/svg+xml,\n" * 24_000
    bomb = "data:image/svg+xml,<!DOCTYPE"

    begun = time.perf_counter()
    found = _picture_problems({**SOUND, "invoice.html": many + bomb})
    refused = _picture_problems({**SOUND, MAIL_HTML: many})

    assert time.perf_counter() - begun < 1
    assert [(each.line, each.code) for each in found] == [(24_001, "svg_with_doctype")]
    assert [each.line for each in refused] == list(range(1, 101))


def test_two_versions_that_were_made_to_be_slow_to_compare_are_compared_at_once():
    # A hundred lines over and over, each as often as difflib still looks at, and every other line one that is not.
    before, after = (
        "\n".join(f"{only}{n}" if n % 2 else f"line {n % 100}" for n in range(2_900)) for only in "uv"
    )
    versions = [
        {**dict.fromkeys(PARTS, ""), part: text} for part, text in ((MAIL_HTML, before), (MAIL_HTML, after))
    ]

    begun = time.process_time()
    (diff,) = compare_parts(*versions)

    assert time.process_time() - begun < 1
    assert diff.lines is None


def test_a_few_changes_in_a_long_text_are_compared():
    before = [f"line {n}" for n in range(2_900)]
    after = [*before[:1_000], "new", *before[1_001:2_000], *before[2_001:]]
    versions = [{**dict.fromkeys(PARTS, ""), MAIL_HTML: "\n".join(text)} for text in (before, after)]

    (diff,) = compare_parts(*versions)

    assert (diff.gone, diff.new) == (2, 1)


def noise(width: int, height: int) -> bytes:
    """A PNG that does not compress."""
    rows = b"".join(b"\0" + random.Random(row).randbytes(3 * width) for row in range(height))

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack("!I", len(data)) + kind + data + struct.pack("!I", zlib.crc32(kind + data))

    head = struct.pack("!IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(rows, 1))
        + chunk(b"IEND", b"")
    )
