"""A stack whose mail goes to a relay that fails on command, and what tests ask of the two."""

import random
from collections import Counter
from pathlib import Path
from typing import Any

import psutil
import psycopg

from invoicing.airflow_api import AirflowApi
from support.project import DEMO
from support.relay import FaultyRelay
from support.running_stack import Stack, wait_for

DAG = "monthly_invoicing"
HEADERS = {path.stem: path.read_text(encoding="utf-8").splitlines()[0] for path in DEMO.glob("*.csv")}


class Pipeline:
    """A stack whose mail goes to a faulty relay, and what a test asks of the two."""

    def __init__(self, stack: Stack, api: AirflowApi, relay: FaultyRelay, folder: Path) -> None:
        self.stack = stack
        self.api = api
        self.relay = relay
        self._folder = folder

    def import_tenants(self, codes: list[str]) -> None:
        """Exactly these tenants get mail: each has one lease."""
        rows = {
            "tenants": [
                f"{code},CC,1,{code},{code.lower()}@correo.test,,es,Bogotá,no,yes,no" for code in codes
            ],
            "leases": [
                f"L-{code},{code},Calle 1,Bogotá,residential,2020-01-01,,1000000,COP" for code in codes
            ],
        }
        for name, lines in rows.items():
            (self._folder / f"{name}.csv").write_text(
                "\n".join([HEADERS[name], *lines]) + "\n", encoding="utf-8"
            )
        self.stack.run("import", str(self._folder))

    @property
    def accepted(self) -> Counter[str]:
        """How often the relay accepted each message to a tenant; notes to the operator aside."""
        return Counter(
            message.message_id
            for message in self.relay.messages
            if b"X-Invoice-Delivery: " in message.content
        )

    def query(self, sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.stack.dsn, autocommit=True) as connection:
            cursor = connection.execute(sql.encode(), parameters)
            return cursor.fetchall() if cursor.description else []

    def states(self, period: str) -> dict[str, str]:
        """State by tenant."""
        rows = self.query(
            "SELECT t.code, d.state FROM invoicing.delivery d JOIN invoicing.tenant t ON t.id = d.tenant_id"
            " WHERE d.period = %s AND d.state <> 'cancelled'",
            period,
        )
        return dict(rows)

    def trigger(self, period: str) -> str:
        return self.api.trigger(DAG, partition_key=period, params={"confirm_month": period})

    def wait(self, run_id: str, dag_id: str = DAG, seconds: float = 300) -> str:
        """The run's final state."""
        return wait_for(
            lambda: (run := self.api.dag_run(dag_id, run_id)).is_over and run.state, "the run ends", seconds
        )

    def kill_transmitting(self) -> bool:
        """Kill -9 a task process that is in the middle of a transmission; whether there was one."""
        ports = {
            row[0]
            for row in self.query(
                "SELECT client_port FROM pg_stat_activity WHERE datname = current_database()"
                " AND query ILIKE %s AND pid <> pg_backend_pid()",
                "%SET state = 'transmitting'%",
            )
        }
        return kill_owner_of(ports)

    def kill_any_task(self, dice: random.Random) -> bool:
        """Kill -9 any process that holds a connection to the business database, a backend aside."""
        ports = [
            row[0]
            for row in self.query(
                "SELECT client_port FROM pg_stat_activity WHERE datname = current_database() AND client_port > 0"
                " AND application_name = 'invoicing' AND pid <> pg_backend_pid()"
            )
        ]
        return bool(ports) and kill_owner_of({dice.choice(ports)})

    def check(self, period: str) -> None:
        """I1 to I4, I6 and I7 for a period that has come to rest."""
        assert (
            self.query(
                "SELECT lease_id FROM invoicing.invoice WHERE period = %s AND state = 'issued'"
                " GROUP BY 1 HAVING count(*) > 1",
                period,
            )
            == []
        )
        accepted = self.accepted
        assert [id_ for id_, times in accepted.items() if times > 1] == []
        rows = self.query("SELECT message_id, state FROM invoicing.delivery WHERE period = %s", period)
        assert [row for row in rows if row[1] == "sent" and row[0] not in accepted] == []
        assert [row for row in rows if row[1] not in ("sent", "in_doubt") and row[0] in accepted] == []
        assert (
            self.query(
                "SELECT id FROM invoicing.delivery d WHERE attempts <>"
                " (SELECT count(*) FROM invoicing.delivery_attempt a WHERE a.delivery_id = d.id)"
            )
            == []
        )
        assert self.stack.json("cycle", "show", period)["balanced"] is True


def kill_owner_of(ports: set[int]) -> bool:
    for process in psutil.process_iter():
        try:
            if "postgres" in process.name() or process.pid == psutil.Process().pid:
                continue
            if ports & {each.laddr.port for each in process.net_connections("tcp") if each.laddr}:
                process.kill()
                return True
        except psutil.Error:
            continue
    return False
