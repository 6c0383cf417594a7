"""Generate a period's invoices: one per active lease."""

import datetime
import logging
from collections.abc import Iterable, Iterator
from typing import Any

from invoicing.db.connection import Database
from invoicing.db.statements import beside
from invoicing.domain.errors import InputError
from invoicing.domain.invoice import InvoiceDraft
from invoicing.domain.period import Period
from invoicing.domain.taxes import TaxTable
from invoicing.services.agency import clock, merge
from invoicing.services.billing import issue, leases, out_of_step, runs, series
from invoicing.services.billing.basis import basis_of_lease
from invoicing.services.billing.leases import BilledLease
from invoicing.services.billing.runs import Run

log = logging.getLogger(__name__)

_SQL = beside(__file__)
# Leases that the task's result names, of each kind; the cycle's page has them all.
_NAMED = 50


def generate_invoices(db: Database, run_id: int, *, prefix: str | None = None) -> dict[str, Any]:
    """Issue an invoice for every lease of the run's period that has none, in one transaction.

    Safe to repeat and to run twice at once: the cycle's row is locked, and the database holds one
    standing invoice per lease and period. The leases go by some at a time: a month of ten times as many needs no more
    memory.

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
        # A simulation's numbers are its own: the real ones may not suffice all the same.
        _check_room(db, run.period, taxes, settings.invoice_prefix, issued_on)
        db.execute(_SQL["clear_unissued"], {"cycle_id": run.cycle_id})
        issued, unissued = _Tally(), _Tally()
        for drafts in draft_period(db, run.period, taxes):
            payable = [(lease, draft) for lease, draft in drafts if draft.total > 0]
            issue.issue(
                db,
                [_new_invoice(run, lease, draft, taxes, issued_on) for lease, draft in payable],
                prefix=settings.invoice_prefix if prefix is None else prefix,
            )
            nothing_due = [(lease, draft) for lease, draft in drafts if draft.total <= 0]
            _keep_unissued(db, run, nothing_due)
            issued.add(lease for lease, _ in payable)
            unissued.add(lease for lease, _ in nothing_due)
        unbilled = issued if had_been_billed else _Tally()
        counts = {
            "issued": issued.count,
            "unissued": unissued.count,
            "unissued_leases": unissued.first,
            "unbilled": unbilled.count,
            "unbilled_leases": unbilled.first,
            "drifted": len(drifted),
            "drifted_leases": drifted[:_NAMED],
        }
        runs.finish_stage(db, run, "generated", counts)
    if unbilled.count:
        log.warning("%s: leases unbilled until now: %s", run.period, ", ".join(unbilled.first))
    if drifted:
        log.warning(
            "%s: leases whose invoice would come out differently today: %s",
            run.period,
            ", ".join(drifted[:_NAMED]),
        )
    return counts


def draft_period(
    db: Database, period: Period, taxes: TaxTable
) -> Iterator[list[tuple[BilledLease, InvoiceDraft]]]:
    """Work out the invoices that ``period`` still lacks; writes nothing. In the caller's transaction.

    Args:
        taxes: The rates in force on its first day.

    Returns:
        Each lease and its draft, by lease code, so many at a time.

    Raises:
        InputError: An invoice cannot be worked out; the words name the lease.
    """
    for billed in leases.each_lease_to_invoice(db, period):
        drafts = ((lease, leases.draft_lease(lease, period, taxes)) for lease in billed)
        yield [(lease, draft) for lease, draft in drafts if draft is not None]


class _Tally:
    """How many leases, and the codes of the first of them."""

    def __init__(self) -> None:
        self.count = 0
        self.first: list[str] = []

    def add(self, billed: Iterable[BilledLease]) -> None:
        for lease in billed:
            self.count += 1
            if len(self.first) < _NAMED:
                self.first.append(lease.terms.code)


def _check_room(db: Database, period: Period, taxes: TaxTable, prefix: str, issued_on: datetime.date) -> None:
    """See that the series suffices for the whole month before its first number is taken."""
    try:
        series.check_room(db, prefix, leases.count_to_invoice(db, period), issued_on)
    except InputError:
        # Some of them may come to nothing: it takes working them all out to know.
        payable = sum(draft.total > 0 for drafts in draft_period(db, period, taxes) for _, draft in drafts)
        if payable:
            series.check_room(db, prefix, payable, issued_on)


def _new_invoice(
    run: Run, lease: BilledLease, draft: InvoiceDraft, taxes: TaxTable, issued_on: datetime.date
) -> issue.NewInvoice:
    assert run.period is not None
    return issue.NewInvoice(
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
        due_on=issued_on + datetime.timedelta(days=run.settings.settings.due_days),
        basis=basis_of_lease(lease, taxes),
    )


def _keep_unissued(db: Database, run: Run, drafts: Iterable[tuple[BilledLease, InvoiceDraft]]) -> None:
    with db.cursor() as cursor:
        cursor.executemany(
            _SQL["add_unissued"],
            [
                {
                    "cycle_id": run.cycle_id,
                    "lease_id": lease.id,
                    "run_id": run.id,
                    "total": draft.total,
                    "currency": draft.currency,
                }
                for lease, draft in drafts
            ],
        )
