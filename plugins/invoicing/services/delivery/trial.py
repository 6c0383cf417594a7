"""A test message: what a template gives, sent to one address for a person to look at in a mail reader.

It is no delivery: the ledger knows nothing of it.
"""

import datetime
import uuid
from collections.abc import Mapping

from invoicing.db import audit
from invoicing.db.connection import Database
from invoicing.domain.address import problem as address_problem
from invoicing.domain.address import to_envelope
from invoicing.domain.errors import InputError
from invoicing.domain.settings import Settings
from invoicing.mail.message import Attachment, Mailbox, OutgoingMail, build
from invoicing.mail.transmission import Outcome, Relay
from invoicing.rendering.mail import MailContent
from invoicing.services.delivery import select

MARK = "[PRUEBA] "
"""What the subject of a test message starts with."""


def check_recipient(address: str) -> None:
    """Raise `InputError` where no test can go to ``address``: it takes a single one."""
    if not address:
        raise InputError("trial_without_address")
    why = address_problem(address)
    if why:
        raise InputError("trial_address_invalid", address=address, why=why)


def send_test(
    relay: Relay,
    content: MailContent,
    pdfs: Mapping[str, bytes],
    *,
    to: str,
    settings: Settings,
    sender: str | None,
) -> Outcome:
    """Send one message to look at.

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
        raise InputError("trial_without_sender")
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
