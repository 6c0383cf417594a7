"""Writes imported rows: staged with COPY, then merged as sets. All of it in the caller's transaction."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from psycopg.errors import LockNotAvailable

from invoicing.db.connection import Database
from invoicing.db.statements import load
from invoicing.domain.errors import TemporaryFailureError

_SQL = load("imports")


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


def lock(db: Database) -> None:
    """Wait for other imports to end and keep new ones out until the transaction ends.

    Raises:
        TemporaryFailureError: Another import has not ended within a minute.
    """
    db.execute(_SQL["limit_waiting"])
    try:
        db.execute(_SQL["lock_imports"])
    except LockNotAvailable:
        raise TemporaryFailureError(
            "another import has been running for more than a minute: repeat this one when it has ended"
        ) from None


def keep_out(db: Database) -> None:
    """Let no import commit until the transaction ends, so that several reads see the same data."""
    db.execute(_SQL["share_lock_imports"])


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
    _stage(db, "tenants", rows)
    return _upsert(db, "tenants", len(rows))


def merge_leases(db: Database, rows: Sequence[Sequence[object]]) -> MergeCounts:
    """Add or update leases by their code; their tenants are known.

    Args:
        rows: Values in the order of ``leases.csv``.
    """
    _stage(db, "leases", rows)
    return _upsert(db, "leases", len(rows))


def replace_charges(db: Database, rows: Sequence[Sequence[object]]) -> MergeCounts:
    """Put ``rows`` in place of all charges; their leases are known.

    Args:
        rows: Values in the order of ``charges.csv``, periods as text.
    """
    _stage(db, "charges", rows)
    return _replace(db, "charges", len(rows))


def replace_tax_rates(db: Database, rows: Sequence[Sequence[object]]) -> MergeCounts:
    """Put ``rows`` in place of all tax rates.

    Args:
        rows: Values in the order of ``tax_rates.csv``.
    """
    _stage(db, "tax_rates", rows)
    return _replace(db, "tax_rates", len(rows))


def _stage(db: Database, noun: str, rows: Iterable[Sequence[object]]) -> None:
    db.execute(_SQL[f"stage_{noun}"])
    with db.cursor() as cursor, cursor.copy(_SQL[f"copy_{noun}"]) as copy:
        for position, row in enumerate(rows):
            copy.write_row((position, *row))


def _upsert(db: Database, noun: str, rows: int) -> MergeCounts:
    updated = db.execute(_SQL[f"update_{noun}"]).rowcount
    added = db.execute(_SQL[f"add_{noun}"]).rowcount
    return MergeCounts(rows=rows, added=added, updated=updated, removed=0)


def _replace(db: Database, noun: str, rows: int) -> MergeCounts:
    same = db.execute(_SQL[f"compare_{noun}"]).fetchone()
    assert same is not None
    if not same["in_place"] == same["earlier"] == rows:
        db.execute(_SQL[f"delete_{noun}"])
        db.execute(_SQL[f"add_{noun}"])
    kept = same["kept"]
    return MergeCounts(rows=rows, added=rows - kept, updated=0, removed=same["earlier"] - kept)
