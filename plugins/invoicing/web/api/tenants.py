"""The JSON API of tenants."""

import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from invoicing.domain.errors import NotFoundError
from invoicing.services.agency import tenants
from invoicing.services.agency.tenants import TenantFilter
from invoicing.services.views.report import money
from invoicing.web.api.problem import STALE
from invoicing.web.database import DatabaseDep
from invoicing.web.door.visitor import VisitorDep

router = APIRouter()

_MOST_ROWS = 500


class TenantPatch(BaseModel):
    """What can be changed of a tenant; what is left out stays."""

    model_config = ConfigDict(extra="forbid")

    auto_send: bool | None = None
    only_multiple: bool | None = None
    emails: list[str] | None = None
    cc_emails: list[str] | None = None
    language: Literal["es", "en"] | None = None
    seen_at: datetime.datetime | None = Field(
        None, description="The tenant's updated_at as it was read; a change made since is not overwritten"
    )


@router.get("/tenants")
def get_tenants(
    db: DatabaseDep,
    q: str = "",
    auto_send: bool | None = None,
    only_multiple: bool | None = None,
    problem: Literal["no_email", "invalid_email"] | None = None,
    sort: Literal["code", "name", "updated"] = "code",
    limit: Annotated[int, Query(ge=1, le=_MOST_ROWS)] = 100,
    offset: Annotated[int, Query(ge=0, le=10_000_000)] = 0,
) -> dict[str, Any]:
    """Tenants that fit, and how many they are in all."""
    which = TenantFilter(q.replace("\0", " ")[:200], auto_send, only_multiple, problem)
    rows, total = tenants.find_tenants(db, which, sort=sort, limit=limit, offset=offset)
    return {"total": total, "tenants": [_tenant(row) for row in rows]}


@router.get("/tenants/{code}")
def get_tenant(db: DatabaseDep, code: str) -> dict[str, Any]:
    """A tenant with its leases, invoices, decisions, deliveries and changes."""
    shown = tenants.show_tenant(db, _text(code))
    return _tenant(shown) | {
        "withholding_agent": shown["withholding_agent"],
        **{
            key: [_plain(row) for row in shown[key]]
            for key in ("leases", "invoices", "decisions", "deliveries", "changes")
        },
    }


@router.patch("/tenants/{code}", responses=STALE)
def patch_tenant(db: DatabaseDep, visitor: VisitorDep, code: str, patch: TenantPatch) -> dict[str, Any]:
    """Change a tenant's switches, addresses or language."""
    changes = patch.model_dump(exclude={"seen_at"}, exclude_none=True)
    tenants.change_tenant(db, _text(code), changes, actor=visitor.actor, seen_at=patch.seen_at)
    return get_tenant(db, code)


def _tenant(row: dict[str, Any]) -> dict[str, Any]:
    keys = (
        "code",
        "name",
        "document_type",
        "document_number",
        "emails",
        "cc_emails",
        "language",
        "city",
        "auto_send",
        "only_multiple",
        "updated_at",
    )
    invalid = [{"address": problem.address, "reason": problem.reason} for problem in row["invalid"]]
    return {key: row[key] for key in keys} | {"invalid_emails": invalid}


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    """A row for JSON: amounts as decimal strings."""
    return {key: money(value) if key in ("rent", "total") else value for key, value in row.items()}


def _text(code: str) -> str:
    """A code from an address; NUL is in none, and the database takes none."""
    if "\0" in code:
        raise NotFoundError("tenant_code_with_nul")
    return code
