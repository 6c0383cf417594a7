"""Where a billed month is out of step with the leases: rent that nobody billed, invoices that drifted.

Which leases are unbilled is asked of the database each time: few come into question. Which invoices drifted
takes the whole month to be worked out anew, over a second for a large agency. That is done where leases, charges
and rates change, at the end of an import, and by the month's next run; in between it is looked up.
"""

import datetime
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import TypeVar

from invoicing.db.connection import Database
from invoicing.db.statements import beside, fetch_all, fetch_chunks
from invoicing.domain.errors import InputError
from invoicing.domain.invoice import InvoiceDraft, InvoiceLine, Withholding
from invoicing.domain.period import Period
from invoicing.domain.proration import ActiveDays
from invoicing.domain.taxes import TaxName, TaxTable
from invoicing.services.agency import clock, imports
from invoicing.services.agency.imports import ImportSummary
from invoicing.services.billing import leases

_SQL = beside(__file__)

_Part = TypeVar("_Part")

_EARLIER_MONTHS = 3
"""Months before this one that an import looks back on (docs/contract.md, section 1)."""


@dataclass(frozen=True, slots=True)
class UnbilledLease:
    """A lease that is active in a month and has no invoice in it, though there is something to be paid.

    Args:
        lease: Its code, as ``tenant`` is the tenant's.
        total: What the next run of the month bills; None where that cannot be worked out, for ``problem``.
    """

    lease: str
    tenant: str
    total: Decimal | None
    currency: str
    problem: InputError | None = None


@dataclass(frozen=True, slots=True)
class DriftedInvoice:
    """A standing invoice that would come out differently today.

    Args:
        lease: Its code, as ``tenant`` is the code of whom the invoice was made out to.
        total_today: What it would come to; None, as ``currency_today`` is, where nothing would be billed or it
            cannot be worked out. It may equal ``total``: lines, taxes or the tenant differ then.
    """

    lease: str
    tenant: str
    number: str
    total: Decimal
    currency: str
    total_today: Decimal | None
    currency_today: str | None
    found_at: datetime.datetime


@dataclass(frozen=True, slots=True)
class MonthFound:
    """Codes of a month's leases that are unbilled, and of those whose invoice drifted."""

    period: Period
    unbilled: Sequence[str]
    drifted: Sequence[str]


@dataclass(frozen=True, slots=True)
class _Standing:
    """An invoice as it was issued, as far as the lease decides on it."""

    id: int
    lease_id: int
    tenant_id: int
    currency: str


@dataclass(frozen=True, slots=True)
class _LineRow:
    invoice_id: int
    concept: str
    description: str
    amount: Decimal
    credited: Decimal
    tax_rate: Decimal
    tax: Decimal
    tax_credited: Decimal
    active_days: int | None
    period_days: int | None

    @property
    def issued(self) -> InvoiceLine:
        return self._line(self.amount, self.tax)

    @property
    def left(self) -> InvoiceLine:
        return self._line(self.amount - self.credited, self.tax - self.tax_credited)

    def _line(self, amount: Decimal, tax: Decimal) -> InvoiceLine:
        days = None
        if self.active_days is not None and self.period_days is not None:
            days = ActiveDays(self.active_days, self.period_days)
        return InvoiceLine(self.concept, self.description, amount, self.tax_rate, tax, days)


@dataclass(frozen=True, slots=True)
class _WithholdingRow:
    invoice_id: int
    tax: TaxName
    rate: Decimal
    base: Decimal
    base_credited: Decimal
    amount: Decimal
    credited: Decimal

    @property
    def issued(self) -> Withholding:
        return Withholding(self.tax, self.rate, self.base, self.amount)

    @property
    def left(self) -> Withholding:
        return Withholding(self.tax, self.rate, self.base - self.base_credited, self.amount - self.credited)


def import_and_look_back(
    db: Database, folder: Path, *, actor: str, report: Callable[[str], None], dry_run: bool = False
) -> tuple[ImportSummary, list[MonthFound]]:
    """Import the files of ``folder``, as `imports.import_folder` does, and see what that means for billed months.

    One transaction: were the import to outlive the look back, nobody would take that look again, since the same
    files imported once more change nothing.

    Args:
        dry_run: Do it all, say it all, and write nothing.

    Returns:
        What the import did, and the months of `look_back`.
    """
    with db.transaction(force_rollback=dry_run):
        summary = imports.import_folder(db, folder, actor=actor, report=report)
        if summary.changed:
            months = months_looked_back_on(db)
            for period in months:
                report(f"{period}: comparing its invoices with the leases")
                compare(db, period)
            for row in db.execute(
                _SQL["older_months_with_drift"], {"but": list(map(str, months))}
            ).fetchall():
                compare(db, Period.parse(row["period"]), known_only=True)
        return summary, look_back(db)


def look_back_on(
    db: Database, *, tenant: str | None = None, lease: str | None = None
) -> list[DriftedInvoice]:
    """After a person changed a tenant or a lease: see which billed months would come out differently today.

    In the caller's transaction, in which no import commits; months as those of `look_back`.

    Args:
        tenant: Code of the one whose leases are looked at.
        lease: Code of the one that is looked at.

    Returns:
        The invoices of those leases that drifted, newest month first.
    """
    rows = db.execute(_SQL["leases_of"], {"tenant": tenant, "lease": lease})
    ids = [row["id"] for row in rows]
    found: list[DriftedInvoice] = []
    for period in months_looked_back_on(db):
        compare(db, period, lease_ids=ids)
        found += drifted_invoices(db, period, lease_ids=ids)
    return found


def look_back(db: Database) -> list[MonthFound]:
    """What is out of step in this month, in later ones, and in the last three before it, as far as they have a cycle.

    Returns:
        One for each month, also where all is in step; newest first.
    """
    return [
        MonthFound(
            period,
            [each.lease for each in unbilled_leases(db, period)],
            [each.lease for each in drifted_invoices(db, period)],
        )
        for period in months_looked_back_on(db)
    ]


def unbilled_leases(db: Database, period: Period, *, most: int | None = None) -> list[UnbilledLease]:
    """What the next run of ``period`` would bill, by lease; of the first ``most`` leases that come into question.

    A lease whose total is nothing or less is none of them. One whose total cannot be worked out is.
    """
    taxes = leases.tax_table(db, period.first_day)
    found = []
    for lease in leases.leases_to_invoice(db, period, most=most):
        named = (lease.terms.code, lease.tenant.code)
        try:
            draft = leases.draft_lease(lease, period, taxes)
        except InputError as error:
            found.append(UnbilledLease(*named, None, lease.terms.currency, error))
            continue
        if draft is not None and draft.total > 0:
            found.append(UnbilledLease(*named, draft.total, draft.currency))
    return found


def drifted_invoices(
    db: Database, period: Period, *, most: int | None = None, lease_ids: Sequence[int] | None = None
) -> list[DriftedInvoice]:
    """At most ``most`` invoices of ``period`` that drifted, by lease; as of the last import, run or change.

    Args:
        lease_ids: Of these leases alone.
    """
    which = {"period": str(period), "limit": most, "lease_ids": _listed(lease_ids)}
    return fetch_all(db, DriftedInvoice, _SQL["drifted_invoices"], which)


def compare(
    db: Database, period: Period, *, known_only: bool = False, lease_ids: Sequence[int] | None = None
) -> None:
    """Work out the standing invoices of ``period`` anew, some at a time, and keep which of them drifted.

    In the caller's transaction, in which no other import commits.

    Args:
        known_only: Look again at those alone that had drifted.
        lease_ids: Look at the invoices of these leases alone.
    """
    which = {
        "period": str(period),
        "known_only": known_only,
        "lease_ids": _listed(lease_ids),
    }
    taxes = leases.tax_table(db, period.first_day)
    with db.transaction():
        for standing in fetch_chunks(db, _Standing, _SQL["standing_invoices"], which):
            _compare(db, period, taxes, standing)


def _compare(db: Database, period: Period, taxes: TaxTable, standing: Sequence[_Standing]) -> None:
    ids = [each.id for each in standing]
    lines = _by_invoice(
        (row.invoice_id, row) for row in fetch_all(db, _LineRow, _SQL["lines_of_invoices"], {"ids": ids})
    )
    withholdings = _by_invoice(
        (row.invoice_id, row)
        for row in fetch_all(db, _WithholdingRow, _SQL["withholdings_of_invoices"], {"ids": ids})
    )
    today = leases.leases_by_id(db, [each.lease_id for each in standing], period)
    drifted = []
    for each in standing:
        lease = today[each.lease_id]
        try:
            draft = leases.draft_lease(lease, period, taxes)
        except InputError:
            draft = None
        if (
            draft is None
            or (lease.tenant.id, draft.currency) != (each.tenant_id, each.currency)
            or not _is_as_billed(draft, lines[each.id], withholdings[each.id])
        ):
            drifted.append((each.id, draft))
    db.execute(_SQL["forget_drift"], {"looked_at": ids, "drifted": [id_ for id_, _ in drifted]})
    with db.cursor() as cursor:
        cursor.executemany(_SQL["keep_drift"], [_kept(id_, draft) for id_, draft in drifted])


def _listed(ids: Sequence[int] | None) -> list[int] | None:
    return None if ids is None else list(ids)


def months_looked_back_on(db: Database) -> list[Period]:
    """This month, later ones, and the last three before it, as far as they have a cycle; newest first."""
    which = {"this": str(Period.containing(clock.today())), "earlier": _EARLIER_MONTHS}
    return [Period.parse(row["period"]) for row in db.execute(_SQL["months_looked_back_on"], which)]


def _by_invoice(parts: Iterable[tuple[int, _Part]]) -> Mapping[int, list[_Part]]:
    grouped: defaultdict[int, list[_Part]] = defaultdict(list)
    for invoice_id, part in parts:
        grouped[invoice_id].append(part)
    return grouped


def _is_as_billed(
    draft: InvoiceDraft, lines: Sequence[_LineRow], withholdings: Sequence[_WithholdingRow]
) -> bool:
    """Whether the lease says what was issued, or what credit notes left of it: a credit is no change of the lease."""
    return (
        _is_same(draft.lines, [each.issued for each in lines])
        and _is_same(draft.withholdings, [each.issued for each in withholdings])
    ) or (
        _is_same(draft.lines, [each.left for each in lines])
        and _is_same(draft.withholdings, [each.left for each in withholdings])
    )


def _is_same(today: Sequence[object], issued: Sequence[object]) -> bool:
    """Whether both hold the same, in whatever order: that of a file of charges is no matter of money."""
    return list(today) == issued or Counter(today) == Counter(issued)


def _kept(invoice_id: int, draft: InvoiceDraft | None) -> dict[str, object]:
    is_billed = draft is not None and draft.total > 0
    return {
        "invoice_id": invoice_id,
        "total": draft.total if draft and is_billed else None,
        "currency": draft.currency if draft and is_billed else None,
    }
