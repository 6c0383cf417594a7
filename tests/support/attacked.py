"""A real Airflow API server with our plugin and a month behind it, for everything that is tried against it."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
from aiosmtpd.controller import Controller

from invoicing.db.connection import connect
from invoicing.domain.delivery import Batch
from invoicing.services.delivery import render
from support.archive import archive_in
from support.database import Server
from support.month import Inbox
from support.project import free_port
from support.real_airflow import AirflowServer, run_airflow
from support.site import populate


@dataclass(frozen=True, slots=True)
class Site:
    """A real Airflow API server with our plugin, over the demo agency after its November.

    Args:
        samples: What stands for each parameter of a path, to find something there.
        tokens: A session's token by its role: ``viewer``, ``editor``.
    """

    airflow: AirflowServer
    samples: dict[str, str]
    tokens: dict[str, str]

    @property
    def url(self) -> str:
        return self.airflow.url

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def headers(self, role: str) -> dict[str, str]:
        """A program's headers: it sends its token by itself, and needs no form's."""
        return {"Authorization": f"Bearer {self.tokens[role]}"}


@contextmanager
def attacked_site(server: Server, folder: Path) -> Iterator[Site]:
    """The site over a database of ``server``; its documents, and Airflow's home, are in ``folder``."""
    inbox = Controller(Inbox(), hostname="127.0.0.1", port=free_port())
    inbox.start()
    relay = {
        "conn_type": "smtp",
        "host": "127.0.0.1",
        "port": inbox.port,
        "extra": {"disable_tls": True, "disable_ssl": True},
    }
    environ = {
        "AIRFLOW_CONN_INVOICING_SMTP": json.dumps(relay),
        "INVOICING_ARCHIVE": (folder / "archive").as_uri(),
    }
    try:
        with server.fresh_copy() as dsn:
            with connect(dsn) as db:
                populate(db)
                sample = db.execute(
                    "SELECT t.code, d.id, d.run_id, i.number FROM invoicing.delivery d"
                    " JOIN invoicing.tenant t ON t.id = d.tenant_id"
                    " JOIN invoicing.delivery_invoice di ON di.delivery_id = d.id"
                    " JOIN invoicing.invoice i ON i.id = di.invoice_id WHERE d.state = 'failed' ORDER BY i.id LIMIT 1"
                ).fetchone()
                assert sample is not None
                # One delivery's documents are enough, for they take a second each: of one that is not sent yet.
                one = Batch("one", (sample["id"],))
                render.render_batch(db, archive_in(folder / "archive"), sample["run_id"], one)
            samples = {
                "code": sample["code"],
                "number": sample["number"],
                "delivery_id": str(sample["id"]),
                "period": "2026-11",
                "name": "default",
                "lease": "1",
                "version": "1",
                "version_id": "1",
                "dag_id": "monthly_invoicing",
                "dag_run_id": "manual__1",
                "task_id": "send_invoices",
                "map_index": "0",
            }
            with run_airflow("simple", dsn, folder / "home", environ) as airflow:
                tokens = {"editor": airflow.log_in("olga"), "viewer": airflow.log_in("vera")}
                site = Site(airflow, samples, tokens)
                # What a young server imports at its first request is nobody's attack.
                for path in ("cycles", "templates/default", "api/v1/tenants"):
                    httpx.get(
                        f"{site.url}/invoicing/{path}", headers=site.headers("editor"), timeout=60
                    ).raise_for_status()
                yield site
    finally:
        inbox.stop()
