"""Connections to the business database."""

import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TypeAlias
from urllib.parse import parse_qsl, unquote, urlsplit

import psycopg
from psycopg.conninfo import make_conninfo
from psycopg.rows import DictRow, dict_row

from invoicing.domain.errors import InputError, WorkFailedError

Database: TypeAlias = psycopg.Connection[DictRow]

OpenDatabase: TypeAlias = Callable[[], AbstractContextManager[Database]]
"""Gives a connection for a block. Asked for by what does slow work in between: it holds none while it does."""

_CONNECT_TIMEOUT_SECONDS = 10


def connect(dsn: str) -> Database:
    """Open a connection: autocommit, rows as dicts; services open their transactions themselves.

    Args:
        dsn: A libpq connection string.

    Raises:
        WorkFailedError: The server cannot be reached, or refuses the login.
    """
    try:
        return psycopg.connect(
            dsn,
            autocommit=True,
            row_factory=dict_row,
            connect_timeout=_CONNECT_TIMEOUT_SECONDS,
            application_name="invoicing",
            # A half-open connection is noticed within a minute instead of hours.
            keepalives_idle=20,
            keepalives_interval=10,
            keepalives_count=3,
            tcp_user_timeout=60_000,
            # What is read by a cursor is read to its end. A month of years is looked up, not searched for: no disk of
            # today needs four times as long for a page anywhere as for the next one.
            options="-c timezone=UTC -c idle_in_transaction_session_timeout=600000 -c cursor_tuple_fraction=1"
            " -c random_page_cost=1.1"
            # A server set to `off` could forget in a crash that a message had begun to leave.
            " -c synchronous_commit=on",
        )
    except psycopg.OperationalError as error:
        raise WorkFailedError("database_unreachable", reason=str(error).strip()) from None


def dsn_of(db: Database) -> str:
    """The connection string that ``db`` was opened with, its password included."""
    return make_conninfo(db.info.dsn, password=db.info.password or None)


def dsn_from_airflow_connection(value: str) -> str:
    """Turn the value of ``AIRFLOW_CONN_INVOICING_DB`` into a libpq connection string.

    Args:
        value: An Airflow connection as a URI or as JSON.

    Raises:
        InputError: It is neither.
    """
    if value.lstrip().startswith("{"):
        try:
            fields = json.loads(value)
        except json.JSONDecodeError as error:
            raise InputError("database_connection_malformed", reason=error.msg) from None
        extra = fields.get("extra") or {}
        if isinstance(extra, str):
            extra = json.loads(extra)
        return dsn_from_parts(
            fields.get("host"),
            fields.get("port"),
            fields.get("login"),
            fields.get("password"),
            fields.get("schema"),
            extra,
        )
    parts = urlsplit(value)
    if not parts.scheme.startswith("postgres"):
        raise InputError("database_connection_of_another_kind")
    return dsn_from_parts(
        unquote(parts.hostname or ""),
        parts.port,
        unquote(parts.username or ""),
        unquote(parts.password or ""),
        unquote(parts.path.lstrip("/")),
        dict(parse_qsl(parts.query)),
    )


def dsn_from_parts(
    host: str | None,
    port: int | str | None,
    login: str | None,
    password: str | None,
    database: str | None,
    extra: dict[str, str] | None = None,
) -> str:
    """Build a libpq connection string; what is empty is left to libpq's defaults."""
    libpq_options = {
        k: v for k, v in (extra or {}).items() if k in ("sslmode", "sslrootcert", "host", "options")
    }
    known = {
        "host": None if "host" in libpq_options else host,
        "port": port,
        "user": login,
        "password": password,
        "dbname": database,
    }
    return make_conninfo("", **{k: str(v) for k, v in known.items() if v}, **libpq_options)
