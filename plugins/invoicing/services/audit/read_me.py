"""The page that goes with an export, in both languages: `include/templates/export/README.md`."""

import string
from pathlib import Path

from invoicing.domain.period import Period
from invoicing.services.audit.history import Head

_PAGE = Path(__file__).parents[4] / "include" / "templates" / "export" / "README.md"


def text(period: Period, head: Head) -> str:
    """The page of the export of ``period``, whose history ends at ``head``."""
    page = string.Template(_PAGE.read_text(encoding="utf-8"))
    return page.substitute(period=period, head=head.sha256, entry=head.entry)
