"""Tables for spreadsheet programs: CSV that they read as text, never as formulas.

A cell that starts with ``=``, ``+``, ``-``, ``@``, a tab or a carriage return may be run as a formula
(https://owasp.org/www-community/attacks/CSV_Injection): an apostrophe in front makes it text. The full-width
forms of the first four mean the same to some programs. Every cell is quoted, so that no separator inside a
value starts another cell; a byte-order mark tells Excel that the file is UTF-8.
"""

import csv
import io
from collections.abc import Iterable, Sequence
from typing import Any

from starlette.responses import Response

_DANGEROUS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


def safe_cell(value: Any) -> str:
    """``value`` as text that no spreadsheet program takes for a formula."""
    if value is None:
        return ""
    text = str(value).replace("\0", "")
    # Some programs skip white space before they look for a sign.
    return f"'{text}" if text.startswith(_DANGEROUS) or text.lstrip().startswith(_DANGEROUS) else text


def csv_response(filename: str, head: Sequence[str], rows: Iterable[Sequence[Any]]) -> Response:
    """A CSV file to be saved as ``filename``; it is written whole, so that a slow reader holds nothing up."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, quoting=csv.QUOTE_ALL, lineterminator="\r\n")
    buffer.write("\ufeff")
    writer.writerow([safe_cell(cell) for cell in head])
    writer.writerows([safe_cell(cell) for cell in row] for row in rows)
    return Response(
        buffer.getvalue().encode(),
        media_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{filename}"'},
    )
