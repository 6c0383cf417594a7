"""The whole story of a delivery: what was billed, who let it leave, what left, and who touched anything."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from invoicing.db.connection import Database, OpenDatabase
from invoicing.db.statements import beside
from invoicing.domain.errors import InvoicingError
from invoicing.domain.task_address import TaskAddress
from invoicing.services.audit import history
from invoicing.services.delivery import archive as kept_documents
from invoicing.services.delivery.archive import Archive, DocumentRecord
from invoicing.services.views.deliveries import DeliveryShown, show_delivery
from invoicing.services.views.messages import BuiltMessage, build_message

_SQL = beside(__file__)

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class InvoiceTold:
    """An invoice of the delivery.

    Args:
        row: Amounts, ``lines``, ``withholdings``, ``corrections``, ``document``; and ``basis``: tenant, lease, charges
            and rates as billed, None where that was not kept yet.
        document_fault: Why its document is not what was issued, read and hashed now; None where it is, or has none.
    """

    row: Json
    document_fault: InvoicingError | None

    @property
    def has_document(self) -> bool:
        """Whether one was issued."""
        return self.row["document"] is not None


@dataclass(frozen=True, slots=True)
class Story:
    """All there is to know of a delivery.

    Args:
        delivery: With its events, and its attempts with the relay's words.
        payloads: SHA-256 of what each attempt transmitted, by the attempt's number; None where nothing was.
        run: The run it belongs to; None where there is none.
        decisions: With each rule's answer, newest first.
        message: Built again now, and compared with what was transmitted; None, with ``message_fault``, where it
            cannot be.
        people: What people did that it hangs on, oldest first.
        tasks: The task instances that claimed it.
        entries: Of its history: how many, how many of them chained, the first and the last.
    """

    delivery: DeliveryShown
    payloads: Mapping[int, str | None]
    run: Json | None
    decisions: Sequence[Json]
    settings: Json
    template: Json
    invoices: Sequence[InvoiceTold]
    approvals: Sequence[Json]
    holds: Sequence[Json]
    message: BuiltMessage | None
    message_fault: InvoicingError | None
    people: Sequence[Json]
    tasks: Sequence[TaskAddress]
    entries: Json
    head: history.Head


def tell_story(
    open_database: OpenDatabase, archive: Archive, delivery_id: int, *, sender: str | None
) -> Story:
    """All there is to know of a delivery. Its documents are read, and its message is built, without a connection.

    Args:
        sender: The relay connection's own from-address, for settings that name none.

    Raises:
        NotFoundError: There is no such delivery.
    """
    with open_database() as db:
        delivery = show_delivery(db, delivery_id)
        which = {"id": delivery.id}
        invoices = db.execute(_SQL["invoices"], which).fetchall()
        records = {
            record.number: record for record in kept_documents.find(db, [row["id"] for row in invoices])
        }
        approvals = db.execute(_SQL["approvals"], which).fetchall()
        settings = _only(db, _SQL["settings"], which)
        template = _only(db, _SQL["template"], which)
        assert settings is not None
        assert template is not None
        subjects = [
            f"delivery {delivery.id}",
            f"tenant {delivery.tenant}",
            f"month {delivery.period}",
            f"settings version {settings['id']}",
            f"template {template['name']}",
            *(f"invoice {row['number']}" for row in invoices),
            *(f"approval {row['id']}" for row in approvals),
        ]
        told: dict[str, Any] = {
            "payloads": {
                row["claim_token"]: row["payload_sha256"] for row in db.execute(_SQL["payloads"], which)
            },
            "run": _only(db, _SQL["run"], which),
            "decisions": db.execute(_SQL["decisions"], which).fetchall(),
            "holds": db.execute(_SQL["holds"], which).fetchall(),
            "people": db.execute(_SQL["people"], {**which, "subjects": subjects}).fetchall(),
            "entries": _only(db, _SQL["history"], which) or {},
            "head": history.head(db),
        }
    message, fault = _message(open_database, archive, delivery.id, sender)
    return Story(
        delivery=delivery,
        settings=settings,
        template=template,
        invoices=[
            InvoiceTold(row, _document_fault(archive, row, records.get(row["number"]))) for row in invoices
        ],
        approvals=approvals,
        message=message,
        message_fault=fault,
        tasks=_tasks(delivery),
        **told,
    )


def _only(db: Database, statement: bytes, which: Mapping[str, Any]) -> Json | None:
    return db.execute(statement, which).fetchone()


def _document_fault(archive: Archive, row: Json, record: DocumentRecord | None) -> InvoicingError | None:
    if row["document"] is None or record is None:
        return None
    try:
        kept_documents.read(archive, [record])
    except InvoicingError as error:
        return error
    return None


def _message(
    open_database: OpenDatabase, archive: Archive, delivery_id: int, sender: str | None
) -> tuple[BuiltMessage | None, InvoicingError | None]:
    try:
        return build_message(open_database, archive, delivery_id, sender=sender), None
    except InvoicingError as error:
        return None, error


def _tasks(delivery: DeliveryShown) -> list[TaskAddress]:
    """The task instances that claimed it, each once, the first one first."""
    found = (
        TaskAddress.parse(each) for each in (*(a.claimed_by for a in delivery.tries), delivery.claimed_by)
    )
    return list(dict.fromkeys(each for each in found if each is not None))


def as_json(story: Story, say: Callable[[InvoicingError], str] = str) -> dict[str, Any]:
    """The story as one document (``audit show --json``); the message whole, as it is transmitted.

    Args:
        say: The words of what is wrong with a document or the message.
    """
    delivery, message = story.delivery, story.message
    names = [name for name in DeliveryShown.__dataclass_fields__ if name not in ("events", "tries")]
    return {
        "delivery": {name: getattr(delivery, name) for name in names},
        "events": [_fields(each) for each in delivery.events],
        "attempts": [
            {**_fields(each), "payload_sha256": sha256}
            for each, sha256 in zip(delivery.tries, story.payloads.values(), strict=False)
        ],
        "run": story.run,
        "decisions": list(story.decisions),
        "settings": story.settings,
        "template": story.template,
        "invoices": [
            {
                **each.row,
                "document_verified": each.document_fault is None if each.has_document else None,
                "document_fault": each.document_fault and say(each.document_fault),
            }
            for each in story.invoices
        ],
        "approvals": list(story.approvals),
        "holds": list(story.holds),
        "message": {
            "as_transmitted": message and message.is_as_transmitted,
            "fault": story.message_fault and say(story.message_fault),
            "headers": [list(each) for each in message.headers] if message else None,
            "attachments": list(message.attachments) if message else None,
            # Its lines are ASCII (mail/message.py encodes what is not).
            "eml": message.payload.decode("ascii", "backslashreplace") if message else None,
        },
        "people": list(story.people),
        "tasks": [_fields(each) for each in story.tasks],
        "history": {**story.entries, "head": str(story.head), "unsealed": story.head.unsealed},
    }


def _fields(value: Any) -> dict[str, Any]:
    return {name: getattr(value, name) for name in type(value).__dataclass_fields__}
