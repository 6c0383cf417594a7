"""What the application's role may do: all of it in ``grants.sql``."""

from typing import Any

import psycopg
from psycopg import sql

from invoicing.db.connection import Database
from invoicing.db.statements import beside

_SQL = beside(__file__)


def grant_all(connection: "psycopg.Connection[Any]", runtime: str) -> None:
    """Give the role ``runtime`` what the application needs, and take from it whatever else it was given.

    Args:
        connection: Of the schema's owner; what it may do is in force at once, or not at all.
        runtime: The role's name, as the application logs in.
    """
    # The text is this module's own file; a role's name cannot be a parameter.
    page = sql.SQL(_SQL["grant_all"].decode()).format(runtime=sql.Identifier(runtime))
    with connection.transaction():
        connection.execute(page)


def owned_tables(db: Database) -> int:
    """How many of the schema's tables the login of ``db`` owns, or could make its own: none, where roles are apart."""
    row = db.execute(_SQL["owned_tables"]).fetchone()
    assert row is not None
    return int(row["count"])
