"""Leases with their charges, as people make and change them: by the same rules as their files' rows."""

import datetime
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from invoicing.db import audit
from invoicing.db.connection import Database
from invoicing.db.statements import beside, fetch_all, fetch_one
from invoicing.domain.discretion import Personal
from invoicing.domain.errors import FieldsRefusedError, NotFoundError, StaleEditError
from invoicing.domain.period import Period
from invoicing.services.agency import merge
from invoicing.services.agency.input_rows import ChargeRow, LeaseRow
from invoicing.services.agency.row_check import check_row
from invoicing.words.failures import Failure, Fault

_SQL = beside(__file__)

MOST_CHARGES = 50
LEASE_FIELDS = tuple(LeaseRow.model_fields)[1:]
"""All of a lease but its code: the columns of ``leases.csv``."""
CHARGE_FIELDS = tuple(ChargeRow.model_fields)[1:]
"""All of a charge but its lease: the columns of ``charges.csv``."""


@dataclass(frozen=True, slots=True)
class ChargeKept:
    """A charge of a lease; both periods inclusive, None is unbounded."""

    concept: str
    description: Personal[str]
    amount: Decimal
    tax: str
    prorated: bool
    from_period: str | None
    to_period: str | None


@dataclass(frozen=True, slots=True)
class LeaseChange:
    """A change that a person made, or that a file made to what a person had changed.

    Args:
        details: Field to its value ``before`` and ``after``; ``charges``: all of them.
    """

    at: datetime.datetime
    actor: str
    action: str
    details: Personal[Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class LeaseKept:
    """A lease as it is now.

    Args:
        tenant_code: Of the tenant whose lease it is, as ``tenant_name``.
        version: Another one for whatever is different, charges included.
        changes: Newest first, at most 60.
    """

    id: int
    code: str
    tenant_code: str
    tenant_name: Personal[str]
    property: Personal[str]
    city: Personal[str]
    use: str
    start_date: datetime.date
    end_date: datetime.date | None
    rent: Decimal
    currency: str
    updated_at: datetime.datetime
    charges: Sequence[ChargeKept] = ()
    version: str = ""
    changes: Sequence[LeaseChange] = ()


def show_lease(db: Database, code: str) -> LeaseKept:
    """A lease with its charges, in the order of an invoice's lines; raises `NotFoundError`."""
    found = fetch_one(db, LeaseKept, _SQL["lease"], {"code": code.replace("\0", "")})
    if found is None:
        raise NotFoundError("lease_unknown", lease=code)
    charges = fetch_all(db, ChargeKept, _SQL["charges_of_lease"], {"id": found.id})
    return replace(
        found,
        charges=charges,
        version=_version(found, charges),
        changes=fetch_all(db, LeaseChange, _SQL["changes_of_lease"], {"code": found.code}),
    )


def create_lease(
    db: Database,
    code: str,
    values: Mapping[str, str],
    charges: Sequence[Mapping[str, str]],
    *,
    actor: str,
) -> str:
    """Add a lease with its charges; its code, freed of surrounding blanks.

    Args:
        values: `LEASE_FIELDS`, as a line of ``leases.csv`` has them.
        charges: `CHARGE_FIELDS` of each, as a line of ``charges.csv`` has them, in the order of an invoice's lines.

    Raises:
        FieldsRefusedError: A value cannot be, the tenant does not exist, or the code is another lease's: field to why.
    """
    with db.transaction():
        merge.lock(db)
        lease, billed = _checked(db, code, values, charges)
        added = db.execute(_SQL["add_lease"], lease.model_dump()).fetchone()
        if added is None:
            raise FieldsRefusedError({"code": Fault("code_taken", taken=lease.lease_code)})
        _put_charges(db, added["id"], billed)
        details = _difference(dict.fromkeys(LEASE_FIELDS) | {"charges": None}, _as_json(lease, billed))
        subject = f"lease {lease.lease_code}"
        audit.record(db, actor=actor, action="lease_created", subject=subject, details=details)
    return lease.lease_code


def change_lease(
    db: Database,
    code: str,
    values: Mapping[str, str],
    charges: Sequence[Mapping[str, str]] | None,
    *,
    actor: str,
    seen: str | None = None,
) -> bool:
    """Change a lease and its charges; whether anything changed. What was issued stays as it is.

    Args:
        values: Any of `LEASE_FIELDS`, as a line of ``leases.csv`` has them; what is left out stays.
        charges: All that the lease is to have, as those of `create_lease`; None leaves them as they are.
        seen: The `LeaseKept.version` that the person had before them.

    Raises:
        NotFoundError: There is no such lease.
        FieldsRefusedError: A value cannot be, or the tenant does not exist: field to why.
        StaleEditError: The lease, or its charges, were changed since ``seen``.
    """
    with db.transaction():
        merge.lock(db)
        before = show_lease(db, code)
        if seen is not None and seen != before.version:
            raise StaleEditError("lease_changed_meanwhile", lease=code)
        typed = [as_typed(each) for each in before.charges] if charges is None else charges
        lease, billed = _checked(db, code, {**lease_as_typed(before), **values}, typed)
        details = _difference(_as_json(before, before.charges), _as_json(lease, billed))
        if not details:
            return False
        db.execute(_SQL["change_lease"], {"id": before.id, **lease.model_dump()})
        if "charges" in details:
            db.execute(_SQL["delete_charges"], {"id": before.id})
            _put_charges(db, before.id, billed)
        audit.record(db, actor=actor, action="lease_changed", subject=f"lease {code}", details=details)
    return True


def lease_as_typed(lease: LeaseKept) -> dict[str, str]:
    """The lease's own fields as a line of ``leases.csv`` has them."""
    return {name: _typed(getattr(lease, name)) for name in LEASE_FIELDS}


def as_typed(charge: ChargeKept) -> dict[str, str]:
    """A charge as a line of ``charges.csv`` has it."""
    return {name: _typed(getattr(charge, name)) for name in CHARGE_FIELDS}


def _version(lease: LeaseKept, charges: Sequence[ChargeKept]) -> str:
    content = repr([*(plain(getattr(lease, name)) for name in LEASE_FIELDS), *map(charge_as_json, charges)])
    return hashlib.sha256(content.encode()).hexdigest()[:32]


def _checked(
    db: Database, code: str, values: Mapping[str, str], charges: Sequence[Mapping[str, str]]
) -> tuple[LeaseRow, list[ChargeRow]]:
    """The rows that the files would have, or every field that is wrong."""
    checked = check_row({"lease_code": code, **values}, LeaseRow)
    faults: dict[str, Failure] = {
        "code" if field == "lease_code" else field: fault for field, fault in checked.faults.items()
    }
    tenant = checked.values["tenant_code"]
    if "tenant_code" not in faults and not merge.known_tenants(db, [tenant]):
        faults["tenant_code"] = Fault("tenant_unknown", tenant=tenant)
    billed = []
    if len(charges) > MOST_CHARGES:
        faults["charges"] = Fault("charges_too_many", most=MOST_CHARGES)
    for position, charge in enumerate(charges[:MOST_CHARGES]):
        found = check_row({"lease_code": "-", **charge}, ChargeRow)
        faults |= {f"charges.{position}.{field}": fault for field, fault in found.faults.items()}
        if found.row is not None:
            billed.append(found.row)
    if checked.row is None or faults:
        raise FieldsRefusedError(faults)
    return checked.row, billed


def _put_charges(db: Database, lease_id: int, charges: Sequence[ChargeRow]) -> None:
    with db.cursor() as cursor:
        cursor.executemany(
            _SQL["add_charge"],
            [
                {
                    "lease_id": lease_id,
                    **{name: getattr(charge, name) for name in CHARGE_FIELDS},
                    "from_period": plain(charge.from_period),
                    "to_period": plain(charge.to_period),
                }
                for charge in charges
            ],
        )


def _as_json(lease: LeaseKept | LeaseRow, charges: Sequence[ChargeKept | ChargeRow]) -> dict[str, Any]:
    """As the audit keeps it."""
    return {
        **{name: plain(getattr(lease, name)) for name in LEASE_FIELDS},
        "charges": [charge_as_json(each) for each in charges],
    }


def _difference(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: {"before": before[key], "after": value} for key, value in after.items() if value != before[key]
    }


def charge_as_json(charge: ChargeKept | ChargeRow) -> dict[str, Any]:
    """A charge as the audit keeps it."""
    return {name: plain(getattr(charge, name)) for name in CHARGE_FIELDS}


def plain(value: object) -> object:
    """A value as JSON has it: an amount without zeros at its end, a date and a month as ISO writes them."""
    if isinstance(value, Decimal):
        return f"{value.normalize():f}"
    if isinstance(value, datetime.date):
        return value.isoformat()
    return str(value) if isinstance(value, Period) else value


def _typed(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "" if value is None else str(plain(value))
