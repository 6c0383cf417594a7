"""The command line: one JSON document on stdout, words on stderr, exit 0, 1 or 2 (docs/contract.md, section 1)."""

import io
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from invoicing import stack
from invoicing.cli import __main__ as cli
from invoicing.domain.period import Period
from invoicing.services.agency import clock
from invoicing.stack import StackInfo
from support.agency import Agency
from support.database import airflow_connection, contents
from support.files import write_files


@dataclass
class Answer:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Call = Callable[..., Answer]


@pytest.fixture
def call(
    dsn: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Call:
    """Run the command line in this process, on the test's database and without a stack."""
    monkeypatch.setenv("AIRFLOW_CONN_INVOICING_DB", airflow_connection(dsn))
    monkeypatch.setenv("INVOICING_STATE", str(tmp_path / "no-stack-here"))

    def run(*arguments: str) -> Answer:
        monkeypatch.setattr(sys, "argv", ["invoicing", *arguments])
        capsys.readouterr()
        with pytest.raises(SystemExit) as exited:
            cli.main()
        captured = capsys.readouterr()
        return Answer(int(exited.value.code or 0), captured.out, captured.err)

    return run


def test_whoever_starts_the_stack_is_told_where_the_pages_are(
    call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = StackInfo(
        Path("/s"), "http://127.0.0.1:8080", "admin", "x", Path("/s/mailbox"), "file:///s/archive"
    )
    monkeypatch.setattr(stack, "start", lambda *_, **__: info)

    assert "Pages     http://127.0.0.1:8080/invoicing/\n" in call("up").out


def test_errors_are_told_in_spanish_to_whoever_asks_for_it(
    call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INVOICING_LANGUAGE", "es")
    answer = call("settings", "set", "due_days=100")

    assert answer.code == 2
    assert answer.err == "invoicing: los ajustes no se cambiaron: due_days=100: Debe ser 90 o menos.\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["settings", "set", "auto_sent=yes"], "unknown setting(s) auto_sent; known are auto_send"),
        (["settings", "set", "recipients=some"], "recipients=some"),
        (
            ["settings", "set", "largest_batch=0"],
            "largest_batch=0: Input should be greater than or equal to 1",
        ),
        (["settings", "set", "largest_batch=10000000"], "largest_batch=10000000"),
        (["settings", "set", "auto_send"], "'auto_send' is not of the form KEY=VALUE"),
        (["settings", "set", "due_days=1", "due_days=2"], "'due_days' is given twice"),
        (["settings", "set", "subject={{ nobody }}"], "subject"),
        (["settings", "set", "agency_logo=data:image/png;base64,AAAA"], "Choose a PNG, JPEG or SVG picture."),
        (
            ["settings", "set", "template=missing"],
            "there is no template 'missing'; known are banner, default",
        ),
        (["cycle", "show", "2026-13"], "period 2026-13 is not a month"),
        (["cycle", "tenants", "noviembre"], "'noviembre' is not of the form YYYY-MM"),
        (["cycle", "show", "2026-11"], "there is no cycle 2026-11 yet"),
        (["simulate", "--period", "2026"], "'2026' is not of the form YYYY-MM"),
        (["run", "--period", "2026-1"], "'2026-1' is not of the form YYYY-MM"),
        (["deliveries", "list", "--state", "lost"], "there is no delivery state 'lost'; known are pending"),
        (["deliveries", "resolve", "7", "--as", "sent", "--reason", "x"], "there is no delivery 7"),
        (["deliveries", "resend", "7", "--reason", "x"], "there is no delivery 7"),
        (["deliveries", "cancel", "7", "--reason", "x"], "there is no delivery 7"),
        (["deliveries", "cancel", "7", "--reason", " "], "give a reason"),
        (["import", "/nowhere"], "/nowhere"),
        (["invoices", "create", "/nowhere.csv"], "/nowhere.csv"),
        (["invoices", "correct", "/nowhere.csv"], "/nowhere.csv"),
        (["invoices", "void", "FV-7", "--reason", "x"], "there is no invoice 'FV-7'"),
        (["invoices", "credit", "FV-7", "--reason", " "], "give a reason"),
        (["invoices", "replace", "FV-7"], "give a reason"),
        (["invoices", "credit", "FV-7", "--reason", "x", "--line", "1:5"], "POSITION=AMOUNT"),
        (["invoices", "void"], "give an invoice's number"),
        (["invoices", "void", "FV-7", "--file", "x.csv"], "give an invoice's number"),
        (["series", "set", "FV-", "--from", "9", "--to", "8"], "the last is no less"),
    ],
)
def test_a_wrong_call_exits_2_with_one_message_and_no_traceback(
    agency: Agency, call: Call, arguments: list[str], message: str
) -> None:
    answer = call(*arguments)
    assert answer.code == 2
    assert message in answer.err.replace("\n", " ")
    assert "Traceback" not in answer.err
    assert answer.out == ""


@pytest.mark.parametrize(
    "arguments",
    [
        ["nothing"],
        ["cycle"],
        ["run"],
        ["deliveries", "resolve", "x", "--as", "sent"],
        ["deliveries", "cancel", "7"],
        ["series", "set"],
        ["series", "set", "FV-", "--valid-to", "mañana"],
        ["deliveries", "list", "--limit", "0"],
        ["deliveries", "list", "--after", "-1"],
        ["deliveries", "list", "--after", str(10**30)],
    ],
)
def test_an_unknown_command_or_a_missing_option_exits_2(call: Call, arguments: list[str]) -> None:
    assert call(*arguments).code == 2


@pytest.mark.parametrize(
    "arguments", [[], ["settings"], ["cycle", "show"], ["deliveries", "resolve"], ["run"]]
)
def test_every_level_has_help(call: Call, arguments: list[str]) -> None:
    answer = call(*arguments, "--help")
    assert answer.code == 0
    assert "Usage" in answer.out


def test_an_invoice_is_corrected_by_its_number(agency: Agency, call: Call, tmp_path: Path) -> None:
    """Airflow is away, and told later: what was done is printed, and stays done."""
    for code in "ABC":
        agency.add_tenant(code)
    agency.run()
    agency.put("B", "claimed", "transmitting", "in_doubt")
    agency.db.execute("UPDATE invoicing.lease SET rent = 900000 WHERE code = 'C-L0'")

    voided = call("invoices", "void", "FV-1", "--reason", "twice", "--json")
    assert (voided.code, voided.json["state"], voided.json["difference"]) == (0, "void", "-1000000")
    tried = call("invoices", "credit", "FV-2", "--reason", "x", "--line", "1=250000", "--dry-run", "--json")
    assert (tried.code, tried.json["credit_note"]["total"]) == (0, "250000")
    credited = call("invoices", "credit", "FV-2", "--reason", "a week", "--line", "1=250000", "--json")
    assert (credited.code, credited.json) == (1, tried.json)
    assert "the correction is stored" in credited.err
    replaced = call("invoices", "replace", "FV-3", "--reason", "new rent", "--json")
    assert replaced.json["replacement"]["number"] == "FV-4"

    shown = call("cycle", "show", "2026-11", "--json").json
    assert (shown["balanced"], shown["invoices"]["count"], shown["invoices"]["total"]) == (True, 2, "1900000")
    assert shown["credits"] == {
        "count": 1, "total": "250000", "currency": "COP",
        "by_currency": [{"count": 1, "total": "250000", "currency": "COP"}],
    }  # fmt: skip
    rows = {row["number"]: row for row in call("cycle", "invoices", "2026-11", "--json").json}
    links = ("state", "kind", "corrects", "replaced_by")
    assert {number: tuple(row[key] for key in links) for number, row in rows.items()} == {
        "FV-1": ("void", "invoice", None, None),
        "FV-2": ("partly_credited", "invoice", None, None),
        "FV-3": ("void", "invoice", None, "FV-4"),
        "FV-4": ("issued", "invoice", None, None),
        "NC-1": ("issued", "credit_note", "FV-2", None),
    }  # fmt: skip
    assert "1 credit notes, 250.000 COP" in call("cycle", "show", "2026-11").out
    file = tmp_path / "more.csv"
    file.write_text("number,action,lines,reason\nFV-2,credit,1=100000,x\nFV-2,void,,x\n")
    assert "FV-2" in call("invoices", "correct", str(file), "--dry-run").err
    file.write_text("number,action,lines,reason\nFV-2,credit,1=100000,x\n")
    assert "as it would be" in call("invoices", "credit", "--file", str(file), "--dry-run").out
    assert [row["state"] for row in call("invoices", "correct", str(file), "--json").json] == [
        "partly_credited"
    ]


def test_what_cannot_be_corrected_is_said_by_command_and_nothing_is_half_done(
    agency: Agency, call: Call, tmp_path: Path
) -> None:
    """The issue's list of bad input: a clear error, exit 2, no number lost."""
    for code in "ABCDE":
        agency.add_tenant(code)
    agency.run()
    agency.put("A", "claimed", "transmitting", "sent")
    agency.put("B", "claimed", "transmitting")
    agency.put("D", "claimed", "transmitting", "sent")
    call("invoices", "void", "FV-3", "--reason", "twice")
    call("invoices", "credit", "FV-4", "--reason", "a week", "--line", "1=250000")
    agency.db.execute("UPDATE invoicing.lease SET end_date = '2026-10-31' WHERE code = 'D-L0'")
    before = contents(agency.db)

    for what, message in {
        ("void", "FV-1"): "FV-1 was sent, or may have been",
        ("void", "FV-2"): "FV-2 is being transmitted",
        ("void", "FV-3"): "FV-3 is void already",
        ("void", "NC-1"): "NC-1 is a credit note",
        ("void", "FV-9"): "FV-9",
        ("credit", "FV-2"): "FV-2 is being transmitted",
        ("credit", "FV-3"): "FV-3 is void already",
        ("credit", "FV-5"): "has not left yet",
        ("credit", "NC-1"): "NC-1 is a credit note",
        ("credit", "FV-4", "--line", "1=750001"): "less than 750001",
        ("credit", "FV-4", "--line", "1=1USD"): "USD",
        ("credit", "FV-4", "--line", "1=0.5"): "0.5",
        ("credit", "FV-4", "--line", "2=1"): "line 2",
        ("credit", "FV-4", "--line", "1=1", "--line", "1=2"): "twice",
        ("credit", "FV-4", "--line", "uno"): "POSITION=AMOUNT",
        ("replace", "FV-1"): "import what changed first",
        ("replace", "FV-2"): "import what changed first",
        ("replace", "FV-4"): "not active on any day of 2026-11",
        ("replace", "NC-1"): "NC-1 is a credit note",
    }.items():
        answer = call("invoices", *what, "--reason", "x")
        assert (answer.code, answer.out) == (2, ""), what
        assert message in answer.err, what
    file = tmp_path / "c.csv"
    file.write_text("number,action,lines,reason\nFV-5,void,,x\nFV-1,void,,x\n")
    answer = call("invoices", "correct", str(file))
    assert (answer.code, "line 3" in answer.err, "FV-1 was sent" in answer.err) == (2, True, True)

    assert contents(agency.db) == before
    agency.db.execute("UPDATE invoicing.lease SET end_date = NULL WHERE code = 'D-L0'")
    call("invoices", "void", "FV-5", "--reason", "x")
    assert (
        call("invoices", "replace", "FV-5", "--reason", "x", "--json").json["replacement"]["number"] == "FV-6"
    )


def test_a_series_is_given_its_range(agency: Agency, call: Call) -> None:
    made = call(
        "series", "set", "FV-", "--to", "500", "--valid-to", "2199-12-31", "--resolution", "1876", "--json"
    )
    assert made.code == 0
    rows = call("series", "show", "--json").json
    assert made.json in rows
    assert {row["prefix"]: (row["used_for"], row["left"], row["to"], row["resolution"]) for row in rows} == {
        "FV-": ("invoices", 500, 500, "1876"),
        "NC-": ("credit_notes", None, None, None),
    }
    assert "1876" in call("series", "show").out


def test_a_rejected_import_names_every_bad_row_and_exits_2(
    agency: Agency, call: Call, tmp_path: Path
) -> None:
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / "leases.csv").write_text(
        "lease_code,tenant_code,property,city,use,start_date,end_date,rent,currency\n"
        "L1,Z,Calle 1,Bogotá,residential,2026-02-30,,1000,COP\nL2,Z,Calle 1,Bogotá,barn,2026-02-01,,x,COP\n"
    )
    answer = call("import", str(folder), "--json")
    assert answer.code == 2
    assert answer.out == ""
    for part in ("leases.csv line 2", "'2026-02-30'", "leases.csv line 3", "'barn'", "nothing was imported"):
        assert part in answer.err


def test_a_cycle_is_one_json_document(agency: Agency, call: Call) -> None:
    agency.add_tenant("A", leases=2)
    agency.add_tenant("B", auto_send=False)
    agency.run()
    agency.put("A", "claimed", "transmitting", "sent")
    shown = call("cycle", "show", "2026-11", "--json").json
    assert shown["invoices"]["count"] == 3
    assert (shown["invoices"]["total"], shown["invoices"]["currency"]) == ("3000000", "COP")
    assert shown["decisions"] == {"send": 1, "tenant_disabled": 1}
    assert set(shown["deliveries"]) == {
        "pending", "claimed", "transmitting", "sent", "failed", "in_doubt", "held", "cancelled"
    }  # fmt: skip
    assert (shown["tenants"], shown["balanced"], shown["deliveries"]["sent"]) == (2, True, 1)
    assert {"dag_run_id", "state", "started_at", "ended_at"} <= set(shown["runs"][0])

    a, b = call("cycle", "tenants", "2026-11", "--json").json
    assert (a["tenant"], a["decision"], a["reason"], a["invoices"]) == ("A", "send", None, 2)
    assert {"id", "state", "message_id", "attempts", "generation", "to", "cc"} <= set(a["delivery"])
    assert (b["decision"], b["reason"], b["delivery"]) == ("skip", "tenant_disabled", None)
    assert len(b["trace"]) == 7

    invoice = call("cycle", "invoices", "2026-11", "--json").json[0]
    assert set(invoice) == {
        "number", "lease", "tenant", "period", "subtotal", "tax", "withholding", "total", "currency", "issued_on",
        "due_on", "state", "kind", "corrects", "replaced_by", "replaces",
    }  # fmt: skip

    (delivery,) = call("deliveries", "list", "--json").json
    assert {
        "id", "period", "tenant", "state", "generation", "purpose", "message_id", "to", "cc", "invoices", "attempts",
        "last_reply", "actor", "reason", "updated_at",
    } <= set(delivery)  # fmt: skip
    assert call("deliveries", "list", "--state", "failed", "--json").json == []


def test_deliveries_are_listed_page_by_page(agency: Agency, call: Call) -> None:
    for code in ("A", "B", "C"):
        agency.add_tenant(code)
    agency.run()
    a, b, c = (row["id"] for row in call("deliveries", "list", "--json").json)

    first = call("deliveries", "list", "--limit", "2", "--json")
    rest = call("deliveries", "list", "--limit", "2", "--after", str(b), "--period", "2026-11", "--json")

    assert [row["id"] for row in first.json] == [a, b]
    assert f"--after {b}" in first.err
    assert [row["id"] for row in rest.json] == [c]
    assert rest.err == ""
    assert call("deliveries", "list", "--after", str(c), "--limit", "2", "--json").json == []


def test_what_has_not_left_is_cancelled_all_or_none(agency: Agency, call: Call) -> None:
    for code in ("A", "B", "C"):
        agency.add_tenant(code)
    agency.run()
    agency.put("C", "claimed", "transmitting", "sent")
    a, b, c = (str(row["id"]) for row in call("deliveries", "list", "--json").json)

    refused = call("deliveries", "cancel", a, c, "--reason", "moved away")
    assert refused.code == 2
    assert f"delivery {c} is sent: only what has not left is cancelled" in refused.err.replace("\n", " ")
    assert agency.deliveries() == [("A", "pending", 1), ("B", "pending", 1), ("C", "sent", 1)]

    answer = call("deliveries", "cancel", a, b, a, "--reason", "moved away", "--json")
    assert answer.json == {"deliveries": [int(a), int(b)]}
    agency.run()
    assert agency.deliveries() == [("A", "cancelled", 1), ("B", "cancelled", 1), ("C", "sent", 1)]
    assert agency.balance() == []
    assert call("deliveries", "cancel", a, "--reason", "again").code == 2


def test_an_import_names_what_is_out_of_step(agency: Agency, call: Call, tmp_path: Path) -> None:
    month = Period.containing(clock.today())
    agency.add_tenant("A")
    agency.run(month)
    lease = "A-L0,A,Calle 1,,residential,2020-01-01,,2000000,COP"
    folder = write_files(tmp_path / "files", leases=[lease, lease.replace("A-L0", "A-late")])

    answer = call("import", str(folder), "--json")
    told = call("import", str(folder)).out
    cycle = call("cycle", "show", str(month)).out

    assert answer.json["periods"] == [{"period": str(month), "unbilled": ["A-late"], "drifted": ["A-L0"]}]
    for text in (told, cycle):
        assert (
            f"unbilled: A-late; active, without an invoice. To bill: bin/invoicing run --period {month}"
            in text
        )
        assert "drifted: A-L0; the invoice would come out differently today" in text


def test_settings_are_shown_and_set(call: Call) -> None:
    assert call("settings", "show", "--json").json["auto_send"] is False
    assert call("settings", "set", "auto_send=yes", "due_days=9").code == 0
    shown = call("settings", "show", "--json").json
    assert (shown["auto_send"], shown["due_days"]) == (True, 9)


def test_tables_show_what_a_tenant_wrote_as_it_is(agency: Agency, call: Call) -> None:
    """Markup in a name is text, not colour; and does not break the table."""
    agency.add_tenant("A", leases=1)
    agency.change_tenant("A", name="[red]Ana[/red] [/b]")
    agency.run()
    answer = call("cycle", "tenants", "2026-11")
    assert answer.code == 0
    assert "[red]Ana" in answer.out.replace("\n", "")


def test_a_month_far_away_needs_a_yes_without_a_terminal(call: Call) -> None:
    answer = call("run", "--period", "2025-03")
    assert answer.code == 2
    assert "2025-03 is neither this month nor the next, and was never opened: nothing was run" in answer.err
    assert "repeat with --yes" in answer.err
    # With it, or where it is open, the next thing that is missing is Airflow.
    assert "INVOICING_AIRFLOW_URL" in call("run", "--period", "2025-03", "--yes").err


def test_a_month_that_is_open_needs_no_yes(agency: Agency, call: Call) -> None:
    agency.add_tenant("A")
    agency.run(Period(2025, 3))
    assert "INVOICING_AIRFLOW_URL" in call("run", "--period", "2025-03").err
    assert (
        "2025-03 is open already: there is nothing to confirm"
        in call("run", "--period", "2025-03", "--yes").err
    )


def test_on_a_terminal_a_month_far_away_is_asked_about(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(sys, "stdin", Terminal("n\n"))
    answer = call("run", "--period", "2025-03")
    assert (answer.code, answer.out) == (2, "")
    assert "was never opened. Bill 2025-03? [y/N]" in answer.err
    assert "nothing was run" in answer.err
    monkeypatch.setattr(sys, "stdin", Terminal("y\n"))
    assert "INVOICING_AIRFLOW_URL" in call("run", "--period", "2025-03").err


def test_health_has_one_line_for_each_thing_that_needs_a_person(agency: Agency, call: Call) -> None:
    answer = call("health")
    assert answer.code == 1
    (line,) = answer.out.splitlines()
    assert line.startswith("operator: automatic sending is on, and nobody hears of it")
    assert "settings set operator_email" in line

    document = call("health", "--json").json
    assert document["ok"] is False
    assert all(set(check) == {"name", "ok", "detail", "next_step"} for check in document["checks"])
    assert [check["name"] for check in document["checks"] if not check["ok"]] == ["operator"]

    agency.set(operator_email="ops@agencia.example")
    well = call("health")
    assert (well.code, well.out, well.err) == (0, "", "all is well\n")
    checks = call("health", "--json").json["checks"]
    assert all(check["ok"] for check in checks)
    # The last one is of this machine.
    assert checks[-1]["name"] == "renderer"
    assert checks[-1]["detail"].startswith("templates run in a cage")


def test_health_of_a_database_that_is_away_is_one_document(
    call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_INVOICING_DB", "postgres://u:p@127.0.0.1:1/nowhere")
    answer = call("health", "--json")
    assert answer.code == 1
    (check,) = answer.json["checks"]
    assert (check["name"], check["ok"]) == ("database", False)
    assert "does not answer" in check["detail"]


def test_health_counts_what_waits_on_this_host(agency: Agency, call: Call, tmp_path: Path) -> None:
    agency.set(operator_email="ops@agencia.example")
    (tmp_path / "no-stack-here" / "journal").mkdir(parents=True)
    (tmp_path / "no-stack-here" / "journal" / "1-1.json").write_text("{}")
    assert call("health").out.startswith("journal: 1 outcomes wait in the journal of this host")


def test_without_a_stack_the_way_out_is_named(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AIRFLOW_CONN_INVOICING_DB")
    answer = call("cycle", "show", "2026-11")
    assert answer.code in (1, 2)
    assert "bin/invoicing up" in answer.err


@pytest.fixture
def december(agency: Agency) -> Agency:
    """An agency whose December differs from its November."""
    for number in range(12):
        agency.add_tenant(f"T{number:02}", leases=1 + number % 2)
    agency.add_tenant("BLANK", emails=[])
    agency.run(Period(2026, 11))
    agency.db.execute("UPDATE invoicing.lease SET rent = 1100000 WHERE code < 'T11'")
    agency.db.execute("UPDATE invoicing.lease SET end_date = '2026-11-30' WHERE code = 'T11-L1'")
    agency.change_tenant("T02", auto_send=False)
    agency.add_tenant(
        "LATE", name="A very long name [bold] of a tenant whose rows would wrap in any narrow window"
    )
    return agency


def test_a_simulation_prints_the_figures_and_the_differences_first(december: Agency, call: Call) -> None:
    answer = call("simulate", "--period", "2026-12")

    lines = answer.out.splitlines()
    assert answer.code == 0
    assert lines[0] == "2026-12, as a run would leave it now; nothing was written, nothing sent"
    assert lines[1:5] == [
        "  19 invoices, 20.700.000 COP",
        "    subtotal 20.700.000 + tax 0 − withholding 0",
        "    2026-11: 19 invoices, 19.000.000 (+1.700.000, +8,9%)",
        "  14 tenants: 12 get mail, 12 messages to send",
    ]
    assert "         1 no_email" in lines
    assert "         1 tenant_disabled" in lines
    assert "  1 tenants have no address, or one that is wrong" in lines
    assert "         1 new leases" in lines
    assert "           LATE-L0 of LATE: 1.000.000 COP" in lines
    assert "         1 ended leases" in lines
    assert "        17 leases with another amount" in lines
    assert "           T00-L0 of T00: 1.000.000 → 1.100.000 COP (+100.000, +10%)" in lines
    assert "           and 7 more" in lines
    assert "           T02: send → tenant_disabled" in lines
    assert max(map(len, lines)) <= 80


def test_a_simulation_prints_its_rows_where_they_are_asked_for(december: Agency, call: Call) -> None:
    summary = call("simulate", "--period", "2026-12").out
    lines = call("simulate", "--period", "2026-12", "--rows").out.removeprefix(summary).splitlines()

    assert lines[0].split() == ["tenant", "name", "invoices", "total", "decision", "change"]
    assert len(lines) == 1 + 14
    assert [line.split()[0] for line in lines[1:4]] == ["BLANK", "T02", "T11"]
    assert max(map(len, lines)) <= 100


def test_a_simulation_as_json_has_every_row_of_the_run_and_what_changed(december: Agency, call: Call) -> None:
    simulated = call("simulate", "--period", "2026-12", "--json").json
    december.run(Period(2026, 12))
    rows = call("cycle", "tenants", "2026-12", "--json").json

    assert [row["tenant"] for row in simulated] == [row["tenant"] for row in rows]
    for row, real in zip(simulated, rows, strict=True):
        assert set(real) | {"invoices_detail", "change", "changes", "decision_before"} == set(row)
        assert [row[key] for key in ("decision", "reason", "invoices")] == [
            real[key] for key in ("decision", "reason", "invoices")
        ]
    changes = {row["tenant"]: row["change"] for row in simulated}
    assert changes == {
        "BLANK": "amount",
        "LATE": "new",
        "T11": "ended",
        **{f"T{number:02}": "amount" for number in range(11)},
    }
    assert next(row["decision_before"] for row in simulated if row["tenant"] == "T02") == "send"
    invoices = call("cycle", "invoices", "2026-12", "--json").json
    assert [each for row in simulated for each in row["invoices_detail"]] == sorted(
        invoices, key=lambda row: (row["tenant"], int(row["number"].removeprefix("FV-")))
    )


def test_a_simulation_of_a_month_that_cannot_be_billed_says_why(agency: Agency, call: Call) -> None:
    agency.add_tenant("A")
    agency.db.execute("UPDATE invoicing.lease SET use = 'commercial'")

    answer = call("simulate", "--period", "2026-12")

    assert (answer.code, answer.out) == (2, "")
    assert "A-L0" in answer.err
