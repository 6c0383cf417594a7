"""Documents to try a template with: every field filled, and the cases a template is apt to forget."""

import datetime
from dataclasses import fields, is_dataclass, replace
from decimal import Decimal

from invoicing.domain.period import Period
from invoicing.rendering.document import (
    Agency,
    InvoiceDocument,
    Line,
    MailDocument,
    MailInvoice,
    Party,
    Withholding,
)
from invoicing.rendering.fields import TemplateFields
from invoicing.rendering.parts import SUBJECT
from invoicing.rendering.templates import invoice_variables, mail_variables

AGENCY = Agency(
    name="Inmobiliaria de Muestra S.A.S.",
    nit="900.123.456-7",
    address="Carrera 7 # 71-21, oficina 802",
    city="Bogotá D. C.",
    phone="601 555 01 00",
    email="cartera@inmobiliaria.example",
    logo="data:image/gif;base64,R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7",
    payment_instructions="Cuenta de ahorros 000-000000-00\nReferencia: el número de la factura",
)
TENANT = Party("T00001", "Ferretería Núñez & Hijos Ltda.", "NIT", "901.234.567-8", "Bogotá D. C.", "es")


def sample_invoice(language: str = "es") -> InvoiceDocument:
    """A commercial lease's invoice with IVA, withholdings, a prorated charge and a discount."""
    lines = (
        Line("rent", "Carrera 15 # 88-64, local 3", Decimal(4200000), Decimal("0.19"), Decimal(798000)),
        Line("administration", "Cuota de administración", Decimal(189000), Decimal(0), Decimal(0), 15, 30),
        Line("parking", "Parqueadero 12", Decimal(131000), Decimal("0.19"), Decimal(24890)),
        Line("discount", "Descuento por pronto pago", Decimal(-100000)),
    )
    withholdings = (
        Withholding("retefuente", Decimal("0.035"), Decimal(4200000), Decimal(147000)),
        Withholding("reteiva", Decimal("0.15"), Decimal(822890), Decimal(123434)),
        Withholding("reteica", Decimal("0.00966"), Decimal(4200000), Decimal(40572)),
    )
    subtotal = sum((line.amount for line in lines), Decimal(0))
    tax = sum((line.tax for line in lines), Decimal(0))
    withholding = sum((kept.amount for kept in withholdings), Decimal(0))
    return InvoiceDocument(
        number="FV-1042",
        language=language,
        agency=AGENCY,
        tenant=replace(TENANT, language=language),
        lease_code="L00017",
        property="Carrera 15 # 88-64, local 3",
        property_city="Bogotá D. C.",
        use="commercial",
        period=Period(2026, 11),
        lines=lines,
        subtotal=subtotal,
        tax=tax,
        withholdings=withholdings,
        withholding=withholding,
        total=subtotal + tax - withholding,
        currency="COP",
        issued_on=datetime.date(2026, 11, 1),
        due_on=datetime.date(2026, 11, 6),
    )


def sample_invoices() -> list[InvoiceDocument]:
    """Both languages; with everything, and with all that may be missing left out."""
    full = sample_invoice()
    bare = replace(
        full,
        agency=Agency(name=AGENCY.name),
        tenant=Party(TENANT.code, TENANT.name),
        lease_code=None,
        property="",
        property_city="",
        use="",
        period=None,
        lines=(Line("single", "Reparación de la chapa", Decimal("85000.50")),),
        subtotal=Decimal("85000.50"),
        tax=Decimal(0),
        withholdings=(),
        withholding=Decimal(0),
        total=Decimal("85000.50"),
        currency="USD",
        void=True,
    )
    return [full, sample_invoice("en"), bare]


def sample_mail(language: str = "es") -> MailDocument:
    """A message with two invoices."""
    due_on = datetime.date(2026, 11, 6)
    invoices = (
        MailInvoice("FV-1042", "Carrera 15 # 88-64, local 3", Decimal(4795890), "COP", due_on, "FV-1042.pdf"),
        MailInvoice("FV-1043", "Calle 93 # 11-27, apto. 501", Decimal(3150000), "COP", due_on, "FV-1043.pdf"),
    )
    return MailDocument(language, AGENCY, replace(TENANT, language=language), Period(2026, 11), invoices)


def sample_mails() -> list[MailDocument]:
    """Both languages; several invoices, and a single one without period, property or agency details."""
    full = sample_mail()
    single = replace(full.invoices[0], property="", currency="USD")
    bare = replace(full, agency=Agency(name=AGENCY.name), period=None, invoices=(single,))
    return [full, sample_mail("en"), bare]


def variables(part: str, fields: TemplateFields | None = None) -> list[tuple[str, str]]:
    """Names that ``part`` (or the subject) may use, each with a sample value, for a template's editor.

    Args:
        fields: The template's; without them the sentences' values are empty.
    """
    kept = fields or TemplateFields()
    named = (
        invoice_variables(sample_invoice(), kept)
        if part.startswith("invoice")
        else mail_variables(sample_mail(), kept)
    )
    listed: list[tuple[str, str]] = []
    for name, value in named.items():
        if part == SUBJECT and name in ("texts", "look"):
            # Of use in a message's body alone.
            continue
        listed += _described(name, value)
    return listed


def _described(name: str, value: object) -> list[tuple[str, str]]:
    if isinstance(value, tuple):
        return _described(f"{name}[0]", value[0]) if value else []
    if is_dataclass(value) and not isinstance(value, Period):
        return [
            described
            for child in fields(value)
            if not (name == "invoice" and child.name in ("agency", "tenant", "period", "language"))
            for described in _described(f"{name}.{child.name}", getattr(value, child.name))
        ]
    text = str(value)
    return [(name, text if len(text) <= 60 else text[:59] + "…")]
