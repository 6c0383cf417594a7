"""A small agency and its month, run as the DAG runs it: real documents, a real relay, one tenant of each kind."""

import datetime
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from invoicing.db.connection import Database, connect
from invoicing.domain.delivery import Batch
from invoicing.domain.errors import PermanentFailureError, TemporaryFailureError
from invoicing.domain.period import Period
from invoicing.domain.task_address import TaskAddress
from invoicing.mail.conversation import BoundedSMTP
from invoicing.mail.transmission import Relay
from invoicing.services.agency.settings import change_settings
from invoicing.services.billing import count, generate, out_of_step, runs
from invoicing.services.delivery import closing, deliver, render, select, shares
from invoicing.services.delivery.journal import Journal
from invoicing.services.delivery.ledger import Worker
from support.archive import archive_in
from support.database import Server
from support.project import free_port
from support.visiting import App, open_app

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
    archive_folder: Path
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

    def seen_at(self, tenant: str) -> str:
        """The version of a tenant that a form has which is opened now."""
        row = self.db.execute("SELECT updated_at FROM invoicing.tenant WHERE code = %s", [tenant]).fetchone()
        assert row is not None
        return str(row["updated_at"].isoformat())

    def state(self, delivery_id: int) -> str:
        row = self.db.execute("SELECT state FROM invoicing.delivery WHERE id = %s", [delivery_id]).fetchone()
        assert row is not None
        return str(row["state"])

    def put_out_of_step(self) -> None:
        """As an import does that comes after the run: Eva has one more lease, Ana's costs more."""
        self.db.execute(
            "INSERT INTO invoicing.lease (code, tenant_id, property, use, start_date, rent, currency)"
            " SELECT 'EVA-late', id, 'Calle 2', 'residential', '2020-01-01', 1000000, 'COP'"
            " FROM invoicing.tenant WHERE code = 'EVA'"
        )
        self.db.execute("UPDATE invoicing.lease SET rent = 1200000 WHERE code = 'ANA-0'")
        out_of_step.compare(self.db, NOVEMBER)

    def change_for_december(self) -> None:
        """What differs from one month to the next; and a lease of 2001, when no rate of IVA was in force."""
        db = self.db
        db.execute("UPDATE invoicing.lease SET end_date = '2026-11-30' WHERE code IN ('BEA-1', 'DAN-0')")
        db.execute("UPDATE invoicing.tenant SET auto_send = false WHERE code = 'RITA'")
        db.execute(
            "INSERT INTO invoicing.lease (code, tenant_id, property, use, start_date, end_date, rent, currency)"
            " SELECT 'EVA-2001', id, 'Local 1', 'commercial', '2001-01-01', '2001-12-31', 1000000, 'COP'"
            " FROM invoicing.tenant WHERE code = 'EVA'"
        )

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

    def run(self) -> None:
        """What `monthly_invoicing` does."""
        run_id = runs.open_run(self.db, dag_id="monthly_invoicing", dag_run_id=RUN, period=NOVEMBER)
        generate.generate_invoices(self.db, run_id)
        count.count_invoices(self.db, run_id)
        self._send(run_id, select.select_recipients(self.db, run_id), f"monthly_invoicing/{RUN}")
        with suppress(PermanentFailureError):  # one delivery is refused, on purpose
            closing.close_run(self.db, run_id)

    def send_again(self) -> None:
        """What `send_new_invoices` does once it is told."""
        run_id = runs.open_run(
            self.db, dag_id="send_new_invoices", dag_run_id="asset_triggered__1", period=None
        )
        self._send(
            run_id, select.select_new_invoices(self.db, run_id), "send_new_invoices/asset_triggered__1"
        )

    def _send(self, run_id: int, batches: list[Batch], run: str) -> None:
        archive = archive_in(self.archive_folder)
        everything = tuple(delivery_id for batch in batches for delivery_id in batch.delivery_ids)
        if everything:
            render.render_batch(self.db, archive, run_id, Batch("all", everything))
        for index, batch in enumerate(shares.for_sending(self.db, run_id, batches)):
            address = TaskAddress(*run.split("/", 1), "send_invoices", index)
            worker = Worker(address, f"{address}/0", f"{address} try 1")
            # What the ledger says of a failure is what the tests look at.
            with suppress(PermanentFailureError, TemporaryFailureError), self.connect() as relay:
                deliver.send_batch(self.db, relay, archive, self.journal, batch, worker)


class November:
    """The month as its run left it, to be opened many times: each time it is a copy, and nobody else's.

    Args:
        server: Where its database is, and the copies of it will be.
        folder: For its documents and journal.
    """

    def __init__(self, server: Server, folder: Path) -> None:
        self._server = server
        self._folder = folder
        self._open = ExitStack()
        self._template = ""
        self._messages: list[bytes] = []

    def __enter__(self) -> Self:
        self._template = self._open.enter_context(self._server.fresh_copy())
        with connect(self._template) as db, _opened(self._template, db, self._folder, {}) as month:
            _add_agency(db)
            month.run()
            self._messages = month.inbox.messages
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    @contextmanager
    def copy(self, folder: Path, **outside: Any) -> Iterator[Month]:
        """The month in a database and an archive of its own; ``outside`` replaces parts of the app's `Outside`."""
        shutil.copytree(self._folder, folder, dirs_exist_ok=True)
        with (
            self._server.fresh_copy(of=self._template) as dsn,
            connect(dsn) as db,
            _opened(dsn, db, folder, outside) as month,
        ):
            month.inbox.messages.extend(self._messages)
            yield month


@contextmanager
def _opened(dsn: str, db: Database, folder: Path, outside: dict[str, Any]) -> Iterator[Month]:
    announced: list[str] = []
    with open_inbox() as (inbox, connect_relay):
        given = {"open_relay": connect_relay, "announce": lambda: announced.append("invoices"), **outside}
        archive = folder / "archive"
        with open_app(dsn, archive, **given) as app:
            yield Month(db, app, inbox, archive, connect_relay, Journal(folder / "journal"), announced)


def _add_agency(db: Database) -> None:
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
