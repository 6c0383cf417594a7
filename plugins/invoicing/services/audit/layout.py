"""What an export of a month looks like: its files, and how a spreadsheet follows from exact rows.

``json/TABLE.jsonl`` has a table's rows, each line the very text that its hash in the history is over. ``csv/TABLE.csv``
has the same rows for spreadsheet programs, with codes and numbers beside ids: it follows from the former, so that
whoever verifies can write it again and compare.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

FORMAT = 1

# In this order: names come before the rows that speak of them.
TABLES: Mapping[str, tuple[str, ...]] = {
    "tenant": ("id",),
    "lease": ("id",),
    "settings_version": ("id",),
    "template_version": ("id",),
    "series_range": ("id",),
    "billing_cycle": ("id",),
    "cycle_run": ("id",),
    "invoice": ("id",),
    "invoice_line": ("invoice_id", "position"),
    "invoice_withholding": ("invoice_id", "tax"),
    "invoice_basis": ("invoice_id",),
    "invoice_document": ("invoice_id",),
    "invoice_correction": ("id",),
    "decision": ("id",),
    "delivery": ("id",),
    "delivery_invoice": ("delivery_id", "invoice_id"),
    "delivery_attempt": ("delivery_id", "claim_token"),
    "delivery_event": ("id",),
    "approval_request": ("id",),
    "approval_item": ("request_id", "delivery_id"),
    "approval_answer": ("id",),
    "sending_hold": ("id",),
    "audit_event": ("id",),
}
"""What is exported, with the columns that it is ordered by: its key."""

OF_MORE_THAN_A_MONTH = frozenset(
    {"tenant", "lease", "settings_version", "template_version", "series_range", "audit_event"}
)

MANIFEST = "export.json"
SUMS = "SHA256SUMS"
README = "README.md"
HISTORY = "json/history.jsonl"
MESSAGES = "json/message.jsonl"

Row = Mapping[str, Any]

# Written without a fraction they look like integers.
_AMOUNTS = frozenset(
    {"amount", "tax", "tax_rate", "base", "rate", "subtotal", "withholding", "total", "rent"}
)
_NOT_FOR_PEOPLE = frozenset({"words", "plain_name", "doubtful_address"})
_LEASE = ("code", "property", "city", "use", "start_date", "end_date", "rent", "currency")
_CHARGE = ("concept", "description", "amount", "tax", "prorated")
_RATE = ("tax", "city", "rate", "minimum_base", "valid_from", "valid_to")


def rows_file(table: str) -> str:
    """Path of a table's exact rows."""
    return f"json/{table}.jsonl"


def sheet_file(sheet: str) -> str:
    """Path of a sheet for people."""
    return f"csv/{sheet}.csv"


def message_file(delivery_id: int) -> str:
    """Path of a delivery's message."""
    return f"messages/delivery-{delivery_id}.eml"


def key_of(table: str, row: Row) -> str:
    """The key of a row as the history has it."""
    return "/".join(str(row[column]) for column in TABLES[table])


def parse(line: bytes | str) -> dict[str, Any]:
    """A line of exact rows; raises `ValueError` where it is none. Amounts are exact decimals."""
    row = json.loads(line, parse_float=Decimal)
    if not isinstance(row, dict):
        raise ValueError("not an object")  # noqa: TRY004 (as of any line that is none)
    for name in _AMOUNTS & row.keys():
        if type(row[name]) is int:
            row[name] = Decimal(row[name])
    return row


@dataclass(slots=True)
class Names:
    """Codes and numbers by id: those of the rows that have gone by."""

    tenants: dict[int, str] = field(default_factory=dict)
    leases: dict[int, str] = field(default_factory=dict)
    invoices: dict[int, str] = field(default_factory=dict)

    def learn(self, table: str, row: Row) -> None:
        """Note what ``row`` calls itself."""
        if table == "tenant":
            self.tenants[row["id"]] = row["code"]
        elif table == "lease":
            self.leases[row["id"]] = row["code"]
        elif table == "invoice":
            self.invoices[row["id"]] = row["number"]

    def of(self, column: str) -> tuple[str, Mapping[int, str]] | None:
        """What an id in ``column`` is called in a sheet, and the names; None where it has no name."""
        return {
            "tenant_id": ("tenant", self.tenants),
            "lease_id": ("lease", self.leases),
            "invoice_id": ("invoice", self.invoices),
            "corrects": ("corrects_number", self.invoices),
            "replaces": ("replaces_number", self.invoices),
            "made_id": ("made_number", self.invoices),
        }.get(column)


@dataclass(frozen=True, slots=True)
class Sheet:
    """A sheet that follows from a table's rows.

    Args:
        columns: Of the table, in its order.
    """

    name: str
    table: str
    columns: Sequence[str]

    def head(self) -> list[str]:
        """The first line."""
        match self.name:
            case "billed_leases":
                return ["invoice", "tenant", "withholding_agent", *_LEASE]
            case "billed_charges":
                return ["invoice", *_CHARGE]
            case "billed_rates":
                return ["invoice", "rates_on", *_RATE]
        names = Names()
        return [name for column in self._shown() for name in self._head_of(column, names)]

    def lines(self, row: Row, names: Names) -> Iterator[list[Any]]:
        """The lines that follow from one row."""
        if self.table == "invoice_basis" and self.name != self.table:
            yield from self._billed(row, names)
            return
        cells: list[Any] = []
        for column in self._shown():
            named = names.of(column)
            if named is not None:
                cells.append(named[1].get(row[column]))
            cells.append(_cell(row[column]))
        yield cells

    def _shown(self) -> list[str]:
        return [column for column in self.columns if column not in _NOT_FOR_PEOPLE]

    def _head_of(self, column: str, names: Names) -> list[str]:
        named = names.of(column)
        return [column] if named is None else [named[0], column]

    def _billed(self, row: Row, names: Names) -> Iterator[list[Any]]:
        invoice, basis = names.invoices.get(row["invoice_id"]), row["basis"]
        if self.name == "billed_leases" and "lease" in basis:
            tenant = basis["tenant"]
            lease = [_cell(basis["lease"][column]) for column in _LEASE]
            yield [invoice, tenant["code"], _cell(tenant["withholding_agent"]), *lease]
        elif self.name == "billed_charges":
            for each in basis.get("charges") or basis.get("items") or ():
                yield [invoice, *(_cell(each.get(column)) for column in _CHARGE)]
        elif self.name == "billed_rates":
            for each in basis["rates"]:
                yield [invoice, basis["rates_on"], *(_cell(each[column]) for column in _RATE)]


def sheets_of(table: str, columns: Sequence[str]) -> list[Sheet]:
    """The sheets that follow from a table."""
    if table == "invoice_basis":
        return [Sheet(name, table, columns) for name in ("billed_leases", "billed_charges", "billed_rates")]
    return [Sheet(table, table, columns)]


def _cell(value: Any) -> Any:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list) and all(isinstance(each, str) for each in value):
        return "; ".join(value)
    if isinstance(value, list | dict):
        return json.dumps(value, ensure_ascii=False, default=str)
    return value
