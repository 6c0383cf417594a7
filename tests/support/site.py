"""Something to be seen on every page: the demo agency after a November that did not all go well."""

import contextlib
import json

from invoicing.db.connection import Database
from invoicing.domain.delivery import Batch
from invoicing.domain.errors import PermanentFailureError
from invoicing.domain.period import Period
from invoicing.services.agency.imports import import_folder
from invoicing.services.agency.settings import change_settings
from invoicing.services.billing import count, generate, runs
from invoicing.services.delivery import closing, render, select
from invoicing.services.delivery.archive import Archive
from support.project import DEMO

NOVEMBER = Period(2026, 11)

# The states that the cycle's first deliveries are taken through, and the relay's last word.
_COURSES = (
    ("claimed", "transmitting", "failed", "550 5.1.1 <nadie@correo.example>: no such user"),
    ("claimed", "transmitting", "in_doubt", None),
    ("claimed", "transmitting", None, None),
    ("held", None, None, None),
)


def populate(db: Database, archive: Archive | None = None) -> None:
    """The demo agency after a November that did not all go well, and some changes by people.

    Args:
        archive: Gets the documents, where they are to be seen: some seconds of rendering.
    """
    import_folder(db, DEMO, actor="demo")
    change_settings(db, json.loads((DEMO / "settings.json").read_text(encoding="utf-8")), actor="ana")
    change_settings(db, {"per_minute_limit": 30, "due_days": 8}, actor="beto")
    run_id = runs.open_run(db, dag_id="monthly_invoicing", dag_run_id="manual__1", period=NOVEMBER)
    generate.generate_invoices(db, run_id)
    count.count_invoices(db, run_id)
    select.select_recipients(db, run_id)
    ids = [row["id"] for row in db.execute("SELECT id FROM invoicing.delivery ORDER BY id")]
    if archive is not None:
        render.render_batch(db, archive, run_id, Batch("all", tuple(ids)))
    for delivery_id, (*states, reply) in zip(ids, _COURSES, strict=False):
        for state in filter(None, states):
            _move(db, delivery_id, state, reply)
    for delivery_id in ids[len(_COURSES) :]:
        for state in ("claimed", "transmitting", "sent"):
            _move(db, delivery_id, state, "250 2.0.0 Ok: queued as 4FzQ1p")
    with contextlib.suppress(PermanentFailureError):  # the run ends as failed: that is what is to be seen
        closing.close_run(db, run_id)


def _move(db: Database, delivery_id: int, state: str, reply: str | None) -> None:
    """As a worker moves a delivery; the database's own triggers check it and write the history."""
    db.execute(
        "UPDATE invoicing.delivery SET state = %(state)s, actor = 'worker',"
        " claimed_by = 'monthly_invoicing/manual__1/send_invoices/0',"
        " claim_until = CASE WHEN %(state)s IN ('claimed', 'transmitting') THEN now() + interval '1 hour' END,"
        " attempts = attempts + (%(state)s = 'claimed')::int, claim_token = claim_token + (%(state)s = 'claimed')::int,"
        " last_reply = CASE WHEN %(state)s IN ('sent', 'failed') THEN %(reply)s END WHERE id = %(id)s",
        {"id": delivery_id, "state": state, "reply": reply},
    )
    if state == "claimed":
        db.execute(
            "INSERT INTO invoicing.delivery_attempt (delivery_id, claim_token, claimed_by, host)"
            " SELECT id, claim_token, claimed_by, 'mail.example' FROM invoicing.delivery WHERE id = %s",
            [delivery_id],
        )
    if state == "transmitting":
        db.execute(
            "UPDATE invoicing.delivery_attempt SET marked_at = clock_timestamp(), phase = 'payload'"
            " WHERE delivery_id = %s",
            [delivery_id],
        )
    if state in ("sent", "failed"):
        db.execute(
            "UPDATE invoicing.delivery_attempt SET ended_at = clock_timestamp(), phase = 'acceptance', verdict = %s,"
            " code = left(%s, 3)::int, reply = %s WHERE delivery_id = %s",
            ["accepted" if state == "sent" else "refused_permanently", reply, reply, delivery_id],
        )
