"""From the database's rows to what templates see, and the kept documents themselves."""

import hashlib
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from psycopg.rows import DictRow

from invoicing.db.connection import Database
from invoicing.db.statements import load
from invoicing.domain.errors import PermanentFailureError
from invoicing.domain.period import Period
from invoicing.domain.settings import Settings
from invoicing.rendering.document import (
    Agency,
    InvoiceDocument,
    Line,
    MailDocument,
    MailInvoice,
    Party,
    Withholding,
)
from invoicing.services.agency import settings as settings_service
from invoicing.services.delivery.archive import Archive

_SQL = load("invoice")


class DocumentDamagedError(PermanentFailureError):
    """A kept document is missing, or is not what was kept: it is not sent."""


@dataclass(frozen=True, slots=True)
class KeptDocument:
    """A PDF from the archive, its checksum verified."""

    filename: str
    content: bytes


def load_invoices(db: Database, ids: Sequence[int]) -> list[InvoiceDocument]:
    """Invoices as their template sees them, in the order of their numbers."""
    rows = db.execute(_SQL["invoices_by_id"], {"ids": list(ids)}).fetchall()
    lines = _by_invoice(db.execute(_SQL["lines_of_invoices"], {"ids": list(ids)}))
    withholdings = _by_invoice(db.execute(_SQL["withholdings_of_invoices"], {"ids": list(ids)}))
    agencies = {
        version: agency_of(settings_service.settings_version(db, version).settings)
        for version in {row["settings_version_id"] for row in rows}
    }
    return [
        InvoiceDocument(
            number=row["number"],
            language=row["language"],
            agency=agencies[row["settings_version_id"]],
            tenant=_party(row),
            lease_code=row["lease_code"],
            property=row["property"],
            property_city=row["property_city"],
            use=row["use"],
            period=Period.parse(row["period"]) if row["origin"] == "monthly" else None,
            lines=tuple(
                Line(
                    each["concept"],
                    each["description"],
                    each["amount"],
                    each["tax_rate"],
                    each["tax"],
                    each["active_days"],
                    each["period_days"],
                )
                for each in lines[row["id"]]
            ),
            subtotal=row["subtotal"],
            tax=row["tax"],
            withholdings=tuple(
                Withholding(each["tax"], each["rate"], each["base"], each["amount"])
                for each in withholdings[row["id"]]
            ),
            withholding=row["withholding"],
            total=row["total"],
            currency=row["currency"],
            issued_on=row["issued_on"],
            due_on=row["due_on"],
            void=row["state"] == "void",
        )
        for row in rows
    ]


def mail_document(invoices: Sequence[InvoiceDocument], *, language: str, settings: Settings) -> MailDocument:
    """A message to the tenant of ``invoices``, all of one tenant, at least one."""
    first = invoices[0]
    return MailDocument(
        language=language,
        agency=agency_of(settings),
        tenant=first.tenant,
        period=first.period,
        invoices=tuple(
            MailInvoice(
                each.number, each.property, each.total, each.currency, each.due_on, filename(each.number)
            )
            for each in invoices
        ),
    )


def agency_of(settings: Settings) -> Agency:
    """The issuer, as the settings describe it."""
    return Agency(
        name=settings.agency_name,
        nit=settings.agency_nit,
        address=settings.agency_address,
        city=settings.agency_city,
        phone=settings.agency_phone,
        email=settings.agency_email,
        logo=settings.agency_logo,
        payment_instructions=settings.payment_instructions,
    )


def filename(number: str) -> str:
    """The attachment's name: the invoice's number."""
    return re.sub(r"[^A-Za-z0-9-]", "_", number) + ".pdf"


def keep(db: Database, archive: Archive, invoice_id: int, template_version_id: int, pdf: bytes) -> None:
    """Store a rendered invoice and its checksum; where another worker was first, its document stands.

    The file is stored before the row says so: an interrupted store leaves a file that nothing refers to.
    """
    row = db.execute(_SQL["invoices_by_id"], {"ids": [invoice_id]}).fetchone()
    assert row is not None
    sha256 = hashlib.sha256(pdf).hexdigest()
    uri = archive.store(f"{row['period']}/{sha256[:12]}-{filename(row['number'])}", pdf)
    db.execute(
        _SQL["add_document"],
        {
            "invoice_id": invoice_id,
            "uri": uri,
            "sha256": sha256,
            "size_bytes": len(pdf),
            "template_version_id": template_version_id,
        },
    )


def fetch(db: Database, archive: Archive, invoice_ids: Sequence[int]) -> list[KeptDocument]:
    """The kept documents of invoices, in the order of their numbers, checksums verified.

    Raises:
        DocumentDamagedError: One was never rendered, is missing, or was altered.
    """
    documents = {row["invoice_id"]: row for row in db.execute(_SQL["documents"], {"ids": list(invoice_ids)})}
    invoices = db.execute(_SQL["invoices_by_id"], {"ids": list(invoice_ids)}).fetchall()
    kept = []
    for invoice in invoices:
        document = documents.get(invoice["id"])
        if document is None:
            raise DocumentDamagedError(
                f"invoice {invoice['number']} has no document: clear its render_invoices task, then this one"
            )
        try:
            content = archive.fetch(document["uri"])
        except OSError as error:
            raise DocumentDamagedError(
                f"the document of invoice {invoice['number']} cannot be read at {document['uri']} "
                f"({error.strerror or error}): restore the file"
            ) from error
        if hashlib.sha256(content).hexdigest() != document["sha256"]:
            raise DocumentDamagedError(
                f"the document of invoice {invoice['number']} at {document['uri']} is not the one that was "
                "kept (its SHA-256 differs): restore the file"
            )
        kept.append(KeptDocument(filename(invoice["number"]), content))
    return kept


def _party(row: DictRow) -> Party:
    return Party(
        code=row["tenant_code"],
        name=row["tenant_name"],
        document_type=row["tenant_document_type"],
        document_number=row["tenant_document_number"],
        city=row["tenant_city"],
        language=row["language"],
    )


def _by_invoice(rows: Iterable[DictRow]) -> defaultdict[int, list[DictRow]]:
    grouped: defaultdict[int, list[DictRow]] = defaultdict(list)
    for row in rows:
        grouped[row["invoice_id"]].append(row)
    return grouped
