"""Invoices as PDF."""

import shutil
import subprocess
from types import TracebackType
from typing import Self

from invoicing.rendering.assignment import Assignment, Inspection, Limits
from invoicing.rendering.document import InvoiceDocument
from invoicing.rendering.sandbox import TemplateProcess
from invoicing.rendering.templates import Template

# One page takes 2 ms, a thousand lines 20.
INSPECTION_LIMITS = Limits(seconds=10, memory_bytes=256 * 1024 * 1024)

# Debian packages of the families that invoice.css names, in its order.
FONT_PACKAGES = {"Lato": "fonts-lato", "DejaVu Sans": "fonts-dejavu-core"}


class InvoiceRenderer:
    """Renders a batch of invoices, each within its limits, in a child process that they share.

    For one thread at a time. Use it as a context manager; the child ends with the block.

    Args:
        template: All invoices of the batch have the same.
        limits: For one invoice.
    """

    def __init__(self, template: Template, limits: Limits | None = None) -> None:
        self._process = TemplateProcess(Assignment("invoice", template), limits or Limits())
        self._inspector = TemplateProcess(Inspection("invoice"), INSPECTION_LIMITS)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._process.close()
        self._inspector.close()

    def render(self, document: InvoiceDocument) -> bytes:
        """Make the PDF of ``document``; the same document and template give the same bytes.

        A process that has never seen the template says whether the PDF is one to read and nothing more.

        Raises:
            RenderFailedError: The template is wrong, was over a limit, or made what no document may have. The next
                invoice is not affected.
        """
        pdf = self._process.ask(document, document.label)
        self._inspector.ask(pdf, document.label)
        return pdf


def check_system() -> list[str]:
    """What rendering needs and this machine lacks, one sentence each, with the command that fixes it."""
    try:
        from invoicing.rendering import typesetting
    except OSError as error:
        return [f"PDF rendering cannot start, Pango is missing ({error}): apt-get install libpangoft2-1.0-0"]
    warnings = [
        f"{package} is missing: rendering takes several times as long: apt-get install {package}"
        for package in typesetting.missing_libraries()
    ]
    fc_list = shutil.which("fc-list")
    if fc_list is None:
        return [*warnings, "fc-list is missing, fonts cannot be checked: apt-get install fontconfig"]
    for family, package in FONT_PACKAGES.items():
        found = subprocess.run([fc_list, family, "file"], capture_output=True, text=True, check=False)
        if not found.stdout.strip():
            warnings.append(
                f"font {family} is missing, invoices will not look as designed: apt-get install {package}"
            )
    return warnings
