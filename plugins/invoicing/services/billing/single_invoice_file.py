"""The file of ``invoices create`` (docs/contract.md, section 4)."""

from decimal import Decimal
from pathlib import Path

from invoicing.domain.lease import ChargeTax
from invoicing.services.agency.input_files import read_file, reject_if_any
from invoicing.services.billing.single_invoice_request import (
    MOST_LINES,
    SingleInvoiceRequest,
    SingleInvoiceRow,
)


def read_single_invoices(path: Path) -> list[SingleInvoiceRequest]:
    """Read the file of ``invoices create``: the rows of one ``invoice_ref`` are the lines of one invoice.

    They need not stand together. Whether tenants and leases exist is not looked at.

    Returns:
        The invoices in the order of their first rows.

    Raises:
        InputError: The file cannot be opened.
        ImportRejectedError: Something in it is wrong; every bad row is named.
    """
    file = read_file(path, SingleInvoiceRow)
    first_rows: dict[str, tuple[int, SingleInvoiceRow]] = {}
    items: dict[str, list[tuple[str, Decimal, ChargeTax]]] = {}
    for line, row in file.rows():
        first_line, first = first_rows.setdefault(row.invoice_ref, (line, row))
        for column in ("tenant_code", "lease_code"):
            value, expected = getattr(row, column), getattr(first, column)
            if value != expected:
                file.reject(
                    *(line, column, value, "other_line_of_invoice_differs"),
                    line=first_line,
                    reference=row.invoice_ref,
                    expected=expected,
                )
        items.setdefault(row.invoice_ref, []).append((row.description, row.amount, row.tax))
    for reference, listed in items.items():
        if len(listed) > MOST_LINES:
            line, _ = first_rows[reference]
            file.reject(line, None, None, "lines_too_many", given=len(listed), most=MOST_LINES)
    reject_if_any(sorted(file.problems, key=lambda each: each.line))
    return [
        SingleInvoiceRequest(ref, row.tenant_code, row.lease_code or None, tuple(items[ref]), line)
        for ref, (line, row) in first_rows.items()
    ]
