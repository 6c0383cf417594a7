"""Import an agency's files, all or nothing; read the file of ``invoices create`` (contract, section 4)."""

import datetime
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import TypeVar

from invoicing.db import audit
from invoicing.db.connection import Database
from invoicing.domain.address import problem as address_problem
from invoicing.domain.errors import InputError
from invoicing.domain.lease import ChargeTax
from invoicing.domain.period import Period
from invoicing.services.agency import merge as imports
from invoicing.services.agency.input_files import InputFile, Problem, RowModel, read_file, reject_if_any
from invoicing.services.agency.input_rows import (
    ChargeRow,
    InputRow,
    LeaseRow,
    SingleInvoiceRow,
    TaxRateRow,
    TenantRow,
    looks_like_thousands,
)
from invoicing.services.agency.merge import MergeCounts

FILES = ("tenants.csv", "leases.csv", "charges.csv", "tax_rates.csv")

_Row = TypeVar("_Row", bound=InputRow)


@dataclass(frozen=True, slots=True)
class ImportSummary:
    """What an import did.

    Args:
        files: Counts by file name, files that were not there left out.
        warnings: One line each: what was imported all the same and wants a look.
        ignored: Names in the folder that are none of the four files.
    """

    files: Mapping[str, MergeCounts]
    warnings: tuple[str, ...]
    ignored: tuple[str, ...]

    @property
    def changed(self) -> bool:
        """Whether anything is different now."""
        return any(counts.changed for counts in self.files.values())


@dataclass(frozen=True, slots=True)
class SingleInvoiceRequest:
    """One invoice of the file of ``invoices create``.

    Args:
        items: Description, amount and tax of each line, in the file's order, at least one.
        line: Where its first row stands.
    """

    reference: str
    tenant_code: str
    lease_code: str | None
    items: tuple[tuple[str, Decimal, ChargeTax], ...]
    line: int


@dataclass(frozen=True, slots=True)
class _Folder:
    """The files of an import; None where one is not there."""

    tenants: InputFile[TenantRow] | None
    leases: InputFile[LeaseRow] | None
    charges: InputFile[ChargeRow] | None
    tax_rates: InputFile[TaxRateRow] | None

    def problems(self) -> list[Problem]:
        files = (self.tenants, self.leases, self.charges, self.tax_rates)
        return [each for file in files if file for each in sorted(file.problems, key=lambda each: each.line)]


def _say_nothing(_: str) -> None:
    pass


def import_folder(
    db: Database, folder: Path, *, actor: str, report: Callable[[str], None] = _say_nothing
) -> ImportSummary:
    """Import ``tenants.csv``, ``leases.csv``, ``charges.csv`` and ``tax_rates.csv``, each optional.

    Tenants and leases are added or updated by their code, those not in the file left alone; charges and tax
    rates replace all earlier ones. All or nothing, one import at a time; the same files twice change nothing.

    Args:
        db: Not inside a transaction.
        folder: Where the files are.
        actor: Who is asking, kept in the audit trail if anything changes.
        report: Told in a line each what is being done.

    Raises:
        InputError: There is no such folder, none of the files is in it, or one cannot be opened.
        ImportRejectedError: Something in the files is wrong; every bad row is named, nothing was changed.
        TemporaryFailureError: Another import has not ended within a minute.
    """
    present, ignored = _look_into(folder)
    for name in ignored:
        report(f"ignored: {name} (not one of {', '.join(FILES)})")
    files = _Folder(
        tenants=_read(folder, present, "tenants.csv", TenantRow, report),
        leases=_read(folder, present, "leases.csv", LeaseRow, report),
        charges=_read(folder, present, "charges.csv", ChargeRow, report),
        tax_rates=_read(folder, present, "tax_rates.csv", TaxRateRow, report),
    )
    if files.tenants:
        files.tenants.reject_repeated("tenant_code")
    if files.leases:
        files.leases.reject_repeated("lease_code")
    if files.tax_rates:
        _reject_overlaps(files.tax_rates)
    with db.transaction():
        imports.lock(db)
        _reject_unknown_codes(db, files)
        reject_if_any(files.problems())
        report("writing")
        counts = _write(db, files)
        if any(each.changed for each in counts.values()):
            details = {name: _details(each) for name, each in counts.items()}
            audit.record(db, actor=actor, action="import", subject=str(folder), details=details)
    return ImportSummary(counts, tuple(_warnings(files)), ignored)


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
                why = f"line {first_line} of the same invoice_ref {row.invoice_ref} has {expected!r}"
                file.problems.append(Problem(file.name, line, column, value, why))
        items.setdefault(row.invoice_ref, []).append((row.description, row.amount, row.tax))
    reject_if_any(sorted(file.problems, key=lambda each: each.line))
    return [
        SingleInvoiceRequest(ref, row.tenant_code, row.lease_code or None, tuple(items[ref]), line)
        for ref, (line, row) in first_rows.items()
    ]


def _look_into(folder: Path) -> tuple[set[str], tuple[str, ...]]:
    try:
        names = sorted(path.name for path in folder.iterdir())
    except OSError as error:
        raise InputError(f"folder {folder} cannot be read: {error.strerror}") from None
    present = {name for name in names if name in FILES}
    if not present:
        raise InputError(f"folder {folder} has none of the files {', '.join(FILES)}")
    return present, tuple(name for name in names if name not in FILES and not name.startswith("."))


def _read(
    folder: Path, present: set[str], name: str, model: type[RowModel], report: Callable[[str], None]
) -> InputFile[RowModel] | None:
    if name not in present:
        return None
    file = read_file(folder / name, model)
    report(f"{name}: {len(file.records)} rows read, {len(file.problems)} problems")
    return file


def _reject_overlaps(file: InputFile[TaxRateRow]) -> None:
    """Two rates of one tax (and city) in force on the same day would leave the amount to chance."""
    by_start = sorted(file.rows(), key=lambda each: (each[1].tax, each[1].city, each[1].valid_from, each[0]))
    longest: dict[tuple[str, str], tuple[int, datetime.date]] = {}
    for line, rate in by_start:
        earlier_line, earlier_end = longest.get((rate.tax, rate.city), (0, datetime.date.min))
        if rate.valid_from <= earlier_end:
            what = f"{rate.tax} of {rate.city}" if rate.city else rate.tax
            why = f"line {earlier_line} has a rate of {what} in force on that day"
            file.problems.append(Problem(file.name, line, "valid_from", str(rate.valid_from), why))
        end = rate.valid_to or datetime.date.max
        if end > earlier_end:
            longest[rate.tax, rate.city] = (line, end)


def _reject_unknown_codes(db: Database, files: _Folder) -> None:
    if files.leases:
        in_file = _codes(files.tenants, "tenant_code")
        if in_file is not None:
            used = {value for _, value in files.leases.values("tenant_code")}
            known = in_file | imports.known_tenants(db, used - in_file)
            _reject_unknown(files.leases, "tenant_code", known)
    if files.charges:
        in_file = _codes(files.leases, "lease_code")
        if in_file is not None:
            used = {value for _, value in files.charges.values("lease_code")}
            known = in_file | imports.known_leases(db, used - in_file)
            _reject_unknown(files.charges, "lease_code", known)


def _codes(file: InputFile[RowModel] | None, column: str) -> set[str] | None:
    """Codes in ``file``; None where some of its lines could not be read, and a code may be on one of them."""
    if file is None:
        return set()
    return {value for _, value in file.values(column)} if file.complete else None


def _reject_unknown(file: InputFile[RowModel], column: str, known: set[str]) -> None:
    noun = column.removesuffix("_code")
    why = f"unknown {noun}, neither imported before nor in {noun}s.csv"
    for line, value in file.values(column):
        if value not in known:
            file.problems.append(Problem(file.name, line, column, value, why))


def _write(db: Database, files: _Folder) -> dict[str, MergeCounts]:
    counts: dict[str, MergeCounts] = {}
    if files.tenants:
        counts[files.tenants.name] = imports.merge_tenants(db, _values(files.tenants))
    if files.leases:
        counts[files.leases.name] = imports.merge_leases(db, _values(files.leases))
    if files.charges:
        counts[files.charges.name] = imports.replace_charges(db, _values(files.charges))
    if files.tax_rates:
        counts[files.tax_rates.name] = imports.replace_tax_rates(db, _values(files.tax_rates))
    return counts


def _values(file: InputFile[RowModel]) -> list[list[object]]:
    return [[_stored(value) for _, value in row] for _, row in file.rows()]


def _stored(value: object) -> object:
    if isinstance(value, tuple):
        return list(value)
    return str(value) if isinstance(value, Period) else value


def _warnings(files: _Folder) -> Iterator[str]:
    if files.tenants:
        for line, tenant in files.tenants.rows():
            for column, addresses in (("emails", tenant.emails), ("cc_emails", tenant.cc_emails)):
                for address in addresses:
                    why = address_problem(address)
                    if why:
                        place = Problem(files.tenants.name, line, column, address, str(why).rstrip("."))
                        yield f"{place}; tenant {tenant.tenant_code} gets no mail until it is mended"
    yield from _thousands_warnings(files.leases)
    yield from _thousands_warnings(files.charges)
    yield from _thousands_warnings(files.tax_rates)


def _thousands_warnings(file: InputFile[_Row] | None) -> Iterator[str]:
    for record in file.records if file else ():
        for column in record.row.amount_columns if record.row else ():
            value = record.values[column]
            if file and looks_like_thousands(value):
                why = "read as a number with three decimals, not as thousands"
                yield str(Problem(file.name, record.line, column, value, why))


def _details(counts: MergeCounts) -> dict[str, int]:
    return {
        "rows": counts.rows,
        "added": counts.added,
        "updated": counts.updated,
        "removed": counts.removed,
        "unchanged": counts.unchanged,
    }
