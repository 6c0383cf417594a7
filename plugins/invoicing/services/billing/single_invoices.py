"""Invoices made outside the monthly job: stored once by their reference, then sent."""

import datetime
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from psycopg.rows import DictRow

from invoicing.db import audit
from invoicing.db.connection import Database
from invoicing.db.statements import load
from invoicing.domain.errors import ImportRejectedError, InputError, NotFoundError, RowProblem
from invoicing.domain.invoice import InvoiceDraft, draft_single_invoice
from invoicing.domain.period import Period
from invoicing.domain.taxes import TaxTable
from invoicing.services.agency import clock, merge
from invoicing.services.agency import settings as settings_service
from invoicing.services.billing import issue as invoices
from invoicing.services.billing.single_invoice_file import SingleInvoiceRequest, read_single_invoices

_SQL = load("invoice")
_DECISION = load("decision")
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

    created: dict[str, str]
    known: dict[str, str]
    awaiting: int


def create_from_file(db: Database, path: Path, *, actor: str) -> SingleInvoices:
    """Store the invoices of ``path`` (contract, section 4), issued today; all of them or none.

    Raises:
        ImportRejectedError: Every bad row, by line.
    """
    requests = read_single_invoices(path)
    settings = settings_service.current_settings(db)
    issued_on = clock.today()
    with db.transaction():
        merge.hold_off_imports(db)
        # Two files at once take turns: one reference is one invoice.
        db.execute(load("cycle")["lock_single_invoices"])
        known = {
            row["reference"]: row["number"]
            for row in db.execute(_SQL["known_references"], {"references": [r.reference for r in requests]})
        }
        new = [request for request in requests if request.reference not in known]
        resolved = _resolve(db, new, invoices.tax_table(db, issued_on), path.name)
        drafts = [
            invoices.NewInvoice(
                draft=draft,
                origin="single",
                reference=request.reference,
                cycle_id=None,
                run_id=None,
                tenant_id=tenant["id"],
                lease_id=lease["id"] if lease else None,
                settings_version_id=settings.id,
                period=Period.containing(issued_on),
                issued_on=issued_on,
                due_on=issued_on + datetime.timedelta(days=settings.settings.due_days),
                tenant_name=tenant["name"],
                tenant_document_type=tenant["document_type"],
                tenant_document_number=tenant["document_number"],
                tenant_city=tenant["city"],
                language=tenant["language"],
                property=lease["property"] if lease else "",
                property_city=lease["city"] if lease else "",
                use=lease["use"] if lease else "",
            )
            for request, tenant, lease, draft in resolved
        ]
        ids = invoices.issue(db, drafts, prefix=settings.settings.invoice_prefix)
        created = {
            row["reference"]: row["number"] for row in db.execute(_SQL["invoices_by_id"], {"ids": ids})
        }
        if created:
            audit.record(
                db, actor=actor, action="invoices_created", subject=path.name, details={"created": created}
            )
        awaiting = len(db.execute(_DECISION["undecided_single_invoices"]).fetchall())
    return SingleInvoices(created, known, awaiting)


def list_single_invoices(db: Database, references: Sequence[str] | None = None) -> list[dict[str, Any]]:
    """One row an invoice made outside the monthly job: what was decided on it, and what became of it.

    Args:
        references: Only these; None for all.
    """
    parameters = {"references": None if references is None else list(references)}
    return [
        {
            "reference": row["reference"],
            "number": row["number"],
            "tenant": row["tenant"],
            "issued_on": row["issued_on"].isoformat(),
            "due_on": row["due_on"].isoformat(),
            "total": f"{row['total']:f}",
            "currency": row["currency"],
            "state": row["state"],
            "decision": None if row["decision_id"] is None else "skip" if row["reason"] else "send",
            "reason": row["reason"],
            "delivery": row["delivery"],
        }
        for row in db.execute(_DECISION["single_invoices"], parameters)
    ]


def decide_anew(db: Database, references: Sequence[str], *, reason: str, actor: str) -> None:
    """Have the next run decide once more on single invoices that got no mail; all of them or none.

    Raises:
        InputError: One is unknown, or is not skipped: it was sent, is being sent, or is not decided on yet.
    """
    if not reason.strip():
        raise InputError("give a reason: it is kept with what you decide")
    with db.transaction():
        db.execute(load("cycle")["lock_single_invoices"])
        rows = {row["reference"]: row for row in list_single_invoices(db, references)}
        for reference in references:
            if reference not in rows:
                raise NotFoundError(f"there is no single invoice {reference!r}: nothing was changed")
            if rows[reference]["decision"] != "skip":
                decided = rows[reference]["decision"] or "not decided on yet"
                raise InputError(
                    f"single invoice {reference!r} was not skipped ({decided}): nothing was changed"
                )
        db.execute(_DECISION["supersede_single"], {"references": list(references)})
        audit.record(
            db,
            actor=actor,
            action="single_invoices_decided_anew",
            subject=", ".join(references),
            details={"reason": reason.strip()},
        )


def _resolve(
    db: Database, requests: Sequence[SingleInvoiceRequest], taxes: TaxTable, file: str
) -> list[tuple[SingleInvoiceRequest, DictRow, DictRow | None, InvoiceDraft]]:
    tenants = _by_code(db, "tenants_by_code", [request.tenant_code for request in requests])
    leases = _by_code(db, "leases_by_code", [r.lease_code for r in requests if r.lease_code])
    problems: list[RowProblem] = []
    resolved = []
    for request in requests:
        tenant = tenants.get(request.tenant_code)
        lease = leases.get(request.lease_code) if request.lease_code else None
        if tenant is None:
            problems.append(_problem(file, request, "tenant_unknown", tenant=request.tenant_code))
            continue
        if request.lease_code and (lease is None or lease["tenant_id"] != tenant["id"]):
            values = {"tenant": tenant["code"], "lease": request.lease_code}
            problems.append(_problem(file, request, "tenant_has_no_such_lease", **values))
            continue
        currency = lease["currency"] if lease else _HOME_CURRENCY
        draft = draft_single_invoice(request.lease_code, currency, request.items, taxes)
        if draft.total <= 0:
            problems.append(_problem(file, request, "total_not_positive", total=draft.total))
            continue
        resolved.append((request, tenant, lease, draft))
    if problems:
        raise ImportRejectedError(problems)
    return resolved


def _problem(file: str, request: SingleInvoiceRequest, code: str, **values: object) -> RowProblem:
    return RowProblem(file, request.line, None, None, code, values, request.reference)


def _by_code(db: Database, statement: str, codes: list[str]) -> dict[str, DictRow]:
    return {row["code"]: row for row in db.execute(_SQL[statement], {"codes": codes})}
