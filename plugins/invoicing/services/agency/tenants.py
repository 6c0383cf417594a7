"""Tenants as people change them: the two switches, the addresses, the language; one by one or many together."""

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
from invoicing.domain.errors import InputError, NotFoundError, StaleEditError
from invoicing.services.agency.addresses import invalid_addresses
from invoicing.services.agency.tenant_filter import TenantFilter

_SQL = beside(__file__)

Switch = Literal["auto_send", "only_multiple"]
SWITCHES: tuple[Switch, ...] = ("auto_send", "only_multiple")
MOST_ADDRESSES = 20

_EDITABLE = ("auto_send", "only_multiple", "emails", "cc_emails", "language")


class AddressRefusedError(InputError):
    """An address cannot be saved.

    Args:
        field: ``emails`` or ``cc_emails``.
        problem: The address and what is wrong with it.
    """

    def __init__(self, field: str, problem: AddressProblem) -> None:
        self.problem = problem
        super().__init__("tenant_address_refused", field=field, address=problem.address, reason=problem.fault)


class TooManyAddressesError(InputError):
    """More addresses than a message should have; the words say how many may be."""

    def __init__(self, field: str) -> None:
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


def change_tenant(
    db: Database,
    code: str,
    changes: Mapping[str, Any],
    *,
    actor: str,
    seen_at: datetime.datetime | None = None,
) -> bool:
    """Change switches, addresses or language; whether anything changed.

    A malformed address is refused here: the import takes it and warns, because its invoices must not wait for it.

    Args:
        changes: Any of ``auto_send``, ``only_multiple``, ``emails``, ``cc_emails``, ``language``.
        seen_at: The tenant's ``updated_at`` that the person had before them.

    Raises:
        NotFoundError: There is no such tenant.
        AddressRefusedError, TooManyAddressesError: An address is malformed, or they are too many.
        StaleEditError: The tenant was changed since ``seen_at``.
        InputError: Something else may not be changed, or not to that.
    """
    asked = _checked(changes)
    with db.transaction():
        row = db.execute(_SQL["lock_tenant"], {"code": code}).fetchone()
        if row is None:
            raise NotFoundError("tenant_unknown", tenant=code)
        if seen_at is not None and seen_at != row["updated_at"]:
            raise StaleEditError("tenant_changed_meanwhile", tenant=code)
        changed = {key: value for key, value in asked.items() if value != row[key]}
        # Kept as they are, old addresses may be malformed: they came with an import.
        for field in ("emails", "cc_emails"):
            _check_addresses(field, changed.get(field, ()))
        if not changed:
            return False
        db.execute(_SQL["change_tenant"], {key: row[key] for key in ("id", *_EDITABLE)} | changed)
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


def _checked(changes: Mapping[str, Any]) -> dict[str, Any]:
    unknown = sorted(set(changes) - set(_EDITABLE))
    if unknown:
        raise InputError("tenant_not_editable", unknown=", ".join(unknown), editable=", ".join(_EDITABLE))
    if changes.get("language", "es") not in ("es", "en"):
        raise InputError("language_unknown", language=changes["language"])
    return dict(changes)


def _check_addresses(field: str, addresses: Sequence[str]) -> None:
    if len(addresses) > MOST_ADDRESSES:
        raise TooManyAddressesError(field)
    for problem in invalid_addresses(addresses):
        raise AddressRefusedError(field, problem)
