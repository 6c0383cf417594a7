"""The web app's connections to the business database: a pool a process, made when it is first used."""

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated

import psycopg
from fastapi import Depends, Request
from psycopg.rows import DictRow, dict_row
from psycopg_pool import ConnectionPool, PoolTimeout

from invoicing.db.connection import Database
from invoicing.domain.errors import WorkFailedError

_SIZE = 6
_WAIT_SECONDS = 5.0
# A page that takes this long is a fault, not patience.
_STATEMENT_SECONDS = 20


class Pool:
    """Connections like those of `invoicing.db.connection.connect`, kept open between requests.

    Args:
        find_dsn: Gives the libpq connection string; asked once a process.
    """

    def __init__(self, find_dsn: Callable[[], str]) -> None:
        self._find_dsn = find_dsn
        self._lock = threading.Lock()
        self._pid = 0
        self._pool: ConnectionPool[psycopg.Connection[DictRow]] | None = None

    @contextmanager
    def connection(self) -> Iterator[Database]:
        """A connection for one request.

        Raises:
            WorkFailedError: The database cannot be reached.
        """
        try:
            with self._opened().connection() as db:
                yield db
        except PoolTimeout:
            raise WorkFailedError("database_busy") from None

    def close(self) -> None:
        """Close the connections."""
        with self._lock:
            if self._pool is not None and self._pid == os.getpid():
                self._pool.close()
            self._pool = None

    def _opened(self) -> "ConnectionPool[psycopg.Connection[DictRow]]":
        with self._lock:
            # A server that forks its workers after the app was made: connections are never shared by processes.
            if self._pool is None or self._pid != os.getpid():
                self._pid = os.getpid()
                self._pool = ConnectionPool(
                    self._find_dsn(),
                    min_size=1,
                    max_size=_SIZE,
                    timeout=_WAIT_SECONDS,
                    max_idle=300,
                    check=ConnectionPool.check_connection,
                    open=True,
                    name="invoicing-web",
                    connection_class=psycopg.Connection[DictRow],
                    kwargs={
                        "autocommit": True,
                        "row_factory": dict_row,
                        "connect_timeout": 5,
                        "application_name": "invoicing web",
                        # A plan of its own each time: what is not asked of a list is then no part of its statement,
                        # and a page, or a batch of a file, begins at its key.
                        "options": f"-c timezone=UTC -c statement_timeout={_STATEMENT_SECONDS}s"
                        " -c plan_cache_mode=force_custom_plan",
                    },
                )
            return self._pool


def _database(request: Request) -> Iterator[Database]:
    with request.app.state.pool.connection() as db:
        yield db


def _pool(request: Request) -> Pool:
    pool = request.app.state.pool
    assert isinstance(pool, Pool)
    return pool


DatabaseDep = Annotated[Database, Depends(_database, scope="function")]
"""A connection while the answer is made: given back before the answer is sent, however slowly it is read."""

PoolDep = Annotated[Pool, Depends(_pool)]
"""For routes that do more than ask the database: none is held while a child process, an archive or a relay works."""
