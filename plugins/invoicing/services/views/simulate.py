"""Who would get mail if the month ran now, and why not."""

from typing import Any

from invoicing.db.connection import Database
from invoicing.domain.period import Period
from invoicing.services.billing import count, generate, runs
from invoicing.services.delivery import select
from invoicing.services.views import report


def simulate(db: Database, period: Period) -> dict[str, Any]:
    """Run the cycle of ``period`` up to its deliveries, look at it, and undo it.

    It is the very code of the monthly run, in a transaction that is rolled back: nothing is written, no
    number is taken, nothing is sent. Numbers and ids in the answer are what they would be.

    Returns:
        ``period``, ``tenants`` as in ``cycle tenants``, ``invoices_detail`` as in ``cycle invoices``, and ``unissued``:
        codes of the leases that would have no invoice, at most 50.
    """
    with db.transaction(force_rollback=True):
        run_id = runs.open_run(db, dag_id="simulation", dag_run_id=f"simulation {period}", period=period)
        generated = generate.generate_invoices(db, run_id)
        count.count_invoices(db, run_id)
        select.select_recipients(db, run_id)
        return {
            "period": str(period),
            "tenants": report.cycle_tenants(db, period),
            "invoices_detail": report.cycle_invoices(db, period),
            "unissued": generated["unissued_leases"],
        }
