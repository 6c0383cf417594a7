"""Tidy up after workers that died: what they held is freed or put in doubt. Sends nothing."""

import datetime
import logging

from invoicing.db.connection import Database
from invoicing.db.statements import beside
from invoicing.domain.names import SWEEP_DAG
from invoicing.services.agency import settings as settings_service
from invoicing.services.delivery.journal import Journal
from invoicing.services.delivery.ledger import adopt_acceptances, settle_journal

log = logging.getLogger(__name__)

_SQL = beside(__file__)
_ACTOR = SWEEP_DAG
# A relay that takes a message and always loses the connection would have it sent for ever.
_MOST_DOUBT_RESENDS = 3


def sweep_deliveries(db: Database, journal: Journal) -> dict[str, int]:
    """Settle from the journal, free over-age claims, doubt over-age transmissions, apply the doubt policy.

    Returns:
        ``journal``: settlements written; ``freed``: claims over age, back to pending; ``doubted``:
        transmissions over age, now in doubt; ``released``: in doubt for longer than the policy
        ``resend_after`` allows, to be sent again; ``adopted``: put back or given up, and accepted after
        all; ``waiting``: what `send_new_invoices` is to do and was not told, or not heard, of.
    """
    settings = settings_service.current_settings(db).settings
    # First the journal: what a worker knew is better than a doubt.
    settled = settle_journal(db, journal)
    adopted = adopt_acceptances(db, None, actor=_ACTOR)
    freed = db.execute(_SQL["free_claims"], {"actor": _ACTOR}).fetchall()
    doubted = db.execute(_SQL["doubt_transmissions"], {"actor": _ACTOR}).fetchall()
    released = []
    if settings.doubt_policy == "resend_after":
        after = datetime.timedelta(minutes=settings.doubt_minutes)
        released = db.execute(
            _SQL["release_doubts"], {"actor": _ACTOR, "after": after, "most": _MOST_DOUBT_RESENDS}
        ).fetchall()
    for row in doubted:
        log.error("delivery %s is in doubt: its worker went silent while it transmitted", row["id"])
    for row in released:
        log.warning("delivery %s goes out again, under the same Message-ID: it may be a duplicate", row["id"])
    waiting = db.execute(_SQL["untold"]).fetchone()
    assert waiting is not None
    return {
        "journal": settled,
        "adopted": len(adopted),
        "freed": len(freed),
        "doubted": len(doubted),
        "released": len(released),
        "waiting": waiting["waiting"],
    }
