"""Invoices made outside the monthly job (docs/contract.md, section 4)."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from invoicing.db.connection import connect
from invoicing.domain.errors import FieldsRefusedError, ImportRejectedError, InputError
from invoicing.services.billing import runs, single_invoices
from invoicing.services.billing.single_invoice_request import MOST_LINES, checked_request
from invoicing.services.delivery import select, shares
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
    rendered = select.select_new_invoices(agency.db, run_id)
    return [batch.label for batch in shares.for_sending(agency.db, run_id, rendered)]


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


# One at a time, as forms and the JSON API ask for them.

KEYS = {"description": "Copia de llaves", "amount": "35000", "tax": "iva"}


def made(
    agency: Agency, *lines: dict[str, str], reference: str = "F-1", tenant: str = "A", lease: str = ""
) -> str:
    request = checked_request(reference, tenant, lease, lines or (KEYS,))
    created = single_invoices.create(agency.db, request, source="form", actor="ana")
    return f"{created.number} {'new' if created.is_new else 'known'}"


def refused(agency: Agency, *lines: dict[str, str], **other: str) -> dict[str, str]:
    count = "SELECT count(*) AS n FROM invoicing.invoice"
    before = agency.db.execute(count).fetchone()
    with pytest.raises(FieldsRefusedError) as error:
        made(agency, *lines, **other)
    assert agency.db.execute(count).fetchone() == before
    return {field: fault.code for field, fault in error.value.faults.items()}


def test_the_same_form_twice_is_one_invoice(agency: Agency, file: Path) -> None:
    assert [made(agency, lease="A-L0"), made(agency, lease="A-L0")] == ["FV-1 new", "FV-1 known"]
    assert agency.db.execute("SELECT total FROM invoicing.invoice").fetchall() == [{"total": 41_650}]


def test_a_reference_of_another_invoice_makes_none(agency: Agency, file: Path) -> None:
    made(agency, lease="A-L0")

    other = {"reference": "reference_of_other_invoice"}
    assert refused(agency, {**KEYS, "amount": "36000"}, lease="A-L0") == other
    assert refused(agency, {**KEYS, "tax": "none"}, lease="A-L0") == other
    assert refused(agency, KEYS, KEYS, lease="A-L0") == other
    assert refused(agency) == other
    assert refused(agency, tenant="B") == other


def test_the_same_form_from_two_places_at_once_is_one_invoice(agency: Agency, file: Path, dsn: str) -> None:
    request = checked_request("F-2", "A", "", [KEYS])

    def create(_: int) -> str:
        with connect(dsn) as db:
            return single_invoices.create(db, request, source="form", actor="ana").number

    with ThreadPoolExecutor(4) as at_once:
        assert set(at_once.map(create, range(8))) == {"FV-1"}


def test_an_invoice_that_cannot_be_is_refused_field_by_field(agency: Agency, file: Path) -> None:
    assert refused(agency, {**KEYS, "amount": "-1"}) == {"lines": "total_not_positive"}
    assert refused(agency, {**KEYS, "amount": "0"}) == {"lines": "total_not_positive"}
    assert refused(agency, *[KEYS] * 200) == {"lines": "lines_too_many"}
    assert refused(agency, tenant="Z") == {"tenant": "tenant_unknown"}
    assert refused(agency, lease="B-L0") == {"lease": "tenant_has_no_such_lease"}
    assert refused(
        agency, KEYS, {"description": "", "amount": "x", "tax": "vat"}, tenant="", reference=""
    ) == {
        "reference": "row_value_empty",
        "tenant": "row_value_empty",
        "lines.1.description": "row_value_empty",
        "lines.1.amount": "not_a_number",
        "lines.1.tax": "row_value_not_a_choice",
    }
    with pytest.raises(FieldsRefusedError) as error:
        checked_request("F", "A", "", [])
    assert set(error.value.faults) == {"lines"}


def test_a_file_has_no_longer_invoices_than_a_form(agency: Agency, file: Path) -> None:
    file.write_text(HEADER + "R9,A,,Llaves,1000,none\n" * (MOST_LINES + 1))

    with pytest.raises(ImportRejectedError, match="it has 101 lines; an invoice has at most 100"):
        single_invoices.create_from_file(agency.db, file, actor="test")
