"""A PostgreSQL server for tests, and databases on it: every test that asks for one has a fresh, migrated copy.

The application works in it as it does everywhere, as a role that owns nothing. A test that tampers, or makes what no
application makes, does so as the owner, or where triggers must not fire as the superuser.
"""

import contextlib
import itertools
import json
import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from invoicing.db.connection import Database, connect
from invoicing.db.migrate import migrate
from invoicing.stack import postgres as stack_postgres
from support.project import free_port, memory_folder
from support.waiting import wait_until

# Not the names of a deployment: nothing may hang on them.
RUNTIME = "application"
OWNER = "keeper"


def as_owner(dsn: str) -> str:
    """Conninfo of the same database for the owner of its schema."""
    return make_conninfo(dsn, user=OWNER)


def as_superuser(dsn: str) -> str:
    """Conninfo of the same database for who may do anything."""
    return make_conninfo(dsn, user="postgres")


@contextlib.contextmanager
def tampering(db: Database) -> Iterator[Database]:
    """A connection to the database of ``db`` of its owner, who may take out guards and put them back."""
    with connect(as_owner(db.info.dsn)) as owner:
        yield owner


class Server:
    """A PostgreSQL server of one's own on 127.0.0.1, to be crashed and started again.

    Args:
        folder: For the data; made where it is missing.
        environ: Added to the server's environment.
        durable: Whether the disk is waited for (``fsync``). A killed server loses nothing without, only a machine does.
    """

    def __init__(self, folder: Path, environ: dict[str, str] | None = None, *, durable: bool = False) -> None:
        self._durable = durable
        self.data = folder / "data"
        self.port = 0
        self._environ = {"PATH": os.defpath, "LANG": "C", **(environ or {})}
        folder.mkdir(parents=True, exist_ok=True)
        self._account = stack_postgres._account(lambda _: None, self.data)
        self._process: subprocess.Popen[bytes] | None = None
        self._numbers = itertools.count(1)

    def __enter__(self) -> Self:
        if not self.data.exists():
            self.data.mkdir(mode=0o700)
            if self._account is not None:
                os.chown(self.data, self._account.uid, self._account.gid)
            self._run("initdb", "-D", self.data, "-U", "postgres", "--auth=trust", "--no-sync", "-E", "UTF8",
                      "--no-data-checksums",
                      "--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C")  # fmt: skip
        self.port = free_port()
        self.start()
        for role in (OWNER, RUNTIME):
            self._execute(f"CREATE ROLE {role} LOGIN")
        return self

    def __exit__(self, *_: object) -> None:
        self._end(signal.SIGINT)

    def dsn(self, database: str = "postgres") -> str:
        """Conninfo of a database for the superuser; of the maintenance database where none is named."""
        return make_conninfo("", host="127.0.0.1", port=self.port, user="postgres", dbname=database)

    def start(self) -> None:
        """Start, and wait until it answers."""
        options = {
            "port": self.port,
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "fsync": "on" if self._durable else "off",
            # Each copy of a database is a checkpoint, after which every page would be written twice.
            "full_page_writes": "on" if self._durable else "off",
            "max_connections": 60,
            "shared_buffers": "128MB",
            "max_wal_size": "256MB",
            "jit": "off",
            "wal_level": "minimal",
            "max_wal_senders": 0,
        }
        command = [str(stack_postgres.programs() / "postgres"), "-D", str(self.data)]
        for name, value in options.items():
            command += ["-c", f"{name}={value}"]
        with (self.data.parent / "postgres.log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, **self._as_account())
        wait_until(self._answers, "PostgreSQL answers")

    def crash(self) -> None:
        """End it as ``pg_ctl stop -m immediate`` does: at once, without a checkpoint."""
        self._end(signal.SIGQUIT)

    def restart_immediately(self) -> None:
        """What ``pg_ctl restart -m immediate`` does."""
        self.crash()
        self.start()

    @contextlib.contextmanager
    def empty_database(self) -> Iterator[str]:
        """Conninfo of a database with nothing in it, for its owner; dropped at the end."""
        with self._made("TEMPLATE template0") as name:
            yield as_owner(self.dsn(name))

    @contextlib.contextmanager
    def fresh_copy(self, of: str | None = None) -> Iterator[str]:
        """Conninfo of a database of one's own for the application: migrated, and empty; dropped at the end.

        Args:
            of: Conninfo of another database of this server, to be copied as it is; nobody may be connected to it.
        """
        template = conninfo_to_dict(of or self.migrated)["dbname"]
        with self._made(f"TEMPLATE {template} STRATEGY file_copy") as name:
            yield make_conninfo(self.dsn(name), user=RUNTIME)

    @cached_property
    def migrated(self) -> str:
        """Conninfo of the migrated database that others are copies of. Nobody writes to it."""
        self._execute(f"CREATE DATABASE migrated OWNER {OWNER}")
        migrate(as_owner(self.dsn("migrated")), runtime=RUNTIME)
        return self.dsn("migrated")

    @contextlib.contextmanager
    def _made(self, how: str) -> Iterator[str]:
        name = f"database_{next(self._numbers)}"
        self._execute(f"CREATE DATABASE {name} OWNER {OWNER} {how}")
        try:
            yield name
        finally:
            # A test may have left the server dead.
            with contextlib.suppress(psycopg.OperationalError):
                self._execute(f"DROP DATABASE {name} WITH (FORCE)")

    def _execute(self, statement: str) -> None:
        with psycopg.connect(self.dsn(), autocommit=True) as connection:
            connection.execute(statement.encode())

    def _answers(self) -> bool:
        try:
            psycopg.connect(self.dsn(), connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    def _end(self, how: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(60)
            self._process = None

    def _run(self, program: str, *arguments: object) -> None:
        command = [str(stack_postgres.programs() / program), *map(str, arguments)]
        subprocess.run(command, check=True, capture_output=True, **self._as_account())

    def _as_account(self) -> dict[str, Any]:
        options: dict[str, Any] = {"env": self._environ, "cwd": "/"}
        if self._account is not None:
            options |= {"user": self._account.uid, "group": self._account.gid, "extra_groups": []}
        return options


@contextlib.contextmanager
def running_server() -> Iterator[Server]:
    """A server in a folder of its own, gone at the end."""
    # Not in pytest's folder, which the server's own user may not enter.
    with (
        tempfile.TemporaryDirectory(
            prefix="inv-pg-", dir=memory_folder(), ignore_cleanup_errors=True
        ) as folder,
        Server(Path(folder)) as server,
    ):
        yield server


def airflow_connection(dsn: str) -> str:
    """The value of ``AIRFLOW_CONN_INVOICING_DB`` that names the database at ``dsn``."""
    parts = conninfo_to_dict(dsn)
    return json.dumps(
        {
            "conn_type": "postgres",
            "host": parts["host"],
            "port": int(str(parts["port"])),
            "login": parts["user"],
            "schema": parts["dbname"],
        }
    )


def contents(db: Database) -> dict[str, Any]:
    """Every table's rows, as one figure each."""
    tables = [
        row["name"]
        for row in db.execute(
            "SELECT tablename AS name FROM pg_tables WHERE schemaname = 'invoicing' ORDER BY 1"
        )
    ]
    assert len(tables) > 15
    return {
        name: db.execute(
            f"SELECT count(*) AS n, sum(hashtextextended(t::text, 0)) AS seen FROM invoicing.{name} AS t".encode()
        ).fetchone()
        for name in tables
    }
