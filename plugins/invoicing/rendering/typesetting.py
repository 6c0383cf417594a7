"""HTML and CSS to PDF, in the child process. With `printer_memory` the only module that imports WeasyPrint.

In less than half the time of a plain `weasyprint.HTML(...).write_pdf()` (``docs/rendering_cost.md``): a fetcher that
builds no TLS context; one font configuration and one parsed style sheet for all documents, with the styles that it gave
to earlier ones; no garbage collection while a document is made (`worker` sees to that).
"""

import logging
import mimetypes
import re
import warnings
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from urllib.request import DataHandler, Request, url2pathname

with warnings.catch_warnings():
    # A missing libharfbuzz-subset is said by `check_system`, in words that name the package.
    warnings.simplefilter("ignore", DeprecationWarning)
    import weasyprint
    from weasyprint.text.fonts import FontConfiguration
    from weasyprint.urls import URLFetcher, URLFetcherResponse

    from invoicing.rendering.printer_memory import PictureMemory, StyleMemory, finisher, read_document

from invoicing.rendering.complaints import PrinterNote
from invoicing.rendering.document import InvoiceDocument
from invoicing.rendering.templates import (
    CREDIT_NOTE_HTML,
    INVOICE_CSS,
    INVOICE_HTML,
    VOID_HTML,
    Part,
    Template,
    environment,
    invoice_variables,
)

PDF_VARIANT = "pdf/ua-1"


class BlockedResourceError(ValueError):
    """A document refers to something outside of it."""


class TemplateFetcher(URLFetcher):  # type: ignore[misc]  # WeasyPrint has no types
    """Reads ``data:`` URIs and files of the template's own folder; everything else is noted and refused.

    `URLFetcher.__init__` is left out on purpose: it prepares network handlers, a TLS context among them, that
    nothing here may use.
    """

    _fail_on_errors = False

    def __init__(self, folder: Path | None) -> None:
        self._folder = None if folder is None else folder.resolve()
        self.blocked: list[str] = []

    def fetch(self, url: str, headers: dict[str, str] | None = None) -> URLFetcherResponse:  # noqa: ARG002 (WeasyPrint's)
        """Read ``url``, or raise `BlockedResourceError`."""
        scheme = url.partition(":")[0].lower()
        if scheme == "data":
            response = DataHandler().data_open(Request(url))  # noqa: S310 (a data: URI)
            return URLFetcherResponse(
                url, response.read(), {"Content-Type": response.headers["Content-Type"]}
            )
        if scheme == "file" and self._folder is not None:
            path = Path(url2pathname(re.split("[?#]", url, maxsplit=1)[0][5:].removeprefix("//"))).resolve()
            if path.is_relative_to(self._folder) and path.is_file():
                kind = mimetypes.guess_type(path)[0] or "application/octet-stream"
                return URLFetcherResponse(url, path.read_bytes(), {"Content-Type": kind})
        self.blocked.append(url)
        raise BlockedResourceError(f"{url[:200]} is outside of the template")

    def __call__(self, url: str) -> URLFetcherResponse:
        """WeasyPrint calls its fetcher."""
        return self.fetch(url)


class PrinterLog(logging.Handler):
    """Keeps what WeasyPrint logs about a document instead of printing it."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.notes: list[PrinterNote] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep one note; a document that gives thousands gives no more news after the first hundred."""
        if len(self.notes) < 100 and isinstance(record.args, tuple):
            self.notes.append(PrinterNote(str(record.msg), record.args))


@dataclass(frozen=True)
class _Look:
    """A style sheet, parsed, with what it came to in earlier documents."""

    css: weasyprint.CSS
    memory: StyleMemory = field(default_factory=StyleMemory)


class Typesetter:
    """Makes PDFs of one template.

    Raises:
        PartFaultError: ``invoice.html`` has a syntax error.
    """

    def __init__(self, template: Template, largest_html_bytes: int) -> None:
        self.log = PrinterLog()
        weasyprint.LOGGER.handlers = [self.log]
        weasyprint.LOGGER.propagate = False
        self.fetcher = TemplateFetcher(template.folder)
        self._fields = template.fields
        self._base_url = None if template.folder is None else template.folder.resolve().as_uri() + "/"
        self._fonts = FontConfiguration()
        self._pictures = PictureMemory()
        self._part = Part(environment(), INVOICE_HTML, template.parts[INVOICE_HTML], largest_html_bytes)
        self._largest_html_bytes = largest_html_bytes
        self._variations = template.variations
        self._look = _Look(self._read_css(template.parts[INVOICE_CSS]))

    def typeset(self, document: InvoiceDocument) -> bytes:
        """Make the PDF of ``document``; the same document gives the same bytes.

        Raises:
            PartFaultError: The template cannot be printed with this document.
        """
        is_invoice = document.corrects is None
        part = self._part if is_invoice else self._credit_note
        variables = invoice_variables(document, self._fields)
        printed = part.render(variables)
        if document.void:
            body, end, rest = printed.rpartition("</body>")
            printed = f"{body if end else printed}{self._void.render(variables)}{end}{rest if end else ''}"
        look = self._look if is_invoice else self._credit_look
        self._fonts.style_memory = look.memory
        self._pictures.begin_document()
        html = read_document(printed, self._base_url, self.fetcher)
        pdf: bytes = html.write_pdf(
            finisher=finisher,
            cache=self._pictures,
            stylesheets=[look.css],
            font_config=self._fonts,
            pdf_variant=PDF_VARIANT,
            pdf_identifier=document.number.encode(),
        )
        return pdf

    @cached_property
    def _credit_look(self) -> "_Look":
        return _Look(self._read_css(self._variations[INVOICE_CSS]))

    # Compiled when they are first wanted.

    @cached_property
    def _credit_note(self) -> Part:
        return self._variation(CREDIT_NOTE_HTML)

    @cached_property
    def _void(self) -> Part:
        return self._variation(VOID_HTML)

    def _variation(self, name: str) -> Part:
        return Part(environment(), name, self._variations[name], self._largest_html_bytes)

    def _read_css(self, source: str) -> weasyprint.CSS:
        return weasyprint.CSS(
            string=source, font_config=self._fonts, url_fetcher=self.fetcher, base_url=self._base_url
        )

    def typeset_picture(self, uri: str, width: int, height: int) -> bytes:
        """Make a PDF of one page with nothing but a picture, both of so many CSS pixels (1/96 inch)."""
        style = f"display: block; width: {width}px; height: {height}px"
        sheet = f"@page {{ size: {width}px {height}px; margin: 0 }} body {{ margin: 0 }}"
        html = weasyprint.HTML(string=f'<img src="{uri}" style="{style}" alt="">', url_fetcher=self.fetcher)
        pdf: bytes = html.write_pdf(
            stylesheets=[weasyprint.CSS(string=sheet, font_config=self._fonts)], font_config=self._fonts
        )
        return pdf


def missing_libraries() -> list[str]:
    """Optional libraries that WeasyPrint did not find, by their Debian package."""
    from weasyprint.text import ffi

    return ["libharfbuzz-subset0"] if ffi.harfbuzz_subset is None else []
