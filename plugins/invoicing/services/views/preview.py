"""What a template makes of a tenant's documents before it is saved."""

import datetime
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from invoicing.db.connection import Database
from invoicing.db.statements import beside, fetch_all, fetch_one
from invoicing.domain.discretion import Personal
from invoicing.domain.errors import InputError, NotFoundError
from invoicing.domain.invoice import InvoiceDraft
from invoicing.domain.lease import Lease
from invoicing.domain.period import Period
from invoicing.domain.settings import DEFAULT_SUBJECT, Settings
from invoicing.rendering.assignment import Limits
from invoicing.rendering.document import InvoiceDocument, Line, MailDocument, Party, Withholding
from invoicing.rendering.invoice import InvoiceRenderer
from invoicing.rendering.mail import MAIL_LIMITS, MailContent, MailRenderer
from invoicing.rendering.sample import sample_invoice, sample_mail
from invoicing.rendering.templates import Template
from invoicing.services.agency import clock, searching
from invoicing.services.agency import settings as settings_service
from invoicing.services.agency.templates import current_template
from invoicing.services.billing import decide, leases, single_invoices
from invoicing.services.billing.single_invoice_request import SingleInvoiceRequest
from invoicing.services.billing.single_invoices import SingleInvoiceDraft
from invoicing.services.delivery import documents

_SQL = beside(__file__)

_MOST_INVOICES = 5
_MOST_NAMED = 5
_MAIL_LIMITS = replace(MAIL_LIMITS, seconds=5)
_INVOICE_LIMITS = Limits(seconds=10)


class NoInvoiceError(InputError):
    """The tenant has no invoice in the period, nor would one be issued."""


class AmbiguousTenantError(InputError):
    """Several tenants are named so; some of them are listed."""


@dataclass(frozen=True, slots=True)
class Documents:
    """What a template is tried with.

    Args:
        source: ``issued``: the invoices as they were issued; ``simulated``: what would be issued;
            ``sample``: a tenant of our own making.
    """

    invoices: Sequence[InvoiceDocument]
    mail: MailDocument
    subject: str
    source: Literal["issued", "simulated", "sample"]


@dataclass(frozen=True, slots=True)
class _Tenant:
    id: int
    code: str
    name: str
    document_type: str
    document_number: str
    city: str
    language: str


def gather(
    db: Database, tenant_sought: str = "", period: Period | None = None, language: str = ""
) -> Documents:
    """Collect the documents of a tenant's month; without a tenant, of a sample one.

    Args:
        tenant_sought: A code, a name, or words that one tenant alone has.
        period: Without one, the current month.
        language: Another than the tenant's own.

    Raises:
        NotFoundError: There is no such tenant.
        AmbiguousTenantError: There are several.
        NoInvoiceError: There is nothing to show.
    """
    settings = settings_service.current_settings(db).settings
    subject = settings.subject or DEFAULT_SUBJECT
    if not tenant_sought:
        return _sample(settings, period, language or "es", subject)
    tenant = _find_tenant(db, tenant_sought.replace("\0", ""))
    month = period or Period.containing(clock.today())
    chosen = language or tenant.language
    ids = [
        row["id"]
        for row in db.execute(
            _SQL["invoices_to_show"],
            {"tenant_id": tenant.id, "period": str(month), "limit": _MOST_INVOICES},
        )
    ]
    found = documents.load_invoices(db, ids) if ids else _simulated(db, tenant, month, settings)
    if not found:
        raise NoInvoiceError("tenant_without_invoice", tenant=tenant.code, period=month)
    shown = [replace(each, language=chosen) if language else each for each in found]
    mail = documents.mail_document(shown, language=chosen, settings=settings)
    return Documents(shown, mail, subject, "issued" if ids else "simulated")


def render_mail(template: Template, shown: Documents) -> MailContent:
    """The message; raises `RenderFailedError`."""
    with MailRenderer(template, shown.subject, _MAIL_LIMITS) as renderer:
        return renderer.render(shown.mail)


def render_invoices(template: Template, shown: Sequence[InvoiceDocument]) -> list[bytes]:
    """One PDF per invoice; raises `RenderFailedError`."""
    with InvoiceRenderer(template, _INVOICE_LIMITS) as renderer:
        return [renderer.render(each) for each in shown]


def would_be_issued(db: Database, lease_code: str, period: Period, number: str = "") -> InvoiceDocument:
    """The invoice that the month's run would issue for a lease; nothing is written.

    Args:
        number: What it would have; without one, one that says that it is none.

    Raises:
        NotFoundError: There is no such lease, or it would have no invoice.
        InputError: It cannot be worked out.
    """
    settings = settings_service.current_settings(db).settings
    known = leases.leases_by_code(db, [lease_code.replace("\0", "")]).get(lease_code)
    draft = None
    if known is not None:
        known = leases.leases_by_id(db, [known.id], period)[known.id]
        draft = leases.draft_lease(known, period, leases.tax_table(db, period.first_day))
    if known is None or draft is None or draft.total <= 0:
        raise NotFoundError("lease_not_foreseen", lease=lease_code, period=period)
    tenant = fetch_one(db, _Tenant, _SQL["tenant_to_show"], {"code": known.tenant.code})
    assert tenant is not None
    return _document(number or f"{settings.invoice_prefix}000", known.terms, draft, tenant, period, settings)


@dataclass(frozen=True, slots=True)
class SinglePreview:
    """What a single invoice would be, and what would become of it.

    Args:
        drafted: Its amounts, its tenant and its lease.
        reason: Why it would not be sent; None where it would.
        to: Who would get it, as ``cc`` would in copy.
    """

    drafted: SingleInvoiceDraft
    documents: Documents
    reason: str | None
    to: Personal[Sequence[str]]
    cc: Personal[Sequence[str]]


def single_invoice(db: Database, request: SingleInvoiceRequest) -> SinglePreview:
    """What `single_invoices.create` would store, and the next run send; no number is taken, nothing is written.

    Raises:
        FieldsRefusedError: It cannot be created.
    """
    settings = settings_service.current_settings(db).settings
    drafted = single_invoices.draft(db, request)
    today = Period.containing(clock.today())
    addressee, decision = decide.foresee_single_invoice(db, drafted.tenant.id, today, settings.policy)
    tenant = fetch_one(db, _Tenant, _SQL["tenant_to_show"], {"code": drafted.tenant.code})
    assert tenant is not None
    terms = drafted.lease.terms if drafted.lease else None
    number = f"{settings.invoice_prefix}000"
    invoice = _document(number, terms, drafted.draft, tenant, None, settings)
    mail = documents.mail_document([invoice], language=tenant.language, settings=settings)
    shown = Documents([invoice], mail, settings.subject or DEFAULT_SUBJECT, "simulated")
    return SinglePreview(drafted, shown, decision.reason, addressee.emails, addressee.cc_emails)


def current_look(db: Database) -> Template:
    """The template that a run takes today."""
    return current_template(db, settings_service.current_settings(db).settings.template).template


def _find_tenant(db: Database, sought: str) -> _Tenant:
    tenant = fetch_one(db, _Tenant, _SQL["tenant_to_show"], {"code": sought})
    if tenant is not None:
        return tenant
    limit = {"limit": _MOST_NAMED + 1}
    words = searching.patterns(sought)
    found = fetch_all(db, _Tenant, _SQL["tenants_by_name"], {"name": sought, **limit})
    if not found and words:
        found = fetch_all(db, _Tenant, _SQL["tenants_by_words"], {"patterns": words, **limit})
    if not found:
        raise NotFoundError("tenant_unknown", tenant=sought)
    if len(found) > 1:
        listed = ", ".join(f"{each.code} {each.name}" for each in found[:_MOST_NAMED])
        more = ", …" if len(found) > _MOST_NAMED else ""
        raise AmbiguousTenantError("tenant_ambiguous", tenant=sought, found=listed + more)
    return found[0]


def _sample(settings: Settings, period: Period | None, language: str, subject: str) -> Documents:
    agency = documents.agency_of(settings)
    invoice, mail = sample_invoice(language), sample_mail(language)
    if agency.name:
        invoice, mail = replace(invoice, agency=agency), replace(mail, agency=agency)
    if period is not None:
        invoice, mail = replace(invoice, period=period), replace(mail, period=period)
    return Documents([invoice], mail, subject, "sample")


def _simulated(db: Database, tenant: _Tenant, period: Period, settings: Settings) -> list[InvoiceDocument]:
    """The invoices that the month's run would issue, unnumbered; nothing is written."""
    taxes = leases.tax_table(db, period.first_day)
    made = []
    found = leases.leases_of_tenant(db, tenant.id, period, most=_MOST_INVOICES)
    for position, lease in enumerate(found, start=1):
        draft = leases.draft_lease(lease, period, taxes)
        if draft is not None and draft.total > 0:
            number = f"{settings.invoice_prefix}{'0' * 3}{position}"
            made.append(_document(number, lease.terms, draft, tenant, period, settings))
    return made


def _document(
    number: str,
    lease: Lease | None,
    draft: InvoiceDraft,
    tenant: _Tenant,
    period: Period | None,
    settings: Settings,
) -> InvoiceDocument:
    issued_on = clock.today()
    return InvoiceDocument(
        number=number,
        language=tenant.language,
        agency=documents.agency_of(settings),
        tenant=Party(
            tenant.code,
            tenant.name,
            tenant.document_type,
            tenant.document_number,
            tenant.city,
            tenant.language,
        ),
        lease_code=lease.code if lease else None,
        property=lease.property if lease else "",
        property_city=lease.city if lease else "",
        use=lease.use if lease else "",
        period=period,
        lines=tuple(
            Line(
                each.concept,
                each.description,
                each.amount,
                each.tax_rate,
                each.tax,
                each.active.active if each.active else None,
                each.active.total if each.active else None,
            )
            for each in draft.lines
        ),
        subtotal=draft.subtotal,
        tax=draft.tax,
        withholdings=tuple(
            Withholding(each.tax, each.rate, each.base, each.amount) for each in draft.withholdings
        ),
        withholding=draft.withholding,
        total=draft.total,
        currency=draft.currency,
        issued_on=issued_on,
        due_on=issued_on + datetime.timedelta(days=settings.due_days),
    )
