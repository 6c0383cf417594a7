from pathlib import Path

import pytest

from invoicing.db.connection import Database
from invoicing.services.delivery.journal import Journal
from support.agency import Agency


@pytest.fixture
def agency(db: Database) -> Agency:
    """An agency without tenants that sends to everybody."""
    made = Agency(db)
    made.set(auto_send=True, from_email="facturas@agencia.example")
    return made


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    """An empty journal."""
    return Journal(tmp_path / "journal")
