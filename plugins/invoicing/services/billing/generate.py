"""Generate a period's invoices: one per active lease."""

import datetime
import logging
from typing import Any

from invoicing.db.connection import Database
from invoicing.db.statements import beside
from invoicing.domain.invoice import InvoiceDraft
from invoicing.domain.period import Period
from invoicing.domain.taxes import TaxTable
from invoicing.services.agency import clock, merge
from invoicing.services.billing import issue, leases, out_of_step, runs, series
from invoicing.services.billing.basis import basis_of_lease
from invoicing.services.billing.leases import BilledLease

log = logging.getLogger(__name__)

_SQL = beside(__file__)
# Leases that the task's result names, of each kind; the cycle's page has them all.
_NAMED = 50


def generate_invoices(db: Database, run_id: int, *, prefix: str | None = None) -> dict[str, Any]:
    """Issue an invoice for every lease of the run's period that has none, in one transaction.

    Safe to repeat and to run twice at once: the cycle's row is locked, and the database holds one
    standing invoice per lease and period.

    Args:
        prefix: Of the numbers, for a simulation; None for that of the settings.

    Returns:
        How many invoices are ``issued`` now; how many leases are ``unissued`` since their total is ≤ 0, were
        ``unbilled`` until now though the month had been billed (they are among those issued), and have ``drifted``,
        that is a standing invoice that would come out differently today. ``unissued_leases``, ``unbilled_leases``
        and ``drifted_leases`` have the codes of the first 50 of each.

    Raises:
        InputError: An invoice cannot be worked out; or the series is used up or not valid today. Nothing was issued.
    """
    run = runs.load_run(db, run_id)
    assert run.period is not None
    assert run.cycle_id is not None
    settings = run.settings.settings
    for fault in settings.doubtful:
        log.warning("%s", fault)
    issued_on = clock.today()
    with db.transaction():
        # An import that commits in between would mix two versions of the files in one invoice.
        merge.hold_off_imports(db)
        runs.lock(db, run)
        had_been_billed = db.execute(_SQL["first_invoice"], {"cycle_id": run.cycle_id}).fetchone() is not None
        # Before anything is issued: what is issued now is as the leases say.
        out_of_step.compare(db, run.period)
        drifted = [each.lease for each in out_of_step.drifted_invoices(db, run.period)]
        taxes = leases.tax_table(db, run.period.first_day)
        drafts = draft_period(db, run.period, taxes)
        to_issue = [
            issue.NewInvoice(
                draft=draft,
                origin="monthly",
                reference=None,
                cycle_id=run.cycle_id,
                run_id=run.id,
                tenant=lease.tenant,
                premises=issue.Premises.of(lease),
                settings_version_id=run.settings.id,
                period=run.period,
                issued_on=issued_on,
                due_on=issued_on + datetime.timedelta(days=settings.due_days),
                basis=basis_of_lease(lease, taxes),
            )
            for lease, draft in drafts
            if draft.total > 0
        ]
        if prefix is not None and to_issue:
            # A simulation's numbers are its own, and the real ones may not suffice.
            series.check_room(db, settings.invoice_prefix, len(to_issue), issued_on)
        issue.issue(db, to_issue, prefix=settings.invoice_prefix if prefix is None else prefix)
        unissued = [(lease, draft) for lease, draft in drafts if draft.total <= 0]
        db.execute(_SQL["clear_unissued"], {"cycle_id": run.cycle_id})
        for lease, draft in unissued:
            db.execute(
                _SQL["add_unissued"],
                {
                    "cycle_id": run.cycle_id,
                    "lease_id": lease.id,
                    "run_id": run.id,
                    "total": draft.total,
                    "currency": draft.currency,
                },
            )
        unbilled = [each.draft.lease_code for each in to_issue] if had_been_billed else []
        counts = {
            "issued": len(to_issue),
            "unissued": len(unissued),
            "unissued_leases": [lease.terms.code for lease, _ in unissued[:_NAMED]],
            "unbilled": len(unbilled),
            "unbilled_leases": unbilled[:_NAMED],
            "drifted": len(drifted),
            "drifted_leases": drifted[:_NAMED],
        }
        runs.finish_stage(db, run, "generated", counts)
    if unbilled:
        log.warning("%s: leases unbilled until now: %s", run.period, ", ".join(map(str, unbilled[:_NAMED])))
    if drifted:
        log.warning(
            "%s: leases whose invoice would come out differently today: %s",
            run.period,
            ", ".join(drifted[:_NAMED]),
        )
    return counts


def draft_period(db: Database, period: Period, taxes: TaxTable) -> list[tuple[BilledLease, InvoiceDraft]]:
    """Work out the invoices that ``period`` still lacks; writes nothing.

    Args:
        taxes: The rates in force on its first day.

    Returns:
        Each lease and its draft, by lease code.

    Raises:
        InputError: An invoice cannot be worked out; the words name the lease.
    """
    drafts = (
        (lease, leases.draft_lease(lease, period, taxes)) for lease in leases.leases_to_invoice(db, period)
    )
    return [(lease, draft) for lease, draft in drafts if draft is not None]
