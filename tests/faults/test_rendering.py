"""Templates that never end, and renderers that are killed, stopped or left behind."""

import base64
import io
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from invoicing.rendering.assignment import Limits
from invoicing.rendering.errors import RenderFailedError
from invoicing.rendering.invoice import InvoiceRenderer
from invoicing.rendering.sample import sample_invoice
from invoicing.rendering.templates import INVOICE_HTML, MAIL_HTML, MAIL_TEXT, load_shipped
from invoicing.rendering.validation import validate
from invoicing.services.agency.logo import logo_uri
from invoicing.words.failures import tell
from support.project import PYTHON_PATH
from support.rendering import SOUND, pages_of, template_of

pytestmark = pytest.mark.faults


@pytest.fixture(scope="module")
def shipped() -> Iterator[InvoiceRenderer]:
    with InvoiceRenderer(load_shipped()) as renderer:
        yield renderer


BOMBS = {
    "a loop": "{% for a in range(99999) %}{% for b in range(99999) %}{% set c = a %}{% endfor %}{% endfor %}",
    "one long C call": "{{ invoice.lines|length ** 9 ** 9 ** 9 ** 9 ** 9 ** 9 ** 9 ** 9 ** 9 ** 9 }}",
    "a constant folded at compile time": "{{ 9 ** 9 ** 9 ** 9 ** 9 ** 9 ** 9 ** 9 ** 9 ** 9 ** 9 }}",
    "too much output": "{% for a in range(99999) %}{{ 'x' * 100000 }}{% endfor %}",
    "too much memory": "{{ ('x' * 2000000000)|length }}",
    "padding": "{{ '%2000000000d' % 1 }}",
    "a layout without end": "{% for a in range(60000) %}<table><tr><td>{{ a }}{% endfor %}",
}


@pytest.mark.parametrize("bomb", BOMBS.values(), ids=BOMBS)
@pytest.mark.one_in(2)
def test_a_bomb_costs_its_own_invoice_and_not_the_next(bomb: str) -> None:
    html = "{% if invoice.number == 'BOMB' %}" + bomb + "{% endif %}<p>{{ invoice.number }}</p>"
    compiles = not bomb.startswith("{{ 9 **")
    with InvoiceRenderer(template_of(html), Limits(seconds=1.5, memory_bytes=256 * 2**20)) as renderer:
        if compiles:
            renderer.render(sample_invoice())
        started = time.monotonic()
        with pytest.raises(RenderFailedError, match="invoice BOMB was not rendered: ") as caught:
            renderer.render(replace(sample_invoice(), number="BOMB"))
        if compiles:
            assert time.monotonic() - started < 10, "the child's own alarm ends it, not the parent's patience"
            assert pages_of(renderer.render(sample_invoice()))[0].startswith("FV-1042")

    assert re.search(
        "longer than 1.5 s|memory|prints more than|nests too deeply|RecursionError", caught.value.reason
    )


def test_an_svg_bomb_is_over_a_limit_or_harmless() -> None:
    nested = "".join(f'<g id="g{n}">' + f'<use href="#g{n - 1}"/>' * 10 + "</g>" for n in range(1, 12))
    svg = (
        '<svg xmlns="http://www.w3.org/2000/svg"><defs><g id="g0"><rect width="1" height="1"/></g>'
        f'{nested}</defs><use href="#g11"/></svg>'
    )
    document = sample_invoice()
    logo = "data:image/svg+xml;base64," + base64.b64encode(svg.encode()).decode()
    with InvoiceRenderer(load_shipped(), Limits(seconds=3)) as renderer:
        with pytest.raises(RenderFailedError, match="FV-1042"):
            renderer.render(replace(document, agency=replace(document.agency, logo=logo)))
        assert len(pages_of(renderer.render(document))) == 1


def test_a_killed_child_is_replaced_and_told_again_what_it_remembered(shipped: InvoiceRenderer) -> None:
    invoice = sample_invoice()
    dots = random.Random(1).randbytes(3 * 100 * 50)
    logo = io.BytesIO()
    Image.frombytes("RGB", (100, 50), dots).save(logo, "PNG")
    agency = replace(invoice.agency, logo=logo_uri(logo.getvalue()))
    document = replace(invoice, agency=agency)
    before = shipped.render(document)
    pid = shipped._process.pid
    assert pid is not None
    assert shipped.render(document) == before
    os.kill(pid, signal.SIGKILL)

    with pytest.raises(RenderFailedError, match="SIGKILL"):
        shipped.render(document)

    assert shipped.render(document) == before


def test_a_stopped_child_is_ended_and_replaced() -> None:
    with InvoiceRenderer(load_shipped(), Limits(seconds=1)) as renderer:
        renderer.render(sample_invoice())
        pid = renderer._process.pid
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
        with pytest.raises(RenderFailedError, match="longer than 1 s"):
            renderer.render(sample_invoice())
        assert not Path(f"/proc/{pid}").exists()
        renderer.render(sample_invoice())


PARENT = """
import sys, threading
from dataclasses import replace
from invoicing.rendering.assignment import Limits
from invoicing.rendering.invoice import InvoiceRenderer
from invoicing.rendering.sample import sample_invoice
from invoicing.rendering.templates import Template, load_shipped

parts = {**load_shipped().parts, "invoice.html": sys.argv[1]}
renderer = InvoiceRenderer(Template("x", 1, parts), Limits(seconds=120))
renderer.render(sample_invoice())
if sys.argv[2] == "busy":
    bomb = replace(sample_invoice(), number="BOMB")
    threading.Thread(target=renderer.render, args=(bomb,), daemon=True).start()
print(renderer._process.pid, flush=True)
threading.Event().wait()
"""


@pytest.mark.parametrize("state", ["busy", "idle"])
def test_the_child_ends_with_its_parent(state: str) -> None:
    html = "{% if invoice.number == 'BOMB' %}" + BOMBS["a loop"] + "{% endif %}<p>x</p>"
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, html, state],
        env={**os.environ, "PYTHONPATH": PYTHON_PATH},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert parent.stdout is not None
    with parent, parent.stdout:
        child = int(parent.stdout.readline())
        time.sleep(1)
        assert is_running(child)
        parent.kill()
    deadline = time.monotonic() + 5
    while is_running(child) and time.monotonic() < deadline:
        time.sleep(0.05)
    ended = not is_running(child)
    if not ended:
        os.kill(child, signal.SIGKILL)
    assert ended


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_a_batch_does_not_grow_without_bound(shipped: InvoiceRenderer) -> None:
    def resident() -> int:
        return int(Path(f"/proc/{shipped._process.pid}/statm").read_text().split()[1]) * 4096

    for _ in range(9):
        shipped.render(sample_invoice())
    before = resident()
    for _ in range(16):
        shipped.render(sample_invoice())

    assert resident() - before < 30 * 2**20


@pytest.mark.parametrize(
    "bomb",
    [
        "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
        "{% for a in range(99999) %}{{ 'x' * 9999 }}{% endfor %}",
        "{{ 9 ** 9 ** 9 ** 9 ** 9 ** 9 ** 9 ** 9 ** 9 ** 9 }}",
    ],
)
@pytest.mark.one_in(3)
def test_a_bomb_is_a_problem_of_its_part_and_the_others_are_still_read(bomb: str) -> None:
    started = time.monotonic()
    problems = validate({**SOUND, MAIL_TEXT: bomb, INVOICE_HTML: "{{ nobody }}"}, limits=Limits(seconds=1.5))

    assert {problem.part for problem in problems} == {MAIL_TEXT, INVOICE_HTML}
    assert time.monotonic() - started < 20


@pytest.mark.parametrize(
    "source",
    [
        """{{ tenant["' has no attribute '"*12000] }}""",
        """{{ tenant[("' unexpected '"*12000)|safe] }}""",
        """{% for a in range(9000) %}<img src="http://x.example/{{ 'a' * 800 }}{{ a }}">{% endfor %}""",
    ],
)
@pytest.mark.one_in(3)
def test_whatever_a_template_makes_its_problems_are_short_and_few(source: str) -> None:
    problems = validate({**SOUND, MAIL_HTML: source})

    assert problems
    assert len(problems) <= 100
    for problem in problems:
        assert all(len(str(value)) <= 510 for value in problem.values.values())
        assert len(tell(problem, "es")) < 1500
