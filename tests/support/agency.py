"""A small agency in the database, and the monthly job up to its deliveries."""

import datetime
from dataclasses import dataclass, field
from typing import Any

from invoicing.db.connection import Database
from invoicing.domain.delivery import Batch
from invoicing.domain.period import Period
from invoicing.services.agency import settings
from invoicing.services.billing import count, generate, runs
from invoicing.services.delivery import closing, select
from invoicing.words.failures import tell

NOVEMBER = Period(2026, 11)


@dataclass
class Agency:
    """What the tests say in their own words."""

    db: Database
    runs: int = field(default=0)

    def set(self, **changes: Any) -> None:
        settings.change_settings(self.db, changes, actor="test")

    def add_tenant(self, code: str, *, leases: int = 1, **columns: Any) -> None:
        """A tenant who gets mail, unless ``columns`` say otherwise."""
        values = {
            "emails": [f"{code.lower()}@correo.example"],
            "cc_emails": [],
            "auto_send": True,
            "only_multiple": False,
            **columns,
        }
        self.db.execute(
            "INSERT INTO invoicing.tenant (code, document_type, document_number, name, emails, cc_emails, auto_send,"
            " only_multiple) VALUES (%(code)s, 'CC', '1', %(code)s, %(emails)s, %(cc_emails)s, %(auto_send)s,"
            " %(only_multiple)s)",
            {"code": code, **values},
        )
        for number in range(leases):
            self.add_lease(f"{code}-L{number}", code)

    def add_lease(self, code: str, tenant: str, *, rent: int = 1_000_000, start: str = "2020-01-01") -> None:
        self.db.execute(
            "INSERT INTO invoicing.lease (code, tenant_id, property, use, start_date, rent, currency)"
            " SELECT %s, id, 'Calle 1', 'residential', %s, %s, 'COP' FROM invoicing.tenant WHERE code = %s",
            [code, datetime.date.fromisoformat(start), rent, tenant],
        )

    def change_tenant(self, code: str, **columns: Any) -> None:
        for column, value in columns.items():
            self.db.execute(
                f"UPDATE invoicing.tenant SET {column} = %s WHERE code = %s".encode(), [value, code]
            )

    def run(self, period: Period = NOVEMBER) -> tuple[int, list[Batch]]:
        """A new DAG run up to its deliveries; its id and what it would send."""
        self.runs += 1
        run_id = runs.open_run(
            self.db, dag_id="monthly_invoicing", dag_run_id=f"run-{self.runs}", period=period
        )
        generate.generate_invoices(self.db, run_id)
        count.count_invoices(self.db, run_id)
        return run_id, select.select_recipients(self.db, run_id)

    def decisions(self) -> dict[str, str]:
        rows = self.db.execute(
            "SELECT t.code, coalesce(d.reason, 'send') AS outcome FROM invoicing.decision d"
            " JOIN invoicing.tenant t ON t.id = d.tenant_id WHERE d.superseded_at IS NULL ORDER BY 1"
        )
        return {row["code"]: row["outcome"] for row in rows}

    def deliveries(self) -> list[tuple[str, str, int]]:
        """Tenant, state and number of invoices of every delivery, oldest first."""
        rows = self.db.execute(
            "SELECT t.code, d.state, count(di.invoice_id) AS n FROM invoicing.delivery d"
            " JOIN invoicing.tenant t ON t.id = d.tenant_id"
            " LEFT JOIN invoicing.delivery_invoice di ON di.delivery_id = d.id"
            " GROUP BY t.code, d.id ORDER BY d.id"
        )
        return [(row["code"], row["state"], row["n"]) for row in rows]

    def put(self, tenant: str, *states: str) -> None:
        """Take the tenant's newest delivery through ``states``, as a worker would."""
        (newest,) = self.db.execute(
            "SELECT max(d.id) AS id FROM invoicing.delivery d JOIN invoicing.tenant t ON t.id = d.tenant_id"
            " WHERE t.code = %s",
            [tenant],
        ).fetchall()
        for state in states:
            self.db.execute(
                "UPDATE invoicing.delivery SET state = %(state)s,"
                " claim_until = CASE WHEN %(state)s IN ('claimed', 'transmitting') THEN now() + interval '1 hour' END,"
                " attempts = attempts + (%(state)s = 'claimed')::int,"
                " claim_token = claim_token + (%(state)s = 'claimed')::int WHERE id = %(id)s",
                {"state": state, **newest},
            )
            if state == "claimed":
                self.db.execute(
                    "INSERT INTO invoicing.delivery_attempt (delivery_id, claim_token, claimed_by, host)"
                    " SELECT id, claim_token, 'test', 'test' FROM invoicing.delivery WHERE id = %(id)s",
                    newest,
                )
            elif state == "transmitting":
                self.db.execute(
                    "UPDATE invoicing.delivery_attempt SET marked_at = now()"
                    " WHERE delivery_id = %(id)s AND claim_token ="
                    " (SELECT claim_token FROM invoicing.delivery WHERE id = %(id)s)",
                    newest,
                )

    def balance(self) -> list[str]:
        cycle = self.db.execute("SELECT id FROM invoicing.billing_cycle").fetchone()
        assert cycle is not None
        return [tell(fault) for fault in closing.imbalances(self.db, cycle["id"])]
