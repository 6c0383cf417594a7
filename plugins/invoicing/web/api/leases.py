"""The JSON API of leases with their charges."""

from collections.abc import Sequence
from typing import Any, Literal

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from invoicing.services.agency import lease_editing
from invoicing.services.agency.lease_editing import LeaseKept, show_lease
from invoicing.services.billing import agency_changes
from invoicing.services.billing.out_of_step import DriftedInvoice
from invoicing.web.api.amounts import as_json
from invoicing.web.database import DatabaseDep
from invoicing.web.door.duties import Duty, needs
from invoicing.web.door.visitor import VisitorDep

router = APIRouter()

_LONGEST = 500
_MONTH = "YYYY-MM, inclusive; null is unbounded"


class Charge(BaseModel):
    """What is billed beside the rent; by the rules of ``charges.csv``."""

    model_config = ConfigDict(extra="forbid")

    concept: str = Field(max_length=_LONGEST)
    description: str = Field(max_length=_LONGEST)
    amount: str = Field(max_length=40, description="A decimal; negative for a discount")
    tax: Literal["iva", "none"] = "none"
    prorated: bool = Field(False, description="In proportion to the days that the lease is active")
    from_period: str | None = Field(None, max_length=_LONGEST, description=_MONTH)
    to_period: str | None = Field(None, max_length=_LONGEST, description=_MONTH)

    def typed(self) -> dict[str, str]:
        """As a line of the file has it."""
        return _typed(self.model_dump())


class LeasePatch(BaseModel):
    """What can be changed of a lease; what is left out stays."""

    model_config = ConfigDict(extra="forbid")

    tenant_code: str | None = Field(None, max_length=_LONGEST)
    property: str | None = Field(None, max_length=_LONGEST)
    city: str | None = Field(None, max_length=_LONGEST)
    use: Literal["residential", "commercial"] | None = None
    start_date: str | None = Field(None, max_length=_LONGEST, description="YYYY-MM-DD, inclusive")
    end_date: str | None = Field(
        None, max_length=_LONGEST, description="YYYY-MM-DD, inclusive; null is open-ended"
    )
    rent: str | None = Field(None, max_length=40, description="Of a whole month, a decimal")
    currency: str | None = Field(None, max_length=3)
    charges: list[Charge] | None = Field(
        None,
        max_length=_LONGEST,
        description="All that the lease is to have, in the order of an invoice's lines",
    )
    seen: str | None = Field(
        None,
        max_length=64,
        description="The lease's version as it was read; a change made since is not overwritten",
    )


class NewLease(BaseModel):
    """A lease; by the rules of ``leases.csv``."""

    model_config = ConfigDict(extra="forbid")

    code: str = Field(max_length=_LONGEST, description="The agency's own; it does not change afterwards")
    tenant_code: str = Field(max_length=_LONGEST)
    property: str = Field(max_length=_LONGEST)
    city: str = Field("", max_length=_LONGEST)
    use: Literal["residential", "commercial"]
    start_date: str = Field(max_length=_LONGEST, description="YYYY-MM-DD, inclusive")
    end_date: str | None = Field(
        None, max_length=_LONGEST, description="YYYY-MM-DD, inclusive; null is open-ended"
    )
    rent: str = Field(max_length=40, description="Of a whole month, a decimal")
    currency: str = Field("COP", max_length=3)
    charges: list[Charge] = Field([], max_length=_LONGEST)


@router.get("/leases/{code}")
@needs(Duty.READ_AMOUNTS)
def get_lease(db: DatabaseDep, visitor: VisitorDep, code: str) -> dict[str, Any]:
    """A lease with its charges, and what people changed of it."""
    return _shown(visitor.sees(show_lease(db, code)))


@router.post("/leases", status_code=201)
@needs(Duty.CHANGE_TENANTS)
def post_lease(db: DatabaseDep, visitor: VisitorDep, new: NewLease) -> dict[str, Any]:
    """Add a lease with its charges; it is billed from the next run of a month in which it is active."""
    values = _typed(new.model_dump(exclude={"code", "charges"}))
    charges = [each.typed() for each in new.charges]
    code = lease_editing.create_lease(db, new.code, values, charges, actor=visitor.actor)
    return get_lease(db, visitor, code)


@router.patch("/leases/{code}")
@needs(Duty.CHANGE_TENANTS)
def patch_lease(db: DatabaseDep, visitor: VisitorDep, code: str, patch: LeasePatch) -> dict[str, Any]:
    """Change a lease and its charges. What was issued stays; ``drifted``: what would come out differently today."""
    given = patch.model_dump(include=patch.model_fields_set - {"charges", "seen"})
    # Null is a value of this one alone.
    values = _typed({name: value for name, value in given.items() if value is not None or name == "end_date"})
    charges = None if patch.charges is None else [each.typed() for each in patch.charges]
    saved = agency_changes.change_lease(db, code, values, charges, actor=visitor.actor, seen=patch.seen)
    return get_lease(db, visitor, code) | {"drifted": _drifted(saved.drifted)}


def _shown(lease: LeaseKept) -> dict[str, Any]:
    return as_json(lease, without=("id", "charges", "changes")) | {
        "charges": [as_json(each) for each in lease.charges],
        "changes": [as_json(each) for each in lease.changes],
    }


def _drifted(invoices: Sequence[DriftedInvoice]) -> list[dict[str, Any]]:
    return [as_json(each, without=("found_at",)) for each in invoices]


def _typed(values: dict[str, Any]) -> dict[str, str]:
    """As a line of a file has it."""
    return {
        name: ("yes" if value else "no") if isinstance(value, bool) else value or ""
        for name, value in values.items()
    }
