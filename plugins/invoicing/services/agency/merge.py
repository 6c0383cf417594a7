"""Writes imported rows: staged with COPY, then merged as sets. All of it in the caller's transaction."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from psycopg.errors import LockNotAvailable

from invoicing.db.connection import Database
from invoicing.db.statements import beside, fetch_one
from invoicing.domain.errors import TemporaryFailureError

_SQL = beside(__file__)


@dataclass(frozen=True, slots=True)
class MergeCounts:
    """What merging the rows of one file did to its table.

    Args:
        rows: Rows of the file.
        added: Rows that are new.
        updated: Rows whose code was known and whose other values were not.
        removed: Earlier rows that are gone, where the file replaces them all.
    """

    rows: int
    added: int
    updated: int
    removed: int

    @property
    def unchanged(self) -> int:
        """Rows that were there already, just so."""
        return self.rows - self.added - self.updated

    @property
    def changed(self) -> bool:
        """Whether anything is different now."""
        return bool(self.added or self.updated or self.removed)


@dataclass(frozen=True, slots=True)
class _Comparison:
    """How the rows of a file compare with those in their table.

    Args:
        earlier: Rows in the table.
        in_place: Of these, rows that are in the file at the same place.
        kept: Of these, rows that are in the file at any place.
    """

    earlier: int
    in_place: int
    kept: int

    def is_unchanged(self, rows: int) -> bool:
        """Whether the file's ``rows`` are what the table has already."""
        return self.in_place == self.earlier == rows

    def counts(self, rows: int) -> MergeCounts:
        """What putting the file's ``rows`` in the table's place does."""
        return MergeCounts(rows=rows, added=rows - self.kept, updated=0, removed=self.earlier - self.kept)


def lock(db: Database) -> None:
    """Wait for other imports to end, and let no other one begin until the transaction ends.

    Raises:
        TemporaryFailureError: Another import has not ended within a minute.
    """
    db.execute(_SQL["limit_waiting"])
    try:
        db.execute(_SQL["lock_imports"])
    except LockNotAvailable:
        raise TemporaryFailureError("import_under_way") from None


def hold_off_imports(db: Database) -> None:
    """Let no import commit until the transaction ends, so that several reads see the same data."""
    db.execute(_SQL["hold_off_imports"])


def known_tenants(db: Database, codes: Collection[str]) -> set[str]:
    """Those of ``codes`` that are tenants'."""
    return {row["code"] for row in db.execute(_SQL["known_tenants"], {"codes": list(codes)})}


def known_leases(db: Database, codes: Collection[str]) -> set[str]:
    """Those of ``codes`` that are leases'."""
    return {row["code"] for row in db.execute(_SQL["known_leases"], {"codes": list(codes)})}


def merge_tenants(db: Database, rows: Sequence[Sequence[object]]) -> MergeCounts:
    """Add or update tenants by their code.

    Args:
        rows: Values in the order of ``tenants.csv``; a switch that is None leaves a known tenant's as it is.
    """
    db.execute(_SQL["stage_tenants"])
    _copy(db, _SQL["copy_tenants"], rows)
    updated = db.execute(_SQL["update_tenants"]).rowcount
    added = db.execute(_SQL["add_tenants"]).rowcount
    return MergeCounts(rows=len(rows), added=added, updated=updated, removed=0)


def merge_leases(db: Database, rows: Sequence[Sequence[object]]) -> MergeCounts:
    """Add or update leases by their code; their tenants are known.

    Args:
        rows: Values in the order of ``leases.csv``.
    """
    db.execute(_SQL["stage_leases"])
    _copy(db, _SQL["copy_leases"], rows)
    updated = db.execute(_SQL["update_leases"]).rowcount
    added = db.execute(_SQL["add_leases"]).rowcount
    return MergeCounts(rows=len(rows), added=added, updated=updated, removed=0)


def replace_charges(db: Database, rows: Sequence[Sequence[object]]) -> MergeCounts:
    """Put ``rows`` in place of all charges; their leases are known.

    Args:
        rows: Values in the order of ``charges.csv``, periods as text.
    """
    db.execute(_SQL["stage_charges"])
    _copy(db, _SQL["copy_charges"], rows)
    found = fetch_one(db, _Comparison, _SQL["compare_charges"])
    assert found is not None
    if not found.is_unchanged(len(rows)):
        db.execute(_SQL["delete_charges"])
        db.execute(_SQL["add_charges"])
    return found.counts(len(rows))


def replace_tax_rates(db: Database, rows: Sequence[Sequence[object]]) -> MergeCounts:
    """Put ``rows`` in place of all tax rates.

    Args:
        rows: Values in the order of ``tax_rates.csv``.
    """
    db.execute(_SQL["stage_tax_rates"])
    _copy(db, _SQL["copy_tax_rates"], rows)
    found = fetch_one(db, _Comparison, _SQL["compare_tax_rates"])
    assert found is not None
    if not found.is_unchanged(len(rows)):
        db.execute(_SQL["delete_tax_rates"])
        db.execute(_SQL["add_tax_rates"])
    return found.counts(len(rows))


def _copy(db: Database, statement: bytes, rows: Sequence[Sequence[object]]) -> None:
    with db.cursor() as cursor, cursor.copy(statement) as copy:
        for position, row in enumerate(rows):
            copy.write_row((position, *row))
