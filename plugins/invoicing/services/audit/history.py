"""History that cannot be rewritten quietly: the chain over all that was written, and whether what is there still fits.

Triggers hash each row as it is written (``history_entry``). What is committed is chained here, afterwards, so that no
writer waits for another: each link is the SHA-256 of the link before and the entry, and the last one, the *head*,
stands for everything before it. Heads are printed where the database cannot reach: in exports and in the operator's
notices (docs/decisions/0039).
"""

import logging
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql

from invoicing.db.connection import Database
from invoicing.db.statements import beside, fetch_one
from invoicing.services.audit.layout import TABLES
from invoicing.words.failures import Failure, Fault

log = logging.getLogger(__name__)

_SQL = beside(__file__)

_BORN: Mapping[str, str] = {
    "audit_event": "at",
    "billing_cycle": "opened_at",
    "settings_version": "created_at",
    "template_version": "created_at",
    "series_range": "created_at",
    "invoice": "created_at",
    "invoice_document": "rendered_at",
    "invoice_correction": "at",
    "decision": "decided_at",
    "sending_hold": "held_at",
    "delivery": "created_at",
    "delivery_attempt": "started_at",
    "delivery_event": "at",
    "approval_request": "asked_at",
    "approval_answer": "at",
}
"""The column that says when a row was written: by its default, which the application cannot change."""

GENESIS = "0" * 64
"""What comes before the first link."""

_AT_ONCE = 20_000
_PAUSE_SECONDS = 0.25
_MOST_NAMED = 200


@dataclass(frozen=True, slots=True)
class Head:
    """How far the chain goes.

    Args:
        entry: Id of the last entry that is chained; 0 where none is.
        sha256: Its link, in hex.
        unsealed: Entries after it: nothing speaks for them yet.
    """

    entry: int
    sha256: str
    unsealed: int

    def __str__(self) -> str:
        return f"{self.entry}:{self.sha256}"


@dataclass(frozen=True, slots=True)
class Difference:
    """Something that is not as it was written, and where.

    Args:
        where: A file and line of an export, or a table and the key of a row.
        what: What is wrong with it.
    """

    where: str
    what: Failure


def seal(db: Database, *, patience_seconds: float = 5.0) -> Head:
    """Chain what was committed up to now; the head afterwards.

    Args:
        db: Outside of a transaction: each step is one of its own, so that nobody waits for it.
        patience_seconds: How long to wait for a moment in which nobody writes. Where there is none, what was written
            meanwhile is chained by a later seal.
    """
    give_up_at = time.monotonic() + patience_seconds
    while True:
        try:
            db.execute(_SQL["note_horizon"])
            break
        except psycopg.errors.LockNotAvailable:
            if time.monotonic() >= give_up_at:
                log.warning(
                    "history: somebody writes for long, the newest entries are chained by a later seal"
                )
                break
            time.sleep(_PAUSE_SECONDS)
    while True:
        row = db.execute(_SQL["seal"], {"most": _AT_ONCE}).fetchone()
        assert row is not None
        if row["sealed"] < _AT_ONCE:
            return head(db)


def head(db: Database) -> Head:
    """The chain's head as it is; it seals nothing."""
    found = fetch_one(db, Head, _SQL["head"])
    assert found is not None
    return found


def link_of(db: Database, entry: int) -> str | None:
    """The link of an entry, in hex; None where it is not chained."""
    row = db.execute(_SQL["link_of"], {"entry": entry}).fetchone()
    return None if row is None else str(row["link"])


def differences(db: Database) -> Iterator[Difference]:
    """All that is not as it was written: rows, entries, links, seals, and the triggers that write them.

    At most 200 of a kind; what follows them is left out, and said.
    """
    yield from _named("history_entry", db.execute(_SQL["broken_links"], {"most": _MOST_NAMED + 1}))
    yield from _named("history_seal", db.execute(_SQL["broken_seals"], {"most": _MOST_NAMED + 1}))
    for table, key in TABLES.items():
        statement = sql.SQL(_SQL["differing_rows"].decode()).format(
            table=sql.Identifier(table), name=sql.Literal(table), key=_key(key)
        )
        yield from _named(table, db.execute(statement, {"most": _MOST_NAMED + 1}))
    for table, born in _BORN.items():
        yield from _backdated(db, table, born)
    for row in db.execute(_SQL["foreign_entries"], {"most": _MOST_NAMED}):
        yield Difference(row["place"], Fault("history_foreign_writer", entry=row["id"], writer=row["writer"]))
    for row in db.execute(_SQL["missing_guards"], {"tables": list(TABLES)}):
        yield Difference(row["table_name"], Fault("history_guard_off", table=row["table_name"]))


# What SQL finds, as it calls it.
_FAULTS: Mapping[str, Failure] = {
    "row altered": Fault("history_row_altered"),
    "row missing": Fault("history_row_missing"),
    "row unrecorded": Fault("history_row_unrecorded"),
    "entry altered": Fault("history_entry_altered"),
    "entry missing": Fault("history_entry_missing"),
    "entry between": Fault("history_entry_between"),
    "seal differs": Fault("history_seal_differs"),
}


def _named(table: str, rows: Any) -> Iterator[Difference]:
    for number, row in enumerate(rows):
        if number == _MOST_NAMED:
            yield Difference(table, Fault("history_more_differ", most=_MOST_NAMED))
            return
        yield Difference(f"{table} {row['key']}", _FAULTS[row["what"]])


def _backdated(db: Database, table: str, born: str) -> Iterator[Difference]:
    statement = sql.SQL(_SQL["backdated_rows"].decode()).format(
        table=sql.Identifier(table), name=sql.Literal(table), key=_key(TABLES[table]), born=sql.Literal(born)
    )
    for row in db.execute(statement, {"most": _MOST_NAMED}):
        after = f"{row['after']:%Y-%m-%d %H:%M}Z"
        yield Difference(f"{table} {row['key']}", Fault("history_row_backdated", after=after))


def _key(columns: tuple[str, ...]) -> sql.Composable:
    """The key of a row as its entry has it."""
    return sql.SQL(" || '/' || ").join(
        sql.SQL("(line ->> {})").format(sql.Literal(column)) for column in columns
    )
