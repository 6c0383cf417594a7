"""The message of a delivery as the relay got it, or would get it: built again, for a person to look at."""

import email
import email.policy
import hashlib
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from email.message import EmailMessage

from invoicing.db.connection import Database, OpenDatabase
from invoicing.db.statements import beside
from invoicing.domain.errors import NotFoundError
from invoicing.services.agency.settings import current_settings
from invoicing.services.agency.templates import current_template
from invoicing.services.delivery.archive import Archive
from invoicing.services.delivery.compose import Composer
from invoicing.services.delivery.ledger import Delivery, find_delivery

_SQL = beside(__file__)
_LARGEST_ID = 2**62


@dataclass(frozen=True, slots=True)
class BuiltMessage:
    """A delivery's message.

    Args:
        headers: Name and decoded value, in their order.
        attachments: File names.
        is_as_transmitted: Whether its bytes are those of the last transmission, by their SHA-256; None where
            nothing was transmitted.
    """

    headers: Sequence[tuple[str, str]]
    text: str
    html: str
    attachments: Sequence[str]
    payload: bytes
    is_as_transmitted: bool | None


def build_message(
    open_database: OpenDatabase,
    archive: Archive,
    delivery_id: int,
    *,
    sender: str | None,
    of_today: bool = False,
) -> BuiltMessage:
    """Build a delivery's message again, from the versions and documents that it keeps.

    No connection is held while documents are read and the message is rendered.

    Args:
        sender: The connection's own from-address, for settings that name none.
        of_today: As a resend with the words of today would make it: its settings, template, language and addresses.

    Raises:
        NotFoundError: There is no such delivery.
        DocumentDamagedError, StorageFaultError, RenderFailedError, UnsafeMessageError, InputError: It cannot be
            built; the message says why.
    """
    with ExitStack() as stack:
        composer = Composer(archive, stack, sender)
        with open_database() as db:
            delivery = find_delivery(db, min(delivery_id, _LARGEST_ID))
            if delivery is None:
                raise NotFoundError("delivery_unknown", delivery=delivery_id)
            if of_today:
                delivery = _as_of_today(db, delivery)
            ingredients = composer.gather(db, delivery)
            transmitted = db.execute(_SQL["last_transmitted"], {"id": delivery_id}).fetchone()
        payload = composer.assemble(ingredients).payload
    message = email.message_from_bytes(payload, _class=EmailMessage, policy=email.policy.default)
    return BuiltMessage(
        headers=[(name, str(value)) for name, value in message.items() if name.lower() != "content-type"],
        text=_body(message, "plain"),
        html=_body(message, "html"),
        attachments=[part.get_filename() or "" for part in message.iter_attachments()],
        payload=payload,
        is_as_transmitted=(
            None
            if transmitted is None
            else transmitted["payload_sha256"] == hashlib.sha256(payload).hexdigest()
        ),
    )


def _as_of_today(db: Database, delivery: Delivery) -> Delivery:
    settings = current_settings(db)
    tenant = db.execute(_SQL["tenant_of_today"], {"id": delivery.id}).fetchone()
    assert tenant is not None
    return replace(
        delivery,
        settings_version_id=settings.id,
        template_version_id=current_template(db, settings.settings.template).id,
        language=tenant["language"],
        to_addresses=tenant["emails"],
        cc_addresses=tenant["cc_emails"],
    )


def _body(message: EmailMessage, subtype: str) -> str:
    part = message.get_body((subtype,))
    return "" if part is None else str(part.get_content())
