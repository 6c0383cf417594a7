"""The JSON API of invoices: one by its number, and those made outside the monthly job."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, ConfigDict, Field

from invoicing.services.billing import single_invoices
from invoicing.services.billing.single_invoice_request import checked_request
from invoicing.services.views import invoices, preview
from invoicing.web.announcement import announce
from invoicing.web.api.amounts import as_json
from invoicing.web.database import DatabaseDep
from invoicing.web.door.duties import Duty, needs
from invoicing.web.door.visitor import VisitorDep

router = APIRouter()

_MOST_ROWS = 500
_OURS = ("id", "cycle_id", "deliveries")
_LONGEST = 500
# More than an invoice may have, so that the refusal is ours.
_MOST_LINES = 1000


class NewLine(BaseModel):
    """A line of a single invoice."""

    model_config = ConfigDict(extra="forbid")

    description: str = Field(max_length=_LONGEST)
    amount: str = Field(max_length=40, description="Before tax, a decimal; negative for a discount")
    tax: Literal["iva", "none"]


class NewInvoice(BaseModel):
    """A single invoice, by the rules of the file of ``invoices create``."""

    model_config = ConfigDict(extra="forbid")

    reference: str = Field(max_length=_LONGEST, description="The same reference twice makes one invoice")
    tenant: str = Field(max_length=_LONGEST, description="Its code")
    lease: str | None = Field(None, max_length=_LONGEST, description="Its code; one of the tenant's")
    lines: list[NewLine] = Field(max_length=_MOST_LINES)
    dry_run: bool = Field(False, description="Work it out, and store nothing: no number is taken")


@router.post("/invoices")
@needs(Duty.ACT_ON_DELIVERIES)
def post_invoice(request: Request, db: DatabaseDep, visitor: VisitorDep, new: NewInvoice) -> dict[str, Any]:
    """Create a single invoice, issued today, and have it sent.

    ``created``: false where just this invoice was there before. ``decision`` and ``reason``: what the rules say of
    sending it now. ``told``: whether Airflow was told; where not, it is sent within minutes.
    """
    lines = [line.model_dump() for line in new.lines]
    asked = checked_request(new.reference, new.tenant, new.lease or "", lines)
    shown = preview.single_invoice(db, asked)
    drafted = shown.drafted.draft
    answer: dict[str, Any] = {
        "reference": asked.reference,
        "subtotal": str(drafted.subtotal),
        "tax": str(drafted.tax),
        "total": str(drafted.total),
        "currency": drafted.currency,
        "decision": "skip" if shown.reason else "send",
        "reason": shown.reason,
    }
    if new.dry_run:
        return answer | {"created": False, "number": None}
    created = single_invoices.create(db, asked, source="JSON API", actor=visitor.actor)
    told = not created.is_new or announce(request)
    return answer | {"created": created.is_new, "number": created.number, "told": told}


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
