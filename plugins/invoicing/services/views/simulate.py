"""Who would get mail if the month ran now, and why not."""

from collections.abc import Callable
from typing import Any

from invoicing.db.connection import Database
from invoicing.domain.period import Period
from invoicing.services.billing import count, generate, issue, runs
from invoicing.services.delivery import select
from invoicing.services.views import report


def simulate(db: Database, period: Period) -> dict[str, Any]:
    """Run the cycle of ``period`` up to its deliveries, look at it, and undo it.

    It is the very code of the monthly run, in a transaction that is rolled back: nothing is written, no number is
    taken, nothing is sent. The simulated invoices have a series of their own, so that nobody who issues real ones
    meanwhile waits. Numbers and ids in the answer are what they would be.

    Returns:
        ``period``, ``tenants`` as in ``cycle tenants``, ``invoices_detail`` as in ``cycle invoices``, and ``unissued``:
        codes of the leases that would have no invoice, at most 50.
    """
    with db.transaction(force_rollback=True):
        run_id = runs.open_run(db, dag_id="simulation", dag_run_id=f"simulation {period}", period=period)
        prefix = runs.load_run(db, run_id).settings.settings.invoice_prefix
        # Sorts behind the real ones, and is no prefix that settings can have; no two connections have the same.
        simulated = f"{prefix}~{db.info.backend_pid}~"
        last_serial = issue.last_serial(db, prefix)
        generated = generate.generate_invoices(db, run_id, prefix=simulated)
        count.count_invoices(db, run_id)
        select.select_recipients(db, run_id)

        def as_it_would_be(number: str) -> str:
            if not number.startswith(simulated):
                return number
            return f"{prefix}{last_serial + int(number.removeprefix(simulated))}"

        return {
            "period": str(period),
            "tenants": [_renumbered(row, as_it_would_be) for row in report.cycle_tenants(db, period)],
            "invoices_detail": [
                {**row, "number": as_it_would_be(row["number"])} for row in report.cycle_invoices(db, period)
            ],
            "unissued": generated["unissued_leases"],
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
