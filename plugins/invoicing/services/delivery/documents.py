"""From the database's rows to what templates see."""

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence

from psycopg.rows import DictRow

from invoicing.db.connection import Database
from invoicing.db.statements import beside
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
from invoicing.services.agency.logo import printable_logo
from invoicing.services.agency.settings import SettingsVersions

_SQL = beside(__file__)


def load_invoices(
    db: Database, ids: Sequence[int], versions: SettingsVersions | None = None
) -> list[InvoiceDocument]:
    """Invoices as their template sees them, in the order of their numbers.

    Args:
        versions: Of the settings, where many invoices are loaded one by one.
    """
    versions = versions or SettingsVersions()
    rows = db.execute(_SQL["invoices_by_id"], {"ids": list(ids)}).fetchall()
    lines = _by_invoice(db.execute(_SQL["lines_of_invoices"], {"ids": list(ids)}))
    withholdings = _by_invoice(db.execute(_SQL["withholdings_of_invoices"], {"ids": list(ids)}))
    agencies = {
        version: agency_of(versions.find(db, version))
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
            period=Period.parse(row["period"]) if row["is_of_month"] else None,
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
            corrects=row["corrects"],
            corrects_on=row["corrects_on"],
            replaces=row["replaces"],
        )
        for row in rows
    ]


def mail_document(invoices: Sequence[InvoiceDocument], *, language: str, settings: Settings) -> MailDocument:
    """A message to the tenant of ``invoices``, all of one tenant, at least one.

    What notes left of the invoices that they correct is not said.
    """
    first = invoices[0]
    return MailDocument(
        language=language,
        agency=agency_of(settings),
        tenant=first.tenant,
        period=first.period,
        invoices=tuple(
            MailInvoice(
                number=each.number,
                property=each.property,
                total=each.total,
                currency=each.currency,
                due_on=each.due_on,
                filename=filename(each.number),
                corrects=each.corrects,
                replaces=each.replaces,
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
        logo=printable_logo(settings.agency_logo),
        payment_instructions=settings.payment_instructions,
    )


def filename(number: str) -> str:
    """The attachment's name: the invoice's number."""
    return re.sub(r"[^A-Za-z0-9-]", "_", number) + ".pdf"


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
