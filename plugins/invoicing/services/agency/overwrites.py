"""What an import replaces of what people set by hand, on a page or by the JSON API: named, and kept in the audit.

Files update by code, all the same (docs/contract.md, section 4). The latest word on each field counts: a person's, as
long as it still stands, is named; one that a file has replaced already is not named again.
"""

import datetime
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from psycopg.types.json import Jsonb

from invoicing.db.connection import Database
from invoicing.db.statements import beside, fetch_all
from invoicing.domain.errors import RowProblem
from invoicing.services.agency import clock
from invoicing.services.agency.input_files import InputFile
from invoicing.services.agency.input_rows import ChargeRow, LeaseRow, TenantRow
from invoicing.services.agency.lease_editing import CHARGE_FIELDS, LEASE_FIELDS, charge_as_json, plain

_SQL = beside(__file__)

_BY_FILE = ("tenant_overwritten", "lease_overwritten")
_TENANT_FIELDS = tuple(TenantRow.model_fields)[1:]
_FIRST_LINE = 1


@dataclass(frozen=True, slots=True)
class Overwrite:
    """A value that a person set by hand, and what a file puts in its place.

    Args:
        file: Its name.
        line: Of the row, the header is 1; also 1 where the file lacks a charge.
        code: Of the tenant or the lease.
        column: The file's; ``charges`` where a charge as a whole comes or goes.
        value: What the file says, as JSON has it; None where it lacks the charge.
        replaces: What the person had set; None where the person had taken the charge away.
        actor: Who had set it, at ``at``.
    """

    file: str
    line: int
    code: str
    column: str
    value: Any
    replaces: Any
    actor: str
    at: datetime.datetime

    @property
    def warning(self) -> RowProblem:
        """The same in words."""
        place = (self.file, self.line)
        when = f"{self.at.astimezone(clock.zone()):%Y-%m-%d %H:%M}"
        who = {"of": self.code, "actor": self.actor, "at": when}
        if self.column != "charges":
            replaces = {**who, "replaced": _told(self.replaces)}
            return RowProblem(*place, self.column, _told(self.value), "replaces_by_hand", replaces)
        if self.value is None:
            return RowProblem(
                *place, None, None, "removes_charge_by_hand", {**who, "charge": _told_charge(self.replaces)}
            )
        return RowProblem(
            *place, None, None, "brings_charge_back", {**who, "charge": _told_charge(self.value)}
        )


@dataclass(frozen=True, slots=True)
class _LastWord:
    """The newest audit event on one field of a tenant or a lease."""

    code: str
    field: str
    after: Any
    actor: str
    at: datetime.datetime
    action: str


def find_overwrites(
    db: Database,
    tenants: InputFile[TenantRow] | None,
    leases: InputFile[LeaseRow] | None,
    charges: InputFile[ChargeRow] | None,
) -> list[Overwrite]:
    """What the files, once written, will have replaced of what people set by hand; by file and line.

    Args:
        db: As it is before the files are written.
    """
    found: list[Overwrite] = []
    if tenants:
        found += _of_rows(db, "tenant", tenants, "tenant_code", _TENANT_FIELDS)
    if leases:
        found += _of_rows(db, "lease", leases, "lease_code", LEASE_FIELDS)
    if charges:
        found += _of_charges(db, charges)
    return found


def record_overwrites(db: Database, overwrites: Sequence[Overwrite], *, actor: str) -> None:
    """Keep in the audit what was replaced, where the tenant's or the lease's own changes are."""
    details: defaultdict[tuple[str, str], dict[str, Any]] = defaultdict(dict)
    for each in overwrites:
        kind = "tenant" if each.file == "tenants.csv" else "lease"
        if each.column != "charges":
            details[kind, each.code][each.column] = {"before": each.replaces, "after": each.value}
            continue
        both = details[kind, each.code].setdefault("charges", {"before": [], "after": []})
        if each.replaces is not None:
            both["before"].append(each.replaces)
        if each.value is not None:
            both["after"].append(each.value)
    with db.cursor() as cursor:
        cursor.executemany(
            _SQL["add_events"],
            [
                {
                    "actor": actor,
                    "action": f"{kind}_overwritten",
                    "subject": f"{kind} {code}",
                    "details": Jsonb(changed),
                }
                for (kind, code), changed in details.items()
            ],
        )


def _of_rows(
    db: Database, kind: str, file: InputFile[Any], key: str, columns: Sequence[str]
) -> Iterator[Overwrite]:
    rows = {getattr(row, key): (line, row) for line, row in file.rows()}
    words = _last_words(db, kind, rows)
    current = _current(db, kind, {word.code for word in words})
    for word in words:
        line, row = rows[word.code]
        if word.field not in columns or word.action in _BY_FILE:
            continue
        value = _as_json(getattr(row, word.field))
        stands = _as_json(current[word.code][word.field])
        # None of a file: an empty switch leaves the tenant's as it is.
        is_left = value is None and kind == "tenant"
        if not is_left and value != stands and stands == word.after:
            yield Overwrite(file.name, line, word.code, word.field, value, stands, word.actor, word.at)


def _of_charges(db: Database, file: InputFile[ChargeRow]) -> Iterator[Overwrite]:
    in_file: defaultdict[str, list[tuple[int, dict[str, Any]]]] = defaultdict(list)
    for line, row in file.rows():
        in_file[row.lease_code].append((line, charge_as_json(row)))
    words = fetch_all(db, _LastWord, _SQL["last_words_on_charges"])
    codes = [word.code for word in words if word.action not in _BY_FILE]
    current: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
    for kept in db.execute(_SQL["charges_of_leases"], {"codes": codes}):
        current[kept["code"]].append({name: plain(kept[name]) for name in CHARGE_FIELDS})
    for word in words:
        if word.code not in codes or _counted(word.after) != _counted(current[word.code]):
            continue
        listed = in_file.get(word.code, [])
        who = (word.actor, word.at)
        left = _counted(charge for _, charge in listed)
        for charge in word.after:
            if left[_key(charge)] > 0:
                left[_key(charge)] -= 1
            else:
                line = listed[0][0] if listed else _FIRST_LINE
                yield Overwrite(file.name, line, word.code, "charges", None, charge, *who)
        for line, charge in listed:
            if left[_key(charge)] > 0:
                left[_key(charge)] -= 1
                yield Overwrite(file.name, line, word.code, "charges", charge, None, *who)


def _last_words(db: Database, kind: str, codes: Iterable[str]) -> list[_LastWord]:
    subjects = [f"{kind} {code}" for code in codes]
    return fetch_all(db, _LastWord, _SQL["last_words"], {"subjects": subjects})


def _current(db: Database, kind: str, codes: Iterable[str]) -> Mapping[str, Mapping[str, Any]]:
    statement = _SQL["tenants"] if kind == "tenant" else _SQL["leases"]
    return {row["code"]: row for row in db.execute(statement, {"codes": list(codes)})}


def _as_json(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else plain(value)


def _key(charge: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(charge[name] for name in CHARGE_FIELDS)


def _counted(charges: Iterable[Mapping[str, Any]]) -> Counter[tuple[Any, ...]]:
    return Counter(map(_key, charges))


def _told(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ";".join(value) if isinstance(value, list) else "" if value is None else str(value)


def _told_charge(charge: Mapping[str, Any]) -> str:
    return f"{charge['concept']} {charge['amount']}"
