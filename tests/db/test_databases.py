"""The two databases of every deployment: made by psql in a container, by psycopg in the embedded stack."""

import base64
import hashlib
import hmac
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from invoicing.stack.credentials import Credentials
from invoicing.stack.deployment import FOLDER
from invoicing.stack.layout import Layout
from invoicing.stack.postgres import BUSINESS, METADATA, OWNER, Postgres, programs
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
    command = [
        str(programs() / "psql"),
        "--no-psqlrc",
        "-v",
        "ON_ERROR_STOP=1",
        "--file",
        str(FOLDER / "databases.sql"),
    ]
    for name, password in VARIABLES.items():
        command += ["-v", f"{name}_password={password}"]
    subprocess.run([*command, server.dsn()], check=True, capture_output=True)


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


def finish_an_older_version_with_psycopg(
    server: Server, superuser: psycopg.Connection, folder: Path
) -> None:
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
