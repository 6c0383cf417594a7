"""Generate a period's invoices: one per active lease."""

import datetime
from typing import Any

from psycopg.rows import DictRow

from invoicing.db.connection import Database
from invoicing.db.statements import load
from invoicing.domain.errors import InputError
from invoicing.domain.invoice import InvoiceDraft, draft_lease_invoice
from invoicing.domain.lease import Charge, Lease
from invoicing.domain.period import Period
from invoicing.domain.taxes import TaxTable
from invoicing.services.agency import clock, merge
from invoicing.services.billing import issue as invoices
from invoicing.services.billing import runs as cycles

_SQL = load("cycle")


def generate_invoices(db: Database, run_id: int) -> dict[str, Any]:
    """Issue an invoice for every lease of the run's period that has none, in one transaction.

    Safe to repeat and to run twice at once: the cycle's row is locked, and the database holds one
    standing invoice a lease and period.

    Returns:
        Numbers of invoices ``issued`` now and of leases ``unissued`` since their total is ≤ 0.
    """
    run = cycles.load_run(db, run_id)
    assert run.period is not None
    assert run.cycle_id is not None
    settings = run.settings.settings
    issued_on = clock.today()
    with db.transaction():
        # An import that commits in between would mix two versions of the files in one invoice.
        merge.hold_off_imports(db)
        cycles.lock(db, run)
        drafts = draft_period(db, run.period)
        to_issue = [
            invoices.NewInvoice(
                draft=draft,
                origin="monthly",
                reference=None,
                cycle_id=run.cycle_id,
                run_id=run.id,
                tenant_id=lease["tenant_id"],
                lease_id=lease["id"],
                settings_version_id=run.settings.id,
                period=run.period,
                issued_on=issued_on,
                due_on=issued_on + datetime.timedelta(days=settings.due_days),
                tenant_name=lease["tenant_name"],
                tenant_document_type=lease["document_type"],
                tenant_document_number=lease["document_number"],
                tenant_city=lease["tenant_city"],
                language=lease["language"],
                property=lease["property"],
                property_city=lease["city"],
                use=lease["use"],
            )
            for lease, draft in drafts
            if draft.total > 0
        ]
        invoices.issue(db, to_issue, prefix=settings.invoice_prefix)
        unissued = [(lease, draft) for lease, draft in drafts if draft.total <= 0]
        db.execute(_SQL["unissued_clear"], {"cycle_id": run.cycle_id})
        for lease, draft in unissued:
            db.execute(
                _SQL["unissued_add"],
                {
                    "cycle_id": run.cycle_id,
                    "lease_id": lease["id"],
                    "run_id": run.id,
                    "total": draft.total,
                    "currency": draft.currency,
                },
            )
        counts = {
            "issued": len(to_issue),
            "unissued": len(unissued),
            "unissued_leases": [lease["code"] for lease, _ in unissued[:50]],
        }
        cycles.mark(db, run, "generated", counts)
    return counts


def draft_period(db: Database, period: Period) -> list[tuple[DictRow, InvoiceDraft]]:
    """Work out the invoices that ``period`` still lacks; writes nothing.

    Returns:
        Each lease's row (with its tenant's name, document and language) and its draft, by lease code.
    """
    leases = invoices.leases_to_invoice(db, period)
    taxes = invoices.tax_table(db, period.first_day)
    charges = invoices.charges_due(db, [lease["id"] for lease in leases], period)
    drafts = [(row, draft_lease(row, charges.get(row["id"], []), period, taxes)) for row in leases]
    return [(row, draft) for row, draft in drafts if draft is not None]


def draft_lease(row: DictRow, charges: list[DictRow], period: Period, taxes: TaxTable) -> InvoiceDraft | None:
    """Work out the invoice of one lease.

    Args:
        row: The lease, and its tenant's ``withholding_agent``.
        charges: Those of the lease that are due in ``period``.
    """
    lease = Lease(
        code=row["code"],
        property=row["property"],
        city=row["city"],
        use=row["use"],
        start_date=row["start_date"],
        end_date=row["end_date"],
        rent=row["rent"],
        currency=row["currency"],
        withholding_agent=row["withholding_agent"],
        charges=tuple(
            Charge(each["concept"], each["description"], each["amount"], each["tax"], each["prorated"])
            for each in charges
        ),
    )
    try:
        return draft_lease_invoice(lease, period, taxes)
    except InputError as error:
        raise InputError(f"lease {lease.code}: {error}") from None
