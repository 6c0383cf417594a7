"""Tenants as people look at them and change them: search, the two switches, the addresses, and what became of it."""

import datetime
import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

from psycopg.rows import DictRow
from psycopg.types.json import Jsonb

from invoicing.db import audit
from invoicing.db.connection import Database
from invoicing.db.statements import load
from invoicing.domain import address
from invoicing.domain.address import AddressProblem
from invoicing.domain.errors import InputError, NotFoundError
from invoicing.services.agency import clock, searching
from invoicing.words.failures import Fault

_SQL = load("tenant")

Switch = Literal["auto_send", "only_multiple"]
SWITCHES: tuple[Switch, ...] = ("auto_send", "only_multiple")
SORTS = ("code", "name", "updated")
PROBLEMS = ("no_email", "invalid_email")
MOST_ADDRESSES = 20

_EDITABLE = ("auto_send", "only_multiple", "emails", "cc_emails", "language")
# What a tenant's page shows of each kind; nobody has more but by years of work.
_SHOWN = 60


class AddressRefusedError(InputError):
    """An address cannot be saved.

    Args:
        field: ``emails`` or ``cc_emails``.
        problem: The address and what is wrong with it.
    """

    def __init__(self, field: str, problem: AddressProblem) -> None:
        self.field = field
        self.problem = problem
        super().__init__(f"{field}: {problem.address!a} is not an e-mail address: {problem.reason}")


class TooManyAddressesError(InputError):
    """More addresses than a message should have; the message says how many may be."""

    def __init__(self, field: str) -> None:
        self.field = field
        super().__init__(f"{field}: at most {MOST_ADDRESSES} addresses")


class ChangedMeanwhileError(InputError):
    """Somebody else, or an import, changed what the person had before them. Nothing was changed."""


@dataclass(frozen=True, slots=True)
class TenantFilter:
    """Which tenants are meant; all of them where nothing is given.

    Args:
        search: Words that must all occur in code, name, document or addresses; case and accents do not count.
        auto_send: The tenant's own switch.
        only_multiple: The tenant's other switch.
        problem: ``no_email``: nowhere to send to; ``invalid_email``: an address that stops the mail.
    """

    search: str = ""
    auto_send: bool | None = None
    only_multiple: bool | None = None
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class SwitchPreview:
    """What a bulk switch would do.

    Args:
        tenants: Rows with ``code`` and ``name``: those that would change.
        fingerprint: Of just these tenants, for `apply_switch`.
    """

    tenants: Sequence[DictRow]
    fingerprint: str


def tenant_codes(db: Database) -> set[str]:
    """The codes of all tenants."""
    return {row["code"] for row in db.execute(_SQL["tenant_codes"])}


def find_tenants(
    db: Database,
    which: TenantFilter,
    *,
    sort: str = "code",
    descending: bool = False,
    limit: int = 25,
    offset: int = 0,
) -> tuple[list[DictRow], int]:
    """One page of tenants, and how many fit in all.

    Each row has the tenant's columns, ``leases`` (active today) and ``invalid``: its invalid addresses.

    Args:
        sort: One of `SORTS`.
    """
    chosen = _parameters(db, which)
    rows = db.execute(
        _SQL["tenants_found"],
        chosen
        | {
            "sort": sort,
            "descending": descending,
            "limit": limit,
            "offset": offset,
            "today": clock.today(),
        },
    ).fetchall()
    total = db.execute(_SQL["count_found"], chosen).fetchone()
    assert total is not None
    return [row | {"invalid": invalid_addresses(row)} for row in rows], total["total"]


def tenant_counts(db: Database) -> dict[str, int]:
    """How many there are: ``tenants``, with each switch on, ``no_email``, ``invalid_email``."""
    row = db.execute(_SQL["tenant_counts"]).fetchone()
    assert row is not None
    return {
        "tenants": row["tenants"],
        "auto_send": row["auto_send"],
        "only_multiple": row["only_multiple"],
        "no_email": row["without_address"],
        "invalid_email": len(_ids_with_invalid_address(db)),
    }


def show_tenant(db: Database, code: str) -> dict[str, Any]:
    """A tenant with its leases, invoices, decisions, deliveries (with events and attempts) and changes.

    Raises:
        NotFoundError: There is no such tenant.
    """
    row = db.execute(_SQL["tenant"], {"code": code}).fetchone()
    if row is None:
        raise NotFoundError(f"there is no tenant {code!r}")
    which = {"tenant_id": row["id"], "limit": _SHOWN, "today": clock.today()}
    deliveries = db.execute(_SQL["deliveries_of_tenant"], which).fetchall()
    ids = {"ids": [delivery["id"] for delivery in deliveries]}
    events = _by_delivery(db.execute(_SQL["events_of_deliveries"], ids))
    attempts = _by_delivery(db.execute(_SQL["attempts_of_deliveries"], ids))
    return row | {
        "invalid": invalid_addresses(row),
        "leases": db.execute(_SQL["leases_of_tenant"], which).fetchall(),
        "invoices": db.execute(_SQL["invoices_of_tenant"], which).fetchall(),
        "decisions": db.execute(_SQL["decisions_of_tenant"], which).fetchall(),
        "deliveries": [
            delivery | {"events": events[delivery["id"]], "tries": attempts[delivery["id"]]}
            for delivery in deliveries
        ],
        "changes": db.execute(_SQL["changes_of_tenant"], {"code": code, "limit": _SHOWN}).fetchall(),
    }


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
        ChangedMeanwhileError: The tenant was changed since ``seen_at``.
        InputError: Something else may not be changed, or not to that.
    """
    asked = _checked(changes)
    with db.transaction():
        row = db.execute(_SQL["lock_tenant"], {"code": code}).fetchone()
        if row is None:
            raise NotFoundError(f"there is no tenant {code!r}")
        if seen_at is not None and seen_at != row["updated_at"]:
            raise ChangedMeanwhileError(
                f"tenant {code} not changed: somebody else or an import changed it in the meantime; "
                "look at it, then save again"
            )
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
    rows = db.execute(
        _SQL["tenants_to_switch"],
        _parameters(db, which)
        | {"codes": None if codes is None else list(codes), "switch": switch, "value": value},
    ).fetchall()
    digest = hashlib.sha256(f"{switch}={value}:{[row['id'] for row in rows]}".encode())
    return SwitchPreview(rows, digest.hexdigest()[:32])


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
        ChangedMeanwhileError: It would be other tenants by now.
    """
    with db.transaction():
        db.execute(_SQL["lock_tenants"])
        preview = preview_switch(db, which, codes, switch, value=value)
        if preview.fingerprint != fingerprint:
            raise ChangedMeanwhileError(
                "no tenant was changed: which ones would be has changed in the meantime; look at them again"
            )
        details = {switch: {"before": not value, "after": value}, "together": len(preview.tenants)}
        db.execute(
            _SQL["switch_tenants"],
            {
                "ids": [row["id"] for row in preview.tenants],
                "switch": switch,
                "value": value,
                "actor": actor,
                "details": Jsonb(details),
            },
        )
    return len(preview.tenants)


def invalid_addresses(row: Mapping[str, Any]) -> list[AddressProblem]:
    """The addresses of a tenant that stop its mail."""
    return [
        AddressProblem(each, reason)
        for each in (*row["emails"], *row["cc_emails"])
        if (reason := _problem(each)) is not None
    ]


def split_addresses(text: str) -> list[str]:
    """Addresses as a person types them: one a line, or split by ``;`` or ``,``; each only once."""
    for separator in (";", ","):
        text = text.replace(separator, "\n")
    return list(dict.fromkeys(filter(None, (line.strip() for line in text.split("\n")))))


# The same addresses are asked about on every page.
@lru_cache(maxsize=50_000)
def _problem(text: str) -> Fault | None:
    return address.problem(text)


def _ids_with_invalid_address(db: Database) -> list[int]:
    return [
        row["id"]
        for row in db.execute(_SQL["tenants_with_doubtful_address"])
        if any(_problem(each) is not None for each in row["addresses"])
    ]


def _parameters(db: Database, which: TenantFilter) -> dict[str, Any]:
    return {
        "patterns": searching.patterns(which.search),
        "auto_send": which.auto_send,
        "only_multiple": which.only_multiple,
        "without_address": which.problem == "no_email",
        "ids": _ids_with_invalid_address(db) if which.problem == "invalid_email" else None,
    }


def _by_delivery(rows: Iterable[DictRow]) -> defaultdict[int, list[DictRow]]:
    grouped: defaultdict[int, list[DictRow]] = defaultdict(list)
    for row in rows:
        grouped[row["delivery_id"]].append(row)
    return grouped


def _checked(changes: Mapping[str, Any]) -> dict[str, Any]:
    unknown = sorted(set(changes) - set(_EDITABLE))
    if unknown:
        raise InputError(f"{', '.join(unknown)} cannot be changed here; {', '.join(_EDITABLE)} can")
    if changes.get("language", "es") not in ("es", "en"):
        raise InputError(f"language: {changes['language']!r} is neither es nor en")
    return dict(changes)


def _check_addresses(field: str, addresses: Sequence[str]) -> None:
    if len(addresses) > MOST_ADDRESSES:
        raise TooManyAddressesError(field)
    for each in addresses:
        reason = _problem(each)
        if reason is not None:
            raise AddressRefusedError(field, AddressProblem(each, reason))
