"""Forward-only SQL migrations: applied in order, once, and never edited afterwards.

Each file runs in one transaction under an advisory lock, so that several components may start at once,
and its checksum is kept: a file that changed after it was applied is an error, not a surprise.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import psycopg

from invoicing.db.connection import Database
from invoicing.db.statements import beside
from invoicing.domain.errors import WorkFailedError

_SQL = beside(__file__)

MIGRATIONS = Path(__file__).parent / "migrations"


@dataclass(frozen=True, slots=True)
class Migration:
    """One file: ``0001_name.sql``."""

    version: str
    sql: str

    @property
    def sha256(self) -> str:
        """Checksum of the file's text."""
        return hashlib.sha256(self.sql.encode()).hexdigest()


def read_migrations(folder: Path = MIGRATIONS) -> list[Migration]:
    """All migrations, oldest first."""
    return [Migration(path.stem, path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.sql"))]


def migrate(dsn: str, folder: Path = MIGRATIONS) -> list[str]:
    """Bring the database at ``dsn`` up to date.

    Returns:
        Versions applied now, in order; empty where the database was up to date.

    Raises:
        WorkFailedError: An applied migration was edited, or the database is newer than this code.
    """
    migrations = read_migrations(folder)
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(_SQL["take_turns"])
        connection.execute(_SQL["prepare"])
        applied: dict[str, str] = dict(connection.execute(_SQL["applied"]).fetchall())
        _check_history(migrations, applied)
        missing = [migration for migration in migrations if migration.version not in applied]
        for migration in missing:
            with connection.transaction():
                connection.execute(migration.sql.encode())
                connection.execute(
                    _SQL["add_applied"], {"version": migration.version, "sha256": migration.sha256}
                )
    return [migration.version for migration in missing]


def pending_migrations(db: Database) -> list[str]:
    """Versions that a database lacks, in order; empty where it is up to date.

    Args:
        db: An open connection, outside of a transaction.
    """
    try:
        applied = {row["version"] for row in db.execute(_SQL["applied"])}
    except (psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName):
        applied = set()
    return [migration.version for migration in read_migrations() if migration.version not in applied]


def _check_history(migrations: list[Migration], applied: dict[str, str]) -> None:
    known = {migration.version: migration.sha256 for migration in migrations}
    newer = sorted(set(applied) - set(known))
    if newer:
        raise WorkFailedError("database_newer", migration=newer[-1])
    for version, sha256 in applied.items():
        if known[version] != sha256:
            raise WorkFailedError("migration_edited", migration=version)
