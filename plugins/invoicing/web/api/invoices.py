"""The JSON API of invoices: one by its number, and those made outside the monthly job."""

from typing import Annotated, Any

from fastapi import APIRouter, Query

from invoicing.services.views import invoices
from invoicing.web.api.amounts import as_json
from invoicing.web.database import DatabaseDep
from invoicing.web.door.duties import Duty, needs
from invoicing.web.door.visitor import VisitorDep

router = APIRouter()

_MOST_ROWS = 500
_OURS = ("id", "cycle_id", "deliveries")


@router.get("/invoices/{number}")
@needs(Duty.READ_AMOUNTS)
def get_invoice(db: DatabaseDep, visitor: VisitorDep, number: str) -> dict[str, Any]:
    """An invoice, its document's checksum, and its deliveries."""
    invoice = visitor.sees(invoices.show_invoice(db, number))
    return as_json(invoice, without=_OURS) | {
        "deliveries": [{"id": each.id, "state": each.state} for each in invoice.deliveries]
    }


@router.get("/single-invoices")
@needs(Duty.READ_AMOUNTS)
def get_single_invoices(
    db: DatabaseDep,
    visitor: VisitorDep,
    q: str = "",
    limit: Annotated[int, Query(ge=1, le=_MOST_ROWS)] = 100,
    offset: Annotated[int, Query(ge=0, le=10_000_000)] = 0,
) -> dict[str, Any]:
    """Invoices made outside the monthly job, newest first, and how many fit."""
    if q:
        visitor.require(Duty.READ_PERSONAL)  # names are searched
    found, total = invoices.find_single_invoices(db, q[:200], limit=limit, offset=offset)
    return {"total": total, "invoices": [as_json(invoice) for invoice in visitor.sees(found)]}
