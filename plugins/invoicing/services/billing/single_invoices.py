"""Invoices made outside the monthly job: stored once by their reference, then sent."""

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from invoicing.db import audit
from invoicing.db.connection import Database
from invoicing.db.statements import beside
from invoicing.domain.errors import (
    FieldsRefusedError,
    ImportRejectedError,
    InputError,
    NotFoundError,
    RowProblem,
)
from invoicing.domain.invoice import InvoiceDraft, draft_single_invoice
from invoicing.domain.period import Period
from invoicing.domain.taxes import TaxTable
from invoicing.services.agency import clock, merge
from invoicing.services.agency import settings as settings_service
from invoicing.services.billing import decide, issue, leases, runs
from invoicing.services.billing.basis import Basis, basis_of_items
from invoicing.services.billing.leases import BilledLease, BilledTenant
from invoicing.services.billing.single_invoice_file import read_single_invoices
from invoicing.services.billing.single_invoice_request import SingleInvoiceRequest
from invoicing.words.failures import Fault

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
class SingleInvoiceDraft:
    """An invoice that was asked for, what it names found, its amounts worked out."""

    reference: str
    tenant: BilledTenant
    lease: BilledLease | None
    draft: InvoiceDraft
    basis: Basis


@dataclass(frozen=True, slots=True)
class CreatedInvoice:
    """What became of one invoice that was asked for.

    Args:
        is_new: False where just this invoice was created before, by the same reference.
    """

    number: str
    is_new: bool


def create_from_file(db: Database, path: Path, *, actor: str) -> SingleInvoices:
    """Store the invoices of ``path`` (docs/contract.md, section 4), issued today; all of them or none.

    Raises:
        ImportRejectedError: Every bad row, by line.
    """
    requests = read_single_invoices(path)
    with db.transaction():
        known = _begin(db, requests)
        asked = [request for request in requests if request.reference not in known]
        created = _issue(db, _resolve_file(db, asked, path.name), source=path.name, actor=actor)
        awaiting = len(decide.undecided_single_invoices(db))
    return SingleInvoices(created, known, awaiting)


def create(db: Database, request: SingleInvoiceRequest, *, source: str, actor: str) -> CreatedInvoice:
    """Store one invoice, issued today; asked for once more, it is the same invoice.

    Args:
        source: Where it was asked for, kept in the audit.

    Raises:
        FieldsRefusedError: The tenant or the lease does not exist, the total is nothing or less, or another invoice
            has the reference.
    """
    with db.transaction():
        known = _begin(db, [request])
        drafted = draft(db, request)
        if request.reference in known:
            number = known[request.reference]
            if not _is_same(db, drafted):
                fault = Fault("reference_of_other_invoice", reference=request.reference, number=number)
                raise FieldsRefusedError({"reference": fault})
            return CreatedInvoice(number, is_new=False)
        created = _issue(db, [drafted], source=source, actor=actor)
    return CreatedInvoice(created[request.reference], is_new=True)


def is_known(db: Database, reference: str) -> bool:
    """Whether an invoice has the reference."""
    return bool(_numbers(db, [reference]))


def draft(db: Database, request: SingleInvoiceRequest) -> SingleInvoiceDraft:
    """Work out what `create` would store, by the rates of today; writes nothing.

    Raises:
        FieldsRefusedError: As `create` raises it, but for the reference.
    """
    tenants = leases.tenants_by_code(db, [request.tenant_code])
    known = leases.leases_by_code(db, [request.lease_code] if request.lease_code else [])
    return _resolve(request, tenants, known, leases.tax_table(db, clock.today()))


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


def _begin(db: Database, requests: Sequence[SingleInvoiceRequest]) -> Mapping[str, str]:
    """Take the turn of whoever makes single invoices; the requests' references that are invoices', to their number."""
    merge.hold_off_imports(db)
    # Two at once take turns: one reference is one invoice.
    runs.lock_single_invoices(db)
    return _numbers(db, [request.reference for request in requests])


def _issue(db: Database, drafts: Sequence[SingleInvoiceDraft], *, source: str, actor: str) -> dict[str, str]:
    """Number and store ``drafts``; reference to number."""
    if not drafts:
        return {}
    settings = settings_service.current_settings(db)
    issued_on = clock.today()
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
        for each in drafts
    ]
    issue.issue(db, new, prefix=settings.settings.invoice_prefix)
    numbers = _numbers(db, [each.reference for each in drafts])
    created = {each.reference: numbers[each.reference] for each in drafts}
    audit.record(db, actor=actor, action="invoices_created", subject=source, details={"created": created})
    return created


def _is_same(db: Database, drafted: SingleInvoiceDraft) -> bool:
    """Whether the invoice that has the reference is what is asked for now, but for the rates of its day."""
    lease = drafted.lease.terms.code if drafted.lease else None
    lines = [(line.description, line.amount, bool(line.tax_rate)) for line in drafted.draft.lines]
    found = db.execute(_SQL["lines_of_reference"], {"reference": drafted.reference}).fetchall()
    return [(row["description"], row["amount"], row["is_taxed"]) for row in found] == lines and {
        (row["tenant"], row["lease"]) for row in found
    } == {(drafted.tenant.code, lease)}


def _resolve_file(
    db: Database, requests: Sequence[SingleInvoiceRequest], file: str
) -> list[SingleInvoiceDraft]:
    tenants_by_code = leases.tenants_by_code(db, [request.tenant_code for request in requests])
    leases_by_code = leases.leases_by_code(db, [each.lease_code for each in requests if each.lease_code])
    taxes = leases.tax_table(db, clock.today())
    problems: list[RowProblem] = []
    resolved = []
    for request in requests:
        try:
            resolved.append(_resolve(request, tenants_by_code, leases_by_code, taxes))
        except FieldsRefusedError as error:
            place = (file, request.line, None, None)
            problems += [
                RowProblem(*place, fault.code, fault.values, request.reference)
                for fault in error.faults.values()
            ]
    if problems:
        raise ImportRejectedError(problems)
    return resolved


def _resolve(
    request: SingleInvoiceRequest,
    tenants: Mapping[str, BilledTenant],
    known: Mapping[str, BilledLease],
    taxes: TaxTable,
) -> SingleInvoiceDraft:
    tenant = tenants.get(request.tenant_code)
    if tenant is None:
        raise FieldsRefusedError({"tenant": Fault("tenant_unknown", tenant=request.tenant_code)})
    lease = known.get(request.lease_code) if request.lease_code else None
    if request.lease_code and (lease is None or lease.tenant.id != tenant.id):
        unknown = Fault("tenant_has_no_such_lease", tenant=tenant.code, lease=request.lease_code)
        raise FieldsRefusedError({"lease": unknown})
    currency = lease.terms.currency if lease else _HOME_CURRENCY
    try:
        drafted = draft_single_invoice(request.lease_code, currency, request.items, taxes)
    except InputError as error:
        raise FieldsRefusedError({"lines": error}) from None
    if drafted.total <= 0:
        raise FieldsRefusedError({"lines": Fault("total_not_positive", total=drafted.total)})
    basis = basis_of_items(tenant.code, request.items, taxes)
    return SingleInvoiceDraft(request.reference, tenant, lease, drafted, basis)
