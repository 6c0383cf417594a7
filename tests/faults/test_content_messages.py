"""What would load, run, mislead or hide something in a message is said to its editor, and never leaves."""

import json
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import yaml

from invoicing.rendering.errors import RenderFailedError
from invoicing.rendering.mail import MailRenderer
from invoicing.rendering.mail_cleaning import clean
from invoicing.rendering.proofreading import Proofreader
from invoicing.rendering.sample import sample_mail
from invoicing.rendering.templates import MAIL_HTML, MAIL_TEXT, SUBJECT, Template, load_shipped
from invoicing.words.failures import Failure
from support.project import TESTS
from support.rendering import SOUND

pytestmark = pytest.mark.faults

MESSAGES: list[dict[str, str]] = yaml.safe_load(
    (TESTS / "data" / "hostile" / "messages.yaml").read_text(encoding="utf-8")
)
NAMES = [message["name"] for message in MESSAGES]


def part_of(message: dict[str, str]) -> str:
    return message.get("part", MAIL_HTML)


def for_other_tenants(source: str, number: int) -> str:
    """A part that no sample shows: it is there for one tenant only."""
    return "{% if tenant.code == 'H" + str(number) + "' %}" + source + "{% else %}<p>x</p>{% endif %}"


def innermost(failure: Failure) -> Failure:
    while "problem" in failure.values or "reason" in failure.values:
        inner: Any = failure.values.get("problem") or failure.values["reason"]
        if not isinstance(inner, Failure):
            break
        failure = inner
    return failure


def proof(parts: dict[str, str], part: str, subject: str = "-") -> list[dict[str, Any]]:
    reader = Proofreader(Template("test", 1, {**SOUND, **parts}), subject, 2**21)
    found: list[dict[str, Any]] = json.loads(reader.proofread(part))
    return found


@pytest.fixture(scope="module")
def renderer() -> Iterator[MailRenderer]:
    """One template that is sound for everybody but the tenants of the corpus."""
    parts = dict(load_shipped().parts)
    sources = {MAIL_HTML: "", MAIL_TEXT: "", SUBJECT: "Factura"}
    for number, message in enumerate(MESSAGES):
        sources[part_of(message)] += (
            "{% if tenant.code == 'H" + str(number) + "' %}" + message["html"] + "{% endif %}"
        )
    parts |= {MAIL_HTML: sources[MAIL_HTML], MAIL_TEXT: sources[MAIL_TEXT]}
    with MailRenderer(Template("test", 1, parts), sources[SUBJECT]) as made:
        yield made


@pytest.mark.parametrize("number", range(len(MESSAGES)), ids=NAMES)
def test_it_never_leaves(renderer: MailRenderer, number: int) -> None:
    document = sample_mail()
    hostile = replace(document, tenant=replace(document.tenant, code=f"H{number}"))
    if "dropped" in MESSAGES[number]:
        assert "evil.example" not in renderer.render(hostile).html
        return
    with pytest.raises(RenderFailedError) as caught:
        renderer.render(hostile)

    assert innermost(caught.value.failure).code == MESSAGES[number]["code"]
    assert "evil.example" not in renderer.render(document).html


@pytest.mark.parametrize("message", MESSAGES, ids=NAMES)
def test_its_editor_is_told(message: dict[str, str]) -> None:
    part, source = part_of(message), message["html"]
    subject = source if part == SUBJECT else "-"
    found = proof({} if part == SUBJECT else {part: "\n" + source}, part, subject)

    assert message["code"] in {problem["code"] for problem in found}
    assert not any(problem["is_warning"] for problem in found)


def test_data_that_a_template_calls_safe_is_read_as_what_it_is() -> None:
    document = sample_mail()
    name = '<img src="https://evil.example/a.gif">'
    hostile = replace(document, tenant=replace(document.tenant, name=name))
    parts = {**load_shipped().parts, MAIL_HTML: "<p>{{ tenant.name|safe }}</p>"}
    with MailRenderer(Template("test", 1, parts), "Factura") as renderer:
        with pytest.raises(RenderFailedError, match="loads nothing from elsewhere"):
            renderer.render(hostile)
        assert "<p>Ferretería Núñez &amp; Hijos Ltda.</p>" in renderer.render(document).html
    with MailRenderer(load_shipped(), "Factura") as renderer:
        assert "&lt;img src=" in renderer.render(hostile).html


@pytest.mark.parametrize("message", MESSAGES, ids=NAMES)
def test_what_no_sample_shows_is_not_said_and_not_let_through(message: dict[str, str]) -> None:
    """The proof reads samples: the gate behind it is what keeps the promise."""
    if part_of(message) != MAIL_HTML:
        pytest.skip("of the HTML")

    assert proof({MAIL_HTML: for_other_tenants(message["html"], 1)}, MAIL_HTML) == []


@pytest.mark.parametrize(
    "html",
    [
        '<p style="color: rgb(1, 2, 3); mso-line-height-rule: exactly; width: calc(100% - 2px)">x</p>',
        '<p style="color: red; /* our red */ margin: 0 !important">x</p>',
        '<table background="cid:logo" bgcolor="#fff"><tr><td style="background: url(cid:logo)">x</td></tr></table>',
        '<a href="https://pagos.example/?a=1&amp;b=2" target="_blank" rel="noopener">x</a>',
        '<a href="mailto:cartera@agencia.example?subject=Pago">x</a><a href="#fin">y</a><p id="fin">z</p>',
        '<img src="data:image/png;base64,iVBORw0KGgo=" width="10" alt="Logo">',
        "<!-- a note --><p>x</p>",
        '<html xmlns="http://www.w3.org/1999/xhtml"><head><title>x</title></head><body bgcolor="#fff">x<br/></body>',
        '<head><meta http-equiv="Content-Type" content="text/html; charset=UTF-8"></head><p>x</p>',
        "<style>/* wide */ @media (min-width: 600px) { p { color: red } } a:hover { color: blue }</style><p>x</p>",
        "<p>שלום عربي 日本語 🙂&zwnj;&nbsp;&shy;&lt;script&gt;</p>",
        "<pre>\n a\n  b</pre><ul><li>x<li>y</ul>",
    ],
)
def test_what_lays_a_message_out_is_left_as_it_is(html: str) -> None:
    assert proof({MAIL_HTML: html}, MAIL_HTML) == []


def test_the_line_is_named_where_it_is_known() -> None:
    found = proof({MAIL_HTML: '<p>a</p>\n<p>b</p>\n<p style="position: fixed">c</p>'}, MAIL_HTML)

    assert [(each["code"], each["line"]) for each in found] == [("mail_style_refused", 3)]


def test_a_message_is_cleaned_in_linear_time() -> None:
    """Two megabytes of the worst take seconds at the most: the alarm is for what nobody thought of."""
    started = time.process_time()
    clean("<div>" * 5_000 + "x")
    clean("<p style='" + "a:b;" * 20_000 + "'>x</p>")
    clean("<p>" + "<" * 200_000)
    clean("<a href='" * 20_000)

    assert time.process_time() - started < 10


def test_a_message_beyond_all_measure_is_refused() -> None:
    _, found = clean("<p>" + "x" * (5 * 2**20) + "</p>")

    assert found[0].fault.code == "template_prints_too_much"
