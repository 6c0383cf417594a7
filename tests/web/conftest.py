"""The pages' app over a real database, with a visitor of the test's choice."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient
from visiting import App, open_app

from invoicing.db.connection import Database
from invoicing.services.import_files import import_folder

DATA = Path(__file__).parents[1] / "data" / "agency"


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
