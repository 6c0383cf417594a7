"""One cycle of the reference agency gives what was worked out independently of this code."""

import json
from decimal import Decimal
from typing import Any

import pytest

from invoicing.db.connection import Database
from invoicing.domain.period import Period
from invoicing.services.agency import settings
from invoicing.services.agency.imports import import_folder
from invoicing.services.billing import count, generate, runs
from invoicing.services.delivery import closing, select
from invoicing.services.views import report
from support.project import AGENCY

EXPECTED: dict[str, Any] = json.loads((AGENCY / "expected.json").read_text())


def run_cycle(db: Database, period: str, dag_run_id: str = "test") -> int:
    """What the DAG does up to the deliveries; returns the cycle's id."""
    run_id = runs.open_run(db, dag_id="monthly_invoicing", dag_run_id=dag_run_id, period=Period.parse(period))
    generate.generate_invoices(db, run_id)
    count.count_invoices(db, run_id)
    select.select_recipients(db, run_id)
    cycle_id = runs.load_run(db, run_id).cycle_id
    assert cycle_id is not None
    return cycle_id


@pytest.mark.parametrize("variant", ["all", "multiple_only"])
def test_the_agency_gives_the_expected_cycle(db: Database, variant: str) -> None:
    expected = EXPECTED[variant]
    import_folder(db, AGENCY, actor="test")
    settings.change_settings(db, expected["settings"], actor="test")

    cycle_id = run_cycle(db, expected["period"])

    invoices = report.cycle_invoices(db, Period.parse(expected["period"]))
    shown = [
        {key: row[key] for key in ("lease", "tenant", "subtotal", "tax", "withholding", "total")}
        for row in invoices
    ]
    assert sorted(shown, key=lambda row: row["lease"]) == sorted(
        expected["invoices"], key=lambda row: row["lease"]
    )
    decisions = report.cycle_tenants(db, Period.parse(expected["period"]))
    assert {row["tenant"]: row["reason"] or "send" for row in decisions} == expected["decisions"]
    lease_of = {row["number"]: row["lease"] for row in invoices}
    deliveries = report.list_deliveries(db, period=Period.parse(expected["period"]))
    assert {
        row["tenant"]: {
            "to": row["to"],
            "cc": row["cc"],
            "invoices": sorted(lease_of[number] for number in row["invoices"]),
        }
        for row in deliveries
    } == {
        tenant: {**mail, "invoices": sorted(mail["invoices"])} for tenant, mail in expected["mails"].items()
    }
    assert sum((Decimal(row["total"]) for row in invoices), Decimal(0)) == Decimal(
        expected["totals"]["total"]
    )
    assert closing.imbalances(db, cycle_id) == []


def test_a_second_run_changes_nothing(db: Database) -> None:
    import_folder(db, AGENCY, actor="test")
    settings.change_settings(db, {"auto_send": True}, actor="test")
    run_cycle(db, "2026-11", "first")
    before = snapshot(db)

    run_cycle(db, "2026-11", "second")
    run_cycle(db, "2026-11", "first")

    assert snapshot(db) == before


def snapshot(db: Database) -> dict[str, list[Any]]:
    """Everything that must not differ after a repetition."""
    queries = {
        "invoices": "SELECT id, number, total FROM invoicing.invoice ORDER BY id",
        "decisions": "SELECT id, tenant_id, reason FROM invoicing.decision WHERE superseded_at IS NULL ORDER BY id",
        "deliveries": "SELECT id, message_id, state, to_addresses FROM invoicing.delivery ORDER BY id",
        "contents": "SELECT delivery_id, invoice_id, live FROM invoicing.delivery_invoice ORDER BY 1, 2",
    }
    return {name: db.execute(query.encode()).fetchall() for name, query in queries.items()}
