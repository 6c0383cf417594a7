"""Start, stop and describe the stack."""

import contextlib
import errno
import fcntl
import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from invoicing.airflow_api import AirflowApi, AirflowUnreachableError
from invoicing.db.connection import dsn_from_airflow_connection
from invoicing.domain.errors import InputError
from invoicing.stack import credentials as secrets_of_stack
from invoicing.stack.airflow import COMPONENTS, MIGRATION, Airflow, stop_components
from invoicing.stack.inbox import Limits
from invoicing.stack.layout import (
    DEFAULT_PORT,
    OWNER_CONNECTION,
    REPOSITORY,
    Layout,
    choose_port,
    holder_of,
    is_free,
)
from invoicing.stack.parts import Part, StackError, write_private
from invoicing.stack.postgres import BUSINESS, Postgres, stop_server
from invoicing.stack.secret_files import variables_from_files
from invoicing.words.failures import Fault

Report = Callable[[str], None]

_DATABASE_CONNECTION = "AIRFLOW_CONN_INVOICING_DB"
_MAIL_CONNECTION = "AIRFLOW_CONN_INVOICING_SMTP"
_NEEDED_BYTES = 300_000_000
_LOCK_SECONDS = 600.0
_INBOX_SECONDS = 15.0


@dataclass(frozen=True, slots=True)
class StackInfo:
    """How to use a running stack.

    Args:
        mailbox: None where mail goes to a relay of the caller's.
        seconds: How long each part took to start; parts that ran already are left out.
    """

    state: Path
    url: str
    user: str
    password: str
    mailbox: Path | None
    archive: str
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def pages(self) -> str:
        """Address of our own pages."""
        return f"{self.url}/invoicing/"


def start(report: Report, *, embedded: bool = False) -> StackInfo:
    """Start what of the stack does not run, and wait until all is ready.

    Args:
        report: Gets one line a step.
        embedded: Go back to the embedded database and inbox where the stack had the caller's.

    Raises:
        InputError: The environment is wrong.
        StackError: Something did not start; what did is left running, and another start goes on from there.
    """
    layout = Layout.from_environment()
    with _disk_errors(layout):
        _make_folders(layout)
        with _lock(layout, report):
            return _start(layout, report, embedded=embedded)


def stop(report: Report) -> None:
    """End the stack's own processes; running tasks get a while to finish. Nothing stored is touched.

    Raises:
        StackError: Something would not end.
    """
    layout = Layout.from_environment()
    if not layout.records.exists():
        report("nothing is running")
        return
    with _disk_errors(layout), _lock(layout, report):
        parts = [Part(layout, name) for name in ("postgres", "inbox", MIGRATION, *COMPONENTS)]
        if all(part.state() == "stopped" for part in parts):
            report("nothing is running")
            return
        clock = _Clock(report)
        with clock.step("Airflow stopped"):
            stop_components(layout, report)
        with clock.step("mail inbox stopped"):
            _inbox(layout).end(5.0)
        with clock.step("PostgreSQL stopped"):
            stop_server(layout)


def describe() -> dict[str, Any]:
    """The stack as it is now, for ``status``: parts, addresses, where things are. No secrets."""
    layout = Layout.from_environment()
    known = _read_stack_file(layout)
    has_inbox = known.get("inbox_port") is not None or _inbox(layout).state() != "stopped"
    names = ["postgres", *(["inbox"] if has_inbox else []), *COMPONENTS]
    parts = {name: Part(layout, name) for name in names}
    states = {
        name: {"state": part.state(), "pid": part.pid(), "log": str(part.log)} for name, part in parts.items()
    }
    url = known.get("url")
    answers = False
    if url and states["api-server"]["state"] == "running":
        with contextlib.suppress(AirflowUnreachableError), AirflowApi(url, "", "") as api:
            answers = api.health().database
    running = all(part["state"] == "running" for part in states.values())
    return {
        "state": str(layout.state),
        "running": running,
        "ready": running and answers,
        "parts": states,
        "airflow": {"url": url, "user": secrets_of_stack.ADMIN, "password_file": str(layout.login_file)},
        "postgres_port": known.get("postgres_port"),
        "inbox_port": known.get("inbox_port"),
        "mailbox": str(layout.mailbox) if has_inbox else None,
        "archive": known.get("archive"),
    }


def environment() -> dict[str, str]:
    """What a process needs to work with the stack: connections, archive, Airflow's address and login.

    What the caller's environment sets, itself or by the name of a file, stays as it is there.

    Raises:
        InputError: A file that the environment names is of no use.
        StackError: The stack was never started, and the environment does not stand in for it.
    """
    ours = {
        name: value
        for name, value in os.environ.items()
        if name.startswith(("INVOICING_", "AIRFLOW_CONN_INVOICING")) and name != OWNER_CONNECTION
    }
    ours |= variables_from_files(ours)
    layout = Layout.from_environment()
    known = _read_stack_file(layout)
    if not known:
        if _DATABASE_CONNECTION in ours:
            return ours
        raise StackError("stack_missing", state=layout.state)
    postgres, _ = _assemble(layout, known)
    return {
        **_connections(layout, known, postgres),
        "INVOICING_STATE": str(layout.state),
        "INVOICING_AIRFLOW_URL": known["url"],
        "INVOICING_AIRFLOW_USER": secrets_of_stack.ADMIN,
        "INVOICING_AIRFLOW_PASSWORD": secrets_of_stack.admin_password(layout),
        **ours,
    }


def database_dsn() -> str:
    """Libpq connection string of the business database."""
    return dsn_from_airflow_connection(environment()[_DATABASE_CONNECTION])


def owner_dsn() -> str:
    """Libpq connection string of the business database as its owner: for a person's command, and no task.

    Raises:
        InputError: The database is the caller's own, and ``INVOICING_DB_OWNER`` is not set.
    """
    if os.environ.get(_DATABASE_CONNECTION):
        owner = os.environ.get(OWNER_CONNECTION)
        if not owner:
            raise InputError("variable_missing", variable=OWNER_CONNECTION)
        return dsn_from_airflow_connection(owner)
    layout = Layout.from_environment()
    return _assemble(layout, _read_stack_file(layout))[0].owner_dsn()


def _start(layout: Layout, report: Report, *, embedded: bool) -> StackInfo:
    known = _read_stack_file(layout)
    known["outside"] = _outside(known, embedded=embedded)
    known["port"] = _airflow_port(layout, known)
    known["url"] = f"http://127.0.0.1:{known['port']}"
    clock = _Clock(report)

    postgres = Postgres(layout, secrets_of_stack.load_or_create(layout), known.get("postgres_port"))
    beats_since = None
    if postgres.part.pid() is None:
        with clock.step("PostgreSQL"):
            postgres.start(report)
        beats_since = datetime.now(UTC)
    else:
        postgres.start(report)
    known["postgres_port"] = postgres.port
    known["inbox_port"] = _start_inbox(layout, known, clock)
    known["archive"] = os.environ.get("INVOICING_ARCHIVE") or f"file://{layout.archive}"
    _publish(layout, known)

    _, airflow = _assemble(layout, known)
    with clock.step("business database migrated", unless_seconds_below=0.5):
        _migrate(postgres)
    with clock.step("Airflow's database migrated", unless_seconds_below=0.5):
        airflow.migrate()
    if airflow.runs_as_configured():
        airflow.start(report, beats_since=beats_since)
    else:
        with clock.step("Airflow"):
            airflow.start(report, beats_since=beats_since)
    _publish(layout, known)
    return StackInfo(
        state=layout.state,
        url=known["url"],
        user=secrets_of_stack.ADMIN,
        password=secrets_of_stack.admin_password(layout),
        mailbox=layout.mailbox if known["inbox_port"] else None,
        archive=known["archive"],
        seconds=clock.seconds,
    )


def _migrate(postgres: Postgres) -> None:
    """As the owner of the business database, the embedded one or the caller's."""
    from invoicing.db.migrate import migrate, migrate_deployment

    outside = os.environ.get(_DATABASE_CONNECTION)
    if outside:
        migrate_deployment(outside, os.environ.get(OWNER_CONNECTION) or None)
    else:
        migrate(postgres.owner_dsn(), runtime=BUSINESS)


def _assemble(layout: Layout, known: dict[str, Any]) -> tuple[Postgres, Airflow]:
    secrets = secrets_of_stack.load_or_create(layout)
    postgres = Postgres(layout, secrets, known.get("postgres_port"))
    login = secrets_of_stack.admin_password(layout)
    connections = _connections(layout, known, postgres)
    return postgres, Airflow(layout, known.get("port") or DEFAULT_PORT, connections, postgres, secrets, login)


def _outside(known: dict[str, Any], *, embedded: bool) -> list[str]:
    """The connections that are the caller's own; one that is not set this time is not quietly replaced.

    Else a start from a shell without it would have real mail end in the inbox of this machine, as sent.
    """
    names = (_DATABASE_CONNECTION, _MAIL_CONNECTION)
    missing = [name for name in known.get("outside", []) if not os.environ.get(name)]
    if missing and not embedded:
        raise InputError("stack_connection_missing", names=" and ".join(missing))
    return [name for name in names if os.environ.get(name)]


def _connections(layout: Layout, known: dict[str, Any], postgres: Postgres) -> dict[str, str]:
    """What our tasks are given; the caller's own connections and archive win."""
    from psycopg.conninfo import conninfo_to_dict

    parts = conninfo_to_dict(postgres.dsn(BUSINESS))
    database = {
        "conn_type": "postgres",
        "host": parts["host"],
        "port": postgres.port,
        "login": parts["user"],
        "password": parts["password"],
        "schema": parts["dbname"],
    }
    embedded = {
        _DATABASE_CONNECTION: json.dumps(database),
        "INVOICING_ARCHIVE": str(known.get("archive") or f"file://{layout.archive}"),
    }
    if known.get("inbox_port"):
        extra = {"disable_tls": True, "disable_ssl": True, "timeout": 30}
        inbox = {"conn_type": "smtp", "host": "127.0.0.1", "port": known["inbox_port"], "extra": extra}
        embedded[_MAIL_CONNECTION] = json.dumps(inbox)
    return {**embedded, **{name: os.environ[name] for name in embedded if os.environ.get(name)}}


def _start_inbox(layout: Layout, known: dict[str, Any], clock: "_Clock") -> int | None:
    """Run the inbox unless mail goes elsewhere; its port."""
    part = _inbox(layout)
    limits = Limits.from_environment(os.environ)
    if os.environ.get(_MAIL_CONNECTION):
        part.end(5.0)
        return None
    port: int | None = known.get("inbox_port")
    if part.pid() is not None and port is not None:
        return port
    part.end(0.0)
    with clock.step("mail inbox"):
        port = choose_port(port)
        environ = {
            "INVOICING_STATE": str(layout.state),
            "PATH": os.defpath,
            "PYTHONPATH": str(REPOSITORY / "plugins"),
            **limits.as_environment(),
        }
        part.spawn(
            [sys.executable, "-P", "-m", "invoicing.stack.inbox", str(layout.mailbox), str(port)], environ
        )
        deadline = time.monotonic() + _INBOX_SECONDS
        while is_free(port):
            if part.pid() is None or time.monotonic() > deadline:
                raise StackError("inbox_not_started", tail=part.log_tail())
            time.sleep(0.05)
    return port


def _inbox(layout: Layout) -> Part:
    return Part(layout, "inbox")


def _airflow_port(layout: Layout, known: dict[str, Any]) -> int:
    """The port Airflow is to have, made sure of before anything is started."""
    running = Part(layout, "api-server").pid() is not None
    earlier: int | None = known.get("port") if running else None
    port = layout.port or earlier or DEFAULT_PORT
    if port != earlier and not is_free(port):
        raise StackError("port_taken", port=port, holder=holder_of(port))
    return port


def _make_folders(layout: Layout) -> None:
    # PostgreSQL, where we are root, runs as another user and must pass through.
    layout.state.mkdir(parents=True, exist_ok=True, mode=0o711 if os.geteuid() == 0 else 0o700)
    secrets_folder = layout.credentials_file.parent
    for folder in (
        secrets_folder,
        layout.records,
        layout.logs,
        layout.mailbox,
        layout.archive,
        layout.airflow_home,
    ):
        folder.mkdir(exist_ok=True, mode=0o700)
    free = shutil.disk_usage(layout.state).free
    if free < _NEEDED_BYTES:
        raise StackError(
            "disk_too_small", free=free // 1_000_000, state=layout.state, needed=_NEEDED_BYTES // 1_000_000
        )


@contextlib.contextmanager
def _lock(layout: Layout, report: Report) -> Iterator[None]:
    """Hold the stack's lock; the system frees it when its holder dies, however it dies."""
    with layout.lock_file.open("w", encoding="utf-8") as file:
        deadline = time.monotonic() + _LOCK_SECONDS
        waiting = False
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if not waiting:
                    report("another `up` or `down` of this stack is at work: waiting for it")
                    waiting = True
                if time.monotonic() > deadline:
                    raise StackError("stack_locked", lock=layout.lock_file) from None
                time.sleep(0.2)
        yield


@contextlib.contextmanager
def _disk_errors(layout: Layout) -> Iterator[None]:
    """Tell errors of the disk in words."""
    try:
        yield
    except OSError as error:
        hints = {
            errno.ENOSPC: Fault("make_room"),
            errno.EDQUOT: Fault("make_room"),
            errno.EACCES: Fault("give_the_right"),
            errno.EPERM: Fault("give_the_right"),
            errno.EROFS: Fault("choose_a_writable_folder"),
            errno.ENOTDIR: Fault("choose_a_folder"),
            errno.EEXIST: Fault("choose_a_folder"),
        }
        if error.errno not in hints:
            raise
        raise StackError(
            "disk_refused",
            path=error.filename or layout.state,
            reason=error.strerror,
            hint=hints[error.errno],
        ) from None


def _read_stack_file(layout: Layout) -> dict[str, Any]:
    try:
        known: dict[str, Any] = json.loads(layout.stack_file.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except ValueError as error:
        raise StackError("stack_file_damaged", path=layout.stack_file, reason=str(error)) from None
    return known


def _publish(layout: Layout, known: dict[str, Any]) -> None:
    names = ["postgres", *(["inbox"] if known["inbox_port"] else []), *COMPONENTS]
    document = {
        **known,
        "mailbox": str(layout.mailbox) if known["inbox_port"] else None,
        "user": secrets_of_stack.ADMIN,
        "password_file": str(layout.login_file),
        "credentials_file": str(layout.credentials_file),
        "processes": {name: Part(layout, name).pid() for name in names},
    }
    write_private(layout.stack_file, json.dumps(document, indent=2) + "\n")


class _Clock:
    """Reports how long each step took."""

    def __init__(self, report: Report) -> None:
        self.seconds: dict[str, float] = {}
        self._report = report

    @contextlib.contextmanager
    def step(self, name: str, unless_seconds_below: float = 0.0) -> Iterator[None]:
        begun = time.monotonic()
        yield
        seconds = time.monotonic() - begun
        if seconds >= unless_seconds_below:
            self.seconds[name] = round(seconds, 1)
            self._report(f"{name}: {seconds:.1f} s")
