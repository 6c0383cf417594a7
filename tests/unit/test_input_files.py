"""Input files are read strictly, and whatever is wrong is named by file, line, column and value."""

import csv
import datetime
import io
import time
import unicodedata
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from invoicing.domain.errors import ImportRejectedError, InputError
from invoicing.domain.period import Period
from invoicing.services.agency.input_files import InputFile, RowModel, read_file, reject_if_any
from invoicing.services.agency.input_rows import ChargeRow, InputRow, LeaseRow, TaxRateRow, TenantRow
from invoicing.services.billing.single_invoice_file import SingleInvoiceRequest, read_single_invoices

TENANTS = (
    "tenant_code,document_type,document_number,name,emails,cc_emails,language,city,withholding_agent,"
    "auto_send,only_multiple\n"
)
LEASES = "lease_code,tenant_code,property,city,use,start_date,end_date,rent,currency\n"
CHARGES = "lease_code,concept,description,amount,tax,prorated,from_period,to_period\n"
TAX_RATES = "tax,city,rate,minimum_base,valid_from,valid_to\n"
INVOICES = "invoice_ref,tenant_code,lease_code,description,amount,tax\n"

ANA = "T1,CC,1010,Ana Peña,ana@correo.example,,es,Bogotá,no,yes,no\n"
FLAT = "L1,T1,Calle 1 # 2-3,Bogotá,residential,2026-01-01,,1500000,COP\n"

Write = Callable[[str, str | bytes], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write_file(name: str, content: str | bytes) -> Path:
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write_file


def problems(path: Path, model: type[InputRow]) -> list[str]:
    return [str(problem) for problem in read_file(path, model).problems]


def only_row(file: InputFile[RowModel]) -> RowModel:
    assert file.problems == []
    [(_, row)] = file.rows()
    return row


# What is accepted


def test_a_tenant_is_read_with_its_types(write: Write) -> None:
    row = only_row(read_file(write("tenants.csv", TENANTS + ANA), TenantRow))

    assert (row.tenant_code, row.name, row.emails, row.cc_emails) == (
        "T1",
        "Ana Peña",
        ("ana@correo.example",),
        (),
    )
    assert (row.withholding_agent, row.auto_send, row.only_multiple) == (False, True, False)


def test_a_lease_is_read_with_its_types(write: Write) -> None:
    row = only_row(read_file(write("leases.csv", LEASES + FLAT.replace("1500000", "1500000.50")), LeaseRow))

    assert (row.start_date, row.end_date) == (datetime.date(2026, 1, 1), None)
    assert (row.rent, row.currency) == (Decimal("1500000.50"), "COP")


def test_a_charge_is_read_with_its_types(write: Write) -> None:
    row = only_row(
        read_file(
            write("charges.csv", CHARGES + "L1,discount,Descuento,-5000,none,yes,2026-11,\n"), ChargeRow
        )
    )

    assert (row.amount, row.prorated) == (Decimal(-5000), True)
    assert (row.from_period, row.to_period) == (Period(2026, 11), None)


def test_minus_nothing_is_nothing(write: Write) -> None:
    row = only_row(read_file(write("leases.csv", LEASES + FLAT.replace("1500000", "-0.00")), LeaseRow))

    assert str(row.rent) == "0"


def test_a_switch_left_empty_is_neither_yes_nor_no(write: Write) -> None:
    row = only_row(read_file(write("tenants.csv", TENANTS + ANA.replace("yes,no\n", ",\n")), TenantRow))

    assert (row.auto_send, row.only_multiple) == (None, None)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_any_line_end_and_a_byte_order_mark_are_tolerated(write: Write, end: str, mark: bytes) -> None:
    content = mark + (TENANTS + ANA).replace("\n", end).encode()

    assert only_row(read_file(write("tenants.csv", content), TenantRow)).tenant_code == "T1"


def test_the_columns_may_stand_in_any_order(write: Write) -> None:
    names, values = TENANTS.strip().split(","), ANA.strip().split(",")
    content = ",".join(reversed(names)) + "\n" + ",".join(reversed(values))

    assert only_row(read_file(write("tenants.csv", content), TenantRow)).name == "Ana Peña"


def test_blank_lines_and_rows_without_a_value_are_skipped_and_lines_still_counted(write: Write) -> None:
    file = read_file(write("tenants.csv", f"\n{TENANTS}\n   \n,,,,,,,,,,\n{ANA}\n"), TenantRow)

    assert file.problems == []
    assert [line for line, _ in file.rows()] == [6]


def test_surrounding_blanks_are_dropped_and_letters_composed(write: Write) -> None:
    content = TENANTS + ANA.replace("T1", " T1 ").replace("Bogotá", "Bogota\u0301 ")

    row = only_row(read_file(write("tenants.csv", content), TenantRow))

    assert (row.tenant_code, row.city) == ("T1", "Bogotá")


def test_addresses_are_split_trimmed_and_named_once(write: Write) -> None:
    content = TENANTS + ANA.replace("ana@correo.example", " a@x.example ;; b@x.example;a@x.example;")

    assert only_row(read_file(write("tenants.csv", content), TenantRow)).emails == (
        "a@x.example",
        "b@x.example",
    )


def test_malformed_addresses_are_no_problem_of_the_file(write: Write) -> None:
    content = TENANTS + ANA.replace("ana@correo.example", f"a@@x;<a@x><b@y>;{'x' * 300}@x.example")

    assert len(only_row(read_file(write("tenants.csv", content), TenantRow)).emails) == 3


@given(
    st.lists(
        st.text(
            st.characters(blacklist_categories=("Cc", "Cs", "Zl", "Zp", "Cn", "Co"), max_codepoint=0x2FFF),
            max_size=30,
        ),
        min_size=4,
        max_size=4,
    )
)
def test_what_a_csv_writer_writes_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str]
) -> None:
    names = ["document_type", "document_number", "name", "city"]
    expected = {
        name: unicodedata.normalize("NFC", text).strip() or "x"
        for name, text in zip(names, texts, strict=True)
    }
    values = {**dict(zip(TENANTS.strip().split(","), ANA.strip().split(","), strict=True)), **expected}
    text = io.StringIO()
    writer = csv.DictWriter(text, list(values))
    writer.writeheader()
    writer.writerow(values)
    path = tmp_path_factory.mktemp("written") / "tenants.csv"
    path.write_bytes(text.getvalue().encode())

    row = only_row(read_file(path, TenantRow))

    assert {name: getattr(row, name) for name in names} == expected


# What is not


@pytest.mark.parametrize(
    ("column", "value", "why"),
    [
        ("end_date", "2026-02-30", "not a date (YYYY-MM-DD): the calendar has no such day"),
        ("end_date", "30/11/2026", "not a date (YYYY-MM-DD)"),
        ("end_date", "2026-1-1", "not a date (YYYY-MM-DD)"),
        ("end_date", "20261101", "not a date (YYYY-MM-DD)"),
        ("end_date", "2025-12-31", "before start_date (2026-01-01)"),
        ("start_date", "", "not a date (YYYY-MM-DD)"),
        ("start_date", "0026-01-01", "a date before 1900"),
        ("lease_code", "", "must not be empty"),
        ("lease_code", "x" * 65, "longer than 64 characters"),
        ("lease_code", "L1\u200b", "contains a character that cannot be seen ('L1\\u200b')"),
        ("tenant_code", "", "must not be empty"),
        ("property", "", "must not be empty"),
        ("use", "Residential", "must be 'residential' or 'commercial'"),
        ("currency", "", "must be one of BRL, CLP, COP, EUR, MXN, PEN, PYG, USD"),
        ("currency", "cop", "must be one of BRL, CLP, COP, EUR, MXN, PEN, PYG, USD"),
        ("rent", "-1", "must not be negative"),
        ("rent", "1000000000000", "out of range: must be less than 1000000000000"),
        ("rent", "1.00001", "more than 4 decimals"),
    ],
)
def test_a_bad_value_of_a_lease_is_named(write: Write, column: str, value: str, why: str) -> None:
    columns, values = LEASES.strip().split(","), FLAT.strip().split(",")
    values[columns.index(column)] = value

    [problem] = problems(write("leases.csv", f"{LEASES}{FLAT}{','.join(values)}\n"), LeaseRow)

    assert problem.startswith(
        f"leases.csv line 3, column {column}, value '{value[:60]}".replace("\u200b", "\\u200b")
    )
    assert problem.endswith(f": {why}")


@pytest.mark.parametrize(
    "value",
    [
        "",
        "1.234.567",
        "NaN",
        "Infinity",
        "-inf",
        "1e5",
        "1 000",
        "1_000",
        "$100",
        "1,5",
        "+5",
        ".5",
        "5.",
        "--5",
        "0x10",
        "١٢",
        "five",
    ],
)
def test_only_plain_decimals_are_numbers(write: Write, value: str) -> None:
    path = write("leases.csv", LEASES + FLAT.replace("1500000", f'"{value}"'))

    why = "not a number: digits, a point before decimals, nothing between thousands"
    assert problems(path, LeaseRow) == [f"leases.csv line 2, column rent, value {value!r}: {why}"]


@pytest.mark.parametrize(
    ("column", "value", "why"),
    [
        ("amount", "a lot", "not a number"),
        ("tax", "IVA", "must be 'iva' or 'none'"),
        ("prorated", "", "must be 'yes' or 'no'"),
        ("from_period", "2026-13", "not a month"),
        ("from_period", "2026-11-01", "not a month"),
        ("to_period", "2026-10", "before from_period (2026-11)"),
        ("concept", "", "must not be empty"),
        ("description", "", "must not be empty"),
        ("description", "x" * 501, "longer than 500 characters"),
    ],
)
def test_a_bad_value_of_a_charge_is_named(write: Write, column: str, value: str, why: str) -> None:
    columns = CHARGES.strip().split(",")
    values = ["L1", "repair", "Reparación", "33001", "iva", "no", "2026-11", "2026-12"]
    values[columns.index(column)] = value

    [problem] = problems(write("charges.csv", f"{CHARGES}{','.join(values)}\n"), ChargeRow)

    assert problem.startswith(f"charges.csv line 2, column {column}, value ")
    assert why in problem


@pytest.mark.parametrize(
    ("column", "value", "why"),
    [
        ("tax", "ica", "must be 'iva', 'retefuente', 'reteiva' or 'reteica'"),
        ("city", "", "reteica is levied by a city"),
        ("rate", "1", "must be a fraction"),
        ("rate", "19", "must be a fraction"),
        ("rate", "-0.1", "must be a fraction"),
        ("rate", "19%", "not a number"),
        ("minimum_base", "-1", "must not be negative"),
        ("valid_from", "", "not a date"),
        ("valid_to", "2025-12-31", "before valid_from (2026-01-01)"),
    ],
)
def test_a_bad_value_of_a_tax_rate_is_named(write: Write, column: str, value: str, why: str) -> None:
    columns = TAX_RATES.strip().split(",")
    values = ["reteica", "Bogotá", "0.00966", "0", "2026-01-01", "2026-12-31"]
    values[columns.index(column)] = value

    [problem] = problems(write("tax_rates.csv", f"{TAX_RATES}{','.join(values)}\n"), TaxRateRow)

    assert problem.startswith(f"tax_rates.csv line 2, column {column}, value ")
    assert why in problem


def test_only_reteica_has_a_city(write: Write) -> None:
    """A rate of iva for one city would be imported and never applied."""
    [problem] = problems(write("tax_rates.csv", TAX_RATES + "iva,Bogotá,0.19,0,2026-01-01,\n"), TaxRateRow)

    assert "column city, value 'Bogotá': must be empty: iva is the same in every city" in problem


@pytest.mark.parametrize(
    ("column", "value", "why"),
    [
        ("language", "", "must be 'es' or 'en'"),
        ("language", "fr", "must be 'es' or 'en'"),
        ("withholding_agent", "", "must be 'yes' or 'no'"),
        ("auto_send", "Yes", "must be 'yes', 'no' or empty"),
        ("only_multiple", "1", "must be 'yes', 'no' or empty"),
        ("name", "  ", "must not be empty"),
        ("document_number", "", "must not be empty"),
    ],
)
def test_a_bad_value_of_a_tenant_is_named(write: Write, column: str, value: str, why: str) -> None:
    columns, values = TENANTS.strip().split(","), ANA.strip().split(",")
    values[columns.index(column)] = value

    [problem] = problems(write("tenants.csv", f"{TENANTS}{','.join(values)}\n"), TenantRow)

    assert problem == f"tenants.csv line 2, column {column}, value {value.strip()!r}: {why}"


@pytest.mark.parametrize(
    ("character", "why"),
    [
        ("\n", "contains a line break"),
        ("\r\n", "contains a line break"),
        ("\u2028", "contains a line break"),
        ("\x85", "contains a line break"),
        ("\x00", "contains a NUL character"),
        ("\t", "contains a tab or another control character"),
        ("\x1b", "contains a tab or another control character"),
    ],
)
@pytest.mark.parametrize("column", ["name", "emails"])
def test_a_control_character_in_a_value_rejects_the_row(
    write: Write, column: str, character: str, why: str
) -> None:
    """A name goes into mail headers: what looks like a second header never gets in."""
    columns, values = TENANTS.strip().split(","), ANA.strip().split(",")
    values[columns.index(column)] = f'"Ana{character}Bcc: evil@x.example"'
    content = f"{TENANTS}{','.join(values)}\n{ANA.replace('T1', 'T2')}"

    file = read_file(write("tenants.csv", content), TenantRow)

    [problem] = map(str, file.problems)
    assert problem.startswith(f"tenants.csv line 2, column {column}, value 'Ana")
    assert problem.endswith(f": {why}")
    assert not any(ord(each) < 32 for each in problem)
    assert [row.tenant_code for _, row in file.rows()] == ["T2"]
    assert file.complete


def test_a_trailing_line_break_in_a_value_is_not_trimmed_away(write: Write) -> None:
    [problem] = problems(write("tenants.csv", TENANTS + ANA.replace("Ana Peña", '"Ana\n"')), TenantRow)

    assert problem == "tenants.csv line 2, column name, value 'Ana\\n': contains a line break"


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ("T9,CC,1\n", "3 values where the header has 11 columns"),
        (ANA.strip() + ",more\n", "12 values where the header has 11 columns"),
        (ANA.replace("Ana", '"Ana'), "a quote is not closed on its line"),
        (ANA.replace("Ana", '"Ana" y'), "a quote stands inside a value"),
        (ANA.replace("Ana", 'Ana "la" '), "a quote stands inside a value"),
        (ANA.replace("Ana", ' "Ana" '), "a quote stands inside a value"),
        (ANA.replace("Ana", "A" * 100_001), "longer than 100000 characters"),
    ],
)
def test_a_malformed_line_is_named_and_spoils_no_other(write: Write, row: str, why: str) -> None:
    content = TENANTS + "\n" + row + ANA.replace("T1", "T2") + ANA.replace("T1", "T3").replace(",es,", ",fr,")

    file = read_file(write("tenants.csv", content), TenantRow)

    first, second = map(str, file.problems)
    assert first.startswith(f"tenants.csv line 3: {why}")
    assert second.startswith("tenants.csv line 5, column language, value 'fr'")
    assert not file.complete


def test_bytes_that_are_not_utf8_are_named_by_line(write: Write) -> None:
    content = (TENANTS + ANA).encode() + ANA.replace("T1", "T2").encode("latin-1")

    [problem] = problems(write("tenants.csv", content), TenantRow)

    assert problem == (
        "tenants.csv line 3: byte 18 of the line (0xf1) is not UTF-8: save the file as CSV UTF-8"
    )


def test_utf16_is_named_once(write: Write) -> None:
    [problem] = problems(write("tenants.csv", (TENANTS + ANA).encode("utf-16")), TenantRow)

    assert problem == "tenants.csv line 1: the file is UTF-16: save it as CSV UTF-8"


@pytest.mark.parametrize("content", ["", "\n\n", "\ufeff"])
def test_an_empty_file_says_which_columns_it_needs(write: Write, content: str) -> None:
    [problem] = problems(write("tax_rates.csv", content), TaxRateRow)

    assert (
        problem
        == f"tax_rates.csv line 1: the file is empty: its first line must name the columns {TAX_RATES.strip()}"
    )


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("tax,city,rate,valid_from,valid_to", ["column minimum_base: the header lacks this column"]),
        (
            "tax,city,rate,minimum_base,valid_from,valid_to,note",
            ["column note: unknown column; known are tax,city"],
        ),
        ("tax,city,rate,minimum_base,valid_from,valid_to,", ["column '': unknown column"]),
        (
            "tax,tax,city,rate,minimum_base,valid_from,valid_to",
            ["column tax: the header has this column twice"],
        ),
        (
            "Tax,city,rate,minimum_base,valid_from,valid_to",
            ["column Tax: unknown", "column tax: the header lacks"],
        ),
        ("tax;city;rate;minimum_base;valid_from;valid_to", ["the columns are not separated by commas"]),
        ('tax,"city,rate', ["a quote is not closed"]),
    ],
)
def test_a_bad_header_is_named_and_nothing_else_is_read(
    write: Write, header: str, expected: list[str]
) -> None:
    found = problems(write("tax_rates.csv", f"{header}\nthis,is,not,looked,at\n"), TaxRateRow)

    assert len(found) == len(expected)
    assert all(what in problem and "line 1" in problem for what, problem in zip(expected, found, strict=True))


def test_a_header_that_is_not_utf8_is_the_only_problem(write: Write) -> None:
    [problem] = problems(write("tax_rates.csv", b"tax,cit\xe9\nthis,is\n"), TaxRateRow)

    assert problem.startswith("tax_rates.csv line 1: byte 8 of the line (0xe9) is not UTF-8")


def test_every_bad_value_of_a_row_is_named_at_once(write: Write) -> None:
    found = problems(write("leases.csv", LEASES + "L1,T1,x,,shop,soon,never,much,XXX\n"), LeaseRow)

    assert [problem.split(", ")[1] for problem in found] == [
        "column use", "column start_date", "column end_date", "column rent", "column currency"
    ]  # fmt: skip


def test_a_long_list_of_problems_is_cut_and_says_how_many_more(write: Write) -> None:
    file = read_file(write("leases.csv", LEASES + FLAT.replace("COP", "XXX") * 257), LeaseRow)

    with pytest.raises(ImportRejectedError) as rejected:
        reject_if_any(file.problems)

    assert "leases.csv line 201, column currency" in str(rejected.value)
    assert "leases.csv line 202," not in str(rejected.value)
    assert "57 more" in str(rejected.value)


def test_problems_are_told_in_spanish_too(write: Write) -> None:
    file = read_file(write("leases.csv", LEASES + "L1,T1,x,,shop,2026-01-01,,-1,COP\nL1,T1\n"), LeaseRow)

    with pytest.raises(ImportRejectedError) as rejected:
        reject_if_any(file.problems)

    assert rejected.value.in_words("es").splitlines() == [
        "no se importó nada; 3 problema(s) por corregir:",
        "  leases.csv línea 2, columna use, valor 'shop': debe ser 'residential' o 'commercial'",
        "  leases.csv línea 2, columna rent, valor '-1': no puede ser negativo",
        "  leases.csv línea 3: 2 valores donde el encabezado tiene 9 columnas",
    ]


def test_a_long_value_is_shown_shortened(write: Write) -> None:
    [problem] = problems(write("leases.csv", LEASES + FLAT.replace("COP", "X" * 5000)), LeaseRow)

    assert len(problem) < 250


@given(st.binary(max_size=400))
def test_no_content_makes_the_reader_fail(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.mktemp("any") / "tax_rates.csv"
    path.write_bytes(TAX_RATES.encode() + content)

    for problem in problems(path, TaxRateRow):
        assert problem.startswith("tax_rates.csv line ")


@given(st.text('",\n\rab', max_size=200))
def test_no_quoting_makes_the_reader_fail_or_invent_a_line(
    tmp_path_factory: pytest.TempPathFactory, content: str
) -> None:
    path = tmp_path_factory.mktemp("quotes") / "tax_rates.csv"
    path.write_bytes((TAX_RATES + content).encode())

    lines = (TAX_RATES + content).encode().splitlines()
    assert all(1 < problem.line <= len(lines) for problem in read_file(path, TaxRateRow).problems)


def test_a_hostile_file_takes_no_unreasonable_time(write: Write) -> None:
    quotes = '"' * 99_999
    started = time.perf_counter()

    problems(write("tax_rates.csv", TAX_RATES + f"{quotes}\n" * 50 + '"a\n' * 5000), TaxRateRow)

    assert time.perf_counter() - started < 10


def test_a_file_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nothing\.csv cannot be read: No such file"):
        read_file(tmp_path / "nothing.csv", TenantRow)
    with pytest.raises(InputError, match="cannot be read: Is a directory"):
        read_file(tmp_path, TenantRow)


# The file of `invoices create`


def test_the_rows_of_a_reference_are_one_invoice_wherever_they_stand(write: Write) -> None:
    content = INVOICES + "A,T1,L1,Llaves,30000,iva\nB,T2,,Multa,5000.50,none\nA,T1,L1,Descuento,-1000,none\n"

    assert read_single_invoices(write("invoices.csv", content)) == [
        SingleInvoiceRequest(
            "A", "T1", "L1", (("Llaves", Decimal(30000), "iva"), ("Descuento", Decimal(-1000), "none")), 2
        ),
        SingleInvoiceRequest("B", "T2", None, (("Multa", Decimal("5000.50"), "none"),), 3),
    ]


def test_the_rows_of_a_reference_must_agree_on_tenant_and_lease(write: Write) -> None:
    content = INVOICES + "A,T1,L1,Llaves,30000,iva\nA,T2,L1,Llaves,30000,iva\nA,T1,,Llaves,1,iva\n"

    with pytest.raises(ImportRejectedError) as rejected:
        read_single_invoices(write("invoices.csv", content))

    assert [str(problem) for problem in rejected.value.problems] == [
        "invoices.csv line 3, column tenant_code, value 'T2': line 2 of the same invoice_ref A has 'T1'",
        "invoices.csv line 4, column lease_code, value '': line 2 of the same invoice_ref A has 'L1'",
    ]


@pytest.mark.parametrize(
    "row", ["A,T1,,x,1e3,iva", "A,T1,,x,1,IVA", ",T1,,x,1,iva", "A,,,x,1,iva", "A,T1,,,1,iva", "A,T1"]
)
def test_a_bad_row_rejects_the_file(write: Write, row: str) -> None:
    with pytest.raises(ImportRejectedError, match=r"invoices\.csv line 3"):
        read_single_invoices(write("invoices.csv", f"{INVOICES}A,T1,,Llaves,1,iva\n{row}\n"))


def test_a_file_without_rows_asks_for_no_invoice(write: Write) -> None:
    assert read_single_invoices(write("invoices.csv", INVOICES)) == []
