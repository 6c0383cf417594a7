"""The file of ``invoices correct`` (docs/contract.md, section 4)."""

from pathlib import Path
from typing import Literal

from invoicing.domain.correction import LineAmount
from invoicing.domain.errors import InputError
from invoicing.services.agency.input_files import read_file, reject_if_any
from invoicing.services.agency.input_rows import Code, InputRow, OptionalText, Text
from invoicing.services.billing.corrections import Act
from invoicing.services.delivery.corrections import Order
from invoicing.services.delivery.reasons import given_reason


class CorrectionRow(InputRow):
    """One correction; ``lines`` is ``POSITION=AMOUNT``, several with ``;`` between, empty for the whole invoice."""

    number: Code
    action: Literal["void", "credit", "replace"]
    lines: OptionalText
    reason: Text


def read_corrections(path: Path, act: Act | None = None) -> list[Order]:
    """Read the corrections of a file, in its order. Whether the invoices exist is not looked at.

    Args:
        act: The only one that may stand in it; None for all.

    Raises:
        InputError: The file cannot be opened, or is empty.
        ImportRejectedError: Something in it is wrong; every bad row is named.
    """
    file = read_file(path, CorrectionRow)
    file.reject_repeated("number")
    orders = []
    for line, row in file.rows():
        if act not in (None, row.action):
            file.reject(line, "action", row.action, "correction_of_other_action", action=act)
            continue
        texts = [text for text in row.lines.split(";") if text.strip()]
        if texts and row.action != "credit":
            file.reject(line, "lines", row.lines, "correction_lines_unexpected")
            continue
        try:
            lines = tuple(LineAmount.parse(text) for text in texts) or None
            reason = given_reason(row.reason)
        except InputError as error:
            column = "reason" if error.field == "reason" else "lines"
            file.reject(line, column, getattr(row, column), error.code, **error.values)
            continue
        orders.append(Order(row.number, row.action, reason, lines, line))
    reject_if_any(sorted(file.problems, key=lambda each: each.line))
    if not orders:
        raise InputError("correction_file_empty", file=path.name)
    return orders
