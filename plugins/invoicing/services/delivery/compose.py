"""The message of a delivery, from what the ledger froze of it."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from decimal import Decimal

from invoicing.db.connection import Database
from invoicing.db.statements import beside
from invoicing.domain.address import invalid_addresses, to_envelope
from invoicing.domain.errors import InputError
from invoicing.domain.settings import Settings
from invoicing.mail.message import Attachment, Mailbox, OutgoingMail, build
from invoicing.rendering.document import InvoiceDocument
from invoicing.rendering.mail import MailRenderer
from invoicing.rendering.templates import Template
from invoicing.services.agency.settings import SettingsVersions
from invoicing.services.agency.templates import template_version
from invoicing.services.delivery import archive as kept_documents
from invoicing.services.delivery import documents
from invoicing.services.delivery.archive import Archive, DocumentRecord
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
        left: By the number of each credit note, what its invoice came to after it.
    """

    delivery: Delivery
    settings: Settings
    template: Template
    records: Sequence[DocumentRecord]
    invoices: Sequence[InvoiceDocument]
    left: Mapping[str, Decimal]


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
        invoice_ids = [
            row["invoice_id"] for row in db.execute(_SQL["invoice_ids_of_delivery"], {"id": delivery.id})
        ]
        if not invoice_ids:
            raise InputError("delivery_carries_nothing", delivery=delivery.id)
        return Ingredients(
            delivery,
            settings,
            self._template(db, delivery.template_version_id),
            kept_documents.find(db, invoice_ids),
            documents.load_invoices(db, invoice_ids, self._settings),
            documents.left_after(db, invoice_ids),
        )

    def assemble(self, ingredients: Ingredients) -> Mail:
        """The message out of what was gathered; it asks no database. Raises as `compose` does."""
        delivery, settings = ingredients.delivery, ingredients.settings
        kept = kept_documents.read(self._archive, ingredients.records)
        content = self._renderer(ingredients).render(
            documents.mail_document(
                ingredients.invoices,
                language=delivery.language,
                settings=settings,
                left=ingredients.left,
            )
        )
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
