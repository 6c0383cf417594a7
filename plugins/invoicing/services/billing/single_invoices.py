"""Invoices made outside the monthly job: stored once by their reference, then sent."""

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from invoicing.db import audit
from invoicing.db.connection import Database
from invoicing.db.statements import beside
from invoicing.domain.errors import ImportRejectedError, InputError, NotFoundError, RowProblem
from invoicing.domain.invoice import InvoiceDraft, draft_single_invoice
from invoicing.domain.period import Period
from invoicing.domain.taxes import TaxTable
from invoicing.services.agency import clock, merge
from invoicing.services.agency import settings as settings_service
from invoicing.services.billing import decide, issue, leases, runs
from invoicing.services.billing.basis import Basis, basis_of_items
from invoicing.services.billing.leases import BilledLease, BilledTenant
from invoicing.services.billing.single_invoice_file import SingleInvoiceRequest, read_single_invoices

_SQL = beside(__file__)
# Of an invoice that belongs to no lease, whose currency it would otherwise have.
_HOME_CURRENCY = "COP"


@dataclass(frozen=True, slots=True)
class SingleInvoices:
    """What became of a file.

    Args:
        created: Reference to the new invoice's number.
        known: References that exist already, to their number: left alone.
        awaiting: Single invoices, of this file or an earlier one, that no run has decided on yet.
    """

    created: Mapping[str, str]
    known: Mapping[str, str]
    awaiting: int


@dataclass(frozen=True, slots=True)
class _Resolved:
    """An invoice of the file, what it names found, its amounts worked out."""

    reference: str
    tenant: BilledTenant
    lease: BilledLease | None
    draft: InvoiceDraft
    basis: Basis


def create_from_file(db: Database, path: Path, *, actor: str) -> SingleInvoices:
    """Store the invoices of ``path`` (docs/contract.md, section 4), issued today; all of them or none.

    Raises:
        ImportRejectedError: Every bad row, by line.
    """
    requests = read_single_invoices(path)
    settings = settings_service.current_settings(db)
    issued_on = clock.today()
    with db.transaction():
        merge.hold_off_imports(db)
        # Two files at once take turns: one reference is one invoice.
        runs.lock_single_invoices(db)
        known = _numbers(db, [request.reference for request in requests])
        asked = [request for request in requests if request.reference not in known]
        new = [
            issue.NewInvoice(
                draft=each.draft,
                origin="single",
                reference=each.reference,
                cycle_id=None,
                run_id=None,
                tenant=each.tenant,
                premises=issue.Premises.of(each.lease) if each.lease else None,
                settings_version_id=settings.id,
                period=Period.containing(issued_on),
                issued_on=issued_on,
                due_on=issued_on + datetime.timedelta(days=settings.settings.due_days),
                basis=each.basis,
            )
            for each in _resolve(db, asked, leases.tax_table(db, issued_on), path.name)
        ]
        issue.issue(db, new, prefix=settings.settings.invoice_prefix)
        numbers = _numbers(db, [request.reference for request in asked])
        created = {request.reference: numbers[request.reference] for request in asked}
        if created:
            audit.record(
                db, actor=actor, action="invoices_created", subject=path.name, details={"created": created}
            )
        awaiting = len(decide.undecided_single_invoices(db))
    return SingleInvoices(created, known, awaiting)


def decide_anew(db: Database, references: Sequence[str], *, reason: str, actor: str) -> None:
    """Have the next run decide once more on single invoices that got no mail; all of them or none.

    Args:
        references: Of single invoices; of what a correction made, its number.

    Raises:
        InputError: One is unknown, or is not skipped: it was sent, is being sent, or is not decided on yet.
    """
    if not reason.strip():
        raise InputError("reason_missing")
    with db.transaction():
        runs.lock_single_invoices(db)
        which = {"references": list(references)}
        rows = {row["reference"]: row for row in db.execute(_SQL["decisions_of_references"], which)}
        for reference in references:
            row = rows.get(reference)
            if row is None:
                raise NotFoundError("single_invoice_unknown", reference=reference)
            if not row["is_decided"]:
                raise InputError("single_invoice_undecided", reference=reference)
            if row["reason"] is None:
                raise InputError("single_invoice_not_skipped", reference=reference)
        db.execute(_SQL["supersede_skipped"], which)
        audit.record(
            db,
            actor=actor,
            action="single_invoices_decided_anew",
            subject=", ".join(references),
            details={"reason": reason.strip()},
        )


def _numbers(db: Database, references: Sequence[str]) -> dict[str, str]:
    """The numbers of those of ``references`` that are invoices'."""
    rows = db.execute(_SQL["numbers_of_references"], {"references": list(references)})
    return {row["reference"]: row["number"] for row in rows}


def _resolve(
    db: Database, requests: Sequence[SingleInvoiceRequest], taxes: TaxTable, file: str
) -> list[_Resolved]:
    tenants_by_code = leases.tenants_by_code(db, [request.tenant_code for request in requests])
    leases_by_code = leases.leases_by_code(db, [each.lease_code for each in requests if each.lease_code])
    problems: list[RowProblem] = []
    resolved = []
    for request in requests:
        tenant = tenants_by_code.get(request.tenant_code)
        lease = leases_by_code.get(request.lease_code) if request.lease_code else None
        if tenant is None:
            problems.append(_problem(file, request, "tenant_unknown", tenant=request.tenant_code))
            continue
        if request.lease_code and (lease is None or lease.tenant.id != tenant.id):
            values = {"tenant": tenant.code, "lease": request.lease_code}
            problems.append(_problem(file, request, "tenant_has_no_such_lease", **values))
            continue
        currency = lease.terms.currency if lease else _HOME_CURRENCY
        draft = draft_single_invoice(request.lease_code, currency, request.items, taxes)
        if draft.total <= 0:
            problems.append(_problem(file, request, "total_not_positive", total=draft.total))
            continue
        basis = basis_of_items(tenant.code, request.items, taxes)
        resolved.append(_Resolved(request.reference, tenant, lease, draft, basis))
    if problems:
        raise ImportRejectedError(problems)
    return resolved


def _problem(file: str, request: SingleInvoiceRequest, code: str, **values: object) -> RowProblem:
    return RowProblem(file, request.line, None, None, code, values, request.reference)
