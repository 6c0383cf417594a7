"""Tables for spreadsheet programs: CSV that they read as text, never as formulas.

A cell that starts with ``=``, ``+``, ``-``, ``@``, a tab or a carriage return may be run as a formula
(https://owasp.org/www-community/attacks/CSV_Injection): an apostrophe in front makes it text. Other forms of the
first four (full-width, small, superscript) mean the same to some programs, and what is not seen before them, as a
byte-order mark or a zero-width space, is skipped by some. Every cell is quoted, so that no separator inside a value
starts another cell; a byte-order mark tells Excel that the file is UTF-8.
"""

import csv
import io
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any

BYTE_ORDER_MARK = "\ufeff"

_SIGNS = frozenset("=+-@\N{MINUS SIGN}")
_BREAKS = ("\t", "\r", "\n")
# Letters that show nothing: Hangul fillers, the empty Braille pattern.
_BLANK_LETTERS = frozenset("\u115f\u1160\u3164\uffa0\u2800")


def safe_cell(value: Any) -> str:
    """``value`` as text that no spreadsheet program takes for a formula."""
    if value is None:
        return ""
    text = str(value).replace("\0", "")
    return f"'{text}" if text.startswith(_BREAKS) or _first_seen(text) in _SIGNS else text


def _first_seen(text: str) -> str:
    """The first character that shows, in its plain form; empty where none does."""
    shown = next((each for each in text if not _is_unseen(each)), "")
    return unicodedata.normalize("NFKC", shown)[:1]


def _is_unseen(character: str) -> bool:
    """White space, controls, format characters (zero-width ones, byte-order mark), marks without a letter."""
    return unicodedata.category(character)[0] in "CZM" or character in _BLANK_LETTERS


def csv_rows(rows: Iterable[Sequence[Any]]) -> str:
    """``rows`` as text of a CSV file; `BYTE_ORDER_MARK` goes before the first of a file."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, quoting=csv.QUOTE_ALL, lineterminator="\r\n")
    writer.writerows([safe_cell(cell) for cell in row] for row in rows)
    return buffer.getvalue()
