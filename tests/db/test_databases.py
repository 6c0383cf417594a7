"""The two databases of every deployment: made by psql in a container, by psycopg in the embedded stack.

And those of an older version, in which the application owned its tables: given an owner by the same two.
"""

import base64
import hashlib
import hmac
import json
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from invoicing.db.connection import connect
from invoicing.db.migrate import MIGRATIONS, migrate, read_migrations
from invoicing.services.delivery import resolution
from invoicing.stack import postgres as stack_postgres
from invoicing.stack.airflow import _environ
from invoicing.stack.credentials import Credentials, load_or_create
from invoicing.stack.deployment import FOLDER, database_statements
from invoicing.stack.layout import Layout
from invoicing.stack.parts import StackError
from invoicing.stack.postgres import BUSINESS, METADATA, OWNER, Postgres, programs
from support.agency import Agency
from support.database import Server

# With what would end a literal.
CREDENTIALS = Credentials("", "ledger's", "air%s{flow}", "", "", "", "own:er")
PASSWORDS = {
    OWNER: CREDENTIALS.owner_password,
    BUSINESS: CREDENTIALS.invoicing_password,
    METADATA: CREDENTIALS.airflow_password,
}
VARIABLES = dict(zip(("owner", "invoicing", "airflow"), PASSWORDS.values(), strict=True))


@pytest.fixture
def superuser(server: Server) -> Iterator[psycopg.Connection]:
    """A connection to a server that has neither of the two, nor has them afterwards."""
    with psycopg.connect(server.dsn(), autocommit=True) as connection:
        yield connection
        for name in (BUSINESS, METADATA):
            connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)".encode())
        for name in PASSWORDS:
            connection.execute(f"DROP ROLE IF EXISTS {name}".encode())


def make_with_psql(server: Server, superuser: psycopg.Connection, folder: Path) -> None:
    """As ``bin/create-databases`` does it."""
    variables = [f"{name}_password={password}" for name, password in VARIABLES.items()]
    run_psql(server.dsn(), FOLDER / "databases.sql", *(part for each in variables for part in ("-v", each)))


def make_with_psycopg(server: Server, superuser: psycopg.Connection, folder: Path) -> None:
    """As ``bin/invoicing up`` does it."""
    postgres = Postgres(Layout(folder, None), CREDENTIALS, None)
    postgres._connect = lambda database="postgres": psycopg.connect(server.dsn(database), autocommit=True)  # type: ignore[method-assign]
    postgres._provision()


def finish_with_psycopg(server: Server, superuser: psycopg.Connection, folder: Path) -> None:
    """The same after a start that ended on the way."""
    superuser.execute(f"CREATE ROLE {OWNER} LOGIN PASSWORD 'own:er'".encode())
    superuser.execute(f"CREATE ROLE {BUSINESS} LOGIN PASSWORD 'ledger''s'".encode())
    superuser.execute(f"CREATE DATABASE {BUSINESS} OWNER {OWNER}".encode())
    make_with_psycopg(server, superuser, folder)
    make_with_psycopg(server, superuser, folder)


def finish_an_older_version_with_psycopg(server: Server, superuser: psycopg.Connection, folder: Path) -> None:
    """The same where an older version's first start ended on the way: the application owns its database."""
    superuser.execute(f"CREATE ROLE {BUSINESS} LOGIN PASSWORD 'ledger''s'".encode())
    superuser.execute(f"CREATE DATABASE {BUSINESS} OWNER {BUSINESS}".encode())
    make_with_psycopg(server, superuser, folder)
    make_with_psycopg(server, superuser, folder)


def is_password(verifier: str, password: str) -> bool:
    """Whether a SCRAM verifier, as PostgreSQL keeps it, is that of a password (RFC 5802, section 3)."""
    _, salting, keys = verifier.split("$")
    iterations, salt = salting.split(":")
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), base64.b64decode(salt), int(iterations))
    client_key = hmac.digest(salted, b"Client Key", "sha256")
    return base64.b64encode(hashlib.sha256(client_key).digest()).decode() == keys.split(":")[0]


@pytest.mark.parametrize(
    "make",
    [make_with_psql, make_with_psycopg, finish_with_psycopg, finish_an_older_version_with_psycopg],
)
def test_each_database_has_an_owner_and_lets_in_who_works_with_it(
    server: Server, superuser: psycopg.Connection, tmp_path: Path, make
):
    make(server, superuser, tmp_path)

    owners = dict(
        superuser.execute(
            "SELECT datname, datdba::regrole::text FROM pg_database WHERE datname = ANY(%s)",
            [[BUSINESS, METADATA]],
        )
    )
    assert owners == {BUSINESS: OWNER, METADATA: METADATA}
    let_in = {BUSINESS: {OWNER, BUSINESS}, METADATA: {METADATA}}
    for role in PASSWORDS:
        for database, roles in let_in.items():
            for privilege, those in (
                ("CONNECT", roles),
                ("TEMPORARY", roles),
                ("CREATE", {owners[database]}),
            ):
                row = superuser.execute(
                    "SELECT has_database_privilege(%s, %s, %s)", [role, database, privilege]
                ).fetchone()
                assert row == (role in those,), (role, database, privilege)


@pytest.mark.parametrize("make", [make_with_psql, make_with_psycopg])
def test_each_owner_has_the_password_that_was_given(
    server: Server, superuser: psycopg.Connection, tmp_path: Path, make
):
    make(server, superuser, tmp_path)

    kept = dict(
        superuser.execute(
            "SELECT rolname, rolpassword FROM pg_authid WHERE rolname = ANY(%s)", [list(PASSWORDS)]
        )
    )
    for name, password in PASSWORDS.items():
        assert is_password(kept[name], password)


# Databases of an older version


@pytest.fixture
def of_before(server: Server, superuser: psycopg.Connection, tmp_path: Path) -> str:
    """Conninfo, for the superuser, of a database as the version before left it: the application owns all of it."""
    superuser.execute(f"CREATE ROLE {BUSINESS} LOGIN".encode())
    superuser.execute(f"CREATE DATABASE {BUSINESS} OWNER {BUSINESS}".encode())
    superuser.execute(f"REVOKE ALL ON DATABASE {BUSINESS} FROM PUBLIC".encode())
    superuser.execute(f"CREATE ROLE {METADATA} LOGIN".encode())
    superuser.execute(f"CREATE DATABASE {METADATA} OWNER {METADATA}".encode())
    before = tmp_path / "before"
    before.mkdir()
    for path in MIGRATIONS.glob("*.sql"):
        if path.name < "0012":
            (before / path.name).write_text(path.read_text())
    migrate(make_conninfo(server.dsn(BUSINESS), user=BUSINESS), before)
    run_psql(server.dsn(BUSINESS), Path(__file__).with_name("ledger_before_0012.sql"))
    return server.dsn(BUSINESS)


def run_psql(dsn: str, file: Path, *options: str) -> None:
    command = [str(programs() / "psql"), "--no-psqlrc", "-v", "ON_ERROR_STOP=1", "--file", str(file)]
    subprocess.run([*command, *options, dsn], check=True, capture_output=True)


def part_with_psql(server: Server, superuser: psycopg.Connection, folder: Path) -> None:
    """As ``bin/create-databases`` does it when it is run by hand."""
    run_psql(
        server.dsn(BUSINESS), FOLDER / "owner.sql", "--single-transaction", "-v", "owner_password=own:er"
    )


def rows_of(dsn: str) -> dict[str, list[dict[str, Any]]]:
    with psycopg.connect(dsn) as db:
        tables = db.execute(
            "SELECT relname FROM pg_class WHERE relnamespace = 'invoicing'::regnamespace AND relkind = 'r'"
            " AND relname NOT IN ('schema_migration', 'sealed_invoice') ORDER BY 1"
        ).fetchall()
        return {
            name: [
                row
                for (row,) in db.execute(
                    f"SELECT to_jsonb(t) FROM invoicing.{name} AS t ORDER BY t::text".encode()
                )
            ]
            for (name,) in tables
        }


@pytest.mark.parametrize("part", [make_with_psycopg, part_with_psql])
def test_a_database_in_which_the_application_owned_everything_is_given_an_owner(
    server: Server, superuser: psycopg.Connection, of_before: str, tmp_path: Path, part
):
    before = rows_of(of_before)
    assert len(before["invoice"]) == 4
    runtime = make_conninfo(of_before, user=BUSINESS)
    with connect(runtime) as application:  # what it could do
        application.execute("ALTER TABLE invoicing.delivery_event DISABLE TRIGGER USER")
        application.execute("ALTER TABLE invoicing.delivery_event ENABLE TRIGGER USER")

    part(server, superuser, tmp_path)
    applied = migrate(make_conninfo(of_before, user=OWNER), runtime=BUSINESS)

    assert applied == [each.version for each in read_migrations() if each.version >= "0012"]
    after = rows_of(of_before)
    # Columns that came later aside.
    assert {
        table: [{name: row[name] for name in known} for row, known in zip(after[table], rows, strict=True)]
        for table, rows in before.items()
    } == before
    with psycopg.connect(of_before) as db:
        assert db.execute("SELECT count(*) FROM invoicing.sealed_invoice").fetchone() == (4,)
        not_the_owners = db.execute(
            "SELECT what FROM (SELECT relname AS what, relowner AS owner FROM pg_class"
            "      WHERE relnamespace = 'invoicing'::regnamespace"
            "  UNION ALL SELECT proname, proowner FROM pg_proc WHERE pronamespace = 'invoicing'::regnamespace"
            "      AND probin IS NULL"  # btree_gist's own functions are the superuser's
            "  UNION ALL SELECT nspname, nspowner FROM pg_namespace WHERE nspname = 'invoicing'"
            "  UNION ALL SELECT extname, extowner FROM pg_extension WHERE extname = 'btree_gist'"
            "  UNION ALL SELECT datname, datdba FROM pg_database WHERE datname = current_database()"
            ") AS thing WHERE owner <> %s::regrole",
            [OWNER],
        ).fetchall()
        assert not_the_owners == []
    with connect(runtime) as application:
        for act in (
            "TRUNCATE invoicing.delivery_event",
            "ALTER TABLE invoicing.delivery_event DISABLE TRIGGER ALL",
            "CREATE OR REPLACE FUNCTION invoicing.refuse_change() RETURNS trigger LANGUAGE sql AS 'SELECT NULL'",
            "DROP TABLE invoicing.delivery_event",
            "UPDATE invoicing.invoice SET total = 1",
            "DELETE FROM invoicing.decision",
            f"SET ROLE {OWNER}",
            "CREATE FUNCTION invoicing.mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                application.execute(act.encode())
        with pytest.raises(psycopg.errors.IntegrityError, match="nothing is added"):
            application.execute(
                "INSERT INTO invoicing.invoice_line (invoice_id, position, concept, description, amount, tax_rate, tax)"
                " SELECT id, 9, 'other', 'x', 0, 0, 0 FROM invoicing.invoice"
            )

        # And it goes on with its work: the old month, and a new lease in it.
        agency = Agency(application, runs=1)
        agency.add_lease("D-late", "D")
        agency.run()
        agency.put("D", "claimed", "transmitting", "sent")
        resolution.resolve(application, 2, "sent", reason="the relay's log", actor="ana")
        assert agency.balance() == []
        assert sorted(agency.deliveries()) == [
            ("A", "pending", 1), ("A", "sent", 1), ("B", "sent", 1), ("C", "pending", 1), ("D", "sent", 2),
        ]  # fmt: skip


def test_tables_in_use_are_not_waited_for_for_ever_and_nothing_is_changed(
    server: Server,
    superuser: psycopg.Connection,
    of_before: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    impatient = [
        b"SET LOCAL lock_timeout = '100ms'" if "lock_timeout" in str(each) else each
        for each in database_statements({"owner_password": CREDENTIALS.owner_password}, "owner.sql")
    ]
    monkeypatch.setattr(stack_postgres, "database_statements", lambda *_: iter(impatient))
    with psycopg.connect(make_conninfo(of_before, user=BUSINESS)) as at_work:
        at_work.execute("SELECT FROM invoicing.delivery")
        with pytest.raises(StackError, match=r"are in use .*`make down`"):
            make_with_psycopg(server, superuser, tmp_path)

    assert superuser.execute("SELECT FROM pg_roles WHERE rolname = %s", [OWNER]).rowcount == 0
    make_with_psycopg(server, superuser, tmp_path)
    assert superuser.execute("SELECT FROM pg_roles WHERE rolname = %s", [OWNER]).rowcount == 1


# Who is told the owner's password


def test_a_stack_of_before_is_given_a_password_for_the_owner_and_keeps_it(tmp_path: Path):
    layout = Layout(tmp_path, None)
    layout.credentials_file.parent.mkdir()
    first = load_or_create(layout)
    known = json.loads(layout.credentials_file.read_text())
    del known["owner_password"]
    layout.credentials_file.write_text(json.dumps(known))

    again = load_or_create(layout)

    assert len(again.owner_password) > 20
    assert load_or_create(layout) == again == replace(first, owner_password=again.owner_password)
    assert layout.credentials_file.stat().st_mode & 0o077 == 0


def test_airflow_is_not_told_of_the_owner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("INVOICING_DB_OWNER", "postgres://keeper:secret@db/ledger")

    environ = _environ(Layout(tmp_path, None), 8080, {}, "airflow", CREDENTIALS)

    assert not [name for name, value in environ.items() if "keeper" in value or name == "INVOICING_DB_OWNER"]
