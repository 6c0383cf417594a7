"""The JSON API of invoices: one by its number, and those made outside the monthly job."""

from typing import Annotated, Any

from fastapi import APIRouter, Query

from invoicing.services.views import invoices
from invoicing.web.api.amounts import as_json
from invoicing.web.database import DatabaseDep

router = APIRouter()

_MOST_ROWS = 500
_OURS = ("id", "cycle_id", "deliveries")


@router.get("/invoices/{number}")
def get_invoice(db: DatabaseDep, number: str) -> dict[str, Any]:
    """An invoice, its document's checksum, and its deliveries."""
    invoice = invoices.show_invoice(db, number)
    return as_json(invoice, without=_OURS) | {
        "deliveries": [{"id": each.id, "state": each.state} for each in invoice.deliveries]
    }


@router.get("/single-invoices")
def get_single_invoices(
    db: DatabaseDep,
    q: str = "",
    limit: Annotated[int, Query(ge=1, le=_MOST_ROWS)] = 100,
    offset: Annotated[int, Query(ge=0, le=10_000_000)] = 0,
) -> dict[str, Any]:
    """Invoices made outside the monthly job, newest first, and how many fit."""
    found, total = invoices.find_single_invoices(db, q[:200], limit=limit, offset=offset)
    return {"total": total, "invoices": [as_json(invoice) for invoice in found]}
