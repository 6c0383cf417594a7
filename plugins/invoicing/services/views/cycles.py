"""Cycles as people look at them: months, tenants with what was decided and what became of it, single invoices."""

import datetime
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from psycopg.rows import DictRow

from invoicing.db.connection import Database
from invoicing.db.statements import load
from invoicing.domain.delivery import DeliveryState
from invoicing.domain.eligibility import REASONS
from invoicing.domain.errors import NotFoundError
from invoicing.domain.period import Period
from invoicing.services.agency.searching import patterns
from invoicing.services.views import report

_SQL = load("cycle_pages")
_CYCLE = load("cycle")
_TENANT = load("tenant")

SORTS = ("code", "name", "invoices", "decision", "state", "updated")
OUTCOMES = ("send", "skip", *REASONS)
STATES = (*(str(state) for state in DeliveryState), "none")

_TROUBLED_SHOWN = 12
_EXPORT_ROWS = 2_000


@dataclass(frozen=True, slots=True)
class TenantQuery:
    """Which of a cycle's tenants are meant.

    Args:
        search: Words that all occur in code, name, document or addresses.
        outcome: One of `OUTCOMES`: ``skip`` is any reason.
        state: One of `STATES`: a delivery of theirs is in it; ``none``: there is no delivery.
    """

    search: str = ""
    outcome: str | None = None
    state: str | None = None


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast a cycle's messages went out.

    Args:
        accepted: Messages that the relay took.
        per_minute: None where there is nothing to measure.
    """

    accepted: int
    seconds: float
    per_minute: float | None


def list_months(db: Database, *, limit: int = 12, offset: int = 0) -> tuple[list[DictRow], int]:
    """Cycles with their figures, newest first, and how many there are."""
    rows = db.execute(_SQL["months"], {"limit": limit, "offset": offset}).fetchall()
    total = db.execute(_SQL["count_months"]).fetchone()
    assert total is not None
    return rows, total["cycles"]


def show_cycle(db: Database, period: Period) -> dict[str, Any]:
    """A cycle's figures, exactly as ``cycle show``, and what its page has on top.

    Returns:
        ``shown`` (of `report.show_cycle`), ``runs``, ``pace``, ``troubled`` deliveries, ``opened_at``,
        ``closed_at``.

    Raises:
        NotFoundError: There is no such cycle.
    """
    shown = report.show_cycle(db, period)
    cycle = _cycle(db, period)
    which = {"cycle_id": cycle["id"], "limit": _TROUBLED_SHOWN}
    paced = db.execute(_SQL["transmissions"], which).fetchone()
    assert paced is not None
    return {
        "shown": shown,
        "opened_at": cycle["opened_at"],
        "closed_at": cycle["closed_at"],
        "runs": db.execute(_SQL["runs"], which).fetchall(),
        "pace": _pace(paced),
        "troubled": db.execute(_SQL["troubled"], which).fetchall(),
    }


def show_progress(db: Database, period: Period) -> dict[str, Any]:
    """Few figures that are cheap to ask for again and again while a run goes on; raises `NotFoundError`.

    Returns:
        ``period``, ``state``, ``running``, and counts: ``invoices``, ``tenants``, ``to_send``, ``sent``,
        ``failed``, ``in_doubt``, ``waiting``.
    """
    row = db.execute(_SQL["progress"], {"period": str(period)}).fetchone()
    if row is None:
        raise NotFoundError(f"there is no cycle {period}")
    keys = ("state", "invoices", "tenants", "to_send", "sent", "failed", "in_doubt", "waiting")
    return {"period": str(period), "running": row["run_is_open"] or row["moving"] > 0} | {
        key: row[key] for key in keys
    }


def find_tenants(
    db: Database,
    period: Period,
    which: TenantQuery,
    *,
    sort: str = "code",
    descending: bool = False,
    limit: int = 25,
    offset: int = 0,
) -> tuple[list[DictRow], int]:
    """One page of a cycle's tenants, and how many fit in all; raises `NotFoundError`.

    Each row has the decision with its ``trace``, and of the delivery that needs most attention ``state``,
    ``attempts``, ``last_reply``; ``deliveries`` is how many there are, None where there is none.
    """
    parameters = {
        "cycle_id": _cycle(db, period)["id"],
        "outcome": which.outcome,
        "state": which.state,
        "patterns": patterns(which.search),
        "sort": sort,
        "descending": descending,
        "limit": limit,
    }
    rows = db.execute(_SQL["cycle_tenants_found"], parameters | {"offset": offset}).fetchall()
    if not rows and offset:
        # Past the end: the total is on the rows.
        first = db.execute(_SQL["cycle_tenants_found"], parameters | {"limit": 1, "offset": 0}).fetchone()
        return [], first["total"] if first else 0
    return rows, rows[0]["total"] if rows else 0


def all_tenants(db: Database, period: Period, which: TenantQuery) -> Iterator[DictRow]:
    """Every tenant that fits, by code, as `find_tenants` gives them; raises `NotFoundError`."""
    offset = 0
    while True:
        rows, _ = find_tenants(db, period, which, limit=_EXPORT_ROWS, offset=offset)
        yield from rows
        if len(rows) < _EXPORT_ROWS:
            return
        offset += _EXPORT_ROWS


def show_tenant(db: Database, period: Period, code: str) -> dict[str, Any]:
    """A tenant in a cycle: decision, earlier decisions, invoices, deliveries with events and attempts.

    Raises:
        NotFoundError: There is no such cycle or tenant, or nothing of the tenant in the cycle.
    """
    cycle = _cycle(db, period)
    which = {"cycle_id": cycle["id"], "code": code.replace("\0", ""), "id": None}
    row = db.execute(_SQL["cycle_tenant"], which).fetchone()
    if row is None:
        raise NotFoundError(f"there is no tenant {code!r}")
    which["tenant_id"] = row["tenant_id"]
    invoices = db.execute(_SQL["invoices_of_cycle_tenant"], which).fetchall()
    if row["decided_at"] is None and not invoices:
        raise NotFoundError(f"tenant {code} has no invoice in cycle {period}")
    return row | {
        "invoices": invoices,
        "earlier": db.execute(_SQL["earlier_decisions"], which).fetchall(),
        "deliveries": _with_history(db, db.execute(_SQL["deliveries_to_show"], which).fetchall()),
    }


def show_delivery(db: Database, delivery_id: int) -> DictRow:
    """A delivery with its invoices' numbers, events and attempts; raises `NotFoundError`."""
    rows = db.execute(
        _SQL["deliveries_to_show"], {"id": min(delivery_id, 2**62), "cycle_id": None, "tenant_id": None}
    ).fetchall()
    if not rows:
        raise NotFoundError(f"there is no delivery {delivery_id}")
    return _with_history(db, rows)[0]


def show_invoice(db: Database, number: str) -> DictRow:
    """An invoice, what is known of its document, and its deliveries; raises `NotFoundError`."""
    row = db.execute(_SQL["invoice_by_number"], {"number": number.replace("\0", "")}).fetchone()
    if row is None:
        raise NotFoundError(f"there is no invoice {number!r}")
    return row | {"deliveries": db.execute(_SQL["deliveries_of_invoice"], {"id": row["id"]}).fetchall()}


def find_single_invoices(
    db: Database, search: str = "", *, limit: int = 25, offset: int = 0
) -> tuple[list[DictRow], int]:
    """Invoices made outside the monthly job, newest first, and how many fit."""
    rows = db.execute(
        _SQL["single_invoices_found"], {"patterns": patterns(search), "limit": limit, "offset": offset}
    ).fetchall()
    return rows, rows[0]["total"] if rows else 0


def find_other_deliveries(
    db: Database,
    search: str = "",
    *,
    run_id: int | None = None,
    owner: str | None = None,
    limit: int = 25,
    offset: int = 0,
) -> tuple[list[DictRow], int]:
    """Deliveries that were sent again, newest first, and how many fit.

    Args:
        run_id: Those of this run instead.
        owner: Those that this task instance (``dag/run/task/map index``) had last instead.
    """
    rows = db.execute(
        _SQL["other_deliveries_found"],
        {
            "patterns": patterns(search),
            "run_id": run_id,
            "owner": owner,
            "limit": limit,
            "offset": offset,
        },
    ).fetchall()
    return rows, rows[0]["total"] if rows else 0


def run_of(db: Database, dag_id: str, dag_run_id: str) -> DictRow | None:
    """What a DAG run of Airflow's was for us: its ``id`` and ``period``; None where it was nothing."""
    return db.execute(
        _SQL["run_by_dag_run"],
        {"dag_id": dag_id.replace("\0", ""), "dag_run_id": dag_run_id.replace("\0", "")},
    ).fetchone()


def show_run(db: Database, run_id: int) -> DictRow | None:
    """A run by its id."""
    return db.execute(_SQL["run_by_id"], {"id": min(run_id, 2**62)}).fetchone()


def _pace(row: DictRow) -> Pace:
    seconds = 0.0
    if row["first_at"] is not None and row["last_at"] is not None:
        seconds = (row["last_at"] - row["first_at"]) / datetime.timedelta(seconds=1)
    enough = row["accepted"] > 1 and seconds > 0
    return Pace(row["accepted"], seconds, row["accepted"] * 60 / seconds if enough else None)


def _cycle(db: Database, period: Period) -> DictRow:
    row = db.execute(_CYCLE["cycle_of_period"], {"period": str(period)}).fetchone()
    if row is None:
        raise NotFoundError(f"there is no cycle {period}")
    return row


def _with_history(db: Database, deliveries: list[DictRow]) -> list[DictRow]:
    ids = {"ids": [delivery["id"] for delivery in deliveries]}
    events = _by_delivery(db.execute(_TENANT["events_of_deliveries"], ids))
    attempts = _by_delivery(db.execute(_TENANT["attempts_of_deliveries"], ids))
    return [
        delivery | {"events": events[delivery["id"]], "tries": attempts[delivery["id"]]}
        for delivery in deliveries
    ]


def _by_delivery(rows: Iterable[DictRow]) -> defaultdict[int, list[DictRow]]:
    grouped: defaultdict[int, list[DictRow]] = defaultdict(list)
    for row in rows:
        grouped[row["delivery_id"]].append(row)
    return grouped
