"""Tables for spreadsheet programs, to be saved."""

from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any

from starlette.responses import Response

from invoicing.domain.spreadsheet import BYTE_ORDER_MARK, csv_rows


def csv_response(filename: str, head: Sequence[str], rows: Iterable[Sequence[Any]]) -> Response:
    """A CSV file to be saved as ``filename``; it is written whole, so that a slow reader holds nothing up."""
    text = BYTE_ORDER_MARK + csv_rows(chain([head], rows))
    return Response(
        text.encode(),
        media_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{filename}"'},
    )
