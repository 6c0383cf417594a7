"""Tenants as people make and change them, one by one; their switches, many together."""

import datetime
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from psycopg.types.json import Jsonb

from invoicing.db import audit
from invoicing.db.connection import Database
from invoicing.db.statements import beside, fetch_all
from invoicing.domain.address import AddressProblem
from invoicing.domain.discretion import Personal
from invoicing.domain.errors import FieldsRefusedError, InputError, NotFoundError, StaleEditError
from invoicing.services.agency import merge
from invoicing.services.agency.addresses import invalid_addresses
from invoicing.services.agency.input_rows import TenantRow
from invoicing.services.agency.row_check import check_row
from invoicing.services.agency.tenant_filter import TenantFilter
from invoicing.words.failures import Fault

_SQL = beside(__file__)

Switch = Literal["auto_send", "only_multiple"]
SWITCHES: tuple[Switch, ...] = ("auto_send", "only_multiple")
MOST_ADDRESSES = 20

ADDRESSES = ("emails", "cc_emails")

_WORDS = ("document_type", "document_number", "name", "language", "city")
_ANSWERS = ("withholding_agent", *SWITCHES)
EDITABLE = (*SWITCHES, *ADDRESSES, *_WORDS, "withholding_agent")
"""All of a tenant but its code, which other things name it by."""


class AddressRefusedError(InputError):
    """An address cannot be saved.

    Args:
        field: ``emails`` or ``cc_emails``.
        problem: The address and what is wrong with it.
    """

    def __init__(self, field: str, problem: AddressProblem) -> None:
        self.problem = problem
        self.fault = Fault("address_refused", address=problem.address, reason=problem.fault)
        super().__init__("tenant_address_refused", field=field, address=problem.address, reason=problem.fault)


class TooManyAddressesError(InputError):
    """More addresses than a message should have; the words say how many may be."""

    def __init__(self, field: str) -> None:
        self.fault = Fault("addresses_too_many", most=MOST_ADDRESSES)
        super().__init__("tenant_addresses_too_many", field=field, most=MOST_ADDRESSES)


@dataclass(frozen=True, slots=True)
class SwitchedTenant:
    """A tenant whose switch would change."""

    id: int
    code: str
    name: Personal[str]


@dataclass(frozen=True, slots=True)
class SwitchPreview:
    """What a bulk switch would do.

    Args:
        tenants: Those that would change.
        fingerprint: Of just these tenants, for `apply_switch`.
    """

    tenants: Sequence[SwitchedTenant]
    fingerprint: str


def tenant_codes(db: Database) -> set[str]:
    """The codes of all tenants."""
    return {row["code"] for row in db.execute(_SQL["tenant_codes"])}


def create_tenant(db: Database, code: str, values: Mapping[str, Any], *, actor: str) -> str:
    """Add a tenant; its code, freed of surrounding blanks.

    Args:
        values: As those of `change_tenant`; what is left out is empty, no, or Spanish.

    Raises:
        FieldsRefusedError: A value cannot be, or the code is another tenant's: field to why.
    """
    empty: dict[str, Any] = {
        **dict.fromkeys(_WORDS, ""),
        **dict.fromkeys(_ANSWERS, False),
        **dict.fromkeys(ADDRESSES, ()),
        "language": "es",
    }
    given = empty | _known(values)
    checked = check_row(_as_row(code, given), TenantRow)
    faults = {"code" if field == "tenant_code" else field: fault for field, fault in checked.faults.items()}
    for field in ADDRESSES:
        try:
            _check_addresses(field, given[field])
        except (AddressRefusedError, TooManyAddressesError) as error:
            faults[field] = error.fault
    if checked.row is None or faults:
        raise FieldsRefusedError(faults)
    made = given | {field: checked.values[field] for field in _WORDS}
    made |= {field: list(given[field]) for field in ADDRESSES}
    with db.transaction():
        # An import that adds the same code would end in a repeated one.
        merge.hold_off_imports(db)
        added = db.execute(_SQL["add_tenant"], {"code": checked.row.tenant_code, **made}).rowcount
        if not added:
            raise FieldsRefusedError({"code": Fault("code_taken", taken=checked.row.tenant_code)})
        audit.record(
            db,
            actor=actor,
            action="tenant_created",
            subject=f"tenant {checked.row.tenant_code}",
            details={key: {"before": None, "after": value} for key, value in made.items()},
        )
    return checked.row.tenant_code


def change_tenant(
    db: Database,
    code: str,
    changes: Mapping[str, Any],
    *,
    actor: str,
    seen_at: datetime.datetime | None = None,
) -> bool:
    """Change any of a tenant's fields but its code; whether anything changed.

    A malformed address is refused here: the import takes it and warns, because its invoices must not wait for it.

    Args:
        changes: Any of `EDITABLE`: lists of addresses, yes or no as booleans, all else as text.
        seen_at: The tenant's ``updated_at`` that the person had before them.

    Raises:
        NotFoundError: There is no such tenant.
        AddressRefusedError, TooManyAddressesError: An address is malformed, or they are too many.
        FieldsRefusedError: A text cannot be: field to why.
        StaleEditError: The tenant was changed since ``seen_at``.
        InputError: Something else may not be changed.
    """
    asked = _known(changes)
    with db.transaction():
        row = db.execute(_SQL["lock_tenant"], {"code": code}).fetchone()
        if row is None:
            raise NotFoundError("tenant_unknown", tenant=code)
        if seen_at is not None and seen_at != row["updated_at"]:
            raise StaleEditError("tenant_changed_meanwhile", tenant=code)
        checked = check_row(_as_row(code, row | asked), TenantRow)
        asked |= {field: checked.values[field] for field in _WORDS if field in asked}
        changed = {key: value for key, value in asked.items() if value != row[key]}
        # Kept as they are, old addresses may be malformed: they came with an import.
        for field in ADDRESSES:
            _check_addresses(field, changed.get(field, ()))
        if faults := {field: fault for field, fault in checked.faults.items() if field in changed}:
            raise FieldsRefusedError(faults)
        if not changed:
            return False
        db.execute(_SQL["change_tenant"], {key: row[key] for key in ("id", *EDITABLE)} | changed)
        audit.record(
            db,
            actor=actor,
            action="tenant_changed",
            subject=f"tenant {code}",
            details={key: {"before": row[key], "after": value} for key, value in changed.items()},
        )
    return True


def preview_switch(
    db: Database, which: TenantFilter, codes: Sequence[str] | None, switch: Switch, *, value: bool
) -> SwitchPreview:
    """Say which tenants a bulk switch would change; changes nothing.

    Args:
        codes: Of those that fit only these; None for all that fit.
    """
    asked = {"codes": None if codes is None else list(codes), "switch": switch, "value": value}
    found = fetch_all(db, SwitchedTenant, _SQL["tenants_to_switch"], which.parameters(db) | asked)
    digest = hashlib.sha256(f"{switch}={value}:{[each.id for each in found]}".encode())
    return SwitchPreview(found, digest.hexdigest()[:32])


def apply_switch(
    db: Database,
    which: TenantFilter,
    codes: Sequence[str] | None,
    switch: Switch,
    *,
    value: bool,
    fingerprint: str,
    actor: str,
) -> int:
    """Do what `preview_switch` showed, and no more; how many tenants changed.

    Raises:
        StaleEditError: It would be other tenants by now.
    """
    with db.transaction():
        db.execute(_SQL["lock_tenants"])
        preview = preview_switch(db, which, codes, switch, value=value)
        if preview.fingerprint != fingerprint:
            raise StaleEditError("switch_changed_meanwhile")
        details = {switch: {"before": not value, "after": value}, "together": len(preview.tenants)}
        db.execute(
            _SQL["switch_tenants"],
            {
                "ids": [each.id for each in preview.tenants],
                "switch": switch,
                "value": value,
                "actor": actor,
                "details": Jsonb(details),
            },
        )
    return len(preview.tenants)


def _known(changes: Mapping[str, Any]) -> dict[str, Any]:
    unknown = sorted(set(changes) - set(EDITABLE))
    if unknown:
        raise InputError("tenant_not_editable", unknown=", ".join(unknown), editable=", ".join(EDITABLE))
    return dict(changes)


def _as_row(code: str, values: Mapping[str, Any]) -> dict[str, str]:
    """As a line of ``tenants.csv``; its addresses are checked by a stricter rule than the file's."""
    return {
        "tenant_code": code,
        **{field: values[field] for field in _WORDS},
        **{field: "yes" if values[field] else "no" for field in _ANSWERS},
        **dict.fromkeys(ADDRESSES, ""),
    }


def _check_addresses(field: str, addresses: Sequence[str]) -> None:
    if len(addresses) > MOST_ADDRESSES:
        raise TooManyAddressesError(field)
    for problem in invalid_addresses(addresses):
        raise AddressRefusedError(field, problem)
