"""A small agency and its month, run as the DAG runs it: real documents, a real relay, one tenant of each kind."""

import datetime
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session
from visiting import App, FolderArchive, free_port, open_app

from invoicing.db.connection import Database
from invoicing.domain.delivery import Batch
from invoicing.domain.errors import PermanentFailureError, TemporaryFailureError
from invoicing.domain.period import Period
from invoicing.domain.task_address import TaskAddress
from invoicing.mail.conversation import BoundedSMTP
from invoicing.mail.transmission import Relay
from invoicing.services.agency.settings import change_settings
from invoicing.services.billing import count, generate
from invoicing.services.billing import runs as cycles
from invoicing.services.delivery import closing, deliver, render, select
from invoicing.services.delivery.journal import Journal
from invoicing.services.delivery.ledger import Worker

NOVEMBER = Period(2026, 11)
RUN = "manual__2026-11-01T06:00:00+00:00"
# Code, name, addresses, own switch, only multiple, leases.
TENANTS: tuple[tuple[str, str, list[str], bool, bool, int], ...] = (
    ("ANA", "Ana Peña", ["ana@correo.example"], True, False, 1),
    ("BEA", "=cmd|'/c calc'!A1", ["bea@correo.example"], True, True, 2),
    ("CAM", "Camila <img src=x onerror=alert(1)>", ["camila@correo.example"], True, True, 1),
    ("DAN", "Daniel Ñáñez", ["daniel@correo.example"], False, False, 1),
    ("EVA", "Eva Rincón", [], True, False, 1),
    ("RITA", "Rita Rechazada", ["rechazo@correo.example"], True, False, 1),
)


class Inbox:
    """Takes every message but those to ``rechazo@…``, while ``refuses`` is on."""

    def __init__(self) -> None:
        self.messages: list[bytes] = []
        self.refuses = True

    async def handle_RCPT(  # noqa: N802 (aiosmtpd's name)
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if self.refuses and address.startswith("rechazo@"):
            return "550 5.1.1 User unknown"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        assert isinstance(envelope.content, bytes)
        self.messages.append(envelope.content)
        return "250 2.0.0 Ok: queued as TEST1"


@contextmanager
def open_inbox() -> Iterator[tuple[Inbox, Any]]:
    """An inbox that listens, and a function that connects to it."""
    inbox = Inbox()
    port = free_port()
    controller = Controller(inbox, hostname="127.0.0.1", port=port)
    controller.start()

    def connect() -> Relay:
        return Relay(
            lambda: BoundedSMTP("127.0.0.1", port, timeout=5, setup_timeout_seconds=5),
            host="127.0.0.1",
            port=port,
            messages_per_connection=10,
            command_timeout_seconds=5,
            acceptance_timeout_seconds=5,
        )

    try:
        yield inbox, connect
    finally:
        controller.stop()


@dataclass
class Month:
    """The agency after its run.

    Args:
        announced: How often Airflow was told that there is something to send.
    """

    db: Database
    app: App
    inbox: Inbox
    archive: FolderArchive
    connect: Any
    journal: Journal
    announced: list[str]

    def delivery(self, tenant: str) -> int:
        """The tenant's newest delivery."""
        row = self.db.execute(
            "SELECT max(d.id) AS id FROM invoicing.delivery d JOIN invoicing.tenant t ON t.id = d.tenant_id"
            " WHERE t.code = %s",
            [tenant],
        ).fetchone()
        assert row is not None
        return int(row["id"])

    def state(self, delivery_id: int) -> str:
        row = self.db.execute("SELECT state FROM invoicing.delivery WHERE id = %s", [delivery_id]).fetchone()
        assert row is not None
        return str(row["state"])

    def put_in_doubt(self, tenant: str) -> int:
        """As a worker that dies while it transmits leaves it."""
        delivery_id = self.delivery(tenant)
        for state in ("pending", "claimed", "transmitting", "in_doubt"):
            self.db.execute(
                "UPDATE invoicing.delivery SET state = %(state)s,"
                " claim_until = CASE WHEN %(state)s IN ('claimed', 'transmitting') THEN now() + interval '1 hour' END"
                " WHERE id = %(id)s",
                {"state": state, "id": delivery_id},
            )
        return delivery_id

    def send_again(self) -> None:
        """What `send_new_invoices` does once it is told."""
        run_id = cycles.open_run(
            self.db, dag_id="send_new_invoices", dag_run_id="asset_triggered__1", period=None
        )
        self._send(
            run_id, select.select_new_invoices(self.db, run_id), "send_new_invoices/asset_triggered__1"
        )

    def _send(self, run_id: int, batches: list[Batch], run: str) -> None:
        everything = tuple(delivery_id for batch in batches for delivery_id in batch.delivery_ids)
        if everything:
            render.render_batch(self.db, self.archive, run_id, Batch("all", everything))
        for index, batch in enumerate(batches):
            address = TaskAddress(*run.split("/", 1), "send_invoices", index)
            worker = Worker(address, f"{address}/0", f"{address} try 1")
            # What the ledger says of a failure is what the tests look at.
            with suppress(PermanentFailureError, TemporaryFailureError), self.connect() as relay:
                deliver.send_batch(self.db, relay, self.archive, self.journal, batch, worker)


@contextmanager
def open_month(dsn: str, db: Database, folder: Path, **outside: Any) -> Iterator[Month]:
    """Run November of a small agency."""
    change_settings(
        db,
        {"auto_send": "yes", "from_email": "facturas@agencia.example", "agency_name": "Agencia"},
        actor="test",
    )
    for code, name, emails, auto_send, only_multiple, leases in TENANTS:
        db.execute(
            "INSERT INTO invoicing.tenant (code, document_type, document_number, name, emails, auto_send,"
            " only_multiple) VALUES (%s, 'CC', '1', %s, %s, %s, %s)",
            [code, name, emails, auto_send, only_multiple],
        )
        for number in range(leases):
            db.execute(
                "INSERT INTO invoicing.lease (code, tenant_id, property, use, start_date, rent, currency)"
                " SELECT %s, id, 'Calle 1', 'residential', %s, 1000000, 'COP' FROM invoicing.tenant WHERE code = %s",
                [f"{code}-{number}", datetime.date(2020, 1, 1), code],
            )
    announced: list[str] = []
    archive = folder / "archive"
    with open_inbox() as (inbox, connect):
        given = {"open_relay": connect, "announce": lambda: announced.append("invoices"), **outside}
        with open_app(dsn, archive, **given) as app:
            month = Month(
                db, app, inbox, FolderArchive(archive), connect, Journal(folder / "journal"), announced
            )
            run_id = cycles.open_run(db, dag_id="monthly_invoicing", dag_run_id=RUN, period=NOVEMBER)
            generate.generate_invoices(db, run_id)
            count.count_invoices(db, run_id)
            month._send(run_id, select.select_recipients(db, run_id), f"monthly_invoicing/{RUN}")
            with suppress(PermanentFailureError):  # one delivery is refused, on purpose
                closing.close_run(db, run_id)
            yield month
