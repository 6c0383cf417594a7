"""Tables for spreadsheet programs, to be saved."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Any

from starlette.responses import Response, StreamingResponse

from invoicing.domain.spreadsheet import BYTE_ORDER_MARK, csv_rows

_TYPE = "text/csv; charset=utf-8"


def csv_response(filename: str, head: Sequence[str], rows: Iterable[Sequence[Any]]) -> Response:
    """A CSV file to be saved as ``filename``; it is written whole, so that a slow reader holds nothing up."""
    text = BYTE_ORDER_MARK + csv_rows(chain([head], rows))
    return Response(text.encode(), media_type=_TYPE, headers=_to_be_saved(filename))


def csv_stream(
    filename: str, head: Sequence[str], batches: Iterator[Iterable[Sequence[Any]]]
) -> StreamingResponse:
    """A CSV file of any length, written batch by batch as it is read.

    The first batch is made before anything is answered: what is wrong with the question is told. Nothing is held
    between two batches but the reader's own turn. Where a later one cannot be made, the answer breaks off, and browsers
    say so.

    Args:
        batches: Each asks the database by itself.
    """
    first = BYTE_ORDER_MARK + csv_rows(chain([head], next(batches, ())))
    texts = chain([first], map(csv_rows, batches))
    return StreamingResponse(
        (text.encode() for text in texts), media_type=_TYPE, headers=_to_be_saved(filename)
    )


def _to_be_saved(filename: str) -> dict[str, str]:
    return {"Content-Disposition": f'attachment; filename="{filename}"'}
