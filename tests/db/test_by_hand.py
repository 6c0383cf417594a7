"""Tenants and leases made and changed by hand: the files' rules, the audit, and what a later import says."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from invoicing.db.connection import Database
from invoicing.domain.errors import FieldsRefusedError, NotFoundError, StaleEditError
from invoicing.domain.period import Period
from invoicing.services.agency import clock, lease_editing, tenants
from invoicing.services.agency.imports import ImportSummary, import_folder
from invoicing.services.agency.lease_editing import show_lease
from invoicing.services.billing import agency_changes, generate, out_of_step, runs
from support.agency import Agency
from support.files import write_files

ANA = "T1,CC,1010,Ana Peña,ana@correo.example,,es,Bogotá,no,yes,no"
BEN = "T2,CC,2020,Ben Ruiz,ben@correo.example,,en,Cali,no,no,yes"
FLAT = "L1,T1,Calle 1 # 2-3,Bogotá,residential,2026-01-01,,1500000,COP"
PARKING = "L1,parking,Parqueadero,131000,iva,no,2026-08,"
DISCOUNT = "L1,discount,Descuento,-50000,none,no,,"

NEW = {"name": "Cora Paz", "document_type": "NIT", "document_number": "900.1", "emails": ["c@correo.example"]}
LEASE = {
    "tenant_code": "T1",
    "property": "Carrera 7",
    "city": "Cali",
    "use": "commercial",
    "start_date": "2026-01-01",
    "end_date": "",
    "rent": "2500000",
    "currency": "COP",
}
CHARGE = {
    "concept": "parking",
    "description": "Parqueadero",
    "amount": "131000",
    "tax": "iva",
    "prorated": "no",
    "from_period": "2026-08",
    "to_period": "",
}

Import = Callable[..., ImportSummary]


@pytest.fixture
def bring(db: Database, tmp_path: Path) -> Import:
    """Import the rows of each file named, and no other file."""

    def run(**files: list[str]) -> ImportSummary:
        return import_folder(db, write_files(tmp_path, **files), actor="importer")

    return run


def audited(db: Database, subject: str) -> list[dict[str, Any]]:
    return db.execute(
        "SELECT actor, action, details FROM invoicing.audit_event WHERE subject = %s ORDER BY id", [subject]
    ).fetchall()


def refused(act: Callable[[], Any]) -> dict[str, str]:
    with pytest.raises(FieldsRefusedError) as error:
        act()
    return {field: fault.code for field, fault in error.value.faults.items()}


def test_a_tenant_made_by_hand_is_what_the_file_would_have_made(db: Database, bring: Import) -> None:
    bring(tenants=[ANA])

    code = tenants.create_tenant(
        db,
        " T9 ",
        {
            "name": "  Ana Peña",
            "document_type": "CC",
            "document_number": "1010",
            "emails": ["ana@correo.example"],
            "city": "Bogota\u0301",
            "auto_send": True,
        },
        actor="ana",
    )

    rows = db.execute(
        "SELECT document_type, document_number, name, emails, cc_emails, language, city, withholding_agent, auto_send,"
        " only_multiple FROM invoicing.tenant ORDER BY code"
    ).fetchall()
    assert code == "T9"
    assert rows[0] == rows[1]
    (event,) = audited(db, "tenant T9")
    assert (event["actor"], event["action"]) == ("ana", "tenant_created")
    assert event["details"]["name"] == {"before": None, "after": "Ana Peña"}


@pytest.mark.parametrize(
    ("code", "values", "wrong"),
    [
        ("", {}, {"code": "row_value_empty"}),
        ("T1", {}, {"code": "code_taken"}),
        ("T\t9", {}, {"code": "contains_control_character"}),
        ("T" * 65, {}, {"code": "row_value_too_long"}),
        (
            "T9",
            {"name": " ", "document_type": ""},
            {"name": "row_value_empty", "document_type": "row_value_empty"},
        ),
        ("T9", {"name": "Bcc:\nx"}, {"name": "contains_line_break"}),
        ("T9", {"name": "\ud800"}, {"name": "contains_control_character"}),
        (
            "T9",
            {"emails": ["a@@b"], "language": "fr"},
            {"emails": "address_refused", "language": "row_value_not_a_choice"},
        ),
        ("T9", {"cc_emails": ["a@b.example"] * 21}, {"cc_emails": "addresses_too_many"}),
    ],
)
def test_a_tenant_that_no_file_could_bring_is_none(
    db: Database, bring: Import, code: str, values: dict[str, Any], wrong: dict[str, str]
) -> None:
    bring(tenants=[ANA])

    assert refused(lambda: tenants.create_tenant(db, code, {**NEW, **values}, actor="ana")) == wrong
    assert tenants.tenant_codes(db) == {"T1"}


def test_every_field_of_a_tenant_is_changed_by_hand_and_audited(db: Database, bring: Import) -> None:
    bring(tenants=[ANA])
    changes = {
        "name": "Ana M. Peña",
        "document_type": "CE",
        "document_number": "7",
        "city": "",
        "withholding_agent": True,
    }

    assert tenants.change_tenant(db, "T1", changes, actor="ana")
    assert not tenants.change_tenant(db, "T1", changes, actor="ana")

    row = db.execute("SELECT * FROM invoicing.tenant").fetchone()
    assert row is not None
    assert {key: row[key] for key in changes} == changes
    (event,) = audited(db, "tenant T1")
    assert event["details"]["name"] == {"before": "Ana Peña", "after": "Ana M. Peña"}
    assert refused(lambda: tenants.change_tenant(db, "T1", {"name": ""}, actor="ana")) == {
        "name": "row_value_empty"
    }


def test_a_lease_made_by_hand_is_what_the_files_would_have_made(db: Database, bring: Import) -> None:
    bring(tenants=[ANA], leases=[FLAT], charges=[PARKING, DISCOUNT])
    made = show_lease(db, "L1")
    typed = lease_editing.lease_as_typed(made), [lease_editing.as_typed(each) for each in made.charges]

    lease_editing.create_lease(db, "L9", *typed, actor="ana")

    copy = show_lease(db, "L9")
    assert (copy.version, copy.charges) == (made.version, made.charges)
    (change,) = copy.changes
    assert (change.actor, change.action) == ("ana", "lease_created")
    assert [each["concept"] for each in change.details["charges"]["after"]] == ["parking", "discount"]


def test_a_lease_that_no_file_could_bring_is_none(db: Database, bring: Import) -> None:
    bring(tenants=[ANA], leases=[FLAT])
    wrong = {
        **LEASE,
        "tenant_code": "T7",
        "use": "castle",
        "start_date": "2026-02-31",
        "rent": "-1",
        "currency": "XXX",
        "property": "",
    }
    charges = [CHARGE, {**CHARGE, "amount": "1,5", "tax": "vat", "to_period": "2026-07", "concept": ""}]

    assert refused(lambda: lease_editing.create_lease(db, "", wrong, charges, actor="ana")) == {
        "code": "row_value_empty",
        "tenant_code": "tenant_unknown",
        "use": "row_value_not_a_choice",
        "start_date": "no_such_day",
        "rent": "number_negative",
        "currency": "not_a_currency",
        "property": "row_value_empty",
        "charges.1.amount": "not_a_number",
        "charges.1.tax": "row_value_not_a_choice",
        "charges.1.to_period": "ends_before_start",
        "charges.1.concept": "row_value_empty",
    }
    assert refused(lambda: lease_editing.create_lease(db, "L1", LEASE, [], actor="ana")) == {
        "code": "code_taken"
    }
    many = [CHARGE] * (lease_editing.MOST_CHARGES + 1)
    assert refused(lambda: lease_editing.create_lease(db, "L9", LEASE, many, actor="ana")) == {
        "charges": "charges_too_many"
    }
    assert db.execute("SELECT count(*) AS n FROM invoicing.lease").fetchone() == {"n": 1}


def test_a_lease_and_its_charges_are_changed_together_and_only_as_they_were_seen(
    db: Database, bring: Import
) -> None:
    bring(tenants=[ANA, BEN], leases=[FLAT], charges=[PARKING])
    seen = show_lease(db, "L1").version

    assert lease_editing.change_lease(
        db,
        "L1",
        {"rent": "1600000", "tenant_code": "T2"},
        [CHARGE, {**CHARGE, "concept": "water"}],
        actor="ana",
        seen=seen,
    )
    with pytest.raises(StaleEditError):
        lease_editing.change_lease(db, "L1", {"rent": "1"}, [], actor="ben", seen=seen)
    assert not lease_editing.change_lease(db, "L1", {"rent": "1600000.00"}, None, actor="ben")

    after = show_lease(db, "L1")
    assert (after.rent, after.tenant_code) == (1_600_000, "T2")
    assert [each.concept for each in after.charges] == ["parking", "water"]
    (change,) = after.changes
    assert set(change.details) == {"rent", "tenant_code", "charges"}
    with pytest.raises(NotFoundError):
        lease_editing.change_lease(db, "L7", {}, None, actor="ana")


def test_an_import_of_charges_makes_what_was_seen_stale(db: Database, bring: Import) -> None:
    bring(tenants=[ANA], leases=[FLAT], charges=[PARKING])
    seen = show_lease(db, "L1").version
    bring(charges=[DISCOUNT])

    with pytest.raises(StaleEditError):
        lease_editing.change_lease(db, "L1", {"rent": "1"}, [CHARGE], actor="ana", seen=seen)


def test_what_was_issued_stays_and_is_said_to_have_drifted(agency: Agency) -> None:
    agency.add_tenant("A")
    run_id = runs.open_run(
        agency.db, dag_id="monthly_invoicing", dag_run_id="r", period=Period.containing(clock.today())
    )
    generate.generate_invoices(agency.db, run_id)
    before = agency.db.execute("SELECT * FROM invoicing.invoice").fetchall()

    saved = agency_changes.change_lease(agency.db, "A-L0", {"rent": "1200000"}, None, actor="ana")
    back = agency_changes.change_lease(agency.db, "A-L0", {"rent": "1000000"}, None, actor="ana")

    assert agency.db.execute("SELECT * FROM invoicing.invoice").fetchall() == before
    assert [(each.lease, each.total, each.total_today) for each in saved.drifted] == [
        ("A-L0", 1_000_000, 1_200_000)
    ]
    assert (back.changed, list(back.drifted)) == (True, [])


# What an import says.


def test_an_import_names_what_it_replaces_of_what_a_person_set(db: Database, bring: Import) -> None:
    bring(tenants=[ANA, BEN], leases=[FLAT])
    tenants.change_tenant(
        db, "T2", {"emails": ["x@correo.example"], "auto_send": True, "city": "Buga"}, actor="ana"
    )
    lease_editing.change_lease(db, "L1", {"rent": "1700000"}, None, actor="beto")

    summary = bring(tenants=[ANA, BEN], leases=[FLAT])

    assert [
        (each.file, each.line, each.code, each.column, each.value, each.replaces, each.actor)
        for each in summary.overwrites
    ] == [
        ("tenants.csv", 3, "T2", "auto_send", False, True, "ana"),
        ("tenants.csv", 3, "T2", "city", "Cali", "Buga", "ana"),
        ("tenants.csv", 3, "T2", "emails", ["ben@correo.example"], ["x@correo.example"], "ana"),
        ("leases.csv", 2, "L1", "rent", "1500000", "1700000", "beto"),
    ]
    assert len(summary.warnings) == 4
    assert (
        "tenants.csv line 3, column city, value 'Cali': replaces 'Buga' of T2, which ana set by hand on 20"
        in str(summary.warnings[1])
    )
    row = db.execute("SELECT city, auto_send FROM invoicing.tenant WHERE code = 'T2'").fetchone()
    assert row == {"city": "Cali", "auto_send": False}, "files update by code"
    assert audited(db, "tenant T2")[-1]["action"] == "tenant_overwritten"
    assert show_lease(db, "L1").changes[0].details == {"rent": {"before": "1700000", "after": "1500000"}}


def test_nothing_is_named_twice_nor_where_the_file_says_the_same(db: Database, bring: Import) -> None:
    bring(tenants=[ANA, BEN])
    tenants.change_tenant(db, "T1", {"city": "Tunja", "auto_send": False}, actor="ana")
    kept = "T1,CC,1010,Ana Peña,ana@correo.example,,es,Tunja,no,,"

    assert bring(tenants=[kept, BEN]).overwrites == (), "the same city, and a switch that is left as it is"
    assert len(bring(tenants=[ANA]).overwrites) == 2
    assert bring(tenants=[ANA]).overwrites == ()
    assert bring(tenants=[ANA.replace("Bogotá", "Pasto")]).overwrites == (), (
        "a file's own value is no person's"
    )


def test_what_no_longer_stands_is_not_named(db: Database, bring: Import) -> None:
    bring(tenants=[ANA])
    tenants.change_tenant(db, "T1", {"city": "Tunja"}, actor="ana")
    # As an import did that kept no event of what it replaced.
    db.execute("UPDATE invoicing.tenant SET city = 'Pasto'")

    assert bring(tenants=[ANA]).overwrites == ()


def test_charges_that_a_file_removes_or_brings_back_are_named(db: Database, bring: Import) -> None:
    bring(tenants=[ANA], leases=[FLAT, FLAT.replace("L1", "L2", 1)], charges=[PARKING, DISCOUNT])
    water = {**CHARGE, "concept": "water", "amount": "90000.50"}
    lease_editing.change_lease(db, "L1", {}, [CHARGE, water], actor="ana")
    lease_editing.change_lease(db, "L2", {}, [water], actor="ana")

    summary = bring(charges=[PARKING, DISCOUNT])

    assert [
        (
            each.line,
            each.code,
            each.value and each.value["concept"],
            each.replaces and each.replaces["concept"],
        )
        for each in summary.overwrites
    ] == [(2, "L1", None, "water"), (3, "L1", "discount", None), (1, "L2", None, "water")]
    assert "removes the charge 'water 90000.5' of lease L1" in str(summary.warnings[0])
    assert [each.concept for each in show_lease(db, "L1").charges] == ["parking", "discount"]
    assert bring(charges=[PARKING]).overwrites == ()


def test_a_dry_run_says_it_all_and_writes_nothing(db: Database, bring: Import, tmp_path: Path) -> None:
    bring(tenants=[ANA])
    tenants.change_tenant(db, "T1", {"city": "Tunja"}, actor="ana")
    before = audited(db, "tenant T1")

    summary, _ = out_of_step.import_and_look_back(
        db, write_files(tmp_path, tenants=[ANA, BEN]), actor="ana", report=lambda _: None, dry_run=True
    )

    assert [each.column for each in summary.overwrites] == ["city"]
    assert summary.files["tenants.csv"].added == 1
    assert (audited(db, "tenant T1"), tenants.tenant_codes(db)) == (before, {"T1"})
