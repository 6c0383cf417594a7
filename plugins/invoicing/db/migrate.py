"""Forward-only SQL migrations: applied in order, once, and never edited afterwards.

Each file runs in one transaction under an advisory lock, so that several components may start at once,
and its checksum is kept: a file that changed after it was applied is an error, not a surprise. It waits for a
table for a few seconds only, since everybody else who wants the table waits behind it; then it tries again.

A file that begins with the line ``-- outside a transaction`` is for large tables in use: its steps, divided by
lines ``-- step``, run one by one. They must be safe to repeat, as a crash may leave some of them done::

    -- outside a transaction
    -- What the index is for.
    DROP INDEX CONCURRENTLY IF EXISTS invoicing.delivery_something;
    -- step
    CREATE INDEX CONCURRENTLY delivery_something ON invoicing.delivery (something);

Who migrates owns the schema. The application logs in as another role, which is granted what it needs afterwards
(``grants.sql``).
"""

import hashlib
import logging
import time
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg.conninfo import conninfo_to_dict

from invoicing.db import grants
from invoicing.db.connection import Database, connect, dsn_from_airflow_connection
from invoicing.db.statements import beside
from invoicing.domain.errors import InputError, WorkFailedError
from invoicing.words.failures import Fault

log = logging.getLogger(__name__)

_SQL = beside(__file__)

MIGRATIONS = Path(__file__).parent / "migrations"

_OUTSIDE_TRANSACTION = "-- outside a transaction\n"
_NEXT_STEP = "\n-- step\n"
_TRIES = 10
_LONGEST_WAIT = "3s"
_PAUSE_SECONDS = 3.0
_TURN_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class Migration:
    """One file: ``0001_name.sql``."""

    version: str
    sql: str

    @property
    def sha256(self) -> str:
        """Checksum of the file's text."""
        return hashlib.sha256(self.sql.encode()).hexdigest()

    @property
    def is_outside_transaction(self) -> bool:
        """Whether its steps run one by one, each by itself."""
        return self.sql.startswith(_OUTSIDE_TRANSACTION)

    @property
    def steps(self) -> list[str]:
        """What is given to the server at once."""
        return self.sql.split(_NEXT_STEP) if self.is_outside_transaction else [self.sql]


def read_migrations(folder: Path = MIGRATIONS) -> list[Migration]:
    """All migrations, oldest first."""
    return [Migration(path.stem, path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.sql"))]


def migrate_deployment(connection: str, owner: str | None) -> list[str]:
    """Bring a deployment's database up to date as its owner, and give the application's role what it needs.

    Args:
        connection: The value of ``AIRFLOW_CONN_INVOICING_DB``: the application's login.
        owner: The value of ``INVOICING_DB_OWNER``, in the same form; None where there is none, which is enough as long
            as there is nothing to do.

    Returns:
        Versions applied now, in order.

    Raises:
        InputError: There is something to do and no owner's login, or it is the application's.
        WorkFailedError: The owner does not get in, or owns not everything; or as for `migrate`.
    """
    runtime_dsn = dsn_from_airflow_connection(connection)
    database, runtime = _database_and_login(runtime_dsn)
    how = _how_to_part(database, runtime, runtime)
    if owner is None:
        with connect(runtime_dsn) as db:
            if pending_migrations(db) or grants.owned_tables(db):
                raise InputError("owner_missing", database=database, runtime=runtime, how=how)
        return []
    owner_dsn = dsn_from_airflow_connection(owner)
    if _database_and_login(owner_dsn)[1] == runtime:
        raise InputError("owner_is_application", login=runtime, how=how)
    try:
        psycopg.connect(owner_dsn, connect_timeout=10).close()
    except psycopg.OperationalError as error:
        reason = str(error).strip()
        raise WorkFailedError("owner_kept_out", database=database, reason=reason, how=how) from None
    return migrate(owner_dsn, runtime=runtime)


def _database_and_login(dsn: str) -> tuple[str, str]:
    parts = conninfo_to_dict(dsn)
    return str(parts.get("dbname") or ""), str(parts.get("user") or "")


def _how_to_part(database: str, owner: str, runtime: str) -> Fault:
    return Fault("how_to_part_roles", database=database, owner=owner, runtime=runtime)


def migrate(dsn: str, folder: Path = MIGRATIONS, *, runtime: str | None = None) -> list[str]:
    """Bring the database at ``dsn`` up to date.

    Args:
        dsn: Of the owner of the schema.
        runtime: The role that the application logs in as: it may do what ``grants.sql`` says afterwards, and nothing
            else. None where nobody but the owner works with the database.

    Returns:
        Versions applied now, in order; empty where the database was up to date.

    Raises:
        WorkFailedError: An applied migration was edited, the database is newer than this code, a table stays in use, or
            the schema is another role's.
    """
    migrations = read_migrations(folder)
    with psycopg.connect(dsn, autocommit=True) as connection:
        _take_turns(connection)
        _check_owner(connection, runtime)
        connection.execute(_SQL["prepare"])
        applied: dict[str, str] = dict(connection.execute(_SQL["applied"]).fetchall())
        _check_history(migrations, applied)
        missing = [migration for migration in migrations if migration.version not in applied]
        for migration in missing:
            if migration.is_outside_transaction:
                for step in migration.steps:
                    connection.execute(step.encode())
                connection.execute(_SQL["note_shapes"])
                _keep(connection, migration)
            else:
                _apply_in_turn(connection, migration)
        if runtime is not None:
            grants.grant_all(connection, runtime)
    return [migration.version for migration in missing]


def _take_turns(connection: psycopg.Connection) -> None:
    """Wait for whoever else migrates: by asking again, not within a statement.

    An index that is made while others write waits for all statements under way; for one that waited here too, which
    waits for it.
    """
    while connection.execute(_SQL["take_turn"]).fetchone() != (True,):
        time.sleep(_TURN_SECONDS)


def _apply_in_turn(connection: psycopg.Connection, migration: Migration) -> None:
    """In one transaction that gives way to whoever uses a table for long, and tries again."""
    for tries_left in reversed(range(_TRIES)):
        try:
            with connection.transaction():
                connection.execute(_SQL["limit_waiting"], {"longest": _LONGEST_WAIT})
                connection.execute(migration.sql.encode())
                # In the same transaction: whoever writes to a table that was altered waits until this is known.
                connection.execute(_SQL["note_shapes"])
                _keep(connection, migration)
        except psycopg.errors.LockNotAvailable as error:
            reason = str(error).splitlines()[0]
            if not tries_left:
                raise WorkFailedError(
                    "migration_blocked", migration=migration.version, tries=_TRIES, reason=reason
                ) from None
            log.warning("migration %s waits for a table that is in use: %s", migration.version, reason)
            time.sleep(_PAUSE_SECONDS)
        else:
            return


def _check_owner(connection: psycopg.Connection, runtime: str | None) -> None:
    """What another role owns, a migration could not change; better said before half of them are applied."""
    found = connection.execute(_SQL["of_another_owner"]).fetchone()
    if found is not None:
        raise WorkFailedError(
            "schema_of_another_owner",
            login=connection.info.user,
            owner=found[0],
            how=_how_to_part(connection.info.dbname, found[0], runtime or found[0]),
        )


def _keep(connection: psycopg.Connection, migration: Migration) -> None:
    connection.execute(_SQL["add_applied"], {"version": migration.version, "sha256": migration.sha256})


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
