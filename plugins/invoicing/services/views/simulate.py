"""A month as a run would leave it now: the run itself, in a transaction that is rolled back."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

from psycopg.errors import LockNotAvailable

from invoicing.db.connection import Database
from invoicing.db.statements import beside
from invoicing.domain.comparison import LeaseChange, TenantComparison
from invoicing.domain.errors import TemporaryFailureError
from invoicing.domain.period import Period
from invoicing.services.billing import count, generate, runs
from invoicing.services.billing.series import next_serial
from invoicing.services.delivery import select
from invoicing.services.views import months, report

_SQL = beside(__file__)

Stage = Literal["invoices", "decisions", "comparison"]
STAGES: tuple[Stage, ...] = ("invoices", "decisions", "comparison")


class MonthAtWorkError(TemporaryFailureError):
    """A run of the month, an import or another simulation is at work, and did not end within four seconds."""


@dataclass(frozen=True, slots=True)
class Simulated:
    """What a simulation knows beside what is in the database while it lasts.

    Args:
        unissued: Codes of the leases that would have no invoice, at most 50.
        prefix: Of the real numbers.
        series: Of the simulated ones. It sorts behind the real ones, and is no prefix that settings can have.
        last_serial: The last real number that is taken.
    """

    unissued: Sequence[str]
    prefix: str
    series: str
    last_serial: int

    def is_new(self, number: str) -> bool:
        """Whether an invoice was made by the simulation."""
        return number.startswith(self.series)

    def number(self, number: str) -> str:
        """What an invoice's number is, or would be."""
        if not self.is_new(number):
            return number
        return f"{self.prefix}{self.last_serial + int(number.removeprefix(self.series))}"


@contextmanager
def simulated(
    db: Database, period: Period, tell: Callable[[Stage], None] = lambda _: None
) -> Iterator[Simulated]:
    """Run the cycle of ``period`` up to its deliveries, to be looked at inside the block, and undo it.

    It is the very code of the monthly run: nothing is written, no number is taken, nothing is sent. The simulated
    invoices have a series of their own, so that nobody who issues real ones meanwhile waits; a run of the same month
    does, until the block ends.

    Args:
        tell: Is told what is being done.

    Raises:
        InputError: The run would fail: an invoice cannot be worked out.
        MonthAtWorkError: What it needs is locked. Nobody waits for long on either side.
    """
    try:
        with db.transaction(force_rollback=True):
            db.execute(_SQL["bound_waiting"])
            db.execute(_SQL["sample_less"])
            tell("invoices")
            run_id = runs.open_run(db, dag_id="simulation", dag_run_id=f"simulation {period}", period=period)
            prefix = runs.load_run(db, run_id).settings.settings.invoice_prefix
            # No two connections have the same.
            series = f"{prefix}~{db.info.backend_pid}~"
            last_serial = next_serial(db, prefix) - 1
            generated = generate.generate_invoices(db, run_id, prefix=series)
            tell("decisions")
            count.count_invoices(db, run_id)
            select.select_recipients(db, run_id)
            tell("comparison")
            yield Simulated(generated["unissued_leases"], prefix, series, last_serial)
    except LockNotAvailable:
        raise MonthAtWorkError("month_at_work", period=period) from None


def simulate(db: Database, period: Period) -> dict[str, Any]:
    """What ``simulate --json`` prints: the month as `simulated` leaves it, and what differs from the one before.

    Numbers and ids in the answer are what they would be.

    Returns:
        ``period``; ``tenants`` as in ``cycle tenants``, each with its ``change``, its ``changes`` and its
        ``decision_before``; ``invoices_detail`` as in ``cycle invoices``; and ``unissued``: codes of the leases that
        would have no invoice, at most 50.
    """
    with simulated(db, period) as month:
        rows, invoices = report.cycle_tenants(db, period), report.cycle_invoices(db, period)
        comparisons = months.compare_with_before(db, period).tenants
    return {
        "period": str(period),
        "tenants": [
            _renumbered(row, month.number) | change_json(comparisons.get(row["tenant"])) for row in rows
        ],
        "invoices_detail": [{**row, "number": month.number(row["number"])} for row in invoices],
        "unissued": month.unissued,
    }


def simulate_rows(db: Database, period: Period) -> list[dict[str, Any]]:
    """The ``tenants`` of `simulate`, each with its own ``invoices_detail``."""
    month = simulate(db, period)
    details: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
    for invoice in month["invoices_detail"]:
        details[invoice["tenant"]].append(invoice)
    return [{**row, "invoices_detail": details[row["tenant"]]} for row in month["tenants"]]


def change_json(comparison: TenantComparison | None) -> dict[str, Any]:
    """What differs of a tenant from the month before, as JSON."""
    if comparison is None:
        return {"change": None, "changes": [], "decision_before": None}
    return {
        "change": comparison.change,
        "changes": [_lease_json(each) for each in comparison.leases],
        "decision_before": comparison.outcome_before,
    }


def _lease_json(change: LeaseChange) -> dict[str, Any]:
    def text(amount: Any) -> str | None:
        return None if amount is None else report.money(amount)

    return {
        "change": change.kind,
        "lease": change.lease,
        "before": text(change.before and change.before.total),
        "now": text(change.now and change.now.total),
        "difference": text(change.difference),
        "currency": change.currency,
    }


def _renumbered(tenant: dict[str, Any], as_it_would_be: Callable[[str], str]) -> dict[str, Any]:
    """A row of ``cycle tenants`` with the numbers of its deliveries' invoices."""

    def renumbered(delivery: dict[str, Any] | None) -> dict[str, Any] | None:
        if delivery is None:
            return None
        return {**delivery, "invoices": [as_it_would_be(number) for number in delivery["invoices"]]}

    return {
        **tenant,
        "delivery": renumbered(tenant["delivery"]),
        "deliveries": [renumbered(each) for each in tenant["deliveries"]],
    }
