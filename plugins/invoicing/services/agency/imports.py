"""Import an agency's files, all or nothing (docs/contract.md, section 4)."""

import datetime
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from invoicing.db import audit
from invoicing.db.connection import Database
from invoicing.domain.address import problem as address_problem
from invoicing.domain.errors import InputError, RowProblem
from invoicing.domain.period import Period
from invoicing.services.agency import cities, merge
from invoicing.services.agency.input_files import InputFile, RowModel, read_file, reject_if_any
from invoicing.services.agency.input_rows import (
    ChargeRow,
    InputRow,
    LeaseRow,
    TaxRateRow,
    TenantRow,
    looks_like_thousands,
)
from invoicing.services.agency.merge import MergeCounts
from invoicing.services.agency.overwrites import Overwrite, find_overwrites, record_overwrites

FILES = ("tenants.csv", "leases.csv", "charges.csv", "tax_rates.csv")

_Row = TypeVar("_Row", bound=InputRow)


@dataclass(frozen=True, slots=True)
class ImportSummary:
    """What an import did.

    Args:
        files: Counts by file name, files that were not there left out.
        warnings: What was imported all the same and wants a look; first what people had set by hand.
        overwrites: What people had set by hand, and the files replaced.
        ignored: Names in the folder that are none of the four files.
    """

    files: Mapping[str, MergeCounts]
    warnings: tuple[RowProblem, ...]
    ignored: tuple[str, ...]
    overwrites: tuple[Overwrite, ...] = ()

    @property
    def changed(self) -> bool:
        """Whether anything is different now."""
        return any(counts.changed for counts in self.files.values())


@dataclass(frozen=True, slots=True)
class _Folder:
    """The files of an import; None where one is not there."""

    tenants: InputFile[TenantRow] | None
    leases: InputFile[LeaseRow] | None
    charges: InputFile[ChargeRow] | None
    tax_rates: InputFile[TaxRateRow] | None

    def problems(self) -> list[RowProblem]:
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
        db: Inside a transaction of the caller, no other import begins before that one ends.
        folder: Where the files are.
        actor: Who is asking, kept in the audit trail if anything changes.
        report: Told what is being done, a line at a time.

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
        merge.lock(db)
        _reject_unknown_codes(db, files)
        reject_if_any(files.problems())
        overwrites = find_overwrites(db, files.tenants, files.leases, files.charges)
        report("writing")
        counts = _write(db, files)
        record_overwrites(db, overwrites, actor=actor)
        if any(each.changed for each in counts.values()):
            details = {name: _details(each) for name, each in counts.items()}
            audit.record(db, actor=actor, action="import", subject=str(folder), details=details)
        with_city = [file for file in (files.tenants, files.leases, files.tax_rates) if file]
        of_cities = list(cities.spelling_warnings(db, with_city))
    warnings = (*(each.warning for each in overwrites), *_warnings(files), *of_cities)
    return ImportSummary(counts, warnings, ignored, tuple(overwrites))


def _look_into(folder: Path) -> tuple[set[str], tuple[str, ...]]:
    try:
        names = sorted(path.name for path in folder.iterdir())
    except OSError as error:
        raise InputError("folder_unreadable", folder=folder, reason=error.strerror) from None
    present = {name for name in names if name in FILES}
    if not present:
        raise InputError("folder_without_files", folder=folder, files=", ".join(FILES))
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
            code = "city_rate_in_force_already" if rate.city else "rate_in_force_already"
            where = (line, "valid_from", str(rate.valid_from))
            file.reject(*where, code, line=earlier_line, tax=rate.tax, city=rate.city)
        end = rate.valid_to or datetime.date.max
        if end > earlier_end:
            longest[rate.tax, rate.city] = (line, end)


def _reject_unknown_codes(db: Database, files: _Folder) -> None:
    if files.leases:
        in_file = _codes(files.tenants, "tenant_code")
        if in_file is not None:
            used = {value for _, value in files.leases.values("tenant_code")}
            known = in_file | merge.known_tenants(db, used - in_file)
            _reject_unknown(files.leases, "tenant_code", known, "row_of_unknown_tenant")
    if files.charges:
        in_file = _codes(files.leases, "lease_code")
        if in_file is not None:
            used = {value for _, value in files.charges.values("lease_code")}
            known = in_file | merge.known_leases(db, used - in_file)
            _reject_unknown(files.charges, "lease_code", known, "row_of_unknown_lease")


def _codes(file: InputFile[RowModel] | None, column: str) -> set[str] | None:
    """Codes in ``file``; None where some of its lines could not be read, and a code may be on one of them."""
    if file is None:
        return set()
    return {value for _, value in file.values(column)} if file.complete else None


def _reject_unknown(file: InputFile[RowModel], column: str, known: set[str], code: str) -> None:
    for line, value in file.values(column):
        if value not in known:
            file.reject(line, column, value, code)


def _write(db: Database, files: _Folder) -> dict[str, MergeCounts]:
    counts: dict[str, MergeCounts] = {}
    if files.tenants:
        counts[files.tenants.name] = merge.merge_tenants(db, _values(files.tenants))
    if files.leases:
        counts[files.leases.name] = merge.merge_leases(db, _values(files.leases))
    if files.charges:
        counts[files.charges.name] = merge.replace_charges(db, _values(files.charges))
    if files.tax_rates:
        counts[files.tax_rates.name] = merge.replace_tax_rates(db, _values(files.tax_rates))
    return counts


def _values(file: InputFile[RowModel]) -> list[list[object]]:
    return [[_stored(value) for _, value in row] for _, row in file.rows()]


def _stored(value: object) -> object:
    if isinstance(value, tuple):
        return list(value)
    return str(value) if isinstance(value, Period) else value


def _warnings(files: _Folder) -> Iterator[RowProblem]:
    if files.tenants:
        for line, tenant in files.tenants.rows():
            for column, addresses in (("emails", tenant.emails), ("cc_emails", tenant.cc_emails)):
                for address in addresses:
                    fault = address_problem(address)
                    if fault:
                        values = {"tenant": tenant.tenant_code, "reason": str(fault).rstrip(".")}
                        place = (files.tenants.name, line, column, address)
                        yield RowProblem(*place, "address_stops_mail", values)
    yield from _thousands_warnings(files.leases)
    yield from _thousands_warnings(files.charges)
    yield from _thousands_warnings(files.tax_rates)


def _thousands_warnings(file: InputFile[_Row] | None) -> Iterator[RowProblem]:
    for record in file.records if file else ():
        for column in record.row.amount_columns if record.row else ():
            value = record.values[column]
            if file and looks_like_thousands(value):
                yield RowProblem(file.name, record.line, column, value, "maybe_thousands")


def _details(counts: MergeCounts) -> dict[str, int]:
    return {
        "rows": counts.rows,
        "added": counts.added,
        "updated": counts.updated,
        "removed": counts.removed,
        "unchanged": counts.unchanged,
    }
