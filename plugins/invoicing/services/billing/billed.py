"""What a month billed and decided, as it stands: for whoever compares it with another one."""

from invoicing.db.connection import Database
from invoicing.db.statements import beside, fetch_all
from invoicing.domain.comparison import Bill, Month

_SQL = beside(__file__)


def load_month(db: Database, cycle_id: int) -> Month:
    """The standing invoices of a cycle, and what stands decided."""
    which = {"cycle_id": cycle_id}
    return Month(
        bills=fetch_all(db, Bill, _SQL["bills"], which),
        outcomes={row["tenant"]: row["outcome"] for row in db.execute(_SQL["outcomes"], which)},
    )
