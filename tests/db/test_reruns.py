"""Runs converge: the same input and settings end in the same invoices, decisions and messages."""

import threading
from typing import Any

import psycopg
import pytest

from invoicing.db.connection import Database, connect
from invoicing.domain.errors import PermanentFailureError
from invoicing.domain.period import Period
from invoicing.services.billing import generate, runs
from invoicing.services.delivery import closing, select
from invoicing.services.views import report, simulate
from support.agency import NOVEMBER, Agency

SENT = ("claimed", "transmitting", "sent")


def test_who_had_no_message_is_decided_on_anew(agency: Agency) -> None:
    agency.add_tenant("A")
    agency.set(auto_send=False)
    assert agency.run()[1] == []
    assert agency.decisions() == {"A": "sending_disabled"}

    agency.set(auto_send=True)
    agency.run()

    assert agency.decisions() == {"A": "send"}
    assert agency.deliveries() == [("A", "pending", 1)]
    assert agency.balance() == []


def test_who_had_their_message_keeps_the_decision(agency: Agency) -> None:
    agency.add_tenant("A")
    agency.run()
    agency.put("A", *SENT)

    agency.set(auto_send=False)
    agency.run()

    assert agency.decisions() == {"A": "send"}
    assert agency.deliveries() == [("A", "sent", 1)]
    assert agency.balance() == []


@pytest.mark.parametrize("states", [(), ("claimed", "failed"), ("claimed", "pending")])
def test_what_was_not_accepted_is_withdrawn_when_the_rules_change(
    agency: Agency, states: tuple[str, ...]
) -> None:
    agency.add_tenant("A")
    agency.run()
    agency.put("A", *states)

    agency.change_tenant("A", auto_send=False)
    agency.run()

    assert agency.decisions() == {"A": "tenant_disabled"}
    assert agency.deliveries() == [("A", "cancelled", 1)]
    assert agency.balance() == []


@pytest.mark.parametrize("state", ["transmitting", "in_doubt"])
def test_what_may_have_been_accepted_is_never_withdrawn_nor_made_again(agency: Agency, state: str) -> None:
    agency.add_tenant("A")
    agency.run()
    agency.put("A", "claimed", "transmitting")
    if state == "in_doubt":
        agency.put("A", "in_doubt")

    agency.change_tenant("A", auto_send=False)
    agency.run()
    agency.change_tenant("A", auto_send=True)
    agency.run()

    assert agency.deliveries() == [("A", state, 1)]


def test_a_lease_added_later_gives_one_more_invoice_and_one_more_message_with_it_alone(
    agency: Agency,
) -> None:
    agency.add_tenant("A")
    agency.run()
    agency.put("A", *SENT)

    agency.add_lease("A-late", "A")
    agency.run()
    agency.run()

    assert agency.deliveries() == [("A", "sent", 1), ("A", "pending", 1)]
    assert agency.balance() == []


def test_a_lease_added_before_anything_was_tried_joins_the_message(agency: Agency) -> None:
    agency.add_tenant("A")
    agency.run()
    agency.add_lease("A-late", "A")
    agency.run()
    assert agency.deliveries() == [("A", "pending", 2)]


def test_a_second_invoice_can_make_a_tenant_due_mail(agency: Agency) -> None:
    agency.add_tenant("A", only_multiple=True)
    agency.run()
    assert agency.decisions() == {"A": "tenant_only_multiple"}
    agency.add_lease("A-late", "A")
    agency.run()
    assert agency.decisions() == {"A": "send"}
    assert agency.deliveries() == [("A", "pending", 2)]


def test_one_message_an_invoice_where_the_agency_wants_it(agency: Agency) -> None:
    agency.add_tenant("A", leases=3)
    agency.run()
    agency.set(grouping="per_invoice")
    agency.run()
    assert [each for each in agency.deliveries() if each[1] != "cancelled"] == [("A", "pending", 1)] * 3
    agency.set(grouping="per_tenant")
    agency.run()
    assert [each for each in agency.deliveries() if each[1] != "cancelled"] == [("A", "pending", 3)]
    assert agency.balance() == []


def test_what_has_not_left_takes_the_addresses_of_today_and_what_may_have_keeps_its_own(
    agency: Agency,
) -> None:
    for code in ("A", "B", "C"):
        agency.add_tenant(code)
    agency.run()
    agency.put("B", "claimed", "pending")
    agency.put("C", "claimed", "transmitting", "in_doubt", "pending")
    for code in ("A", "B", "C"):
        agency.change_tenant(code, emails=[f"new-{code.lower()}@correo.example"])

    agency.run()

    rows = agency.db.execute("SELECT to_addresses FROM invoicing.delivery ORDER BY id").fetchall()
    assert [row["to_addresses"] for row in rows] == [
        ["new-a@correo.example"],
        ["new-b@correo.example"],
        ["c@correo.example"],
    ]


def test_a_refused_delivery_is_tried_again_by_the_next_run_at_the_fixed_address(agency: Agency) -> None:
    agency.add_tenant("A")
    agency.run()
    agency.put("A", "claimed", "failed")
    agency.change_tenant("A", emails=["fixed@correo.example"])

    agency.run()

    row = agency.db.execute("SELECT state, to_addresses FROM invoicing.delivery").fetchone()
    assert row == {"state": "pending", "to_addresses": ["fixed@correo.example"]}


def test_what_was_refused_beside_an_accepted_message_is_tried_again_too(agency: Agency) -> None:
    agency.add_tenant("A")
    agency.run()
    agency.put("A", *SENT)
    agency.add_lease("A-late", "A")
    agency.run()
    agency.put("A", "claimed", "failed")
    agency.run()
    assert agency.deliveries() == [("A", "sent", 1), ("A", "pending", 1)]


def test_an_older_run_decides_with_the_invoices_of_now(agency: Agency) -> None:
    """Its own count is stale when another run has issued more in between."""
    agency.add_tenant("A", only_multiple=True)
    old, _ = agency.run()
    agency.add_lease("A-late", "A")
    agency.add_tenant("B")
    agency.run()
    agency.put("B", *SENT)

    select.select_recipients(agency.db, old)

    assert agency.decisions() == {"A": "send", "B": "send"}
    assert agency.deliveries() == [("A", "pending", 2), ("B", "sent", 1)]
    assert agency.balance() == []


def test_a_decision_on_fewer_invoices_than_there_are_unbalances_the_cycle(agency: Agency) -> None:
    agency.add_tenant("A", only_multiple=True)
    run_id, _ = agency.run()
    agency.add_lease("A-late", "A")
    generate.generate_invoices(agency.db, run_id)
    assert agency.balance() == ["tenant A was decided on with 1 of its 2 invoices"]


def test_a_tenant_switched_off_gets_nothing_more_though_a_message_was_accepted(agency: Agency) -> None:
    agency.add_tenant("A")
    agency.run()
    agency.put("A", *SENT)
    agency.add_lease("A-late", "A")
    agency.run()
    agency.put("A", "claimed", "failed")

    agency.change_tenant("A", auto_send=False)
    run_id, batches = agency.run()

    assert batches == []
    assert agency.deliveries() == [("A", "sent", 1), ("A", "cancelled", 1)]
    assert agency.decisions() == {"A": "tenant_disabled"}
    closing.close_run(agency.db, run_id)


def test_a_total_of_nothing_is_reported_and_the_cycle_goes_on(agency: Agency) -> None:
    agency.add_tenant("A")
    agency.add_tenant("B", leases=0)
    agency.add_lease("B-free", "B", rent=0)
    agency.run()
    assert agency.deliveries() == [("A", "pending", 1)]
    rows = agency.db.execute("SELECT total FROM invoicing.unissued_invoice").fetchall()
    assert [row["total"] for row in rows] == [0]
    assert agency.balance() == []


def test_numbers_have_no_gap_although_a_run_was_undone(agency: Agency) -> None:
    agency.add_tenant("A", leases=3)
    with agency.db.transaction(force_rollback=True):
        agency.run()
    agency.run()
    agency.add_lease("A-late", "A")
    agency.run()
    rows = agency.db.execute("SELECT number FROM invoicing.invoice ORDER BY serial").fetchall()
    assert [row["number"] for row in rows] == ["FV-1", "FV-2", "FV-3", "FV-4"]


def test_five_runs_at_once_make_one_of_everything(agency: Agency, dsn: str) -> None:
    for number in range(20):
        agency.add_tenant(f"T{number}", leases=1 + number % 3)
    errors: list[BaseException] = []

    def run(number: int) -> None:
        try:
            with connect(dsn) as db:
                Agency(db, runs=100 * number).run()
        except BaseException as error:  # noqa: BLE001
            errors.append(error)

    threads = [threading.Thread(target=run, args=[number]) for number in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert errors == []
    assert len(agency.deliveries()) == 20
    assert agency.db.execute("SELECT count(*) AS n FROM invoicing.invoice").fetchone() == {"n": 39}
    assert agency.balance() == []


def test_nobody_who_issues_invoices_waits_for_a_simulation(
    agency: Agency, dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    agency.add_tenant("A", leases=2)
    agency.run(Period(2026, 10))
    looking, looked = threading.Event(), threading.Event()
    report_on = report.cycle_tenants

    def look_for_long(db: Database, period: Period) -> list[dict[str, Any]]:
        looking.set()
        assert looked.wait(30)
        return report_on(db, period)

    monkeypatch.setattr(report, "cycle_tenants", look_for_long)
    told: list[dict[str, Any]] = []
    with connect(dsn) as other:
        simulating = threading.Thread(target=lambda: told.append(simulate.simulate(other, NOVEMBER)))
        simulating.start()
        assert looking.wait(30)
        try:
            agency.db.execute("SET lock_timeout = '2s'")
            agency.run(Period(2026, 12))
            assert simulating.is_alive()
        finally:
            looked.set()
            simulating.join()

    rows = agency.db.execute("SELECT number FROM invoicing.invoice ORDER BY serial").fetchall()
    assert [row["number"] for row in rows] == ["FV-1", "FV-2", "FV-3", "FV-4"]
    assert agency.db.execute("SELECT prefix FROM invoicing.invoice_series").fetchall() == [{"prefix": "FV-"}]
    # As they would have been when it began.
    (simulated,) = told
    assert [row["number"] for row in simulated["invoices_detail"]] == ["FV-3", "FV-4"]
    assert [row["delivery"]["invoices"] for row in simulated["tenants"]] == [["FV-3", "FV-4"]]
    assert simulated["tenants"][0]["deliveries"][0]["invoices"] == ["FV-3", "FV-4"]


def test_a_simulation_of_a_month_that_ran_keeps_its_numbers(agency: Agency) -> None:
    agency.add_tenant("A", leases=2)
    agency.run()
    agency.add_lease("A-L9", "A")

    simulated = simulate.simulate(agency.db, NOVEMBER)

    assert [row["number"] for row in simulated["invoices_detail"]] == ["FV-1", "FV-2", "FV-3"]


def test_a_simulation_leaves_no_trace(agency: Agency) -> None:
    agency.add_tenant("A", leases=2)
    simulated = simulate.simulate(agency.db, NOVEMBER)
    assert [(row["tenant"], row["decision"], row["invoices"]) for row in simulated["tenants"]] == [
        ("A", "send", 2)
    ]
    assert [row["number"] for row in simulated["invoices_detail"]] == ["FV-1", "FV-2"]
    for table in ("billing_cycle", "cycle_run", "invoice", "decision", "delivery", "invoice_series"):
        assert agency.db.execute(f"SELECT count(*) AS n FROM invoicing.{table}".encode()).fetchone() == {
            "n": 0
        }
    agency.run()
    assert agency.db.execute("SELECT min(number) AS first FROM invoicing.invoice").fetchone() == {
        "first": "FV-1"
    }


def test_a_run_ends_well_only_when_all_that_was_due_is_sent(agency: Agency) -> None:
    agency.add_tenant("A")
    run_id, _ = agency.run()
    with pytest.raises(PermanentFailureError, match="1 delivery is pending"):
        closing.close_run(agency.db, run_id)
    agency.put("A", "claimed", "transmitting", "in_doubt")
    with pytest.raises(PermanentFailureError, match="1 delivery is in_doubt"):
        closing.close_run(agency.db, run_id)
    agency.put("A", "sent")
    closing.close_run(agency.db, run_id)
    assert agency.db.execute("SELECT state FROM invoicing.billing_cycle").fetchone() == {"state": "closed"}


def test_a_run_that_stopped_halfway_does_not_end_well(agency: Agency) -> None:
    agency.add_tenant("A")
    run_id = runs.open_run(agency.db, dag_id="monthly_invoicing", dag_run_id="half", period=NOVEMBER)
    with pytest.raises(PermanentFailureError, match="never got as far as generated"):
        closing.close_run(agency.db, run_id)


def test_an_invoice_in_no_delivery_unbalances_the_cycle(agency: Agency) -> None:
    agency.add_tenant("A")
    run_id, _ = agency.run()
    agency.put("A", "cancelled")
    assert agency.balance() == ["invoice FV-1 is to be sent and is in no delivery"]
    with pytest.raises(PermanentFailureError, match="FV-1 is to be sent and is in no delivery"):
        closing.close_run(agency.db, run_id)


class TestTheDatabaseHoldsThePromises:
    """Whatever the code does, these cannot happen."""

    def test_one_standing_invoice_a_lease_and_period(self, agency: Agency) -> None:
        agency.add_tenant("A")
        agency.run()
        with pytest.raises(psycopg.errors.UniqueViolation, match="invoice_one_standing_a_lease_and_period"):
            self.copy_invoice(agency.db)

    def test_one_live_first_delivery_an_invoice(self, agency: Agency) -> None:
        agency.add_tenant("A")
        agency.run()
        agency.db.execute(
            "INSERT INTO invoicing.delivery (cycle_id, tenant_id, period, purpose, message_id, to_addresses, language,"
            " settings_version_id, template_version_id, actor)"
            " SELECT cycle_id, tenant_id, period, purpose, 'x', to_addresses, language, settings_version_id,"
            " template_version_id, actor FROM invoicing.delivery"
        )
        with pytest.raises(psycopg.errors.UniqueViolation, match="delivery_invoice_one_live_initial"):
            agency.db.execute(
                "INSERT INTO invoicing.delivery_invoice (delivery_id, invoice_id, purpose)"
                " SELECT (SELECT max(id) FROM invoicing.delivery), id, 'initial' FROM invoicing.invoice"
            )

    @pytest.mark.parametrize(
        ("before", "after"),
        [
            ((), "sent"),
            ((), "transmitting"),
            (SENT, "pending"),
            (SENT, "claimed"),
            (("claimed", "transmitting"), "claimed"),
            (("claimed", "transmitting", "in_doubt"), "claimed"),
            (("cancelled",), "pending"),
        ],
    )
    def test_transitions_are_those_of_the_contract(
        self, agency: Agency, before: tuple[str, ...], after: str
    ) -> None:
        agency.add_tenant("A")
        agency.run()
        agency.put("A", *before)
        with pytest.raises(psycopg.errors.CheckViolation, match="cannot go from"):
            agency.put("A", after)

    def test_content_freezes_at_the_first_attempt(self, agency: Agency, owner: Database) -> None:
        agency.add_tenant("A")
        agency.run()
        agency.put("A", "claimed")
        for change in ("to_addresses = '{x@y.example}'", "message_id = 'x'", "language = 'en'"):
            with pytest.raises(psycopg.errors.CheckViolation, match="frozen"):
                owner.execute(f"UPDATE invoicing.delivery SET {change}".encode())
        with pytest.raises(psycopg.errors.CheckViolation, match="frozen"):
            owner.execute("DELETE FROM invoicing.delivery_invoice")

    @pytest.mark.parametrize(
        "statement",
        [
            "UPDATE invoicing.invoice SET total = total + 1, subtotal = subtotal + 1",
            "DELETE FROM invoicing.invoice",
            "UPDATE invoicing.invoice_line SET amount = 1",
            "DELETE FROM invoicing.delivery_event",
            "UPDATE invoicing.settings_version SET actor = 'x'",
            "DELETE FROM invoicing.audit_event",
            "DELETE FROM invoicing.delivery",
        ],
    )
    def test_what_happened_is_kept(self, agency: Agency, owner: Database, statement: str) -> None:
        agency.add_tenant("A")
        agency.run()
        with pytest.raises(psycopg.errors.IntegrityError):
            owner.execute(statement.encode())

    def test_an_invoice_is_the_sum_of_its_lines(self, agency: Agency) -> None:
        agency.add_tenant("A")
        agency.run()
        agency.db.execute("UPDATE invoicing.invoice SET state = 'void'")
        with pytest.raises(psycopg.errors.CheckViolation, match="are not the sums of its lines"):
            self.copy_invoice(agency.db, replaces="id")

    def test_a_voided_invoice_makes_no_room_for_another(self, agency: Agency) -> None:
        """A person replaces it, or nobody does."""
        agency.add_tenant("A")
        agency.run()
        agency.put("A", "cancelled")
        agency.db.execute("UPDATE invoicing.invoice SET state = 'void'")
        agency.run()
        rows = agency.db.execute("SELECT number, state FROM invoicing.invoice ORDER BY id").fetchall()
        assert [(row["number"], row["state"]) for row in rows] == [("FV-1", "void")]
        assert agency.balance() == []
        with pytest.raises(psycopg.errors.UniqueViolation, match="invoice_issued_by_a_run_once"):
            self.copy_invoice(agency.db)

    @staticmethod
    def copy_invoice(db: Database, replaces: str = "NULL") -> None:
        db.execute(
            "INSERT INTO invoicing.invoice (series, serial, origin, cycle_id, tenant_id, lease_id, settings_version_id,"
            " period, issued_on, due_on, currency, subtotal, tax, withholding, total, tenant_name,"
            " tenant_document_type, tenant_document_number, tenant_city, language, property, property_city, use,"
            " replaces)"
            " SELECT series, 99, origin, cycle_id, tenant_id, lease_id, settings_version_id, period, issued_on, due_on,"
            " currency, subtotal, tax, withholding, total, tenant_name, tenant_document_type, tenant_document_number,"
            f" tenant_city, language, property, property_city, use, {replaces} FROM invoicing.invoice".encode()
        )
