"""The JSON API of tenants."""

import datetime
from dataclasses import asdict
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, ConfigDict, Field

from invoicing.domain.errors import NotFoundError
from invoicing.domain.period import Period
from invoicing.services.agency import tenants
from invoicing.services.agency.tenant_filter import TenantFilter
from invoicing.services.billing import agency_changes
from invoicing.services.delivery import holds
from invoicing.services.views.tenants import TenantFound, TenantShown, find_tenants, show_tenant
from invoicing.web.announcement import announce
from invoicing.web.api.amounts import as_json
from invoicing.web.database import DatabaseDep
from invoicing.web.door.duties import Duty, needs
from invoicing.web.door.visitor import VisitorDep

router = APIRouter()

_MOST_ROWS = 500
_LONGEST = 500


class TenantPatch(BaseModel):
    """What can be changed of a tenant; what is left out stays."""

    model_config = ConfigDict(extra="forbid")

    auto_send: bool | None = None
    only_multiple: bool | None = None
    emails: list[str] | None = Field(None, max_length=_MOST_ROWS)
    cc_emails: list[str] | None = Field(None, max_length=_MOST_ROWS)
    language: Literal["es", "en"] | None = None
    name: str | None = Field(None, max_length=_LONGEST)
    document_type: str | None = Field(None, max_length=_LONGEST)
    document_number: str | None = Field(None, max_length=_LONGEST)
    city: str | None = Field(None, max_length=_LONGEST)
    withholding_agent: bool | None = None
    seen_at: datetime.datetime | None = Field(
        None, description="The tenant's updated_at as it was read; a change made since is not overwritten"
    )


class NewTenant(BaseModel):
    """A tenant; by the rules of ``tenants.csv``."""

    model_config = ConfigDict(extra="forbid")

    code: str = Field(max_length=_LONGEST, description="The agency's own; it does not change afterwards")
    name: str = Field(max_length=_LONGEST)
    document_type: str = Field(max_length=_LONGEST)
    document_number: str = Field(max_length=_LONGEST)
    city: str = Field("", max_length=_LONGEST)
    emails: list[str] = Field([], max_length=_MOST_ROWS)
    cc_emails: list[str] = Field([], max_length=_MOST_ROWS)
    language: Literal["es", "en"] = "es"
    withholding_agent: bool = False
    auto_send: bool = False
    only_multiple: bool = False


@router.get("/tenants")
@needs(Duty.READ_AMOUNTS)
def get_tenants(
    db: DatabaseDep,
    visitor: VisitorDep,
    q: str = "",
    auto_send: bool | None = None,
    only_multiple: bool | None = None,
    problem: Literal["no_email", "invalid_email"] | None = None,
    sort: Literal["code", "name", "updated"] = "code",
    limit: Annotated[int, Query(ge=1, le=_MOST_ROWS)] = 100,
    offset: Annotated[int, Query(ge=0, le=10_000_000)] = 0,
) -> dict[str, Any]:
    """Tenants that fit, and how many they are in all."""
    if q:
        visitor.require(Duty.READ_PERSONAL)  # names, documents and addresses are searched
    which = TenantFilter(q.replace("\0", " ")[:200], auto_send, only_multiple, problem)
    found, total = find_tenants(db, which, sort=sort, limit=limit, offset=offset)
    return {"total": total, "tenants": [_tenant(each) for each in visitor.sees(found)]}


@router.get("/tenants/{code}")
@needs(Duty.READ_AMOUNTS)
def get_tenant(db: DatabaseDep, visitor: VisitorDep, code: str) -> dict[str, Any]:
    """A tenant with its leases, invoices, decisions, deliveries and changes."""
    shown = visitor.sees(show_tenant(db, _text(code)))
    return _tenant(shown) | {
        "withholding_agent": shown.withholding_agent,
        "leases": [as_json(each) for each in shown.leases],
        "invoices": [as_json(each) for each in shown.invoices],
        "decisions": [as_json(each) for each in shown.decisions],
        "deliveries": [as_json(each) for each in shown.deliveries],
        "changes": [as_json(each) for each in shown.changes],
    }


@router.post("/tenants", status_code=201)
@needs(Duty.CHANGE_TENANTS)
def post_tenant(db: DatabaseDep, visitor: VisitorDep, new: NewTenant) -> dict[str, Any]:
    """Add a tenant; without leases nothing is billed."""
    code = tenants.create_tenant(db, new.code, new.model_dump(exclude={"code"}), actor=visitor.actor)
    return get_tenant(db, visitor, code)


@router.patch("/tenants/{code}")
@needs(Duty.CHANGE_TENANTS)
def patch_tenant(db: DatabaseDep, visitor: VisitorDep, code: str, patch: TenantPatch) -> dict[str, Any]:
    """Change any of a tenant's fields but its code."""
    changes = patch.model_dump(exclude={"seen_at"}, exclude_none=True)
    agency_changes.change_tenant(db, _text(code), changes, actor=visitor.actor, seen_at=patch.seen_at)
    return get_tenant(db, visitor, code)


def _tenant(tenant: TenantFound | TenantShown) -> dict[str, Any]:
    return {
        "code": tenant.code,
        "name": tenant.name,
        "document_type": tenant.document_type,
        "document_number": tenant.document_number,
        "emails": tenant.emails,
        "cc_emails": tenant.cc_emails,
        "language": tenant.language,
        "city": tenant.city,
        "auto_send": tenant.auto_send,
        "only_multiple": tenant.only_multiple,
        "updated_at": tenant.updated_at,
        "invalid_emails": [{"address": each.address, "reason": each.reason} for each in tenant.invalid],
    }


def _text(code: str) -> str:
    """A code from an address; NUL is in none, and the database takes none."""
    if "\0" in code:
        raise NotFoundError("tenant_code_with_nul")
    return code


class HoldOrder(BaseModel):
    """A tenant's month to be held, or released."""

    model_config = ConfigDict(extra="forbid")

    period: str = Field(max_length=7)
    reason: str = Field(max_length=500)


@router.post("/tenants/{code}/hold")
@needs(Duty.ACT_ON_DELIVERIES)
def post_hold(db: DatabaseDep, visitor: VisitorDep, code: str, order: HoldOrder) -> dict[str, Any]:
    """No mail to this tenant for this month until it is released; ``under_way``: too late for these."""
    held = holds.hold(db, code, Period.parse(order.period), reason=order.reason, actor=visitor.actor)
    return asdict(held)


@router.post("/tenants/{code}/release")
@needs(Duty.ACT_ON_DELIVERIES)
def post_release(
    request: Request, db: DatabaseDep, visitor: VisitorDep, code: str, order: HoldOrder
) -> dict[str, Any]:
    """End a hold; ``deliveries``: still set aside, until they are sent; ``resumed``: resends that are sent now."""
    released = holds.release(db, code, Period.parse(order.period), reason=order.reason, actor=visitor.actor)
    return asdict(released) | {"airflow_told": bool(released.resumed) and announce(request)}
