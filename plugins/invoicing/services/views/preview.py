"""What a template makes of a tenant's documents before it is saved; and a test message to look at in a mail reader."""

import datetime
import threading
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Literal

from psycopg.rows import DictRow

from invoicing.db import audit
from invoicing.db.connection import Database
from invoicing.db.statements import load
from invoicing.domain.address import problem as address_problem
from invoicing.domain.address import to_envelope
from invoicing.domain.errors import InputError, NotFoundError, TemporaryFailureError
from invoicing.domain.invoice import InvoiceDraft
from invoicing.domain.period import Period
from invoicing.domain.settings import DEFAULT_SUBJECT, Settings
from invoicing.mail.message import Attachment, Mailbox, OutgoingMail, build
from invoicing.mail.transmission import Outcome, Relay
from invoicing.rendering.assignment import Limits
from invoicing.rendering.document import InvoiceDocument, Line, MailDocument, Party, Withholding
from invoicing.rendering.invoice import InvoiceRenderer
from invoicing.rendering.mail import MailContent, MailRenderer
from invoicing.rendering.sample import sample_invoice, sample_mail
from invoicing.rendering.templates import Template
from invoicing.services.agency import clock
from invoicing.services.agency import settings as settings_service
from invoicing.services.billing import generate
from invoicing.services.billing import issue as invoices
from invoicing.services.delivery import documents, select

_SQL = load("template")

MARK = "[PRUEBA] "
"""What the subject of a test message starts with."""

_MOST_INVOICES = 5
_MAIL_LIMITS = Limits(seconds=5, memory_bytes=256 * 1024 * 1024, output_bytes=2 * 1024 * 1024)
_INVOICE_LIMITS = Limits(seconds=10)
# Each preview takes a core while it lasts: other people's pages need one too.
_AT_ONCE = threading.BoundedSemaphore(2)
_PATIENCE_SECONDS = 30.0


class PreviewsBusyError(TemporaryFailureError):
    """Other people's previews are being made; in a moment it is one's turn."""


class NoInvoiceError(InputError):
    """The tenant has no invoice in the period, nor would one be issued."""


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


def gather(
    db: Database, tenant_code: str = "", period: Period | None = None, language: str = ""
) -> Documents:
    """Collect the documents of a tenant's month; without a tenant, of a sample one.

    Args:
        period: Without one, the current month.
        language: Another than the tenant's own.

    Raises:
        NotFoundError: There is no such tenant.
        NoInvoiceError: There is nothing to show.
    """
    settings = settings_service.current_settings(db).settings
    subject = settings.subject or DEFAULT_SUBJECT
    if not tenant_code:
        return _sample(settings, period, language or "es", subject)
    tenant = db.execute(_SQL["tenant_to_show"], {"code": tenant_code.replace("\0", "")}).fetchone()
    if tenant is None:
        raise NotFoundError(f"there is no tenant {tenant_code!r}")
    month = period or Period.containing(clock.today())
    chosen = language or tenant["language"]
    ids = [
        row["id"]
        for row in db.execute(
            _SQL["invoices_to_show"],
            {"tenant_id": tenant["id"], "period": str(month), "limit": _MOST_INVOICES},
        )
    ]
    found = documents.load_invoices(db, ids) if ids else _simulated(db, tenant, month, settings)
    if not found:
        raise NoInvoiceError(f"tenant {tenant_code} has no invoice in {month}, and would have none")
    shown = [replace(each, language=chosen) if language else each for each in found]
    mail = documents.mail_document(shown, language=chosen, settings=settings)
    return Documents(shown, mail, subject, "issued" if ids else "simulated")


def render_mail(template: Template, shown: Documents) -> MailContent:
    """The message; raises `RenderFailedError` or `PreviewsBusyError`."""
    with _turn(), MailRenderer(template, shown.subject, _MAIL_LIMITS) as renderer:
        return renderer.render(shown.mail)


def render_invoices(template: Template, shown: Sequence[InvoiceDocument]) -> list[bytes]:
    """A PDF an invoice; raises `RenderFailedError` or `PreviewsBusyError`."""
    with _turn(), InvoiceRenderer(template, _INVOICE_LIMITS) as renderer:
        return [renderer.render(each) for each in shown]


def check_recipient(address: str) -> None:
    """Raise `InputError` where no test can go to ``address``: it takes a single one."""
    why = address_problem(address) if address else "type the address to send the test to"
    if why:
        raise InputError(str(why))


def send_test(
    relay: Relay,
    content: MailContent,
    pdfs: Mapping[str, bytes],
    *,
    to: str,
    settings: Settings,
    sender: str | None,
) -> Outcome:
    """Send one message to look at. It is no delivery: the ledger knows nothing of it.

    Args:
        pdfs: File name to content.
        sender: The connection's own from-address, for settings that name none.

    Raises:
        InputError: The address is none, or there is no sender's address.
        UnsafeMessageError: The message would not say what is meant.
        RelayUnavailableError: There is no relay to send through.
    """
    check_recipient(to)
    from_address = settings.from_email or sender
    if not from_address:
        raise InputError("there is no sender's address: set from_email, or from_email in the connection")
    payload = build(
        OutgoingMail(
            message_id=select.message_id(settings),
            date=datetime.datetime.now(datetime.UTC),
            sender=Mailbox(settings.from_name or settings.agency_name, from_address),
            reply_to=settings.reply_to,
            to=(to,),
            cc=(),
            subject=MARK + content.subject,
            text=content.text,
            html=content.html,
            attachments=tuple(Attachment(name, pdf) for name, pdf in pdfs.items()),
            delivery_id=f"test-{uuid.uuid4()}",
        )
    )
    return relay.transmit(to_envelope(from_address), [to_envelope(to)], payload, before_payload=lambda: None)


def record_test(db: Database, template: str, to: str, outcome: Outcome, *, actor: str) -> None:
    """Keep in the audit who had a test sent where."""
    audit.record(
        db,
        actor=actor,
        action="template_test_sent",
        subject=f"template {template}",
        details={"to": to, "verdict": outcome.verdict, "code": outcome.code, "reply": outcome.reply},
    )


def _sample(settings: Settings, period: Period | None, language: str, subject: str) -> Documents:
    agency = documents.agency_of(settings)
    invoice, mail = sample_invoice(language), sample_mail(language)
    if agency.name:
        invoice, mail = replace(invoice, agency=agency), replace(mail, agency=agency)
    if period is not None:
        invoice, mail = replace(invoice, period=period), replace(mail, period=period)
    return Documents([invoice], mail, subject, "sample")


def _simulated(db: Database, tenant: DictRow, period: Period, settings: Settings) -> list[InvoiceDocument]:
    """The invoices that the month's run would issue, unnumbered; nothing is written."""
    leases = db.execute(
        _SQL["leases_to_show"],
        {
            "tenant_id": tenant["id"],
            "first_day": period.first_day,
            "last_day": period.last_day,
            "limit": _MOST_INVOICES,
        },
    ).fetchall()
    charges = invoices.charges_due(db, [row["id"] for row in leases], period)
    taxes = invoices.tax_table(db, period.first_day)
    made = []
    for position, row in enumerate(leases, start=1):
        withheld = {**row, "withholding_agent": tenant["withholding_agent"]}
        draft = generate.draft_lease(withheld, charges.get(row["id"], []), period, taxes)
        if draft is not None and draft.total > 0:
            number = f"{settings.invoice_prefix}{'0' * 3}{position}"
            made.append(_document(number, row, draft, tenant, period, settings))
    return made


def _document(
    number: str, lease: DictRow, draft: InvoiceDraft, tenant: DictRow, period: Period, settings: Settings
) -> InvoiceDocument:
    issued_on = clock.today()
    return InvoiceDocument(
        number=number,
        language=tenant["language"],
        agency=documents.agency_of(settings),
        tenant=Party(
            tenant["code"],
            tenant["name"],
            tenant["document_type"],
            tenant["document_number"],
            tenant["city"],
            tenant["language"],
        ),
        lease_code=lease["code"],
        property=lease["property"],
        property_city=lease["city"],
        use=lease["use"],
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


@contextmanager
def _turn() -> Iterator[None]:
    if not _AT_ONCE.acquire(timeout=_PATIENCE_SECONDS):
        raise PreviewsBusyError("other previews are being made: try again in a moment")
    try:
        yield
    finally:
        _AT_ONCE.release()
