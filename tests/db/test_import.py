"""An import writes all of its files or nothing, and the same files twice change nothing."""

import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest

from invoicing.db.connection import Database, connect
from invoicing.domain.errors import ImportRejectedError, InputError, TemporaryFailureError
from invoicing.services.agency import merge
from invoicing.services.agency.imports import ImportSummary, import_folder
from support.files import write_files

AGENCY = Path(__file__).parent.parent / "data" / "agency"

ANA = "T1,CC,1010,Ana Peña,ana@correo.example,,es,Bogotá,no,yes,no"
BEN = "T2,CC,2020,Ben Ruiz,ben@correo.example,,en,Cali,no,no,yes"
FLAT = "L1,T1,Calle 1 # 2-3,Bogotá,residential,2026-01-01,,1500000,COP"
SHOP = "L2,T2,Carrera 7 # 8-9,Cali,commercial,2026-01-01,2026-12-31,2500000,COP"
PARKING = "L1,parking,Parqueadero,131000,iva,no,2026-08,"
DISCOUNT = "L1,discount,Descuento,-50000,none,no,,"
IVA = "iva,,0.19,0,2017-01-01,"
RETEICA = "reteica,Bogotá,0.00966,0,2020-01-01,"

WriteFolder = Callable[..., Path]


@pytest.fixture
def folder(tmp_path: Path) -> WriteFolder:
    """Write the rows of each file named, in place of what an earlier call wrote."""

    def write(**files: list[str]) -> Path:
        return write_files(tmp_path, **files)

    return write


def run(db: Database, path: Path) -> ImportSummary:
    return import_folder(db, path, actor="ana@agency")


def rejected(db: Database, path: Path) -> list[str]:
    before = contents(db)
    with pytest.raises(ImportRejectedError) as error:
        run(db, path)
    assert contents(db) == before
    return [str(problem) for problem in error.value.problems]


def contents(db: Database) -> dict[str, list[dict[str, Any]]]:
    """Every imported row as it is, ids and times included."""
    tables = ("tenant", "lease", "charge", "tax_rate", "audit_event")
    return {
        table: db.execute(f"SELECT * FROM invoicing.{table} ORDER BY id".encode()).fetchall()
        for table in tables
    }


def column(db: Database, table: str, name: str) -> list[Any]:
    return [
        row["value"]
        for row in db.execute(f"SELECT {name} AS value FROM invoicing.{table} ORDER BY id".encode())
    ]


def counts(summary: ImportSummary, name: str) -> tuple[int, int, int, int, int]:
    file = summary.files[name]
    return file.rows, file.added, file.updated, file.unchanged, file.removed


# The agency's files


def test_the_agency_imports_with_a_warning_for_each_malformed_address_and_no_other(db: Database) -> None:
    summary = run(db, AGENCY)

    assert {name: file.added for name, file in summary.files.items()} == {
        "tenants.csv": 120, "leases.csv": 206, "charges.csv": 224, "tax_rates.csv": 7
    }  # fmt: skip
    warnings = [str(warning) for warning in summary.warnings]
    malformed = ["T00014", "T00063", "T00067", "T00109", "T00120"]
    assert [next(code for code in malformed if code in warning) for warning in warnings] == malformed
    assert warnings[0].startswith("tenants.csv line 15, column emails, value 't1-00014@@correo.example': ")
    assert summary.ignored == ("expected.json",)


def test_every_tenant_expected_to_have_an_invalid_address_was_warned_of(db: Database) -> None:
    expected = json.loads((AGENCY / "expected.json").read_text(encoding="utf-8"))["all"]["decisions"]
    invalid = {tenant for tenant, reason in expected.items() if reason == "invalid_email"}

    warned = " ".join(map(str, run(db, AGENCY).warnings))

    assert invalid
    assert all(tenant in warned for tenant in invalid)


def test_the_agency_imported_twice_changes_nothing(db: Database) -> None:
    run(db, AGENCY)
    before = contents(db)

    summary = run(db, AGENCY)

    assert contents(db) == before
    assert not summary.changed
    assert counts(summary, "charges.csv") == (224, 0, 0, 224, 0)
    assert counts(summary, "tenants.csv") == (120, 0, 0, 120, 0)
    assert len(summary.warnings) == 5


# What is written


def test_values_are_stored_as_the_files_say(db: Database, folder: WriteFolder) -> None:
    run(db, folder(tenants=[ANA, BEN], leases=[SHOP, FLAT], charges=[PARKING], tax_rates=[IVA, RETEICA]))

    tenant, lease, charge, rate = (
        contents(db)[table][0] for table in ("tenant", "lease", "charge", "tax_rate")
    )
    assert (tenant["name"], tenant["emails"], tenant["cc_emails"]) == ("Ana Peña", ["ana@correo.example"], [])
    assert (tenant["auto_send"], tenant["only_multiple"], tenant["language"]) == (True, False, "es")
    assert (lease["code"], str(lease["end_date"]), str(lease["rent"])) == ("L2", "2026-12-31", "2500000")
    assert (charge["from_period"], charge["to_period"], charge["prorated"]) == ("2026-08", None, False)
    assert (rate["tax"], str(rate["rate"]), rate["valid_to"]) == ("iva", "0.19", None)


def test_tenants_and_leases_not_in_the_file_are_left_alone(db: Database, folder: WriteFolder) -> None:
    run(db, folder(tenants=[ANA, BEN], leases=[FLAT, SHOP], charges=[PARKING], tax_rates=[IVA]))

    summary = run(
        db, folder(tenants=[BEN.replace("Ruiz", "Ruiz Díaz")], leases=[FLAT.replace("1500000", "1600000")])
    )

    assert counts(summary, "tenants.csv") == (1, 0, 1, 0, 0)
    assert counts(summary, "leases.csv") == (1, 0, 1, 0, 0)
    assert column(db, "tenant", "name") == ["Ana Peña", "Ben Ruiz Díaz"]
    assert list(map(str, column(db, "lease", "rent"))) == ["1600000", "2500000"]
    assert len(column(db, "charge", "id")) == len(column(db, "tax_rate", "id")) == 1


def test_only_rows_that_changed_say_so(db: Database, folder: WriteFolder) -> None:
    run(db, folder(tenants=[ANA, BEN], leases=[FLAT, SHOP]))
    ana, ben = column(db, "tenant", "updated_at")
    flat, shop = column(db, "lease", "updated_at")

    run(
        db,
        folder(
            tenants=[ANA, BEN.replace("en,Cali", "es,Cali")],
            leases=[FLAT.replace("1500000", "1500000.00"), SHOP.replace("2026-12-31", "")],
        ),
    )

    assert column(db, "tenant", "updated_at")[0] == ana
    assert column(db, "tenant", "updated_at")[1] > ben
    assert column(db, "lease", "updated_at")[0] == flat
    assert column(db, "lease", "updated_at")[1] > shop


def test_an_empty_switch_keeps_a_known_tenants_and_is_no_for_a_new_one(
    db: Database, folder: WriteFolder
) -> None:
    run(db, folder(tenants=[ANA, BEN]))

    summary = run(db, folder(tenants=[ANA[:-7] + ",,", BEN[:-7] + ",,", "T3" + ANA[2:-7] + ",,"]))

    assert counts(summary, "tenants.csv") == (3, 1, 0, 2, 0)
    assert column(db, "tenant", "auto_send") == [True, False, False]
    assert column(db, "tenant", "only_multiple") == [False, True, False]


def test_an_empty_switch_stays_when_the_rest_of_the_row_changes(db: Database, folder: WriteFolder) -> None:
    run(db, folder(tenants=[ANA, BEN]))

    summary = run(db, folder(tenants=[row[:-7].replace("@correo", "@casa") + ",," for row in (ANA, BEN)]))

    assert counts(summary, "tenants.csv") == (2, 0, 2, 0, 0)
    assert column(db, "tenant", "auto_send") == [True, False]
    assert column(db, "tenant", "only_multiple") == [False, True]


def test_an_explicit_switch_changes_a_known_tenants(db: Database, folder: WriteFolder) -> None:
    run(db, folder(tenants=[ANA]))
    run(db, folder(tenants=[ANA[:-7] + ",no,"]))

    assert column(db, "tenant", "auto_send") == [False]
    assert column(db, "tenant", "only_multiple") == [False]


def test_a_lease_may_move_to_another_tenant(db: Database, folder: WriteFolder) -> None:
    run(db, folder(tenants=[ANA, BEN], leases=[FLAT]))
    run(db, folder(leases=[FLAT.replace("T1", "T2")]))

    ids = column(db, "tenant", "id")
    assert column(db, "lease", "tenant_id") == [ids[1]]


def test_charges_replace_all_earlier_ones(db: Database, folder: WriteFolder) -> None:
    run(db, folder(tenants=[ANA, BEN], leases=[FLAT, SHOP], charges=[PARKING, DISCOUNT]))

    summary = run(db, folder(charges=[DISCOUNT, PARKING.replace("L1", "L2")]))

    assert counts(summary, "charges.csv") == (2, 1, 0, 1, 1)
    assert column(db, "charge", "concept") == ["discount", "parking"]


def test_charges_keep_the_order_of_their_file(db: Database, folder: WriteFolder) -> None:
    """It is the order of an invoice's lines."""
    run(db, folder(tenants=[ANA], leases=[FLAT], charges=[PARKING, DISCOUNT]))
    run(db, folder(charges=[DISCOUNT, PARKING]))

    assert column(db, "charge", "concept") == ["discount", "parking"]


def test_the_same_charge_twice_is_two_charges(db: Database, folder: WriteFolder) -> None:
    path = folder(tenants=[ANA], leases=[FLAT], charges=[PARKING, PARKING])
    run(db, path)
    assert not run(db, path).changed

    summary = run(db, folder(charges=[PARKING]))

    assert counts(summary, "charges.csv") == (1, 0, 0, 1, 1)
    assert len(column(db, "charge", "id")) == 1


def test_a_file_without_rows_replaces_all_by_nothing(db: Database, folder: WriteFolder) -> None:
    run(db, folder(tenants=[ANA], leases=[FLAT], charges=[PARKING], tax_rates=[IVA]))

    summary = run(db, folder(tenants=[], leases=[], charges=[], tax_rates=[]))

    assert counts(summary, "charges.csv") == counts(summary, "tax_rates.csv") == (0, 0, 0, 0, 1)
    assert column(db, "charge", "id") == column(db, "tax_rate", "id") == []
    assert column(db, "lease", "code") == ["L1"]


def test_tax_rates_replace_all_earlier_ones(db: Database, folder: WriteFolder) -> None:
    run(db, folder(tax_rates=[IVA, RETEICA]))

    summary = run(
        db, folder(tax_rates=["iva,,0.19,0,2017-01-01,2026-12-31", "iva,,0.2,0,2027-01-01,", RETEICA])
    )

    assert counts(summary, "tax_rates.csv") == (3, 2, 0, 1, 1)
    assert not run(
        db, folder(tax_rates=[RETEICA, "iva,,0.20,0,2027-01-01,", "iva,,0.19,0,2017-01-01,2026-12-31"])
    ).changed


def test_malformed_addresses_are_stored_as_they_are(db: Database, folder: WriteFolder) -> None:
    row = ANA.replace("ana@correo.example,", "ana@@correo.example;ok@correo.example,<x@y.example>")

    summary = run(db, folder(tenants=[row]))

    assert column(db, "tenant", "emails") == [["ana@@correo.example", "ok@correo.example"]]
    assert [str(warning).split(": ")[0] for warning in summary.warnings] == [
        "tenants.csv line 2, column emails, value 'ana@@correo.example'",
        "tenants.csv line 2, column cc_emails, value '<x@y.example>'",
    ]
    assert all("tenant T1 gets no mail until it is fixed" in str(warning) for warning in summary.warnings)


def test_an_amount_that_may_have_been_meant_as_thousands_is_warned_of(
    db: Database, folder: WriteFolder
) -> None:
    summary = run(db, folder(tenants=[ANA], leases=[FLAT.replace("1500000", "1.500")]))

    assert tuple(map(str, summary.warnings)) == (
        "leases.csv line 2, column rent, value '1.500': read as a number with three decimals, not as thousands",
    )


@pytest.mark.parametrize(
    ("files", "warned"),
    [
        # The rate's spelling is right.
        ({"tenants": [ANA], "leases": [FLAT.replace("Bogotá", "Bogota")], "tax_rates": [RETEICA]},
         ["leases.csv line 2 'Bogota' 'Bogotá' in tax_rates.csv, tenants.csv"]),
        ({"tenants": [ANA], "leases": [FLAT.replace("Bogotá", "BOGOTÁ")], "tax_rates": [RETEICA]},
         ["leases.csv line 2 'BOGOTÁ' 'Bogotá' in tax_rates.csv, tenants.csv"]),
        # Without a rate, the spelling that is used most.
        ({"tenants": [ANA, BEN.replace("Cali", "Bogotá"), "T3" + ANA[2:].replace("Bogotá", "Bogota")]},
         ["tenants.csv line 4 'Bogota' 'Bogotá' in tenants.csv"]),
        # A spelling once per file, at its first row.
        ({"tenants": [ANA.replace("Bogotá", "bogotá"), BEN.replace("Cali", "bogotá")],
          "leases": [FLAT.replace("Bogotá", "bogotá")], "tax_rates": [RETEICA]},
         ["tenants.csv line 2 'bogotá' 'Bogotá' in tax_rates.csv",
          "leases.csv line 2 'bogotá' 'Bogotá' in tax_rates.csv"]),
        ({"tenants": [ANA, BEN], "leases": [FLAT, SHOP], "tax_rates": [RETEICA]}, []),
        ({"tenants": [ANA.replace("Bogotá", ""), BEN]}, []),
    ],
)  # fmt: skip
def test_a_city_that_matches_but_for_accents_or_case_is_warned_of(
    db: Database, folder: WriteFolder, files: dict[str, list[str]], warned: list[str]
) -> None:
    assert spellings(run(db, folder(**files))) == warned


def test_a_city_is_compared_with_those_imported_earlier(db: Database, folder: WriteFolder) -> None:
    run(db, folder(tenants=[ANA], tax_rates=[RETEICA]))

    later = run(db, folder(leases=[FLAT.replace("Bogotá", "Bogota")]))
    assert spellings(later) == ["leases.csv line 2 'Bogota' 'Bogotá' in tax_rates.csv, tenants.csv"]

    # The wrong one is not in the files: somebody must look at it all the same.
    again = run(db, folder(tax_rates=[RETEICA]))
    assert spellings(again) == ["tax_rates.csv line 2 'Bogotá' 'Bogota' in leases.csv"]

    assert spellings(run(db, folder(leases=[FLAT]))) == []


def spellings(summary: ImportSummary) -> list[str]:
    """Place, spelling, and what it is compared with, of every warning."""
    assert {warning.code for warning in summary.warnings} <= {"city_spelled_otherwise"}
    return [
        f"{warning.file} line {warning.line} {warning.value!r} {warning.values['other']!r}"
        f" in {warning.values['places']}"
        for warning in summary.warnings
    ]


# The trail


def test_an_import_that_changed_something_is_audited_and_one_that_did_not_is_not(
    db: Database, folder: WriteFolder
) -> None:
    path = folder(tenants=[ANA, BEN])
    run(db, path)
    run(db, path)

    [event] = contents(db)["audit_event"]
    assert (event["actor"], event["action"], event["subject"]) == ("ana@agency", "import", str(path))
    assert event["details"] == {
        "tenants.csv": {"rows": 2, "added": 2, "updated": 0, "unchanged": 0, "removed": 0}
    }


def test_what_is_being_done_is_reported(db: Database, folder: WriteFolder) -> None:
    path = folder(tenants=[ANA])
    (path / "notes.txt").write_text("?")
    (path / "Leases.csv").write_text("?")
    said: list[str] = []

    summary = import_folder(db, path, actor="ana", report=said.append)

    assert summary.ignored == ("Leases.csv", "notes.txt")
    assert "ignored: notes.txt (not one of tenants.csv, leases.csv, charges.csv, tax_rates.csv)" in said
    assert "tenants.csv: 1 rows read, 0 problems" in said


# All or nothing


def test_a_folder_without_any_of_the_files_is_refused(db: Database, tmp_path: Path) -> None:
    (tmp_path / "tenants.xlsx").write_text("?")
    with pytest.raises(
        InputError, match=r"none of the files tenants\.csv, leases\.csv, charges\.csv, tax_rates\.csv"
    ):
        run(db, tmp_path)


def test_a_folder_that_is_not_there_is_refused(db: Database, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere cannot be read: No such file"):
        run(db, tmp_path / "nowhere")
    (tmp_path / "tenants.csv").write_text("?")
    with pytest.raises(InputError, match=r"tenants\.csv cannot be read: Not a directory"):
        run(db, tmp_path / "tenants.csv")


def test_one_bad_row_rejects_every_file_and_all_files_are_checked(db: Database, folder: WriteFolder) -> None:
    path = folder(
        tenants=[ANA, BEN.replace(",en,", ",fr,")],
        leases=[FLAT.replace(",,1500000", ",2026-02-30,1500000")],
        charges=[PARKING.replace("iva", "vat")],
        tax_rates=[IVA.replace("0.19", "19")],
    )

    assert rejected(db, path) == [
        "tenants.csv line 3, column language, value 'fr': must be 'es' or 'en'",
        "leases.csv line 2, column end_date, value '2026-02-30': not a date (YYYY-MM-DD): the calendar has no such day",
        "charges.csv line 2, column tax, value 'vat': must be 'iva' or 'none'",
        "tax_rates.csv line 2, column rate, value '19': must be a fraction, at least 0 and less than 1 (0.19 for 19 %)",
    ]


def test_a_bad_row_leaves_an_earlier_import_as_it_was(db: Database, folder: WriteFolder) -> None:
    run(db, folder(tenants=[ANA], leases=[FLAT], charges=[PARKING], tax_rates=[IVA]))

    assert rejected(
        db, folder(tenants=[ANA.replace("Peña", "Paz")], charges=[], tax_rates=["iva,,x,0,2017-01-01,"])
    )


def test_a_failure_while_writing_undoes_everything(
    db: Database, folder: WriteFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(db, folder(tenants=[ANA], leases=[FLAT], charges=[PARKING]))
    before = contents(db)

    def fail(*_: object) -> None:
        raise RuntimeError

    monkeypatch.setattr(merge, "replace_charges", fail)
    with pytest.raises(RuntimeError):
        run(db, folder(tenants=[BEN], leases=[SHOP], charges=[]))

    assert contents(db) == before


def test_a_lease_needs_a_tenant_of_this_import_or_an_earlier_one(db: Database, folder: WriteFolder) -> None:
    run(db, folder(tenants=[ANA]))

    assert rejected(db, folder(tenants=[BEN], leases=[FLAT, SHOP, "L3" + SHOP[2:].replace("T2", "T9")])) == [
        "leases.csv line 4, column tenant_code, value 'T9': unknown tenant, neither imported before nor in tenants.csv"
    ]


def test_a_charge_needs_a_lease_of_this_import_or_an_earlier_one(db: Database, folder: WriteFolder) -> None:
    run(db, folder(tenants=[ANA, BEN], leases=[FLAT]))

    path = folder(leases=[SHOP], charges=[PARKING, PARKING.replace("L1", "L2"), PARKING.replace("L1", "L9")])
    assert rejected(db, path) == [
        "charges.csv line 4, column lease_code, value 'L9': unknown lease, neither imported before nor in leases.csv"
    ]


def test_a_row_that_is_wrong_elsewhere_makes_no_unknown_code(db: Database, folder: WriteFolder) -> None:
    """One mistake, one problem: the tenant is in the file, and so is the lease."""
    path = folder(
        tenants=[ANA.replace(",es,", ",fr,")], leases=[FLAT.replace("COP", "XXX")], charges=[PARKING]
    )

    assert [problem.split(",")[0] for problem in rejected(db, path)] == [
        "tenants.csv line 2",
        "leases.csv line 2",
    ]


def test_a_line_that_cannot_be_read_makes_no_unknown_codes(db: Database, folder: WriteFolder) -> None:
    path = folder(tenants=['"' + ANA, BEN], leases=[FLAT, SHOP])

    [problem] = rejected(db, path)
    assert problem.startswith("tenants.csv line 2: a quote")


def test_a_code_repeated_in_a_file_is_named_with_both_lines(db: Database, folder: WriteFolder) -> None:
    assert rejected(db, folder(tenants=[ANA, BEN, ANA.replace("Peña", "Paz")], leases=[FLAT, FLAT])) == [
        "tenants.csv line 4, column tenant_code, value 'T1': line 2 has it already",
        "leases.csv line 3, column lease_code, value 'L1': line 2 has it already",
    ]


def test_rates_in_force_on_the_same_day_are_named_with_both_lines(db: Database, folder: WriteFolder) -> None:
    rows = [
        "iva,,0.19,0,2017-01-01,",
        "iva,,0.16,0,2001-01-01,2016-12-31",
        "iva,,0.05,0,2020-01-01,2020-06-30",
        "reteica,Cali,0.003,0,2020-01-01,2020-12-31",
        "reteica,Bogotá,0.003,0,2020-01-01,2020-12-31",
        "reteica,Cali,0.004,0,2020-12-31,",
        "iva,,0.05,0,2021-01-01,2021-06-30",
    ]

    place = (
        "tax_rates.csv line {}, column valid_from, value '{}': line {} has a rate of {} in force on that day"
    )
    assert rejected(db, folder(tax_rates=rows)) == [
        place.format(4, "2020-01-01", 2, "iva"),
        place.format(7, "2020-12-31", 5, "reteica of Cali"),
        place.format(8, "2021-01-01", 2, "iva"),
    ]


def test_a_rate_may_follow_another_on_the_next_day(db: Database, folder: WriteFolder) -> None:
    assert run(
        db, folder(tax_rates=["iva,,0.16,0,2001-01-01,2016-12-31", IVA, "reteiva,,0.15,0,2001-01-01,"])
    ).changed


# Beside others


def test_two_imports_at_once_end_as_one_after_the_other(dsn: str, db: Database, folder: WriteFolder) -> None:
    path = folder(tenants=[ANA, BEN], leases=[FLAT, SHOP], charges=[PARKING], tax_rates=[IVA])
    done: list[ImportSummary] = []

    def import_it() -> None:
        with connect(dsn) as own:
            done.append(run(own, path))

    threads = [threading.Thread(target=import_it) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(summary.changed for summary in done) == [False, False, False, True]
    assert column(db, "tenant", "code") == ["T1", "T2"]
    assert len(column(db, "charge", "id")) == len(column(db, "tax_rate", "id")) == 1


def test_an_import_that_waits_too_long_for_another_says_so(
    dsn: str, db: Database, folder: WriteFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(merge._SQL, "limit_waiting", b"SET LOCAL lock_timeout = '50ms'")
    path = folder(tenants=[ANA])
    with connect(dsn) as other, other.transaction():
        merge.lock(other)
        with pytest.raises(TemporaryFailureError, match="another import has been running"):
            run(db, path)
    assert run(db, path).changed


def test_who_keeps_imports_out_reads_the_same_data_till_the_end(
    dsn: str, db: Database, folder: WriteFolder
) -> None:
    path = folder(tenants=[ANA])
    with connect(dsn) as other:
        with db.transaction():
            merge.hold_off_imports(db)
            thread = threading.Thread(target=run, args=(other, path))
            thread.start()
            time.sleep(0.3)
            assert column(db, "tenant", "code") == []
        thread.join()
    assert column(db, "tenant", "code") == ["T1"]


def test_an_issued_invoice_never_changes_by_an_import(db: Database, folder: WriteFolder) -> None:
    run(db, folder(tenants=[ANA], leases=[FLAT], charges=[PARKING], tax_rates=[IVA]))
    issue_an_invoice(db)
    before = invoices(db)

    run(
        db,
        folder(
            tenants=[ANA.replace("Ana Peña", "Otra Persona").replace("1010", "9999"), BEN],
            leases=[FLAT.replace("T1", "T2").replace("1500000", "1").replace("Calle 1", "Calle 99")],
            charges=[],
            tax_rates=["iva,,0.5,0,2017-01-01,"],
        ),
    )

    assert column(db, "tenant", "name")[0] == "Otra Persona"
    assert invoices(db) == before


def issue_an_invoice(db: Database) -> None:
    """One invoice of the lease L1, by the plainest SQL: what issues it in earnest is not tested here."""
    with db.transaction():
        db.execute("INSERT INTO invoicing.invoice_series VALUES ('FV-', 1)")
        db.execute("INSERT INTO invoicing.settings_version (settings, actor) VALUES ('{}', 'test')")
        db.execute("INSERT INTO invoicing.billing_cycle (period) VALUES ('2026-11')")
        db.execute(
            "INSERT INTO invoicing.invoice (series, serial, origin, cycle_id, tenant_id, lease_id,"
            " settings_version_id, period, issued_on, due_on, currency, subtotal, tax, withholding, total,"
            " tenant_name, tenant_document_type, tenant_document_number, tenant_city, language, property,"
            " property_city, use)"
            " SELECT 'FV-', 1, 'monthly', c.id, t.id, l.id, s.id, '2026-11', '2026-11-01', '2026-11-06', 'COP',"
            " 1631000, 24890, 0, 1655890, t.name, t.document_type, t.document_number, t.city, t.language,"
            " l.property, l.city, l.use"
            " FROM invoicing.lease l JOIN invoicing.tenant t ON t.id = l.tenant_id,"
            " invoicing.billing_cycle c, invoicing.settings_version s"
        )
        db.execute(
            "INSERT INTO invoicing.invoice_line (invoice_id, position, concept, description, amount, tax_rate, tax)"
            " SELECT id, 1, 'rent', property, 1500000, 0, 0 FROM invoicing.invoice"
            " UNION ALL SELECT id, 2, 'parking', 'Parqueadero', 131000, 0.19, 24890 FROM invoicing.invoice"
        )


def invoices(db: Database) -> list[Any]:
    [invoice] = db.execute("SELECT * FROM invoicing.invoice").fetchall()
    return [invoice, *db.execute("SELECT * FROM invoicing.invoice_line ORDER BY position").fetchall()]


# Size


@pytest.mark.alone
def test_ten_thousand_leases_import_in_seconds(
    db: Database, folder: WriteFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    numbers = range(1, 10_001)
    path = folder(
        tenants=[
            f"T{n},CC,{n},Ana Peña {n},ana{n}@correo.example;pagos{n}@x.example,,es,Bogotá,no,yes,no"
            for n in numbers
        ],
        leases=[
            f"L{n},T{n},Calle {n} # 2-3,Bogotá,residential,2026-01-01,,{1_500_000 + n},COP" for n in numbers
        ],
        charges=[f"L{n},parking,Parqueadero {n},{n},iva,no,2026-08," for n in numbers],
        tax_rates=[IVA],
    )

    took = []
    for expected in (True, False):
        started = time.perf_counter()
        assert run(db, path).changed is expected
        took.append(time.perf_counter() - started)

    with capsys.disabled():
        print(f"\n10,000 leases, tenants and charges: imported in {took[0]:.1f} s, again in {took[1]:.1f} s")
    assert max(took) < 30


def test_the_database_holds_what_the_reader_checks(db: Database, folder: WriteFolder) -> None:
    """Were the reader wrong, the schema would still refuse two rates of one tax on one day."""
    run(db, folder(tax_rates=[IVA]))
    with pytest.raises(psycopg.errors.ExclusionViolation):
        db.execute("INSERT INTO invoicing.tax_rate (tax, rate, valid_from) VALUES ('iva', 0.1, '2026-01-01')")
