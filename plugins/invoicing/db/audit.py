"""What a person did: who, when, to what."""

from typing import Any

from psycopg.types.json import Jsonb

from invoicing.db.connection import Database
from invoicing.db.statements import beside

_SQL = beside(__file__)


def record(db: Database, *, actor: str, action: str, subject: str, details: dict[str, Any]) -> None:
    """Keep an audit event, in the caller's transaction."""
    db.execute(
        _SQL["add_audit_event"],
        {"actor": actor, "action": action, "subject": subject, "details": Jsonb(details)},
    )
