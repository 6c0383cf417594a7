"""A test message: what a template gives, sent to one address for a person to look at in a mail reader.

It is no delivery: the ledger knows nothing of it, and ``auto_send`` does not forbid it. But it is mail, with a tenant's
invoices in it. So it goes to few addresses, a few times an hour, and is written down before the relay is asked.
"""

import datetime
import hashlib
import json
import logging
import uuid
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass

import psycopg

from invoicing.db import audit
from invoicing.db.connection import Database, OpenDatabase
from invoicing.db.statements import beside
from invoicing.domain.address import domain_of, to_envelope
from invoicing.domain.address import problem as address_problem
from invoicing.domain.errors import InputError, LimitReachedError
from invoicing.domain.settings import Settings
from invoicing.mail.message import Attachment, Mailbox, OutgoingMail, build
from invoicing.mail.transmission import Outcome, Phase, Relay, RelayUnavailableError, Verdict
from invoicing.rendering.mail import MailContent
from invoicing.rendering.templates import Template
from invoicing.services.delivery import select

log = logging.getLogger(__name__)

_SQL = beside(__file__)

MARK = "[PRUEBA] "
"""What the subject of a test message starts with."""

MOST_AN_HOUR = 6
"""Of one person, by the database's clock: however many servers there are, and however they ended."""

LARGEST_ATTACHMENTS_BYTES = 10 * 1024 * 1024

_OUTCOMES = {
    Verdict.ACCEPTED: "accepted",
    Verdict.REFUSED_TEMPORARILY: "refused",
    Verdict.REFUSED_PERMANENTLY: "refused",
    Verdict.NOT_SENT: "not_sent",
    Verdict.IN_DOUBT: "unknown",
}


class TrialAddressError(InputError):
    """No test goes to this address."""

    field = "to"


@dataclass(frozen=True, slots=True)
class Sender:
    """Who has a test sent.

    Args:
        user_id: As the auth manager knows the person.
        email: The person's own address, as the auth manager knows it; empty where it knows none.
    """

    user_id: str
    actor: str
    email: str


@dataclass(frozen=True, slots=True)
class Trial:
    """A test that is asked for.

    Args:
        template: As typed.
        template_version_id: The version that it was typed over.
        settings: Those in force.
    """

    template: Template
    template_version_id: int
    to: str
    by: Sender
    settings: Settings


@dataclass(frozen=True, slots=True)
class Recipients:
    """Where a person's tests may go.

    Args:
        own: Their own address; empty where nobody knows it.
        domains: As the settings write them.
    """

    own: str
    domains: tuple[str, ...]


def allowed_recipients(own: str, settings: Settings) -> Recipients:
    """Where tests of somebody with the address ``own`` may go; an address that is none counts as not known."""
    return Recipients(own if own and address_problem(own) is None else "", settings.test_domain_list)


def check_recipient(trial: Trial) -> None:
    """Raise `TrialAddressError` where the test cannot go: to no address, to several, or to somebody else's."""
    if not trial.to:
        raise TrialAddressError("trial_without_address")
    why = address_problem(trial.to)
    if why:
        raise TrialAddressError("trial_address_invalid", address=trial.to, why=why)
    allowed = allowed_recipients(trial.by.email, trial.settings)
    is_own = bool(allowed.own) and _same(trial.to, allowed.own)
    if not is_own and domain_of(trial.to) not in {domain_of(f"x@{domain}") for domain in allowed.domains}:
        places = ", ".join(filter(None, (allowed.own, *(f"@{domain}" for domain in allowed.domains))))
        if not places:
            raise TrialAddressError("trial_nowhere_allowed", address=trial.to)
        raise TrialAddressError("trial_address_foreign", address=trial.to, allowed=places)


def check_room(db: Database, by: Sender) -> None:
    """Raise `LimitReachedError` where the person has had as many tests within an hour as there are for one.

    In a transaction it holds until that ends; outside of one it saves rendering for nothing.
    """
    db.execute(_SQL["take_turns"], {"user_id": by.user_id})
    row = db.execute(_SQL["room"], {"user_id": by.user_id, "most": MOST_AN_HOUR}).fetchone()
    assert row is not None
    if row["asked"] >= MOST_AN_HOUR:
        seconds = max(row["seconds"], 1)
        raise LimitReachedError(
            "trials_used_up", most=MOST_AN_HOUR, seconds=seconds, minutes=-(-seconds // 60)
        )


def send_trial(
    open_database: OpenDatabase,
    open_relay: Callable[[], AbstractContextManager[Relay]],
    trial: Trial,
    content: MailContent,
    pdfs: Mapping[str, bytes],
    *,
    sender: str | None,
) -> Outcome:
    """Write one test message down, send it, and write down what became of it.

    Whoever dies in between leaves a row without an outcome: unknown. No connection is held while the relay is asked.

    Args:
        pdfs: File name to content.
        sender: The connection's own from-address, for settings that name none.

    Raises:
        TrialAddressError: The address is none, or not allowed.
        InputError: There is no sender's address, or the documents are too large.
        LimitReachedError: The person's tests of this hour are used up.
        UnsafeMessageError: The message would not say what is meant.
        RelayUnavailableError: There is no relay to send through: that is its outcome.
    """
    check_recipient(trial)
    message_id = select.message_id(trial.settings)
    from_address = trial.settings.from_email or sender
    if not from_address:
        raise InputError("trial_without_sender")
    payload = _payload(trial, content, pdfs, message_id, from_address)
    with open_database() as db, db.transaction():
        check_room(db, trial.by)
        trial_id = _write_down(db, trial, message_id)
    try:
        with open_relay() as relay:
            outcome = relay.transmit(
                to_envelope(from_address), [to_envelope(trial.to)], payload, before_payload=lambda: None
            )
    except RelayUnavailableError as error:
        _settle(open_database, trial, trial_id, Outcome(Verdict.NOT_SENT, Phase.CONNECT, None, str(error)))
        raise
    _settle(open_database, trial, trial_id, outcome)
    return outcome


def _payload(
    trial: Trial, content: MailContent, pdfs: Mapping[str, bytes], message_id: str, from_address: str
) -> bytes:
    size = sum(map(len, pdfs.values()))
    if size > LARGEST_ATTACHMENTS_BYTES:
        raise InputError("trial_too_large", megabytes=LARGEST_ATTACHMENTS_BYTES // 2**20)
    settings = trial.settings
    return build(
        OutgoingMail(
            message_id=message_id,
            date=datetime.datetime.now(datetime.UTC),
            sender=Mailbox(settings.from_name or settings.agency_name, from_address),
            reply_to=settings.reply_to,
            to=(trial.to,),
            cc=(),
            subject=MARK + content.subject,
            text=content.text,
            html=content.html,
            attachments=tuple(Attachment(name, pdf) for name, pdf in pdfs.items()),
            delivery_id=f"test-{uuid.uuid4()}",
        )
    )


def _write_down(db: Database, trial: Trial, message_id: str) -> int:
    template = trial.template
    parts = json.dumps({**template.parts, "fields": template.fields.to_json()}, sort_keys=True).encode()
    row = db.execute(
        _SQL["write_down"],
        {
            "user_id": trial.by.user_id,
            "actor": trial.by.actor,
            "to": trial.to,
            "template_version_id": trial.template_version_id,
            "parts_sha256": hashlib.sha256(parts).hexdigest(),
            "message_id": message_id,
        },
    ).fetchone()
    assert row is not None
    return int(row["id"])


def _settle(open_database: OpenDatabase, trial: Trial, trial_id: int, outcome: Outcome) -> None:
    """Write the outcome down. A database that cannot take it leaves it unknown; the person is told all the same."""
    details = {"to": trial.to, "verdict": outcome.verdict, "code": outcome.code, "reply": outcome.reply}
    try:
        with open_database() as db, db.transaction():
            db.execute(
                _SQL["settle"],
                {
                    "id": trial_id,
                    "outcome": _OUTCOMES[outcome.verdict],
                    "code": outcome.code,
                    "reply": outcome.reply[:500],
                },
            )
            audit.record(
                db,
                actor=trial.by.actor,
                action="template_test_sent",
                subject=f"template {trial.template.name}",
                details={"trial": trial_id, **details},
            )
    except psycopg.Error:
        log.exception("the outcome of test message %s was not written down: %s", trial_id, details)


def _same(address: str, own: str) -> bool:
    """Whether both are one mailbox; nobody has two that differ in case alone."""
    return to_envelope(address).casefold() == to_envelope(own).casefold()
