"""A single invoice as somebody asks for it, by file, form or JSON: one rule for all three."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from invoicing.domain.errors import FieldsRefusedError
from invoicing.domain.lease import ChargeTax
from invoicing.services.agency.input_rows import Amount, Code, InputRow, OptionalCode, Text
from invoicing.services.agency.row_check import check_row
from invoicing.words.failures import Failure, Fault

MOST_LINES = 100
"""Of one invoice."""

LINE_FIELDS = ("description", "amount", "tax")

_NAMES = {"invoice_ref": "reference", "tenant_code": "tenant", "lease_code": "lease"}


class SingleInvoiceRow(InputRow):
    """One line of an invoice; an empty ``lease_code`` is no lease."""

    amount_columns = ("amount",)

    invoice_ref: Code
    tenant_code: Code
    lease_code: OptionalCode
    description: Text
    amount: Amount
    tax: ChargeTax


@dataclass(frozen=True, slots=True)
class SingleInvoiceRequest:
    """One invoice that is asked for.

    Args:
        items: Description, amount and tax of each line, in their order, at least one.
        line: Where its first row stands in a file; 0 where there is none.
    """

    reference: str
    tenant_code: str
    lease_code: str | None
    items: tuple[tuple[str, Decimal, ChargeTax], ...]
    line: int = 0


def checked_request(
    reference: str, tenant: str, lease: str, lines: Sequence[Mapping[str, str]]
) -> SingleInvoiceRequest:
    """Check what was typed; whether tenant and lease exist is not looked at.

    Args:
        lease: Its code; empty for none.
        lines: `LINE_FIELDS` of each, as a line of a file has them.

    Raises:
        FieldsRefusedError: A value cannot be. The fields are ``reference``, ``tenant``, ``lease``, ``lines`` and, of
            the second line, ``lines.1.amount``.
    """
    faults: dict[str, Failure] = {}
    items = []
    if not lines:
        faults["lines"] = Fault("lines_missing")
    elif len(lines) > MOST_LINES:
        faults["lines"] = Fault("lines_too_many", given=len(lines), most=MOST_LINES)
    head = {"invoice_ref": reference, "tenant_code": tenant, "lease_code": lease}
    for position, line in enumerate(lines[:MOST_LINES]):
        checked = check_row({**head, **line}, SingleInvoiceRow)
        for column, fault in checked.faults.items():
            faults.setdefault(_NAMES.get(column) or f"lines.{position}.{column}", fault)
        if checked.row is not None:
            items.append((checked.row.description, checked.row.amount, checked.row.tax))
        head = {column: checked.values[column] for column in head}
    if faults:
        raise FieldsRefusedError(faults)
    return SingleInvoiceRequest(
        head["invoice_ref"], head["tenant_code"], head["lease_code"] or None, tuple(items)
    )
