"""What a page costs the processor: ours in the rendering process, beside a plain WeasyPrint call for each document.

    PYTHONPATH=plugins:tests .venv/bin/python tests/bench/bench_page.py [--turns N] [--json FILE]

Both by turns and in processes of their own, so that a busy machine slows both. *Stock* is what the project would do
without any of ``docs/rendering_cost.md``: the invoice as it was shipped before, its style sheet within it, and
``weasyprint.HTML(string=…).write_pdf()``. *Ours* is all that the rendering process does for a document: it reads it
from the pipe, fills the template, makes the page and the PDF, and every eighth time clears up.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import psutil

from invoicing.rendering.document import InvoiceDocument
from invoicing.rendering.invoice import InvoiceRenderer
from invoicing.rendering.sample import sample_invoice
from invoicing.rendering.templates import (
    INVOICE_CSS,
    INVOICE_HTML,
    PARTS,
    Part,
    Template,
    environment,
    invoice_variables,
    load_shipped,
)

BEFORE = Path(__file__).parents[1] / "data" / "before_fields"
# A whole number of the worker's collections; the processor's time is told by hundredths of a second.
DOCUMENTS_A_TURN = 16
TURNS = 5


def documents() -> dict[str, InvoiceDocument]:
    """The sample invoice, four lines with IVA and withholdings; and one of a single line without either."""
    sample = sample_invoice()
    [rent, *_] = sample.lines
    rent = replace(rent, tax_rate=Decimal(0), tax=Decimal(0))
    nothing = Decimal(0)
    one_line = replace(
        sample, use="residential", lines=(rent,), subtotal=rent.amount, total=rent.amount, tax=nothing,
        withholdings=(), withholding=nothing,
    )  # fmt: skip
    return {"sample": sample, "one_line": one_line}


def measure(turns: int = TURNS) -> dict[str, float]:
    """Milliseconds of the processor for a page, medians of ``turns``.

    Returns:
        ``stock_ms``, ``ours_ms`` of the sample invoice; ``one_line_stock_ms``, ``one_line_ms``; and what ours is of
        stock's, the median of the turns: ``share`` and ``one_line_share``, fractions.
    """
    spent: dict[tuple[str, str], list[float]] = {}
    with _stock() as stock, InvoiceRenderer(load_shipped()) as renderer:
        for turn in range(turns + 1):
            for name, document in documents().items():
                times = {"stock": _ask(stock, name), "ours": _render(renderer, document)}
                for which, milliseconds in times.items():
                    if turn:  # the first warms up
                        spent.setdefault((which, name), []).append(milliseconds)

    def share(name: str) -> float:
        turns_of_both = zip(spent["ours", name], spent["stock", name], strict=True)
        return round(statistics.median(ours / stock for ours, stock in turns_of_both), 3)

    median = {key: round(statistics.median(times), 1) for key, times in spent.items()}
    return {
        "stock_ms": median["stock", "sample"],
        "ours_ms": median["ours", "sample"],
        "share": share("sample"),
        "one_line_stock_ms": median["stock", "one_line"],
        "one_line_ms": median["ours", "one_line"],
        "one_line_share": share("one_line"),
    }


def _render(renderer: InvoiceRenderer, document: InvoiceDocument) -> float:
    """Milliseconds a document of the rendering process alone; not of the one that looks at what it made."""
    renderer.render(document)
    process = psutil.Process(renderer._process.pid)
    before = process.cpu_times()
    for _ in range(DOCUMENTS_A_TURN):
        renderer.render(document)
    after = process.cpu_times()
    return (after.user + after.system - before.user - before.system) * 1000 / DOCUMENTS_A_TURN


@contextmanager
def _stock() -> Iterator["subprocess.Popen[str]"]:
    command = [sys.executable, __file__, "--stock"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield process
        assert process.stdin is not None
        process.stdin.close()


def _ask(process: "subprocess.Popen[str]", name: str) -> float:
    assert process.stdin is not None
    assert process.stdout is not None
    print(name, file=process.stdin, flush=True)
    return float(process.stdout.readline())


def _serve_stock() -> None:
    """In a process of its own: for each name on standard input, the milliseconds that a page of it takes."""
    import weasyprint

    parts = {part: (BEFORE / part).read_text(encoding="utf-8") for part in PARTS}
    template = Template("before", 1, parts)
    part = Part(environment(), INVOICE_HTML, parts[INVOICE_HTML])
    known = documents()
    for line in sys.stdin:
        began = time.process_time()
        for _ in range(DOCUMENTS_A_TURN):
            html = part.render(invoice_variables(known[line.strip()], template.fields))
            styled = html.replace("</head>", f"<style>{parts[INVOICE_CSS]}</style></head>")
            weasyprint.HTML(string=styled).write_pdf()
        print((time.process_time() - began) * 1000 / DOCUMENTS_A_TURN, flush=True)


def main() -> None:
    """Print the figures, and write them where asked to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--turns", type=int, default=TURNS)
    parser.add_argument("--stock", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.stock:
        _serve_stock()
        return
    figures = {"render": measure(arguments.turns)}
    print(json.dumps(figures, indent=2))
    if arguments.json:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
