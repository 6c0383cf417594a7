"""The pages' app over a real database, with a visitor of the test's choice, and a month for the pages."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from invoicing.db.connection import Database, connect
from invoicing.services.agency.imports import import_folder
from support.database import Server
from support.month import Month, November
from support.project import AGENCY
from support.visiting import App, Browser, open_app


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
def month(november: November, tmp_path: Path) -> Iterator[Month]:
    """A month of a test's own."""
    with november.copy(tmp_path) as copied:
        yield copied


@pytest.fixture
def page(month: Month) -> Browser:
    """The browser of somebody who may change everything, in English, at that month."""
    return month.app.as_editor("en")


@pytest.fixture
def agency(db: Database) -> Database:
    """The database with the agency of the contract imported."""
    import_folder(db, AGENCY, actor="test")
    return db


@pytest.fixture(scope="module")
def db_session(server: Server) -> Iterator[Database]:
    """A connection to a database that is nobody's in particular, for tests that only ask its functions."""
    with server.fresh_copy() as dsn, connect(dsn) as connection:
        yield connection
