"""A large agency with months behind it, put there by SQL: importing and running would take hours."""

from invoicing.db.connection import Database
from invoicing.services.agency.settings import current_settings, current_template
from support.project import TESTS


def fill(db: Database, tenants: int, months: int) -> None:
    """Put the agency into an empty database.

    Args:
        months: Counted back from 2026-11.
    """
    current_settings(db)
    current_template(db, "default")
    script = (TESTS / "bench" / "large_agency.sql").read_text(encoding="utf-8")
    parameters = {"tenants": tenants, "months": months}
    with db.transaction():
        db.execute("SET LOCAL synchronous_commit = off")
        for statement in script.split(";\n"):
            if statement.strip():
                db.execute(statement.encode(), parameters)
    db.execute("VACUUM ANALYZE")
