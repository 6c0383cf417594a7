"""Invoices made outside the monthly job (docs/contract.md, section 4)."""

from pathlib import Path

import pytest

from invoicing.domain.errors import ImportRejectedError, InputError
from invoicing.services.billing import runs, single_invoices
from invoicing.services.delivery import select
from invoicing.services.views.single_invoices import list_single_invoices
from support.agency import Agency

HEADER = "invoice_ref,tenant_code,lease_code,description,amount,tax\n"


@pytest.fixture
def file(tmp_path: Path, agency: Agency) -> Path:
    agency.db.execute(
        "INSERT INTO invoicing.tax_rate (tax, rate, valid_from) VALUES ('iva', 0.19, '2017-01-01')"
    )
    agency.add_tenant("A")
    agency.add_tenant("B", auto_send=False)
    agency.add_tenant("C", only_multiple=True)
    path = tmp_path / "singles.csv"
    path.write_text(
        HEADER
        + "R1,A,A-L0,Llaves,50000,iva\nR1,A,A-L0,Copia,1000,none\nR2,B,,Multa,80000,none\nR3,C,,Visita,9000,none\n"
    )
    return path


def run(agency: Agency) -> list[str]:
    agency.runs += 1
    run_id = runs.open_run(agency.db, dag_id="send_new_invoices", dag_run_id=f"s{agency.runs}", period=None)
    return [batch.label for batch in select.select_new_invoices(agency.db, run_id)]


def test_rows_of_one_reference_are_the_lines_of_one_invoice(agency: Agency, file: Path) -> None:
    result = single_invoices.create_from_file(agency.db, file, actor="test")
    assert result.created == {"R1": "FV-1", "R2": "FV-2", "R3": "FV-3"}
    row = agency.db.execute(
        "SELECT subtotal, tax, withholding, total FROM invoicing.invoice WHERE reference = 'R1'"
    )
    assert row.fetchone() == {"subtotal": 51_000, "tax": 9_500, "withholding": 0, "total": 60_500}


def test_the_same_file_twice_changes_nothing(agency: Agency, file: Path) -> None:
    first = single_invoices.create_from_file(agency.db, file, actor="test")
    second = single_invoices.create_from_file(agency.db, file, actor="test")
    assert (second.created, second.known) == ({}, first.created)
    assert agency.db.execute("SELECT count(*) AS n FROM invoicing.invoice").fetchone() == {"n": 3}


def test_the_two_switches_decide_and_the_rules_of_the_bulk_job_do_not(agency: Agency, file: Path) -> None:
    agency.set(recipients="multiple_only")
    single_invoices.create_from_file(agency.db, file, actor="test")
    assert run(agency) == ["A A", "C C"]
    assert agency.decisions() == {"A": "send", "B": "tenant_disabled", "C": "send"}


def test_an_invoice_is_decided_on_once(agency: Agency, file: Path) -> None:
    single_invoices.create_from_file(agency.db, file, actor="test")
    run(agency)
    agency.change_tenant("B", auto_send=True)
    assert run(agency) == ["A A", "C C"]  # still to be sent; B stays as decided
    assert [each[0] for each in agency.deliveries()] == ["A", "C"]


def test_what_was_skipped_is_listed_and_can_be_decided_on_anew(agency: Agency, file: Path) -> None:
    single_invoices.create_from_file(agency.db, file, actor="test")
    run(agency)
    listed = {row["reference"]: (row["decision"], row["reason"]) for row in list_single_invoices(agency.db)}
    assert listed == {"R1": ("send", None), "R2": ("skip", "tenant_disabled"), "R3": ("send", None)}
    for reference, message in (("R1", "was not skipped"), ("R9", "there is no single invoice 'R9'")):
        with pytest.raises(InputError, match=message):
            single_invoices.decide_anew(agency.db, [reference, "R2"], reason="x", actor="test")

    agency.change_tenant("B", auto_send=True)
    single_invoices.decide_anew(agency.db, ["R2"], reason="switched on", actor="test")
    run(agency)

    assert sorted(each[0] for each in agency.deliveries()) == ["A", "B", "C"]


def test_the_monthly_job_ignores_them(agency: Agency, file: Path) -> None:
    single_invoices.create_from_file(agency.db, file, actor="test")
    agency.run()
    rows = agency.db.execute(
        "SELECT t.code, n.invoices FROM invoicing.invoice_count n JOIN invoicing.tenant t ON t.id = n.tenant_id"
    )
    assert {row["code"]: row["invoices"] for row in rows} == {"A": 1, "B": 1, "C": 1}
    assert agency.balance() == []


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("R9,Z,,Multa,1000,none\n", r"singles.csv line 2.*'R9'.*no tenant 'Z'"),
        ("R9,A,B-L0,Multa,1000,none\n", "tenant A has no lease 'B-L0'"),
        ("R9,A,,Nada,0,none\n", "its total is 0"),
        ("R9,A,,Multa,mil,none\n", "line 2, column amount, value 'mil'"),
    ],
)
def test_a_wrong_row_is_named_and_nothing_is_stored(
    agency: Agency, file: Path, rows: str, message: str
) -> None:
    file.write_text(HEADER + rows + "R1,A,,Bien,1000,none\n")
    with pytest.raises(ImportRejectedError, match=message):
        single_invoices.create_from_file(agency.db, file, actor="test")
    assert agency.db.execute("SELECT count(*) AS n FROM invoicing.invoice").fetchone() == {"n": 0}
