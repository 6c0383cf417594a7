"""Void, credit, replace (docs/contract.md, section 5): what becomes of the invoice, and of what is sent."""

import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pytest

from invoicing.db.connection import Database, connect
from invoicing.domain.correction import LineAmount
from invoicing.domain.errors import ImportRejectedError, InputError, NotFoundError
from invoicing.domain.task_address import TaskAddress
from invoicing.mail.transmission import Outcome, Phase, Verdict
from invoicing.services.billing import generate, out_of_step, runs, single_invoices
from invoicing.services.delivery import corrections, resolution, select, shares, sweep
from invoicing.services.delivery.correction_file import read_corrections
from invoicing.services.delivery.corrections import Corrected
from invoicing.services.delivery.journal import Journal
from invoicing.services.delivery.ledger import ClaimLostError, Ledger, Worker
from invoicing.services.views import report
from support.agency import NOVEMBER, Agency

WHY = {"reason": "billed twice", "actor": "Ana"}
FORGED = """
INSERT INTO invoicing.invoice (series, serial, origin, kind, corrects, cycle_id, tenant_id, lease_id,
    settings_version_id, period, issued_on, due_on, currency, subtotal, tax, withholding, total, tenant_name,
    tenant_document_type, tenant_document_number, tenant_city, language, property, property_city, use)
SELECT 'NC-', %(serial)s, 'correction', 'credit_note', id, cycle_id, %(tenant_id)s, lease_id, settings_version_id,
    %(period)s, issued_on, due_on, %(currency)s, %(amount)s, %(tax)s, 0, %(amount)s::numeric + %(tax)s::numeric,
    tenant_name, tenant_document_type, tenant_document_number, tenant_city, language, property, property_city, use
FROM invoicing.invoice WHERE number = 'FV-1' RETURNING id
"""
FORGED_LINE = """
INSERT INTO invoicing.invoice_line (invoice_id, position, concept, description, amount, tax_rate, tax)
VALUES (%s, %s, 'rent', 'x', %s, %s, %s)
"""


def void(agency: Agency, number: str) -> Corrected:
    return corrections.void(agency.db, number, **WHY)


def credit(agency: Agency, number: str, *lines: str) -> Corrected:
    asked = [LineAmount.parse(text) for text in lines] or None
    return corrections.credit(agency.db, number, asked, **WHY)


def replace(agency: Agency, number: str) -> Corrected:
    return corrections.replace_invoice(agency.db, number, **WHY)


def change_rent(agency: Agency, code: str, rent: int) -> None:
    agency.db.execute("UPDATE invoicing.lease SET rent = %s WHERE code = %s", [rent, code])


def send(agency: Agency, tenant: str) -> None:
    """As a worker sends the tenant's newest delivery."""
    agency.put(tenant, "claimed", "transmitting")
    agency.db.execute(
        "UPDATE invoicing.delivery_attempt SET verdict = 'accepted', phase = 'acceptance', code = 250,"
        " reply = '250 Ok', ended_at = now() WHERE verdict IS NULL"
    )
    agency.put(tenant, "sent")


def send_apart(agency: Agency) -> list[str]:
    """What `send_new_invoices` does up to its deliveries."""
    agency.runs += 1
    run_id = runs.open_run(agency.db, dag_id="send_new_invoices", dag_run_id=f"s{agency.runs}", period=None)
    rendered = select.select_new_invoices(agency.db, run_id)
    return [batch.label for batch in shares.for_sending(agency.db, run_id, rendered)]


def shown(agency: Agency) -> dict[str, Any]:
    return report.cycle_report(agency.db, NOVEMBER)


def invoices(agency: Agency) -> dict[str, dict[str, Any]]:
    return {row["number"]: row for row in report.cycle_invoices(agency.db, NOVEMBER)}


def carried(agency: Agency) -> list[tuple[str, str, list[str]]]:
    """Tenant, state and invoices of each delivery, oldest first."""
    rows = report.list_deliveries(agency.db)
    return [(row["tenant"], row["state"], row["invoices"]) for row in rows]


@pytest.fixture
def commercial(agency: Agency) -> Agency:
    """A has an office, with IVA and withholdings, and a charge; its invoice FV-1 was sent."""
    agency.db.execute(
        "INSERT INTO invoicing.tax_rate (tax, city, rate, valid_from) VALUES ('iva', '', 0.19, '2017-01-01'),"
        " ('retefuente', '', 0.035, '2017-01-01'), ('reteiva', '', 0.15, '2017-01-01'),"
        " ('reteica', 'Bogotá', 0.00966, '2017-01-01')"
    )
    agency.add_tenant("A")
    agency.change_tenant("A", withholding_agent=True)
    agency.db.execute("UPDATE invoicing.lease SET use = 'commercial', city = 'Bogotá', rent = 4000000")
    agency.db.execute(
        "INSERT INTO invoicing.charge (lease_id, concept, description, amount, tax, prorated)"
        " SELECT id, 'administration', 'Administración', 300000, 'none', false FROM invoicing.lease"
    )
    agency.run()
    send(agency, "A")
    return agency


class TestVoid:
    def test_nothing_was_sent_the_number_stays_used_and_no_run_issues_it_again(self, agency: Agency) -> None:
        agency.add_tenant("A")
        agency.add_tenant("B")
        agency.run()

        done = void(agency, "FV-1")

        assert (done.state, done.difference, done.is_to_be_sent) == ("void", Decimal(-1_000_000), False)
        assert carried(agency)[0][:2] == ("A", "cancelled")
        assert agency.decisions() == {"B": "send"}
        assert shown(agency)["balanced"]
        agency.run()
        assert {number: row["state"] for number, row in invoices(agency).items()} == {
            "FV-1": "void",
            "FV-2": "issued",
        }
        assert shown(agency)["invoices"]["count"] == 1
        assert shown(agency)["unbilled"] == []
        assert agency.balance() == []

    def test_of_several_invoices_it_leaves_the_delivery(self, agency: Agency) -> None:
        agency.add_tenant("A", leases=3)
        _, (batch,) = agency.run()

        void(agency, "FV-2")

        assert carried(agency) == [("A", "pending", ["FV-1", "FV-3"])]
        assert report.list_deliveries(agency.db)[0]["id"] in batch.delivery_ids
        assert agency.balance() == []
        agency.run()
        assert carried(agency) == [("A", "pending", ["FV-1", "FV-3"])]
        assert agency.balance() == []

    def test_the_rules_count_what_stands(self, agency: Agency) -> None:
        agency.add_tenant("A", leases=2, only_multiple=True)
        agency.run()
        assert agency.decisions() == {"A": "send"}

        void(agency, "FV-1")

        assert agency.decisions() == {"A": "tenant_only_multiple"}
        assert carried(agency)[0][1] == "cancelled"
        assert agency.balance() == []

    def test_a_claim_has_sent_nothing_and_its_worker_finds_it_gone(self, agency: Agency) -> None:
        agency.add_tenant("A", leases=2)
        agency.run()
        agency.put("A", "claimed")

        void(agency, "FV-1")

        assert carried(agency) == [("A", "pending", ["FV-2"])]
        assert agency.balance() == []

    @pytest.mark.parametrize(
        ("states", "code"),
        [
            (["claimed", "transmitting"], "correction_under_way"),
            (["claimed", "transmitting", "in_doubt"], "void_was_sent"),
            (["claimed", "transmitting", "in_doubt", "failed"], "void_was_sent"),
            (["claimed", "transmitting", "in_doubt", "pending"], "void_was_sent"),
        ],
    )
    def test_what_may_have_left_is_never_voided(self, agency: Agency, states: list[str], code: str) -> None:
        agency.add_tenant("A")
        agency.run()
        agency.put("A", *states)
        with pytest.raises(InputError) as caught:
            void(agency, "FV-1")
        assert caught.value.code == code
        assert invoices(agency)["FV-1"]["state"] == "issued"
        with pytest.raises(psycopg.errors.CheckViolation, match="may have left"):
            agency.db.execute("UPDATE invoicing.invoice SET state = 'void'")

    def test_what_was_sent_is_never_voided_nor_what_is_void(self, agency: Agency) -> None:
        agency.add_tenant("A")
        agency.add_tenant("B")
        agency.run()
        send(agency, "A")
        with pytest.raises(InputError, match="credit note"):
            void(agency, "FV-1")
        void(agency, "FV-2")
        for again in (void, credit):
            with pytest.raises(InputError, match="void already"):
                again(agency, "FV-2")

    def test_what_was_refused_for_good_can_be_voided(self, agency: Agency) -> None:
        agency.add_tenant("A")
        agency.run()
        agency.put("A", "claimed", "transmitting")
        agency.db.execute(
            "UPDATE invoicing.delivery_attempt SET verdict = 'refused_permanently', ended_at = now()"
        )
        agency.put("A", "failed")
        assert void(agency, "FV-1").state == "void"

    def test_what_a_person_withdrew_is_not_sent_after_all(self, agency: Agency) -> None:
        agency.add_tenant("A")
        agency.run()
        (delivery,) = report.list_deliveries(agency.db)
        resolution.cancel(agency.db, [delivery["id"]], reason="x", actor="Ana")
        void(agency, "FV-1")
        with pytest.raises(InputError, match="nothing that delivery 1 carries stands"):
            resolution.resend(agency.db, [delivery["id"]], reason="x", actor="Ana")

    def test_the_mark_refuses_what_is_void(self, agency: Agency, owner: Database) -> None:
        """Whoever gets round the service: the table itself refuses."""
        agency.add_tenant("A")
        agency.run()
        owner.execute("ALTER TABLE invoicing.invoice DISABLE TRIGGER invoice_leaves_its_deliveries")
        owner.execute("UPDATE invoicing.invoice SET state = 'void'")
        agency.put("A", "claimed")
        with pytest.raises(psycopg.errors.CheckViolation, match="what it carries is void"):
            agency.put("A", "transmitting")

    def test_a_single_invoice_is_voided_alike(self, agency: Agency, tmp_path: Path) -> None:
        agency.add_tenant("A")
        file = tmp_path / "single.csv"
        file.write_text(
            "invoice_ref,tenant_code,lease_code,description,amount,tax\nR1,A,,Llaves,50000,none\n"
        )
        single_invoices.create_from_file(agency.db, file, actor="Ana")
        void(agency, "FV-1")
        assert send_apart(agency) == []
        with pytest.raises(InputError, match="single invoice"):
            replace(agency, "FV-1")

    def test_who_and_why_is_kept(self, agency: Agency, owner: Database) -> None:
        agency.add_tenant("A")
        agency.run()
        void(agency, "FV-1")
        row = agency.db.execute("SELECT act, reason, actor FROM invoicing.invoice_correction").fetchone()
        assert row == {"act": "void", "reason": "billed twice", "actor": "Ana"}
        event = agency.db.execute(
            "SELECT * FROM invoicing.audit_event WHERE action = 'invoice_voided'"
        ).fetchone()
        assert event is not None
        assert (event["subject"], event["details"]["reason"]) == ("invoice FV-1", "billed twice")
        for statement in (
            "UPDATE invoicing.invoice_correction SET reason = 'x'",
            "DELETE FROM invoicing.invoice_correction",
        ):
            with pytest.raises(psycopg.errors.IntegrityConstraintViolation):
                owner.execute(statement.encode())
        for reason in ("", "  "):
            with pytest.raises(InputError, match="reason"):
                corrections.void(agency.db, "FV-1", reason=reason, actor="Ana")
        with pytest.raises(NotFoundError, match="FV-9"):
            void(agency, "FV-9")


class TestCredit:
    def test_a_whole_credit_takes_back_the_invoice_to_the_peso(self, commercial: Agency) -> None:
        before = invoices(commercial)["FV-1"]

        done = credit(commercial, "FV-1")

        assert done.credit_note is not None
        note, of = invoices(commercial)["NC-1"], invoices(commercial)["FV-1"]
        amounts = ("subtotal", "tax", "withholding", "total", "lease", "tenant", "period", "currency")
        assert {key: note[key] for key in amounts} == {key: before[key] for key in amounts}
        assert (note["kind"], note["corrects"], note["state"]) == ("credit_note", "FV-1", "issued")
        assert (of["kind"], of["state"], of["replaced_by"]) == ("invoice", "credited", None)
        month = shown(commercial)
        assert (month["credits"]["count"], month["credits"]["total"]) == (1, before["total"])
        assert (month["invoices"]["count"], month["balanced"], month["unbilled"]) == (0, True, [])
        commercial.run()
        assert set(invoices(commercial)) == {"FV-1", "NC-1"}
        assert commercial.balance() == []

    def test_parts_add_up_and_no_more_than_is_left_is_ever_credited(self, commercial: Agency) -> None:
        before = Decimal(invoices(commercial)["FV-1"]["total"])
        credit(commercial, "FV-1", "1=1000001", "2=300000")
        assert invoices(commercial)["FV-1"]["state"] == "partly_credited"
        assert shown(commercial)["invoices"]["count"] == 1
        for lines in (["2=1"], ["1=3000000"]):
            with pytest.raises(InputError, match="left, less than"):
                credit(commercial, "FV-1", *lines)
        credit(commercial, "FV-1", "1=2000000")
        credit(commercial, "FV-1")

        month = shown(commercial)
        assert (month["credits"]["count"], Decimal(month["credits"]["total"])) == (3, before)
        assert invoices(commercial)["FV-1"]["state"] == "credited"
        with pytest.raises(InputError, match="credited whole already"):
            credit(commercial, "FV-1")
        with pytest.raises(InputError, match="NC-1 is a credit note"):
            credit(commercial, "NC-1")

    def test_the_database_holds_the_bounds_by_itself(self, commercial: Agency, owner: Database) -> None:
        """Each attempt is made as a whole: a credit note, its line, the invoice's state."""
        number = iter(range(1, 100))
        owner.execute("INSERT INTO invoicing.invoice_series (prefix, last_serial) VALUES ('NC-', 99)")

        def forge(amount: int, tax: int, *, position: int = 1, rate: str = "0.19", **columns: Any) -> None:
            values = {
                "currency": "COP",
                "tenant_id": 1,
                "period": "2026-11",
                "state": "partly_credited",
                **columns,
            }
            with owner.transaction():
                row = owner.execute(
                    FORGED.encode(), {"serial": next(number), "amount": amount, "tax": tax, **values}
                )
                forged = row.fetchone()
                assert forged is not None
                owner.execute(FORGED_LINE.encode(), [forged["id"], position, amount, rate, tax])
                owner.execute(
                    "UPDATE invoicing.invoice SET state = %(state)s WHERE number = 'FV-1' AND state <> %(state)s",
                    values,
                )

        for amount, tax, columns in (
            (4_000_001, 0, {"state": "partly_credited"}),
            (100, 760_001, {}),
            (1_000, 190, {"rate": "0.05"}),
            (1_000, 0, {"position": 7, "rate": "0"}),
            (1_000, 190, {"state": "credited"}),
            (1_000, 190, {"state": "issued"}),
            (1_000, 190, {"currency": "USD"}),
            (1_000, 190, {"period": "2026-12"}),
        ):
            with pytest.raises(psycopg.errors.CheckViolation):
                forge(amount, tax, **columns)
        with pytest.raises(psycopg.errors.CheckViolation, match="do not make it"):
            owner.execute("UPDATE invoicing.invoice SET state = 'credited'")
        forge(1_000, 190)
        assert invoices(commercial)["FV-1"]["state"] == "partly_credited"

    def test_the_tenant_is_told_by_itself_and_once(self, commercial: Agency) -> None:
        assert credit(commercial, "FV-1", "1=100000").is_to_be_sent
        assert sweep_waits(commercial) == 1
        assert send_apart(commercial) == ["A A"]
        assert carried(commercial) == [("A", "sent", ["FV-1"]), ("A", "pending", ["NC-1"])]
        send(commercial, "A")
        assert send_apart(commercial) == []
        assert sweep_waits(commercial) == 0
        assert commercial.balance() == []
        commercial.run()
        assert len(carried(commercial)) == 2

    @pytest.mark.parametrize(
        ("change", "reason"),
        [
            ({"auto_send": False}, "tenant_disabled"),
            ({"emails": []}, "no_email"),
            ({"only_multiple": True}, None),
        ],
    )
    def test_the_rules_of_single_invoices_are_asked(
        self, commercial: Agency, change: dict[str, Any], reason: str | None
    ) -> None:
        commercial.change_tenant("A", **change)
        credit(commercial, "FV-1")
        assert send_apart(commercial) == ([] if reason else ["A A"])
        row = commercial.db.execute(
            "SELECT reason FROM invoicing.decision WHERE invoice_id IS NOT NULL"
        ).fetchone()
        assert row == {"reason": reason}
        if reason:
            commercial.change_tenant("A", auto_send=True, emails=["a@correo.example"])
            single_invoices.decide_anew(commercial.db, ["NC-1"], reason="on again", actor="Ana")
            assert send_apart(commercial) == ["A A"]

    def test_what_waits_to_be_sent_is_voided_instead(self, agency: Agency) -> None:
        agency.add_tenant("A")
        agency.run()
        with pytest.raises(InputError, match="has not left yet"):
            credit(agency, "FV-1")

    def test_what_was_handed_over_on_paper_is_credited(self, agency: Agency) -> None:
        agency.add_tenant("A", auto_send=False)
        agency.run()
        assert credit(agency, "FV-1").state == "credited"
        assert agency.decisions() == {}
        assert agency.balance() == []

    def test_what_was_credited_in_part_is_not_voided(self, agency: Agency) -> None:
        agency.add_tenant("A", auto_send=False)
        agency.run()
        credit(agency, "FV-1", "1=1")

        with pytest.raises(InputError) as caught:
            void(agency, "FV-1")

        assert caught.value.code == "void_of_credited"
        assert invoices(agency)["FV-1"]["state"] == "partly_credited"
        assert credit(agency, "FV-1").state == "credited"

    def test_a_doubt_is_credited_and_not_sent_once_more(self, agency: Agency, journal: Journal) -> None:
        agency.set(doubt_policy="resend_after", doubt_minutes=1)
        agency.add_tenant("A")
        agency.run()
        agency.put("A", "claimed", "transmitting", "in_doubt")
        credit(agency, "FV-1")
        agency.db.execute("SET TIME ZONE 'UTC'")
        with pytest.raises(InputError, match="nothing that delivery 1 carries stands"):
            resolution.resolve(agency.db, 1, "retry", reason="x", actor="Ana")
        resolution.resolve(agency.db, 1, "sent", reason="the log says so", actor="Ana")
        with pytest.raises(InputError, match="nothing that delivery 1 carries stands"):
            resolution.resend(agency.db, [1], reason="x", actor="Ana")
        assert agency.balance() == []

    def test_a_resend_leaves_out_what_was_credited(self, agency: Agency) -> None:
        agency.add_tenant("A", leases=2)
        agency.run()
        send(agency, "A")
        credit(agency, "FV-1")
        resolution.resend(agency.db, [1], reason="lost", actor="Ana")
        assert carried(agency)[-1] == ("A", "pending", ["FV-2"])

    def test_what_an_import_changed_is_no_drift_once_it_is_credited(self, agency: Agency) -> None:
        agency.add_tenant("A")
        agency.run()
        send(agency, "A")
        change_rent(agency, "A-L0", 900_000)
        out_of_step.compare(agency.db, NOVEMBER)
        assert shown(agency)["drifted"] == ["A-L0"]
        credit(agency, "FV-1", "1=100000")
        assert shown(agency)["drifted"] == []

    def test_a_credit_that_no_lease_asked_for_is_no_drift(self, agency: Agency) -> None:
        agency.add_tenant("A")
        agency.run()
        send(agency, "A")
        credit(agency, "FV-1", "1=100000")
        out_of_step.compare(agency.db, NOVEMBER)
        assert shown(agency)["drifted"] == []
        change_rent(agency, "A-L0", 950_000)
        out_of_step.compare(agency.db, NOVEMBER)
        assert shown(agency)["drifted"] == ["A-L0"]

    def test_two_at_once_take_turns(self, commercial: Agency, dsn: str) -> None:
        outcomes: list[str] = []

        def take_all_but(left: str) -> None:
            with connect(dsn) as db:
                try:
                    corrections.credit(db, "FV-1", [LineAmount(1, Decimal(left))], **WHY)
                    outcomes.append("done")
                except InputError as error:
                    outcomes.append(error.code)

        threads = [threading.Thread(target=take_all_but, args=["3000000"]) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(outcomes) == ["credit_more_than_left"] * 3 + ["done"]

    def test_credit_notes_have_a_series_of_their_own(self, commercial: Agency) -> None:
        with pytest.raises(InputError, match="the other series' too"):
            commercial.set(credit_prefix="FV-")
        with pytest.raises(InputError, match="ends in a digit"):
            commercial.set(credit_prefix="NC1")
        commercial.set(credit_prefix="CRED-")
        credit(commercial, "FV-1", "1=1")
        commercial.set(credit_prefix="NC-")
        credit(commercial, "FV-1", "1=1")
        assert set(invoices(commercial)) == {"FV-1", "CRED-1", "NC-1"}


class TestReplace:
    def test_what_was_sent_is_credited_and_issued_again(self, agency: Agency) -> None:
        agency.add_tenant("A", leases=2)
        agency.run()
        send(agency, "A")
        change_rent(agency, "A-L0", 900_000)

        done = replace(agency, "FV-1")

        assert (done.state, done.difference, done.is_to_be_sent) == ("credited", Decimal(-100_000), True)
        links = ("state", "corrects", "replaced_by", "replaces")
        assert {number: tuple(row[key] for key in links) for number, row in invoices(agency).items()} == {
            "FV-1": ("credited", None, "FV-3", None),
            "FV-2": ("issued", None, None, None),
            "FV-3": ("issued", None, None, "FV-1"),
            "NC-1": ("issued", "FV-1", None, None),
        }  # fmt: skip
        assert shown(agency)["balanced"]
        assert shown(agency)["invoices"]["total"] == "1900000"
        assert send_apart(agency) == ["A A"]
        assert carried(agency) == [("A", "sent", ["FV-1", "FV-2"]), ("A", "pending", ["FV-3", "NC-1"])]
        agency.run()
        assert len(carried(agency)) == 2
        assert agency.balance() == []
        assert shown(agency)["drifted"] == []

    def test_what_was_not_sent_goes_with_the_month(self, agency: Agency) -> None:
        agency.add_tenant("A", leases=2)
        agency.run()
        change_rent(agency, "A-L0", 900_000)

        done = replace(agency, "FV-1")

        assert (done.state, done.credit_note, done.is_to_be_sent) == ("void", None, True)
        assert carried(agency) == [("A", "cancelled", ["FV-1", "FV-2"]), ("A", "pending", ["FV-2", "FV-3"])]
        assert list(done.deliveries) == [2]
        assert send_apart(agency) == ["A A"]
        assert shown(agency)["balanced"]
        assert shown(agency)["credits"]["count"] == 0
        agency.run()
        assert len(carried(agency)) == 2
        assert agency.balance() == []

    def test_where_messages_are_approved_the_months_run_asks(self, agency: Agency) -> None:
        agency.set(approval="always")
        agency.add_tenant("A")
        agency.run()
        change_rent(agency, "A-L0", 900_000)
        done = replace(agency, "FV-1")
        assert not done.is_to_be_sent
        assert send_apart(agency) == []
        assert shown(agency)["balanced"]

    def test_a_tenant_without_mail_gets_a_replacement_without_mail(self, agency: Agency) -> None:
        agency.add_tenant("A", auto_send=False)
        agency.run()
        change_rent(agency, "A-L0", 900_000)
        assert replace(agency, "FV-1").state == "void"
        assert carried(agency) == []
        assert agency.decisions() == {"A": "tenant_disabled"}
        assert agency.balance() == []

    @pytest.mark.parametrize("was_sent", [True, False])
    def test_what_fell_is_issued_again_by_a_person_alone(self, agency: Agency, was_sent: bool) -> None:
        agency.add_tenant("A")
        agency.run()
        if was_sent:
            send(agency, "A")
            credit(agency, "FV-1")
        else:
            void(agency, "FV-1")
        agency.run()

        done = replace(agency, "FV-1")

        assert done.credit_note is None
        assert done.replacement is not None
        assert invoices(agency)["FV-1"]["replaced_by"] == done.replacement.number == "FV-2"
        assert shown(agency)["balanced"]
        send_apart(agency)
        # A note that nobody was told of yet goes with it.
        assert carried(agency)[-1][1:] == ("pending", ["FV-2", "NC-1"] if was_sent else ["FV-2"])
        assert shown(agency)["balanced"]
        with pytest.raises(InputError, match="replaced by FV-2 already"):
            replace(agency, "FV-1")
        agency.run()
        assert agency.balance() == []

    def test_a_replacement_is_replaced_in_its_turn(self, agency: Agency) -> None:
        agency.add_tenant("A")
        agency.run()
        send(agency, "A")
        for rent in (900_000, 800_000, 700_000):
            change_rent(agency, "A-L0", rent)
            replace(agency, max(n for n in invoices(agency) if n.startswith("FV-")))
            assert shown(agency)["balanced"]
            send_apart(agency)
        assert shown(agency)["invoices"]["total"] == "700000"
        assert agency.balance() == []

    def test_the_lease_has_to_be_there_and_to_come_out_otherwise(self, agency: Agency) -> None:
        agency.add_tenant("A")
        agency.run()
        with pytest.raises(InputError, match="import what changed first"):
            replace(agency, "FV-1")
        agency.db.execute("UPDATE invoicing.lease SET end_date = '2026-10-31'")
        with pytest.raises(InputError, match="not active on any day of 2026-11"):
            replace(agency, "FV-1")
        agency.db.execute("UPDATE invoicing.lease SET end_date = NULL, rent = 0")
        with pytest.raises(InputError, match="would come to 0"):
            replace(agency, "FV-1")
        assert set(invoices(agency)) == {"FV-1"}
        agency.change_tenant("A", document_number="2")
        change_rent(agency, "A-L0", 1_000_000)
        assert replace(agency, "FV-1").replacement is not None

    def test_another_tenant_took_the_lease_over(self, agency: Agency) -> None:
        agency.add_tenant("A")
        agency.add_tenant("B", leases=0)
        agency.run()
        send(agency, "A")
        agency.db.execute(
            "UPDATE invoicing.lease SET tenant_id = (SELECT id FROM invoicing.tenant WHERE code = 'B')"
        )
        replace(agency, "FV-1")
        assert shown(agency)["balanced"]
        assert sorted(send_apart(agency)) == ["A A", "B B"]
        assert carried(agency)[1:] == [("B", "pending", ["FV-2"]), ("A", "pending", ["NC-1"])]
        agency.run()
        assert agency.balance() == []

    def test_no_second_replacement_and_no_number_is_lost(self, agency: Agency, owner: Database) -> None:
        agency.add_tenant("A")
        agency.run()
        numbers = agency.db.execute("SELECT last_serial FROM invoicing.invoice_series").fetchall()
        with pytest.raises(InputError):
            replace(agency, "FV-1")
        assert agency.db.execute("SELECT last_serial FROM invoicing.invoice_series").fetchall() == numbers


class TestSeveral:
    @pytest.fixture
    def month(self, agency: Agency) -> Agency:
        for code in "ABC":
            agency.add_tenant(code)
        agency.run()
        send(agency, "B")
        change_rent(agency, "C-L0", 900_000)
        return agency

    @pytest.fixture
    def file(self, tmp_path: Path) -> Path:
        path = tmp_path / "corrections.csv"
        path.write_text(
            "number,action,lines,reason\nFV-1,void,,twice\nFV-2,credit,1=250000;,one week\nFV-3,replace,,new rent\n"
        )
        return path

    def test_a_file_is_done_whole(self, month: Agency, file: Path) -> None:
        orders = read_corrections(file)
        before = shown(month)
        foreseen = corrections.correct(month.db, orders, actor="Ana", file=file, dry_run=True)
        assert shown(month) == before

        done = corrections.correct(month.db, orders, actor="Ana", file=file)

        assert [report.correction_report(each) for each in done] != []
        assert [(each.number, each.state, each.difference) for each in done] == [
            ("FV-1", "void", -1_000_000),
            ("FV-2", "partly_credited", -250_000),
            ("FV-3", "void", -100_000),
        ]
        assert [(each.credit_note, each.replacement) for each in foreseen] == [
            (each.credit_note, each.replacement) for each in done
        ]
        assert shown(month)["balanced"]

    def test_or_not_at_all_with_every_bad_row_named(self, month: Agency, file: Path) -> None:
        file.write_text(file.read_text() + "FV-2,credit,1=900000,more\nFV-9,void,,x\n")
        with pytest.raises(ImportRejectedError, match="line 5, column number, value 'FV-2'"):
            read_corrections(file)
        file.write_text("number,action,lines,reason\nFV-1,void,,x\nFV-2,credit,1=1000001,x\nFV-3,credit,,x\n")
        with pytest.raises(ImportRejectedError) as caught:
            corrections.correct(month.db, read_corrections(file), actor="Ana", file=file)
        assert [(each.line, each.code) for each in caught.value.problems] == [
            (3, "credit_more_than_left"),
            (4, "credit_unsent"),
        ]
        assert invoices(month)["FV-1"]["state"] == "issued"

    @pytest.mark.parametrize(
        ("row", "message"),
        [
            ("FV-1,undo,,x", "column action"),
            ("FV-1,void,1=5,x", "only a credit note"),
            ("FV-1,credit,1:5,x", "POSITION=AMOUNT"),
            ("FV-1,credit,,", "column reason"),
            (",void,,x", "column number"),
        ],
    )
    def test_a_row_that_is_wrong_is_named(self, tmp_path: Path, row: str, message: str) -> None:
        file = tmp_path / "c.csv"
        file.write_text(f"number,action,lines,reason\n{row}\n")
        with pytest.raises(ImportRejectedError, match=message):
            read_corrections(file)

    def test_a_file_of_one_action_has_no_other(self, file: Path) -> None:
        with pytest.raises(ImportRejectedError, match="only void goes here"):
            read_corrections(file, "void")


def sweep_waits(agency: Agency) -> int:
    with_nothing = Journal(Path("/nonexistent"))
    return sweep.sweep_deliveries(agency.db, with_nothing)["waiting"]


@pytest.fixture
def race(agency: Agency, dsn: str, journal: Journal) -> Iterator[tuple[Agency, Any]]:
    """An agency, and a worker on a connection of its own that brings a delivery to its mark."""
    with connect(dsn) as db:
        address = TaskAddress("monthly_invoicing", "run", "send_invoices", 0)
        worker = Worker(address, f"{address}/0", f"{address} try 1")
        ledger = Ledger(db, journal, worker, lambda _: None, 60.0)

        def transmit(delivery_id: int) -> str:
            claim = ledger.claim(ledger.find(delivery_id))
            if claim is None:
                return "no claim"
            token = claim.token
            try:
                ledger.mark(delivery_id, token, "0" * 64)
            except (ClaimLostError, psycopg.Error) as error:
                ledger.settle(delivery_id, token, Outcome(Verdict.NOT_SENT, Phase.DATA, None, str(error)))
                return "no mark"
            ledger.settle(delivery_id, token, Outcome(Verdict.ACCEPTED, Phase.ACCEPTANCE, 250, "250 Ok"))
            return "sent"

        yield agency, transmit


# What the worker and the person were told, where the message left, and where the person came first.
_LEFT = {
    "void": {("sent", "void_was_sent"), ("sent", "correction_under_way")},
    "replace": {("sent", "credited"), ("sent", "correction_under_way")},
}
_WITHDRAWN = {("no claim", "void"), ("no mark", "void")}


@pytest.mark.parametrize(
    ("act", "of_each"),
    [
        ("void", 5),
        pytest.param("void", 100, marks=pytest.mark.long),
        pytest.param("replace", 100, marks=pytest.mark.long),
    ],
)
def test_a_race_of_a_correction_with_sending_ends_as_one_or_the_other(
    race: tuple[Agency, Any], act: str, of_each: int
) -> None:
    """So many, at least, that sending won, and so many that the person did."""
    agency, transmit = race
    outcomes: Counter[tuple[str, str]] = Counter()
    dice = random.Random(of_each)
    while min(_sum(outcomes, _LEFT[act]), _sum(outcomes, _WITHDRAWN)) < of_each:
        assert outcomes.total() < 20 * of_each, outcomes
        for tenant in (f"T{outcomes.total() + number:04}" for number in range(10)):
            agency.add_tenant(tenant)
        agency.run()
        for row in report.list_deliveries(agency.db, state="pending"):
            if act == "replace":
                change_rent(agency, f"{row['tenant']}-L0", dice.randrange(1, 900_000))
            outcomes[_race(agency, transmit, act, row, dice)] += 1
            if act == "replace":
                withdraw_what_replaces(agency, row["tenant"])

    print(*(f"{' / '.join(outcome)}: {count}" for outcome, count in sorted(outcomes.items())), sep="\n")
    assert set(outcomes) <= _LEFT[act] | _WITHDRAWN
    assert {row["state"] for row in report.list_deliveries(agency.db)} <= {"sent", "cancelled"}
    assert agency.balance() == []


def _sum(outcomes: Counter[tuple[str, str]], these: set[tuple[str, str]]) -> int:
    return sum(outcomes[each] for each in these)


def _race(
    agency: Agency, transmit: Any, act: str, row: dict[str, Any], dice: random.Random
) -> tuple[str, str]:
    """One delivery: what its worker was told, and what the person who corrects its invoice."""
    sent: list[str] = []

    def work() -> None:
        time.sleep(dice.uniform(0, 0.004))
        sent.append(transmit(row["id"]))

    sender = threading.Thread(target=work)
    sender.start()
    time.sleep(dice.uniform(0, 0.007))
    try:
        done = {"void": void, "replace": replace}[act](agency, row["invoices"][0]).state
    except InputError as error:
        done = error.code
    sender.join()
    return sent[0], done


def withdraw_what_replaces(agency: Agency, tenant: str) -> None:
    ids = [row["id"] for row in report.list_deliveries(agency.db, state="pending") if row["tenant"] == tenant]
    resolution.cancel(agency.db, ids, **WHY)


def test_a_run_that_simulates_knows_of_it(agency: Agency) -> None:
    agency.add_tenant("A")
    agency.run()
    void(agency, "FV-1")
    run_id, _ = agency.run()
    assert generate.generate_invoices(agency.db, run_id)["issued"] == 0
