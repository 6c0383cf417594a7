"""How the operator is told: at once, or, where the relay or the database is away, by a later sweep.

By the notifier that the connection ``invoicing_smtp`` names in its extra (``operator_notifier``, a class path, with
``operator_notifier_options``; a `BaseNotifier`), else by mail to the setting ``operator_email``.
"""

import datetime
import logging
from typing import Any

import psycopg
from airflow.providers.smtp.notifications.smtp import SmtpNotifier

from invoicing.db.connection import Database
from invoicing.domain.errors import InvoicingError
from invoicing.domain.names import RELAY_CONNECTION
from invoicing.domain.settings import Settings
from invoicing.on_airflow.connections import has_notifier, open_database, operator_notifier, relay_sender
from invoicing.on_airflow.storage import open_journal, open_notice_folder
from invoicing.rendering.notice import RUN_FAILED, render_notice
from invoicing.services.agency import clock
from invoicing.services.agency.settings import current_settings
from invoicing.services.audit import history
from invoicing.services.delivery.notices import (
    KeptNotice,
    Notice,
    keep_notice,
    mark_sent,
    mark_unsent,
    take_notice,
)
from invoicing.services.views import health
from invoicing.words.failures import Fault, tell_both

log = logging.getLogger(__name__)

# A relay that is away takes its time with each.
_MOST_REFUSED = 2


def tell_of_run(context: Any) -> None:
    """Tell the operator that the run of a task's context needs a person."""
    run = context["dag_run"]
    period = getattr(run, "partition_key", None) or context["params"].get("period")
    texts = {
        "dag": run.dag_id,
        "run": run.run_id,
        "period": str(period or ""),
        "reason": str(context.get("exception") or ""),
        "url": str(context["ti"].log_url or ""),
    }
    _tell(Notice(RUN_FAILED, texts), context)


def raise_alarms(context: Any) -> dict[str, int]:
    """Tell the operator what no run tells: each cause once a day; and send the notices that could not be sent.

    Returns:
        ``alarms``: causes told of for the first time today; ``sent``: notices that left; ``unsent``: those that
        could not.
    """
    try:
        with open_database() as db:
            return _raise_alarms(db, context)
    except (InvoicingError, psycopg.OperationalError) as error:
        # Who is told, and with which words, the database knows: until it is back the alarm waits on this host.
        reason = (
            error if isinstance(error, InvoicingError) else Fault("database_unreachable", reason=str(error))
        )
        is_new = open_notice_folder().keep(_alarm(health.database_away(reason)))
        return {"alarms": int(is_new), "sent": 0, "unsent": 0}


def _raise_alarms(db: Database, context: Any) -> dict[str, int]:
    settings = current_settings(db).settings
    folder = open_notice_folder()
    folder.move_to(db)
    if not _is_anybody_told(settings):
        log.warning("nobody is told when something goes wrong: set operator_email")
        return {"alarms": 0, "sent": 0, "unsent": 0}
    here = health.Here(
        datetime.datetime.now(datetime.UTC),
        journal_entries=open_journal().waiting(),
        has_notifier=has_notifier(),
    )
    alarms = 0
    for check in health.look(db, here):
        if check.alarms:
            log.warning("%s: %s", check.detail, check.next_step)
            alarms += keep_notice(db, _alarm(check)) is not None
    return {"alarms": alarms, **_send_kept(db, settings, context)}


def _alarm(check: health.Check) -> Notice:
    assert check.next_step is not None
    (detail_es, detail_en), (next_es, next_en) = tell_both(check.detail), tell_both(check.next_step)
    texts = {"detail_es": detail_es, "detail_en": detail_en, "next_es": next_es, "next_en": next_en}
    return Notice(check.name, texts, clock.today())


def _tell(notice: Notice, context: Any) -> None:
    """Send a notice now, or keep it."""
    try:
        with open_database() as db:
            settings = current_settings(db).settings
            if _is_anybody_told(settings):
                _send_one(db, settings, context, only=keep_notice(db, notice))
    except (InvoicingError, psycopg.OperationalError) as error:
        log.error("the database cannot take the notice, it is kept on this host: %s", error)
        open_notice_folder().keep(notice)


def _send_kept(db: Database, settings: Settings, context: Any) -> dict[str, int]:
    sent = unsent = last = 0
    while unsent < _MOST_REFUSED:
        result = _send_one(db, settings, context, after=last)
        if result is None:
            break
        last, is_sent = result
        sent, unsent = sent + is_sent, unsent + (not is_sent)
    return {"sent": sent, "unsent": unsent}


def _send_one(
    db: Database, settings: Settings, context: Any, *, after: int = 0, only: int | None = None
) -> tuple[int, bool] | None:
    """Send a kept notice that nobody else is sending; its id and whether it left, None where there is none."""
    with db.transaction():
        kept = take_notice(db, after=after, only=only)
        if kept is None:
            return None
        try:
            _send(kept, settings, context, history.head(db))
        except Exception as error:
            log.exception("the operator could not be notified; the sweep tries again")
            mark_unsent(db, kept.id, f"{type(error).__name__}: {error}")
            return kept.id, False
        mark_sent(db, kept.id)
        return kept.id, True


def _send(kept: KeptNotice, settings: Settings, context: Any, head: history.Head) -> None:
    # Out of reach of whoever could make the history anew: what is in a mailbox stays there.
    rendered = render_notice(kept.cause, kept.texts, head=str(head))
    notifier = operator_notifier() or SmtpNotifier(
        to=settings.operator_email,
        from_email=settings.from_email or relay_sender(),
        subject=rendered.subject,
        html_content=rendered.html,
        smtp_conn_id=RELAY_CONNECTION,
    )
    # One's own notifier may speak of `notice` in its templates; what else there is, is of the task that sends.
    notice = {"cause": kept.cause, "subject": rendered.subject, "history_head": str(head), **kept.texts}
    told: Any = {**context, "notice": notice}
    notifier.notify(told)


def _is_anybody_told(settings: Settings) -> bool:
    return bool(settings.operator_email) or has_notifier()
