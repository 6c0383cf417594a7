"""Count a period's invoices per tenant."""

from typing import TYPE_CHECKING, Any

from invoicing.db.connection import Database
from invoicing.db.statements import beside
from invoicing.services.billing import runs
from invoicing.services.billing.runs import Run

if TYPE_CHECKING:
    import pandas as pd

_SQL = beside(__file__)


def count_invoices(db: Database, run_id: int) -> dict[str, Any]:
    """Count the invoices that the monthly job generated for the run's period, per tenant, and keep them.

    Returns:
        ``invoices``, ``tenants``, and ``multiple``: tenants with more than one invoice.
    """
    run = runs.load_run(db, run_id)
    with db.transaction():
        runs.lock(db, run)
        counts = keep_counts(db, run)
        runs.finish_stage(db, run, "counted", counts)
    return counts


def keep_counts(db: Database, run: Run) -> dict[str, Any]:
    """Count and keep, in the caller's transaction, which holds the cycle's lock.

    Whoever decides counts again: another run may have added invoices since `count_invoices`.
    """
    import pandas as pd  # takes a second; the command line does without

    rows = db.execute(_SQL["invoice_tenants"], {"cycle_id": run.cycle_id}).fetchall()
    per_tenant = count_per_tenant(pd.DataFrame(rows, columns=["tenant_id", "invoice_id"]))
    db.execute(_SQL["clear_counts"], {"run_id": run.id})
    with db.cursor() as cursor, cursor.copy(_SQL["copy_counts"]) as copy:
        for tenant_id, invoices in per_tenant.items():
            copy.write_row((run.id, tenant_id, int(invoices)))
    return {
        "invoices": len(rows),
        "tenants": len(per_tenant),
        "multiple": int((per_tenant > 1).sum()),
    }


def count_per_tenant(invoices: "pd.DataFrame") -> "pd.Series[int]":
    """Count rows of ``invoices`` (columns ``tenant_id``, ``invoice_id``) per ``tenant_id``, by tenant id."""
    return invoices.groupby("tenant_id")["invoice_id"].nunique()
