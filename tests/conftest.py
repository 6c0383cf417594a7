"""A real PostgreSQL for the session, a fresh database for each test, a browser, and the whole stack for those on it."""

import os
import tempfile
from collections import Counter
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser

from invoicing.db.connection import Database, connect
from support.browser import open_chromium
from support.database import Server, running_server, tampering
from support.month import November
from support.project import TESTS
from support.running_stack import Stack, lives, own_processes, room_for_stack

_STACK_TESTS = TESTS / "e2e"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long", action="store_true", help="also run what takes many minutes")


def pytest_configure(config: pytest.Config) -> None:
    """Airflow makes itself a home as soon as it is imported: not the one of who runs the tests."""
    home = tempfile.TemporaryDirectory(prefix="inv-home-", ignore_cleanup_errors=True)
    config.add_cleanup(home.cleanup)
    os.environ["AIRFLOW_HOME"] = home.name


def _left_out(items: list[pytest.Item]) -> Iterator[pytest.Item]:
    """Of each test of many cases that says so, all but the first and each n-th after it."""
    seen: Counter[str] = Counter()
    for item in items:
        if marker := item.get_closest_marker("one_in"):
            name = item.nodeid.partition("[")[0]
            if seen[name] % marker.args[0]:
                yield item
            seen[name] += 1


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave the long forms out, rather than skip them, unless they are asked for; put the stack's last user last."""
    if not config.getoption("--long"):
        left_out = set(_left_out(items))
        long = [item for item in items if item.get_closest_marker("long") or item in left_out]
        config.hook.pytest_deselected(items=long)
        items[:] = [item for item in items if item not in set(long)]
        lost = [
            item.nodeid
            for item in items
            if item.get_closest_marker("e2e") and _STACK_TESTS not in item.path.parents
        ]
        if lost:
            raise pytest.UsageError(
                f"make test looks for what runs on the stack in tests/e2e only: {', '.join(lost)}"
            )
    # It starts the stack anew, with a relay that the stack keeps from then on.
    items.sort(key=lambda item: "pipeline" in getattr(item, "fixturenames", ()))


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """A PostgreSQL server of this process's own; a test may crash it, and must start it again."""
    with running_server() as running:
        yield running


@pytest.fixture
def dsn(server: Server) -> Iterator[str]:
    """Conninfo of a fresh, migrated business database, as the application logs in."""
    with server.fresh_copy() as made:
        yield made


@pytest.fixture
def db(dsn: str) -> Iterator[Database]:
    """A connection to a fresh, migrated business database, as the application has it."""
    with connect(dsn) as connection:
        yield connection


@pytest.fixture
def owner(db: Database) -> Iterator[Database]:
    """A connection to the same database of its owner, to tamper with it."""
    with tampering(db) as connection:
        yield connection


@pytest.fixture(scope="session")
def november(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[November]:
    """A month that was run once, to be copied."""
    with November(server, tmp_path_factory.mktemp("november")) as month:
        yield month


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """Debian's; each test opens contexts of its own in it."""
    with open_chromium() as browser:
        yield browser


@pytest.fixture(scope="session")
def one_stack() -> Iterator[Stack]:
    """The session's only running stack: it takes a minute to start. Tests ask for `stack` instead."""
    with room_for_stack() as running:
        running.up()
        yield running
        processes = own_processes(running)
        running.run("down")
        assert [process for process in processes if lives(process)] == []


@pytest.fixture(scope="module")
def stack(one_stack: Stack) -> Stack:
    """A running stack, as new for each module; a module's tests may not take its data for granted."""
    one_stack.clear()
    return one_stack
