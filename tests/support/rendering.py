"""Templates of a test's own, and what is printed on the pages of a document."""

import subprocess
from io import BytesIO
from pathlib import Path

import pikepdf

from invoicing.rendering.templates import (
    INVOICE_CSS,
    INVOICE_HTML,
    MAIL_HTML,
    MAIL_TEXT,
    Template,
    load_shipped,
)

# Parts without a fault.
SOUND = {MAIL_HTML: "<p>{{ tenant.name }}</p>", MAIL_TEXT: "x", INVOICE_HTML: "<p>x</p>", INVOICE_CSS: ""}


def template_of(invoice_html: str, folder: Path | None = None, css: str = "") -> Template:
    parts = {**load_shipped().parts, INVOICE_HTML: invoice_html, INVOICE_CSS: css}
    return Template("test", 1, parts, folder)


def pages_of(pdf: bytes) -> list[str]:
    """The text of each page, one space between words."""
    printed = subprocess.run(["pdftotext", "-layout", "-", "-"], input=pdf, capture_output=True, check=True)
    return [" ".join(page.split()) for page in printed.stdout.decode().split("\f")[:-1]]


def faults_of(pdf: bytes) -> list[str]:
    """What ``qpdf --check`` says against a document; pikepdf is that library."""
    with pikepdf.open(BytesIO(pdf)) as opened:
        return opened.check_pdf_syntax()
