"""The message of a delivery, from what the ledger froze of it."""

import builtins
import datetime
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from decimal import Decimal

from invoicing.db.connection import Database
from invoicing.db.statements import beside, fetch_all
from invoicing.domain.address import invalid_addresses, to_envelope
from invoicing.domain.errors import InputError
from invoicing.domain.period import Period
from invoicing.domain.settings import Settings
from invoicing.mail.message import Attachment, Mailbox, OutgoingMail, build
from invoicing.rendering.document import MailDocument, MailInvoice, Party
from invoicing.rendering.mail import MailRenderer
from invoicing.rendering.templates import Template
from invoicing.services.agency.settings import SettingsVersions
from invoicing.services.agency.templates import template_version
from invoicing.services.delivery import archive as kept_documents
from invoicing.services.delivery.archive import Archive, DocumentRecord
from invoicing.services.delivery.documents import agency_of, filename
from invoicing.services.delivery.ledger import Delivery

_SQL = beside(__file__)


@dataclass(frozen=True, slots=True)
class Mail:
    """A message ready to be transmitted."""

    sender: str
    recipients: tuple[str, ...]
    payload: bytes


@dataclass(frozen=True, slots=True)
class Ingredients:
    """What a message is made of, as the database has it.

    Args:
        records: Where its invoices' documents are.
        said: What its words are made of; lines and withholdings are the documents' alone.
    """

    delivery: Delivery
    settings: Settings
    template: Template
    records: Sequence[DocumentRecord]
    said: MailDocument


@dataclass(frozen=True, slots=True)
class _Carried:
    """An invoice that a delivery carries, with what is known of its document."""

    number: str
    is_of_month: bool
    period: str
    language: str
    tenant_code: str
    tenant_name: str
    tenant_document_type: str
    tenant_document_number: str
    tenant_city: str
    property: str
    total: Decimal
    currency: str
    due_on: datetime.date
    corrects: str | None
    left: Decimal | None
    replaces: str | None
    key: str | None
    former_uri: str | None
    sha256: str | None

    @builtins.property  # `property` is a field here
    def record(self) -> DocumentRecord:
        return DocumentRecord(self.number, self.key, self.former_uri, self.sha256)

    @builtins.property  # `property` is a field here
    def tenant(self) -> Party:
        return Party(
            code=self.tenant_code,
            name=self.tenant_name,
            document_type=self.tenant_document_type,
            document_number=self.tenant_document_number,
            city=self.tenant_city,
            language=self.language,
        )

    @builtins.property  # `property` is a field here
    def attached(self) -> MailInvoice:
        return MailInvoice(
            number=self.number,
            property=self.property,
            total=self.total,
            currency=self.currency,
            due_on=self.due_on,
            filename=filename(self.number),
            corrects=self.corrects,
            left=self.left,
            replaces=self.replaces,
        )


class Composer:
    """Builds the messages of a batch; what several deliveries share is loaded and started once."""

    def __init__(self, archive: Archive, stack: ExitStack, sender: str | None) -> None:
        self._archive = archive
        self._stack = stack
        self._sender = sender
        self._settings = SettingsVersions()
        self._templates: dict[int, Template] = {}
        self._renderers: dict[tuple[int, int], MailRenderer] = {}

    def compose(self, db: Database, delivery: Delivery) -> Mail:
        """The message of ``delivery``: the same bytes each time, as long as its content is frozen.

        Raises:
            DocumentDamagedError, RenderFailedError, UnsafeMessageError, InputError: It cannot be sent as
                it is; the message says what to fix.
            StorageFaultError, RenderInterruptedError: Another try may find all well.
        """
        return self.assemble(self.gather(db, delivery))

    def gather(self, db: Database, delivery: Delivery) -> Ingredients:
        """All that the database knows of it.

        Raises:
            InputError: A sender is missing, a recipient is wrong, or all that it carried was voided.
        """
        settings = self._settings.find(db, delivery.settings_version_id)
        if not (settings.from_email or self._sender):
            raise InputError("no_sender")
        problems = invalid_addresses((*delivery.to_addresses, *delivery.cc_addresses))
        if problems:
            raise InputError("recipient_invalid", address=problems[0].address, why=problems[0].reason)
        carried = fetch_all(db, _Carried, _SQL["carried_invoices"], {"id": delivery.id})
        if not carried:
            raise InputError("delivery_carries_nothing", delivery=delivery.id)
        first = carried[0]
        return Ingredients(
            delivery,
            settings,
            self._template(db, delivery.template_version_id),
            [each.record for each in carried],
            MailDocument(
                language=delivery.language,
                agency=agency_of(settings),
                tenant=first.tenant,
                period=Period.parse(first.period) if first.is_of_month else None,
                invoices=tuple(each.attached for each in carried),
            ),
        )

    def assemble(self, ingredients: Ingredients) -> Mail:
        """The message out of what was gathered; it asks no database. Raises as `compose` does."""
        delivery, settings = ingredients.delivery, ingredients.settings
        kept = kept_documents.read(self._archive, ingredients.records)
        content = self._renderer(ingredients).render(ingredients.said)
        from_address = settings.from_email or self._sender
        assert from_address
        payload = build(
            OutgoingMail(
                message_id=delivery.message_id,
                date=delivery.message_date,
                sender=Mailbox(settings.from_name or settings.agency_name, from_address),
                reply_to=settings.reply_to,
                to=tuple(delivery.to_addresses),
                cc=tuple(delivery.cc_addresses),
                subject=content.subject,
                text=content.text,
                html=content.html,
                attachments=tuple(Attachment(each.filename, each.content) for each in kept),
                delivery_id=str(delivery.id),
            )
        )
        recipients = (*delivery.to_addresses, *delivery.cc_addresses)
        return Mail(to_envelope(from_address), tuple(to_envelope(address) for address in recipients), payload)

    def _template(self, db: Database, version_id: int) -> Template:
        if version_id not in self._templates:
            self._templates[version_id] = template_version(db, version_id).template
        return self._templates[version_id]

    def _renderer(self, ingredients: Ingredients) -> MailRenderer:
        delivery, subject = ingredients.delivery, ingredients.settings.subject
        key = (delivery.template_version_id, delivery.settings_version_id)
        if key not in self._renderers:
            self._renderers[key] = self._stack.enter_context(MailRenderer(ingredients.template, subject))
        return self._renderers[key]
