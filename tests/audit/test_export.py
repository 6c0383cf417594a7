"""A month as files that verify without this program, and what verification finds."""

import csv
import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from invoicing.cli import __main__ as cli
from invoicing.db.connection import Database, connect
from invoicing.domain.correction import LineAmount
from invoicing.domain.errors import InputError, WorkFailedError
from invoicing.services.audit import export, look_back, story, verify
from invoicing.services.delivery import corrections, resolution
from invoicing.services.delivery.archive import DocumentDamagedError
from support.agency import NOVEMBER
from support.archive import archive_in
from support.database import airflow_connection, as_superuser
from support.month import Month, November


@pytest.fixture(scope="module")
def corrected(november: November, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Month]:
    """The month with a credit note, a replacement, a void and a resend. Nobody changes it."""
    with november.copy(tmp_path_factory.mktemp("month")) as month:
        correct(month)
        yield month


def correct(month: Month) -> None:
    """What people do in the days after a run."""
    db = month.db
    numbers = {
        row["code"]: row["number"]
        for row in db.execute(
            "SELECT l.code, i.number FROM invoicing.invoice i JOIN invoicing.lease l ON l.id = i.lease_id"
        )
    }
    db.execute("UPDATE invoicing.lease SET rent = 1100000 WHERE code = 'BEA-0'")
    half = [LineAmount(1, Decimal(250_000))]
    corrections.credit(db, numbers["ANA-0"], half, reason="too much", actor="test")
    corrections.replace_invoice(db, numbers["BEA-0"], reason="the rent", actor="test")
    corrections.void(db, numbers["DAN-0"], reason="moved out", actor="test")
    resolution.resend(db, [month.delivery("ANA")], reason="lost it", actor="test")
    month.send_again()


@pytest.fixture(scope="module")
def exported(corrected: Month, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its export. Nobody changes it: `copy` is for that."""
    folder = tmp_path_factory.mktemp("export") / "2026-11"
    export_month(corrected, folder)
    return folder


@pytest.fixture
def copy(exported: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(exported, tmp_path / "copy"))


def export_month(month: Month, folder: Path) -> export.Exported:
    return export.export_period(month.db, archive_in(month.archive_folder), NOVEMBER, folder)


def found(folder: Path) -> list[tuple[str, str]]:
    return [(each.where, each.what.code) for each in verify.verify_folder(folder).differences]


def rows(folder: Path, table: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / f"json/{table}.jsonl").read_text().splitlines()]


def seal_anew(folder: Path) -> None:
    """What whoever tampers with an export would do."""
    names = sorted(
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and path.name != "SHA256SUMS"
    )
    sums = (f"{hashlib.sha256((folder / name).read_bytes()).hexdigest()}  {name}\n" for name in names)
    (folder / "SHA256SUMS").write_text("".join(sums))


def test_an_export_verifies_and_with_sha256sum_alone(exported: Path) -> None:
    assert found(exported) == []
    checked = subprocess.run(
        ["sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS"],
        cwd=exported,
        capture_output=True,
        check=False,
    )
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, b"", b"")


def test_it_has_what_there_is_of_the_month(corrected: Month, exported: Path) -> None:
    counts = {
        table: corrected.db.execute(f"SELECT count(*) AS n FROM invoicing.{table}".encode()).fetchone()["n"]  # type: ignore[index]
        for table in ("invoice", "invoice_line", "invoice_basis", "decision", "delivery", "delivery_event")
    }

    assert {table: len(rows(exported, table)) for table in counts} == counts
    assert counts["invoice"] == counts["invoice_basis"] + 2  # credit notes have none
    with (exported / "csv/invoice.csv").open(encoding="utf-8-sig", newline="") as file:
        sheet = list(csv.DictReader(file))
    assert len(sheet) == counts["invoice"]
    assert sheet[0]["number"]
    assert sheet[0]["tenant"]
    assert {path.suffix for path in (exported / "documents").iterdir()} == {".pdf"}
    sent = [row for row in rows(exported, "delivery") if row["state"] == "sent"]
    messages = {path.name for path in (exported / "messages").iterdir()}
    assert {f"delivery-{row['id']}.eml" for row in sent} <= messages


def test_messages_are_the_bytes_that_the_relay_got(corrected: Month, exported: Path) -> None:
    got = {hashlib.sha256(payload).hexdigest() for payload in corrected.inbox.messages}
    written = [path.read_bytes() for path in (exported / "messages").iterdir()]

    assert written
    assert len([each for each in written if hashlib.sha256(each).hexdigest() in got]) == len(
        corrected.inbox.messages
    )


def test_cells_are_no_formulas(exported: Path) -> None:
    for path in (exported / "csv").iterdir():
        with path.open(encoding="utf-8-sig", newline="") as file:
            for line in csv.reader(file):
                assert not [cell for cell in line if cell[:1] in ("=", "+", "@")]


def test_any_byte_of_any_file_is_named(copy: Path) -> None:
    """One byte of each file, one after the other."""
    for path in sorted(each for each in copy.rglob("*") if each.is_file()):
        name = path.relative_to(copy).as_posix()
        content = path.read_bytes()
        if not content:
            continue
        middle = len(content) // 2
        path.write_bytes(content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :])
        where = [each for each, _ in found(copy)]
        assert [each for each in where if each.startswith(name)] or name == "SHA256SUMS", name
        assert where, name
        path.write_bytes(content)
    assert found(copy) == []


def test_files_that_are_gone_or_too_many_are_named(copy: Path) -> None:
    (copy / "documents").joinpath("extra.pdf").write_bytes(b"%PDF")
    gone = next((copy / "messages").iterdir())
    gone.unlink()

    where = dict(found(copy))
    assert where["documents/extra.pdf"] == "export_file_extra"
    assert f"messages/{gone.name}" in where


def tampered_row(table: str, change: Callable[[dict[str, Any]], None]) -> Callable[[Path], str]:
    def act(folder: Path) -> str:
        path = folder / f"json/{table}.jsonl"
        lines = path.read_text().splitlines(keepends=True)
        row = json.loads(lines[0])
        change(row)
        lines[0] = json.dumps(row, ensure_ascii=False) + "\n"
        path.write_text("".join(lines))
        return f"json/{table}.jsonl line 1"

    return act


@pytest.mark.parametrize(
    "table", ["invoice", "invoice_line", "decision", "delivery", "delivery_attempt", "audit_event"]
)
def test_a_row_that_was_changed_with_the_sums_is_named(copy: Path, table: str) -> None:
    where = tampered_row(table, lambda row: row.update({next(reversed(row)): "x"}))(copy)
    seal_anew(copy)

    assert (where, "export_row_altered") in found(copy)


def forge(folder: Path, table: str, change: Callable[[dict[str, Any]], None]) -> None:
    """Change a row and all that the history says of it, up to the head: what an insider with the files can do."""
    tampered_row(table, change)(folder)
    line = (folder / f"json/{table}.jsonl").read_text().splitlines()[0]
    path = folder / "json/history.jsonl"
    entries = [json.loads(each) for each in path.read_text().splitlines()]
    key = "/".join(str(json.loads(line)[column]) for column in export.layout.TABLES[table])
    last = max(each["entry"] for each in entries if (each["source"], each["key"]) == (table, key))
    manifest = json.loads((folder / "export.json").read_text())
    link = None
    for each in entries:
        if each["entry"] == last:
            each["sha256"] = hashlib.sha256(line.encode()).hexdigest()
        if link is not None and each["entry"] >= manifest["history"]["chained_from"]:
            each["before"] = link
        words = (each["before"], each["entry"], each["source"], each["key"], each["sha256"], each["writer"])
        each["link"] = hashlib.sha256(" ".join(map(str, words)).encode()).hexdigest()
        if each["entry"] >= manifest["history"]["chained_from"]:
            link = each["link"]
    path.write_text("".join(json.dumps(each, ensure_ascii=False) + "\n" for each in entries))
    manifest["history"]["head"] = link
    (folder / "export.json").write_text(json.dumps(manifest))
    names = verify.Names()
    for name in export.layout.TABLES:
        for sheet in export.layout.sheets_of(name, manifest["columns"][name]):
            text = "\ufeff" + verify.csv_rows([sheet.head()])
            for each in (folder / f"json/{name}.jsonl").read_text().splitlines():
                row = export.layout.parse(each)
                names.learn(name, row)
                text += verify.csv_rows(sheet.lines(row, names))
            (folder / f"csv/{sheet.name}.csv").write_text(text, newline="")
    seal_anew(folder)


@pytest.mark.parametrize(
    ("table", "change", "code"),
    [
        ("invoice_line", {"amount": 999_999}, "export_sum_differs"),
        ("invoice_basis", {"basis": {"rates": []}}, "export_amounts_not_computable"),
        ("decision", {"reason": "tenant_held"}, "export_decision_differs"),
        ("invoice", {"state": "credited"}, "export_state_differs"),
        ("delivery", {"state": "failed"}, "export_event_out_of_line"),
        ("invoice_document", {"sha256": "0" * 64}, "export_document_differs"),
    ],
)
def test_what_was_forged_throughout_does_not_add_up(
    copy: Path, table: str, change: dict[str, Any], code: str
) -> None:
    """All the hashes fit: what is left are the rules."""
    forge(copy, table, lambda row: row.update(change))

    codes = {code for _, code in found(copy)}
    assert code in codes
    assert "export_row_altered" not in codes
    assert "history_entry_altered" not in codes
    assert "export_file_altered" not in codes


def test_a_rent_that_was_forged_is_worked_out_again(copy: Path) -> None:
    forge(copy, "invoice_basis", lambda row: row["basis"]["lease"].update(rent="1000001"))

    assert [code for _, code in found(copy)] == ["export_amount_differs"]


def test_a_head_that_was_forged_is_not_the_databases(corrected: Month, copy: Path) -> None:
    forge(copy, "audit_event", lambda row: row.update(actor="nobody"))
    assert found(copy) == []

    said = look_back.compare_head(corrected.db, verify.verify_folder(copy))

    assert [each.what.code for each in said] == ["export_head_not_of_database"]


def test_the_database_it_came_from_is_as_it_was(corrected: Month, exported: Path) -> None:
    looked = look_back.look_back(corrected.db, archive_in(corrected.archive_folder))

    assert looked.differences == []
    assert looked.documents > 0
    assert list(look_back.compare_head(corrected.db, verify.verify_folder(exported))) == []


def test_a_document_of_the_archive_that_was_altered_is_named(november: November, tmp_path: Path) -> None:
    with november.copy(tmp_path) as month:
        altered = next(path for path in month.archive_folder.rglob("*.pdf"))
        altered.write_bytes(altered.read_bytes()[:-1] + b"\0")
        looked = look_back.look_back(month.db, archive_in(month.archive_folder))

        assert [(each.where, each.what.code) for each in looked.differences] == [
            (f"archive {altered.relative_to(month.archive_folder)}", "document_altered")
        ]
        with pytest.raises(DocumentDamagedError, match=altered.stem.split("-", 1)[1]):
            export_month(month, tmp_path / "out" / "2026-11")
        assert list((tmp_path / "out").iterdir()) == []


def test_a_folder_in_use_is_refused_and_left_as_it_is(corrected: Month, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")

    with pytest.raises(InputError, match="not empty"):
        export_month(corrected, tmp_path)

    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_an_empty_folder_is_taken(corrected: Month, tmp_path: Path) -> None:
    export_month(corrected, tmp_path)

    assert found(tmp_path) == []


def test_a_disk_that_is_full_leaves_nothing_half_done(
    corrected: Month, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = export._Folder.write

    def full(self: Any, name: str, content: bytes) -> None:
        if name.startswith("documents/"):
            raise OSError(28, "No space left on device", str(self.root / name))
        real(self, name, content)

    monkeypatch.setattr(export._Folder, "write", full)
    with pytest.raises(WorkFailedError, match=r"documents/.*No space left"):
        export_month(corrected, tmp_path / "out")

    assert list(tmp_path.iterdir()) == []


def test_a_month_without_anything_is_refused(db: Database, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nothing to export"):
        export.export_period(db, archive_in(tmp_path), NOVEMBER, tmp_path / "out")

    assert not (tmp_path / "out").exists()


# The whole story of a delivery.


def story_of(month: Month, delivery_id: int) -> story.Story:
    return story.tell_story(
        partial(nullcontext, month.db), archive_in(month.archive_folder), delivery_id, sender=None
    )


def test_the_story_of_a_delivery_has_all_of_it(corrected: Month) -> None:
    (row,) = corrected.db.execute(
        "SELECT d.id FROM invoicing.delivery d JOIN invoicing.tenant t ON t.id = d.tenant_id"
        " WHERE t.code = 'ANA' AND d.purpose = 'initial' AND d.cycle_id IS NOT NULL"
    )

    told = story_of(corrected, row["id"])

    assert told.message is not None
    assert told.message.is_as_transmitted is True
    assert [each.document_fault for each in told.invoices] == [None]
    (invoice,) = (each.row for each in told.invoices)
    assert invoice["basis"]["lease"]["rent"] == "1000000"
    assert [each["act"] for each in invoice["corrections"]] == ["credit"]
    assert told.decisions[0]["trace"][0]["rule"] == "sending_disabled"
    assert told.payloads.keys() == {1}
    assert [task.task_id for task in told.tasks] == ["send_invoices"]
    people = {each["action"] for each in told.people}
    assert {"invoice_credited", "deliveries_resent", "settings_changed"} <= people
    assert told.entries["entries"] == told.entries["chained"] > 5


def test_the_story_as_json_has_the_message_byte_for_byte(corrected: Month) -> None:
    (row,) = corrected.db.execute(
        "SELECT min(delivery_id) AS id FROM invoicing.delivery_attempt WHERE marked_at > '2000-01-01'"
    )

    document = json.loads(json.dumps(story.as_json(story_of(corrected, row["id"])), default=str))

    sha256 = hashlib.sha256(document["message"]["eml"].encode("ascii")).hexdigest()
    assert sha256 == document["attempts"][-1]["payload_sha256"]
    assert document["message"]["as_transmitted"] is True


def test_a_document_that_is_gone_is_said_in_the_story(november: November, tmp_path: Path) -> None:
    with november.copy(tmp_path) as month:
        for path in month.archive_folder.rglob("*.pdf"):
            path.write_bytes(b"%PDF-1.4 another")

        told = story_of(month, month.delivery("ANA"))

        assert [each.document_fault and each.document_fault.code for each in told.invoices] == [
            "document_altered"
        ]
        assert told.message_fault is not None
        assert told.message is None


# By the command line.


@pytest.fixture
def call(
    corrected: Month, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
):  # type: ignore[no-untyped-def]
    monkeypatch.setenv("AIRFLOW_CONN_INVOICING_DB", airflow_connection(corrected.db.info.dsn))
    monkeypatch.setenv("INVOICING_ARCHIVE", f"file://{corrected.archive_folder}")
    monkeypatch.setenv("INVOICING_STATE", str(tmp_path / "no-stack-here"))

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["invoicing", *arguments])
        capsys.readouterr()
        with pytest.raises(SystemExit) as exited:
            cli.main()
        captured = capsys.readouterr()
        return int(exited.value.code or 0), captured.out, captured.err

    return run


def test_the_commands_export_and_verify(call: Any, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    code, text, _ = call("audit", "export", "2026-11", str(folder), "--json")
    assert (code, json.loads(text)["invoices"]) == (0, 10)
    assert call("audit", "export", "2026-11", str(folder))[0] == 2
    assert call("audit", "export", "2026-08", str(tmp_path / "other"))[0] == 2

    code, text, _ = call("audit", "verify", str(folder))
    assert code == 0
    assert len(text.splitlines()) == 1

    altered = folder / "csv" / "invoice.csv"
    altered.write_bytes(altered.read_bytes().replace(b"1000000", b"1000001", 1))
    code, text, _ = call("audit", "verify", str(folder), "--files-only")
    assert code == 1
    assert "csv/invoice.csv: " in text
    assert call("audit", "verify", str(tmp_path / "nothing"))[0] == 2


def test_verify_works_on_files_alone_where_there_is_no_database(
    call: Any, exported: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_INVOICING_DB", "postgres://nobody@127.0.0.1:9/nothing")

    code, text, notes = call("audit", "verify", str(exported))

    assert (code, len(text.splitlines())) == (0, 1)
    assert "files alone" in notes
    assert call("audit", "verify")[0] == 1


def test_verify_of_an_export_names_a_row_of_the_database(call: Any, exported: Path, corrected: Month) -> None:
    with connect(as_superuser(corrected.db.info.dsn)) as superuser:
        superuser.execute("SET session_replication_role = replica")
        superuser.execute("UPDATE invoicing.delivery_event SET actor = actor || 'x' WHERE id = 3")
        try:
            code, text, _ = call("audit", "verify", str(exported))
        finally:
            superuser.execute("UPDATE invoicing.delivery_event SET actor = left(actor, -1) WHERE id = 3")

    assert code == 1
    assert text.startswith("delivery_event 3: ")
    assert call("audit", "verify", str(exported))[0] == 0


def test_the_command_tells_the_story(call: Any, corrected: Month) -> None:
    (row,) = corrected.db.execute("SELECT min(delivery_id) AS id FROM invoicing.delivery_attempt")
    code, text, _ = call("audit", "show", str(row["id"]))

    assert code == 0
    for word in (
        "as billed: lease",
        "sending_disabled: agrees",
        "verified now",
        "the same bytes as were transmitted",
    ):
        assert word in text
    assert json.loads(call("audit", "show", str(row["id"]), "--json")[1])["delivery"]["id"] == row["id"]
    assert call("audit", "show", "999999")[0] == 2


def test_a_message_that_cannot_be_built_again_as_it_was_is_left_out_and_said(
    corrected: Month, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export._Export, "_rebuild", lambda *_: (b"Subject: another library's\r\n", None))

    made = export_month(corrected, tmp_path / "out")

    assert made.messages == 0
    assert made.not_rebuilt
    assert not (tmp_path / "out" / "messages").exists()
    checked = verify.verify_folder(tmp_path / "out")
    assert checked.differences == []
    assert [note.code for note in checked.notes] == ["export_messages_absent"]
