"""What a person decides about deliveries: settle, send again, withdraw. Always with a reason, always audited."""

from collections.abc import Sequence
from typing import Literal, get_args

from psycopg.rows import DictRow

from invoicing.db import audit
from invoicing.db.connection import Database
from invoicing.db.statements import beside
from invoicing.domain.address import invalid_addresses
from invoicing.domain.delivery import DeliveryState
from invoicing.domain.errors import InputError, NotFoundError
from invoicing.services.agency import settings as settings_service
from invoicing.services.agency.templates import current_template
from invoicing.services.delivery import approvals, select
from invoicing.services.delivery.reasons import given_reason

_SQL = beside(__file__)

Ruling = Literal["sent", "failed", "retry"]
"""What a person says became of a delivery."""

Words = Literal["then", "today"]
"""With which words something is sent again."""

WORDS: tuple[Words, ...] = get_args(Words)

_STATE_OF: dict[str, DeliveryState] = {
    "sent": DeliveryState.SENT,
    "failed": DeliveryState.FAILED,
    "retry": DeliveryState.PENDING,
}


def resolve(db: Database, delivery_id: int, ruling: str, *, reason: str, actor: str) -> None:
    """Settle a delivery that is in doubt.

    Args:
        ruling: ``sent`` (the relay's log shows it was accepted), ``failed`` (it was not, and no run shall
            send it: only `resend` does), or ``retry`` (it was not: send it, under the same Message-ID).
        reason: What the person knows, for the audit.
        actor: Who.

    Raises:
        InputError: The delivery is not in doubt (any more), the ruling is unknown, or the reason empty or too long;
            or it is to be sent again, and nothing that it carries stands any more.
    """
    reason = given_reason(reason)
    if ruling not in _STATE_OF:
        raise InputError("ruling_unknown", ruling=ruling, known=", ".join(_STATE_OF))
    with db.transaction():
        before = _locked(db, [delivery_id])[delivery_id]
        settled = db.execute(
            _SQL["resolve"],
            {"id": delivery_id, "state": _STATE_OF[ruling], "actor": actor, "reason": reason},
        ).fetchone()
        if settled is None:
            raise InputError("delivery_not_in_doubt", delivery=delivery_id, state=before["state"])
        if ruling == "retry" and not before["carries_what_stands"]:
            raise InputError("resend_nothing_stands", delivery=delivery_id)
        if ruling == "retry":
            approvals.approve_own_act(db, [delivery_id], actor=actor, reason=reason)
        audit.record(
            db,
            actor=actor,
            action="delivery_resolved",
            subject=f"delivery {delivery_id}",
            details={"as": ruling, "reason": reason},
        )


def resend(
    db: Database, delivery_ids: Sequence[int], *, reason: str, actor: str, words: str = "then"
) -> list[int]:
    """Send invoices again: all of ``delivery_ids`` or, if one cannot be, none.

    What was sent becomes a new delivery of the same invoices, with a Message-ID of its own, to the tenant's
    addresses of today. What failed, or was withdrawn by a person, was never accepted: it is taken up again, with
    the words of today whatever ``words`` says: there are none of then.

    Args:
        words: ``then`` for the sender, the subject, the template and the language of what is sent again; ``today``
            for those of today.

    Returns:
        The deliveries that will be sent now, in the order of ``delivery_ids``.

    Raises:
        InputError: One is unknown, under way, in doubt or withdrawn by a run; nothing that it carries stands any
            more; its tenant has no valid address; automatic sending is off, globally or the tenant's; the tenant is
            held; the reason is empty; or the words are neither.
    """
    reason = given_reason(reason)
    if words not in WORDS:
        raise InputError("words_unknown", words=words, known=", ".join(WORDS))
    delivery_ids = list(dict.fromkeys(delivery_ids))
    snapshot = settings_service.current_settings(db)
    template = current_template(db, snapshot.settings.template)
    with db.transaction():
        db.execute(_SQL["lock_family"], {"ids": list(delivery_ids)})
        locked = _locked(db, delivery_ids)
        for row in locked.values():
            _check_resendable(row)
            _check_family(db, row["id"])
        ids = []
        for delivery_id in delivery_ids:
            if locked[delivery_id]["state"] in (DeliveryState.FAILED, DeliveryState.CANCELLED):
                db.execute(_SQL["request_unaccepted"], {"id": delivery_id, "actor": actor, "reason": reason})
                ids.append(delivery_id)
                continue
            added = db.execute(
                _SQL["add_resend"],
                {
                    "id": delivery_id,
                    "message_id": select.message_id(snapshot.settings),
                    "settings_version_id": snapshot.id,
                    "template_version_id": template.id,
                    "keeps_words": words == "then",
                    "actor": actor,
                    "reason": reason,
                },
            ).fetchall()
            select.add_invoices(db, [(row["id"], row["invoice_id"]) for row in added], purpose="resend")
            ids.append(added[0]["id"])
        approvals.approve_own_act(db, ids, actor=actor, reason=reason)
        audit.record(
            db,
            actor=actor,
            action="deliveries_resent",
            subject=f"deliveries {', '.join(map(str, delivery_ids))}",
            details={"reason": reason, "deliveries": ids, "words": words},
        )
    return ids


def cancel(db: Database, delivery_ids: Sequence[int], *, reason: str, actor: str) -> None:
    """Withdraw deliveries that have not left: all of ``delivery_ids`` or, if one cannot be, none.

    No run makes another delivery of their invoices; `resend` takes a withdrawn one up again.

    Raises:
        InputError: One is unknown, sent, under way, in doubt or withdrawn already, or may have been accepted; or the
            reason is empty.
    """
    reason = given_reason(reason)
    delivery_ids = list(dict.fromkeys(delivery_ids))
    with db.transaction():
        locked = _locked(db, delivery_ids)
        for delivery_id in delivery_ids:
            row = locked[delivery_id]
            cancelled = db.execute(
                _SQL["cancel"], {"id": delivery_id, "actor": actor, "reason": reason}
            ).fetchone()
            if cancelled is None:
                unclear = row["may_have_left"] and row["state"] != DeliveryState.SENT
                code = "cancel_may_have_left" if unclear else "cancel_too_late"
                raise InputError(code, delivery=delivery_id, state=row["state"])
        audit.record(
            db,
            actor=actor,
            action="deliveries_cancelled",
            subject=f"deliveries {', '.join(map(str, delivery_ids))}",
            details={"reason": reason, "deliveries": delivery_ids},
        )


def _locked(db: Database, ids: Sequence[int]) -> dict[int, DictRow]:
    rows = {row["id"]: row for row in db.execute(_SQL["lock_deliveries"], {"ids": list(ids)})}
    unknown = [str(id_) for id_ in ids if id_ not in rows]
    if unknown:
        raise NotFoundError("deliveries_unknown", listing=", ".join(unknown))
    return rows


def _check_resendable(row: DictRow) -> None:
    state = DeliveryState(row["state"])
    if state is DeliveryState.IN_DOUBT:
        raise InputError("resend_in_doubt", delivery=row["id"])
    is_withdrawn_by_person = state is DeliveryState.CANCELLED and row["given_up"]
    if state not in (DeliveryState.SENT, DeliveryState.FAILED) and not is_withdrawn_by_person:
        raise InputError("resend_too_early", delivery=row["id"], state=state)
    if not row["carries_what_stands"]:
        raise InputError("resend_nothing_stands", delivery=row["id"])
    if not row["auto_send"]:
        raise InputError("resend_sending_disabled", delivery=row["id"])
    if not row["tenant_auto_send"]:
        raise InputError("resend_tenant_disabled", delivery=row["id"], tenant=row["tenant_code"])
    if row["is_held"]:
        raise InputError("resend_tenant_held", delivery=row["id"], tenant=row["tenant_code"])
    problems = invalid_addresses((*row["emails"], *row["cc_emails"]))
    if not row["emails"] or problems:
        which = {"delivery": row["id"], "tenant": row["tenant_code"]}
        if problems:
            raise InputError(
                "resend_invalid_address", **which, address=problems[0].address, why=problems[0].reason
            )
        raise InputError("resend_no_address", **which)


def _check_family(db: Database, delivery_id: int) -> None:
    other = db.execute(_SQL["unfinished_of_family"], {"id": delivery_id}).fetchone()
    if other is not None:
        raise InputError("resend_unfinished", delivery=other["id"], state=other["state"])
