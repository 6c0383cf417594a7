"""What may stand in a row, asked the same way of a file's line, of a form and of a JSON body."""

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from invoicing.words.failures import FAILURES, Fault

RowModel = TypeVar("RowModel", bound=BaseModel)

# Half a character, which JSON can write and no database takes, is none to see either.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_LINE_BREAKS = frozenset("\n\r\x0b\x0c\x85\u2028\u2029")


@dataclass(frozen=True, slots=True)
class CheckedRow(Generic[RowModel]):
    """A row that was looked at.

    Args:
        values: As typed, freed of surrounding blanks and in Unicode's composed form (NFC).
        row: None where a value is wrong.
        faults: Column to what is wrong with its value.
    """

    values: dict[str, str]
    row: RowModel | None
    faults: Mapping[str, Fault]


def check_row(values: Mapping[str, str], model: type[RowModel]) -> CheckedRow[RowModel]:
    """Validate one row.

    Args:
        values: Every column of ``model``, as text.
    """
    composed = {column: unicodedata.normalize("NFC", value) for column, value in values.items()}
    faults = {column: _control_in(value) for column, value in composed.items() if _CONTROL.search(value)}
    composed = {column: value if column in faults else value.strip() for column, value in composed.items()}
    row = None
    try:
        row = model.model_validate(composed)
    except ValidationError as error:
        for detail in error.errors(include_url=False):
            faults.setdefault(str(detail["loc"][0]), _why(detail))
    return CheckedRow(composed, None if faults else row, faults)


def _control_in(value: str) -> Fault:
    characters = set(value)
    if characters & _LINE_BREAKS:
        return Fault("contains_line_break")
    if "\x00" in characters:
        return Fault("contains_nul")
    return Fault("contains_control_character")


def _why(detail: ErrorDetails) -> Fault:
    """One of pydantic's complaints, or of `input_rows`' own, as a fault."""
    context = detail.get("ctx", {})
    match detail["type"]:
        case code if code in FAILURES:
            return Fault(code, **context)
        case "literal_error":
            choices: str = context["expected"]
            return Fault("row_value_not_a_choice", choices=choices, opciones=choices.replace(" or ", " o "))
        case "string_too_short":
            return Fault("row_value_empty")
        case "string_too_long":
            return Fault("row_value_too_long", most=context["max_length"])
        case _:
            return Fault("row_value_refused", message=detail["msg"])
