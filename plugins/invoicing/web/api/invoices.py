"""The JSON API of invoices: one by its number, and those made outside the monthly job."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, ConfigDict, Field

from invoicing.db.connection import Database
from invoicing.domain.correction import LineAmount
from invoicing.domain.errors import InputError
from invoicing.services.billing import single_invoices
from invoicing.services.billing.corrections import Act
from invoicing.services.billing.single_invoice_request import checked_request
from invoicing.services.delivery import corrections
from invoicing.services.delivery.corrections import Order
from invoicing.services.views import invoices, preview, report
from invoicing.web.announcement import announce
from invoicing.web.api.amounts import as_json
from invoicing.web.database import DatabaseDep
from invoicing.web.door.duties import Duty, needs
from invoicing.web.door.turns import EXPENSIVE
from invoicing.web.door.visitor import Visitor, VisitorDep

router = APIRouter()

_MOST_ROWS = 500
_OURS = ("id", "cycle_id", "deliveries", "corrections", "lines")


class Reason(BaseModel):
    """Why; kept for the audit. ``dry_run``: what would come out, and nothing is changed."""

    model_config = ConfigDict(extra="forbid")

    reason: str = Field(max_length=500)
    dry_run: bool = False


class CreditedLine(BaseModel):
    """How much of a line, before tax; ``currency`` may be given, and is the invoice's."""

    model_config = ConfigDict(extra="forbid")

    position: int = Field(ge=1, le=1_000_000)
    amount: Decimal = Field(max_digits=19, decimal_places=4, allow_inf_nan=False)
    currency: str | None = Field(None, max_length=3)


class CreditOrder(Reason):
    """A credit note: without lines, of all that is left."""

    lines: list[CreditedLine] | None = Field(None, max_length=1000)


class CorrectionOrder(BaseModel):
    """One of several corrections; only a credit note has lines."""

    model_config = ConfigDict(extra="forbid")

    number: str = Field(max_length=40)
    action: Act
    reason: str = Field(max_length=500)
    lines: list[CreditedLine] | None = Field(None, max_length=1000)


class CorrectionOrders(BaseModel):
    """Several corrections; all of them or none."""

    model_config = ConfigDict(extra="forbid")

    corrections: list[CorrectionOrder] = Field(min_length=1, max_length=1000)
    dry_run: bool = False


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
        "deliveries": [{"id": each.id, "state": each.state} for each in invoice.deliveries],
        "corrections": [as_json(each) for each in invoice.corrections],
        "lines": [as_json(each) for each in invoice.lines],
    }


@router.post("/invoices/{number}/void")
@needs(Duty.ACT_ON_DELIVERIES)
def post_void(
    request: Request, db: DatabaseDep, visitor: VisitorDep, number: str, order: Reason
) -> dict[str, Any]:
    """Void an invoice that nobody was sent. ``dry_run``: what would come out, and nothing is changed."""
    asked = Order(number, "void", order.reason)
    return _corrected(request, db, visitor, [asked], dry_run=order.dry_run)[0]


@router.post("/invoices/{number}/credit")
@needs(Duty.ACT_ON_DELIVERIES)
def post_credit(
    request: Request, db: DatabaseDep, visitor: VisitorDep, number: str, order: CreditOrder
) -> dict[str, Any]:
    """Issue a credit note, whole or by line. ``airflow_told``: whether `send_new_invoices` was told."""
    asked = Order(number, "credit", order.reason, _amounts(order.lines))
    return _corrected(request, db, visitor, [asked], dry_run=order.dry_run)[0]


@router.post("/invoices/{number}/replace")
@needs(Duty.ACT_ON_DELIVERIES)
def post_replace(
    request: Request, db: DatabaseDep, visitor: VisitorDep, number: str, order: Reason
) -> dict[str, Any]:
    """Void or credit an invoice, and issue it again from its lease as it is now."""
    asked = Order(number, "replace", order.reason)
    return _corrected(request, db, visitor, [asked], dry_run=order.dry_run)[0]


@router.post("/corrections", dependencies=[EXPENSIVE])
@needs(Duty.ACT_ON_DELIVERIES)
def post_corrections(
    request: Request, db: DatabaseDep, visitor: VisitorDep, orders: CorrectionOrders
) -> dict[str, Any]:
    """Several corrections, all of them or none."""
    asked = []
    for each in orders.corrections:
        if each.lines and each.action != "credit":
            raise InputError("correction_lines_unexpected", field="lines")
        asked.append(Order(each.number, each.action, each.reason, _amounts(each.lines)))
    return {"corrections": _corrected(request, db, visitor, asked, dry_run=orders.dry_run)}


def _amounts(lines: Sequence[CreditedLine] | None) -> list[LineAmount] | None:
    if lines is None:
        return None
    return [LineAmount(each.position, each.amount, each.currency) for each in lines]


def _corrected(
    request: Request, db: Database, visitor: Visitor, orders: Sequence[Order], *, dry_run: bool
) -> list[dict[str, Any]]:
    done = corrections.correct(db, orders, actor=visitor.actor, dry_run=dry_run)
    told = announce(request) if not dry_run and any(each.is_to_be_sent for each in done) else None
    return [report.correction_report(each) | {"airflow_told": told} for each in done]


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
