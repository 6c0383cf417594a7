"""The pages' app over a real database, with a visitor of the test's choice; and, for flows, the real stack."""

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from psycopg.conninfo import make_conninfo
from starlette.testclient import TestClient
from visiting import App, open_app

from invoicing.db.connection import Database, connect
from invoicing.services.agency.imports import import_folder

DATA = Path(__file__).parents[1] / "data" / "agency"
# Where the stack's handle is.
sys.path.append(str(Path(__file__).parents[1] / "e2e"))

if TYPE_CHECKING:
    from running_stack import Stack


@pytest.fixture
def app(dsn: str, tmp_path: Path) -> Iterator[App]:
    """The app as Airflow mounts it, with users that a test chooses: ``app.as_editor()``, ``app.as_viewer()``."""
    with open_app(dsn, tmp_path / "archive") as opened:
        yield opened


@pytest.fixture
def editor(app: App) -> TestClient:
    """A browser of somebody who may change everything."""
    return app.as_editor()


@pytest.fixture
def viewer(app: App) -> TestClient:
    """A browser of somebody who may only look."""
    return app.as_viewer()


@pytest.fixture
def agency(db: Database) -> Database:
    """The database with the agency of the contract imported."""
    import_folder(db, DATA, actor="test")
    return db


@pytest.fixture(scope="module")
def db_session(server: str, template_database: str) -> Iterator[Database]:
    """A connection to the migrated template itself, for tests that only ask its functions."""
    with connect(make_conninfo(server, dbname=template_database)) as connection:
        yield connection


@pytest.fixture(scope="session")
def stack() -> Iterator["Stack"]:
    """A running stack, shared by the flows: a few tenants, nothing sent yet."""
    from running_stack import Stack

    folder = Path(tempfile.mkdtemp(prefix="inv-web-"))
    running = Stack(folder / "state")
    try:
        running.run("up")
        yield running
    finally:
        running.remove()
