"""Reads comma-separated input files: every row validated, everything that is wrong named.

No row of these files may span lines (a line break in a name would end up in a mail header), so each physical
line is parsed by itself: one missing quote spoils its own line and not the rest of the file.
"""

import csv
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, TypeVar

from pydantic import BaseModel

from invoicing.domain.errors import ImportRejectedError, InputError, RowProblem
from invoicing.services.agency.row_check import check_row

RowModel = TypeVar("RowModel", bound=BaseModel)

_BOM = b"\xef\xbb\xbf"
_UTF16_BOMS = (b"\xff\xfe", b"\xfe\xff")
# How far to look for the end of a value that was broken over lines, only to say so in one message.
_MAX_BROKEN_OVER = 20
_LONGEST_LINE = 100_000
# RFC 4180, section 2: a value that contains a quote is quoted itself, and its quotes are doubled.
_VALUE = r'(?:"(?:[^"]|"")*"|[^",]*)'
_WELL_QUOTED = re.compile(rf"{_VALUE}(?:,{_VALUE})*")


@dataclass(frozen=True, slots=True)
class Record(Generic[RowModel]):
    """One row: its raw values by column, and the validated row, or None where a value is wrong."""

    line: int
    values: dict[str, str]
    row: RowModel | None


@dataclass(slots=True)
class InputFile(Generic[RowModel]):
    """What was read of one file.

    Args:
        complete: Every line could at least be split into its columns, so what is not among ``records`` is
            not in the file.
    """

    name: str
    records: list[Record[RowModel]] = field(default_factory=list)
    problems: list[RowProblem] = field(default_factory=list)
    complete: bool = True

    def rows(self) -> Iterator[tuple[int, RowModel]]:
        """Valid rows, each with its line."""
        return ((record.line, record.row) for record in self.records if record.row is not None)

    def values(self, column: str) -> Iterator[tuple[int, str]]:
        """What stands in ``column``, rows that are wrong elsewhere included; empty values left out."""
        return ((record.line, record.values[column]) for record in self.records if record.values[column])

    def reject(
        self, line: int, column: str | None, value: str | None, code: str, /, **values: object
    ) -> None:
        """Add a problem; the arguments are those of `RowProblem`."""
        self.problems.append(RowProblem(self.name, line, column, value, code, values))

    def reject_line(self, line: int, code: str, /, **values: object) -> None:
        """Add a problem of a line that could not be split into its values; it may have had any."""
        self.complete = False
        self.reject(line, None, None, code, **values)

    def reject_repeated(self, column: str) -> None:
        """Add a problem for each row whose ``column`` an earlier row has already."""
        first_lines: dict[str, int] = {}
        for line, value in self.values(column):
            first = first_lines.setdefault(value, line)
            if first != line:
                self.reject(line, column, value, "row_value_repeated", first=first)


def read_file(path: Path, model: type[RowModel]) -> InputFile[RowModel]:
    """Read and validate every row of ``path``.

    Values are freed of surrounding blanks and brought to Unicode's composed form (NFC), so that a city typed
    on a Mac equals the same city typed elsewhere. Blank lines and rows without any value are skipped.

    Args:
        path: UTF-8, a byte-order mark tolerated; header row; comma.
        model: The columns, all of them required in the header, in any order.

    Returns:
        The rows and the problems; nothing is raised for what is wrong inside the file.

    Raises:
        InputError: The file cannot be opened.
    """
    file: InputFile[RowModel] = InputFile(path.name)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError("file_unreadable", path=path, reason=error.strerror) from None
    if content.startswith(_UTF16_BOMS):
        file.reject_line(1, "file_is_utf16")
        return file

    lines = _split_lines(file, content.removeprefix(_BOM).splitlines())
    header: list[str] | None = None
    for line, values in lines:
        if header is None:
            header = values
            if not _check_header(file, line, header, list(model.model_fields)):
                file.complete = False
                return file
        elif len(values) != len(header):
            file.reject_line(line, "row_of_other_width", values=len(values), columns=len(header))
        else:
            file.records.append(_validate(file, line, dict(zip(header, values, strict=True)), model))
    if header is None:
        file.complete = False
        if not file.problems:
            file.reject_line(1, "file_empty", columns=",".join(model.model_fields))
    return file


def reject_if_any(problems: Sequence[RowProblem]) -> None:
    """Raise with all of them.

    Raises:
        ImportRejectedError: There is a problem.
    """
    if problems:
        raise ImportRejectedError(problems)


def _split_lines(file: InputFile[RowModel], raw_lines: Iterable[bytes]) -> Iterator[tuple[int, list[str]]]:
    lines = [_decode(file, number, raw) for number, raw in enumerate(raw_lines, start=1)]
    width = 0
    at = 0
    while at < len(lines):
        number, text = at + 1, lines[at]
        at += 1
        if text is None and not width:
            return  # without a header the rest means nothing
        if text is None or not text.strip():
            continue
        values, code = _parse(text)
        if values is None:
            values, used = _parse_broken(lines[number - 1 : number + _MAX_BROKEN_OVER], width)
            at += used - 1
        if values is None:
            file.reject_line(number, code, most=_LONGEST_LINE)
            if not width:
                return
        elif any(values):
            width = width or len(values)
            yield number, values


def _decode(file: InputFile[RowModel], number: int, raw: bytes) -> str | None:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        file.reject_line(number, "row_not_utf8", byte=error.start + 1, octet=raw[error.start])
        return None


def _parse(text: str) -> tuple[list[str] | None, str]:
    """Split ``text`` into values; or None, and the code of why not."""
    if len(text) > _LONGEST_LINE:
        return None, "row_too_long"
    if '"' in text and not _WELL_QUOTED.fullmatch(text):
        if text.count('"') % 2:
            return None, "quote_not_closed"
        return None, "quote_inside_value"
    return _values_of(text), ""


def _parse_broken(lines: Sequence[str | None], width: int) -> tuple[list[str] | None, int]:
    """Parse a row whose quoted value has line breaks in it; also give the number of lines that it took."""
    text = lines[0] or ""
    for used, following in enumerate(lines[1:], start=2):
        if following is None or len(text) + len(following) > _LONGEST_LINE:
            break
        text += "\n" + following
        if _WELL_QUOTED.fullmatch(text):
            values = _values_of(text)
            return (values, used) if len(values) == width else (None, 1)
    return None, 1


def _values_of(well_quoted: str) -> list[str]:
    return next(csv.reader([well_quoted], strict=True))


def _check_header(file: InputFile[RowModel], line: int, header: list[str], expected: list[str]) -> bool:
    header[:] = [name.strip() for name in header]
    if len(header) == 1 and any(separator in header[0] for separator in ";\t"):
        file.reject(line, None, None, "columns_without_commas")
        return False
    repeated = {name for name in header if header.count(name) > 1}
    for name in sorted(repeated):
        file.reject(line, name, None, "column_twice")
    for name in sorted(set(header) - set(expected)):
        file.reject(line, name or "''", None, "column_unknown", known=",".join(expected))
    for name in expected:
        if name not in header:
            file.reject(line, name, None, "column_missing")
    return not file.problems


def _validate(
    file: InputFile[RowModel], line: int, values: dict[str, str], model: type[RowModel]
) -> Record[RowModel]:
    checked = check_row(values, model)
    file.problems.extend(
        RowProblem(file.name, line, column, checked.values[column], fault.code, fault.values)
        for column, fault in checked.faults.items()
    )
    return Record(line, checked.values, checked.row)
