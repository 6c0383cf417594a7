"""The schema is what the migrations say, and nothing else may touch it."""

import threading
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from invoicing.db.connection import Database
from invoicing.db.migrate import MIGRATIONS, migrate, read_migrations
from invoicing.domain.errors import WorkFailedError
from support.database import Server


@pytest.fixture
def empty_dsn(server: Server) -> Iterator[str]:
    with server.empty_database() as dsn:
        yield dsn


def copy_migrations(folder: Path) -> Path:
    for path in MIGRATIONS.glob("*.sql"):
        (folder / path.name).write_text(path.read_text())
    return folder


def test_migrations_apply_once(empty_dsn: str) -> None:
    assert migrate(empty_dsn) == [migration.version for migration in read_migrations()]
    assert migrate(empty_dsn) == []


def test_two_components_may_migrate_at_once(empty_dsn: str) -> None:
    applied: list[list[str]] = []
    threads = [threading.Thread(target=lambda: applied.append(migrate(empty_dsn))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(map(len, applied)) == [0, 0, 0, len(read_migrations())]


def test_an_edited_migration_is_refused(empty_dsn: str, tmp_path: Path) -> None:
    migrate(empty_dsn)
    folder = copy_migrations(tmp_path)
    edited = min(folder.glob("*.sql"))
    edited.write_text(edited.read_text() + "\n-- edited\n")
    with pytest.raises(WorkFailedError, match=r"0001_\w+ was edited"):
        migrate(empty_dsn, folder)


def test_a_newer_database_is_refused(empty_dsn: str, tmp_path: Path) -> None:
    folder = copy_migrations(tmp_path)
    (folder / "9999_later.sql").write_text("SELECT 1;")
    migrate(empty_dsn, folder)
    with pytest.raises(WorkFailedError, match="9999_later"):
        migrate(empty_dsn)


def test_a_failing_migration_leaves_nothing_behind(empty_dsn: str, tmp_path: Path) -> None:
    folder = copy_migrations(tmp_path)
    (folder / "9999_broken.sql").write_text("CREATE TABLE invoicing.half (id int); SELECT 1/0;")
    with pytest.raises(psycopg.errors.DivisionByZero):
        migrate(empty_dsn, folder)
    with psycopg.connect(empty_dsn) as connection:
        assert connection.execute("SELECT to_regclass('invoicing.half')").fetchone() == (None,)
        assert connection.execute("SELECT count(*) FROM invoicing.schema_migration").fetchone() == (
            len(read_migrations()),
        )


def test_every_constraint_has_a_name_of_its_own(db: Database) -> None:
    """A violation names its rule; PostgreSQL's made-up names (``…_check1``) would not."""
    made_up = db.execute(
        "SELECT conname FROM pg_constraint c JOIN pg_namespace n ON n.oid = c.connamespace"
        " WHERE n.nspname = 'invoicing' AND contype = 'c' AND conname ~ '_check[0-9]*$'"
    ).fetchall()
    assert made_up == []
