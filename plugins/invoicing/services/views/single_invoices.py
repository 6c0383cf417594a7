"""Invoices made outside the monthly job, as ``invoices list`` shows them."""

from typing import Any

from invoicing.db.connection import Database
from invoicing.db.statements import beside
from invoicing.services.views.report import money

_SQL = beside(__file__)


def list_single_invoices(db: Database) -> list[dict[str, Any]]:
    """One row per invoice made outside the monthly job: what was decided on it, and what became of it."""
    return [
        {
            "reference": row["reference"],
            "number": row["number"],
            "tenant": row["tenant"],
            "issued_on": row["issued_on"].isoformat(),
            "due_on": row["due_on"].isoformat(),
            "total": money(row["total"]),
            "currency": row["currency"],
            "state": row["state"],
            "decision": None if row["decision_id"] is None else "skip" if row["reason"] else "send",
            "reason": row["reason"],
            "delivery": row["delivery"],
        }
        for row in db.execute(_SQL["single_invoices"])
    ]
