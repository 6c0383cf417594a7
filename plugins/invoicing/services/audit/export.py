"""A month as files that verify without this program: ``audit export`` (docs/contract.md, section 1).

Everything is read as of one moment and streamed; the folder appears under its name when it is whole, or not at all.
"""

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from psycopg import sql

from invoicing.db.connection import Database
from invoicing.db.statements import beside
from invoicing.domain.errors import (
    InputError,
    InvoicingError,
    NotFoundError,
    TemporaryFailureError,
    WorkFailedError,
)
from invoicing.domain.period import Period
from invoicing.domain.spreadsheet import BYTE_ORDER_MARK, csv_rows
from invoicing.services.audit import history, layout, read_me
from invoicing.services.audit.layout import Names
from invoicing.services.billing import runs
from invoicing.services.delivery import archive as kept_documents
from invoicing.services.delivery.archive import Archive
from invoicing.services.delivery.compose import Composer
from invoicing.services.delivery.ledger import find_delivery
from invoicing.services.views.report import cycle_report

_SQL = beside(__file__)

_ROWS_AT_ONCE = 500
_DOCUMENTS_AT_ONCE = 50

_WHICH: Mapping[str, str] = {
    "tenant": _SQL["of_tenant"].decode(),
    "lease": _SQL["of_lease"].decode(),
    "settings_version": _SQL["of_settings_version"].decode(),
    "template_version": _SQL["of_template_version"].decode(),
    "series_range": _SQL["of_series_range"].decode(),
    "billing_cycle": _SQL["of_period"].decode(),
    "cycle_run": _SQL["of_run"].decode(),
    "invoice": _SQL["of_period"].decode(),
    "invoice_line": _SQL["of_invoice"].decode(),
    "invoice_withholding": _SQL["of_invoice"].decode(),
    "invoice_basis": _SQL["of_invoice"].decode(),
    "invoice_document": _SQL["of_invoice"].decode(),
    "invoice_correction": _SQL["of_invoice"].decode(),
    "decision": _SQL["of_decision"].decode(),
    "delivery": _SQL["of_period"].decode(),
    "delivery_invoice": _SQL["of_delivery"].decode(),
    "delivery_attempt": _SQL["of_delivery"].decode(),
    "delivery_event": _SQL["of_delivery"].decode(),
    "approval_request": _SQL["of_cycle"].decode(),
    "approval_item": _SQL["of_request"].decode(),
    "approval_answer": _SQL["of_request"].decode(),
    "sending_hold": _SQL["of_period"].decode(),
    "audit_event": _SQL["of_audit_event"].decode(),
}

Progress = Callable[[str, int, int], None]
"""Told what is being written, how much of it is done, and of how much (0: not known)."""


def _tell_nobody(_stage: str, _done: int, _total: int) -> None:
    pass


@dataclass(frozen=True, slots=True)
class Exported:
    """What an export has.

    Args:
        rows: By table.
        not_rebuilt: Deliveries whose message could not be built again as it was transmitted.
        head: Of the history, as the export prints it.
    """

    folder: Path
    rows: Mapping[str, int]
    documents: int
    messages: int
    not_rebuilt: Sequence[int]
    head: history.Head


class _Folder:
    """The files that are being written, and their hashes."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.sums: dict[str, str] = {}

    @contextmanager
    def writing(self, name: str) -> Iterator[Callable[[bytes], None]]:
        """Gives what adds bytes to the file ``name``."""
        path = self.root / name
        path.parent.mkdir(exist_ok=True)
        digest = hashlib.sha256()
        try:
            with path.open("xb") as file:

                def write(content: bytes) -> None:
                    digest.update(content)
                    file.write(content)

                yield write
        except OSError as error:
            if error.filename is None:
                error.filename = str(path)
            raise
        self.sums[name] = digest.hexdigest()

    def write(self, name: str, content: bytes) -> None:
        """A whole file."""
        with self.writing(name) as write:
            write(content)

    def close(self) -> None:
        """Write the sums, and have the disk take everything."""
        lines = "".join(f"{sum_}  {name}\n" for name, sum_ in sorted(self.sums.items()))
        (self.root / layout.SUMS).write_text(lines, encoding="utf-8", newline="\n")
        os.sync()


def export_period(
    db: Database,
    archive: Archive,
    period: Period,
    folder: Path,
    *,
    sender: str | None = None,
    report: Progress = _tell_nobody,
) -> Exported:
    """Write all that there is of a month to ``folder``.

    Args:
        folder: Does not exist, or is empty.
        sender: The relay connection's own from-address, for settings that name none.

    Raises:
        InputError: The folder is in use, or there is nothing of the month.
        WorkFailedError: It could not be written, or a document is missing: nothing is left behind.
    """
    folder = folder.absolute()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError("export_folder_in_use", folder=folder)
    history.seal(db)
    draft = folder.with_name(f".{folder.name}.{os.getpid()}.partial")
    try:
        draft.parent.mkdir(parents=True, exist_ok=True)
        draft.mkdir()
        made = _Export(db, archive, period, _Folder(draft), sender, report).write()
        draft.replace(folder)
    except OSError as error:
        why, where = error.strerror or str(error), str(error.filename or folder)
        named = where.replace(str(draft), str(folder))
        raise WorkFailedError("export_not_written", file=named, why=why) from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return Exported(folder, *made)


class _Export:
    def __init__(
        self,
        db: Database,
        archive: Archive,
        period: Period,
        folder: _Folder,
        sender: str | None,
        report: Progress,
    ) -> None:
        self._db = db
        self._archive = archive
        self._period = period
        self._folder = folder
        self._sender = sender
        self._report = report
        self._names = Names()
        self._first_entry: int | None = None
        self._singles: list[int] = []

    def write(self) -> tuple[dict[str, int], int, int, list[int], history.Head]:
        with self._db.transaction():
            self._db.execute(_SQL["one_view"])
            month = self._db.execute(_SQL["month"], {"period": str(self._period)}).fetchone()
            assert month is not None
            if month["cycle_id"] is None and not month["invoices"]:
                raise NotFoundError("export_of_nothing", period=self._period)
            head = history.head(self._db)
            which = {"period": str(self._period), "cycle_id": month["cycle_id"]}
            columns = {
                row["table_name"]: row["columns"]
                for row in self._db.execute(_SQL["columns"], {"tables": list(layout.TABLES)})
            }
            rows = {table: self._rows(table, columns[table], which) for table in layout.TABLES}
            chain = self._history()
            documents = self._documents(which)
            messages, not_rebuilt = self._messages(which)
            cycle = None if month["cycle_id"] is None else cycle_report(self._db, self._period)
        manifest = {
            "format": layout.FORMAT,
            "period": str(self._period),
            "read_at": month["read_at"].isoformat(),
            "code_version": runs.code_version(),
            "schema_version": month["schema_version"],
            "history": {**chain, "head_entry": head.entry, "head": head.sha256},
            "rows": rows,
            "documents": documents,
            "messages": messages,
            "not_rebuilt": not_rebuilt,
            "columns": columns,
            "cycle": cycle,
        }
        text = json.dumps(manifest, ensure_ascii=False, indent=2, default=str) + "\n"
        self._folder.write(layout.MANIFEST, text.encode())
        self._folder.write(layout.README, read_me.text(self._period, head).encode())
        self._folder.close()
        return rows, documents, messages, not_rebuilt, head

    def _rows(self, table: str, columns: Sequence[str], which: Mapping[str, Any]) -> int:
        """A table's rows, exact and as sheets; how many."""
        sheets = layout.sheets_of(table, columns)
        done = 0
        with ExitStack() as files:
            write = files.enter_context(self._folder.writing(layout.rows_file(table)))
            sheet_writers = [
                (sheet, files.enter_context(self._folder.writing(layout.sheet_file(sheet.name))))
                for sheet in sheets
            ]
            for sheet, write_sheet in sheet_writers:
                write_sheet((BYTE_ORDER_MARK + csv_rows([sheet.head()])).encode())
            for row in self._stream(_rows_statement(table), which):
                write(row["text"].encode() + b"\n")
                self._note_entries(table, row["first_entry"], row["last_entry"])
                parsed = layout.parse(row["text"])
                self._names.learn(table, parsed)
                for sheet, write_sheet in sheet_writers:
                    write_sheet(csv_rows(sheet.lines(parsed, self._names)).encode())
                done += 1
                self._report("rows", done, 0)
        return done

    def _note_entries(self, table: str, first: int | None, last: int | None) -> None:
        if first is None or last is None:
            return  # verification says so
        if table in layout.OF_MORE_THAN_A_MONTH:
            self._singles.append(last)
        elif self._first_entry is None or first < self._first_entry:
            self._first_entry = first

    def _history(self) -> dict[str, Any]:
        """The chain from the month's first entry to its head; before it, entries of rows that are older."""
        first = self._first_entry
        singles = [entry for entry in self._singles if first is None or entry < first]
        before = None
        if first is not None:
            found = self._db.execute(_SQL["link_before"], {"first": first}).fetchone()
            before = history.GENESIS if found is None else found["link"]
        with self._folder.writing(layout.HISTORY) as write:
            for row in self._stream(_SQL["single_entries"].decode(), {"ids": singles}):
                write(_entry(row, row["before"] or history.GENESIS))
            link = before
            if first is not None:
                for done, row in enumerate(
                    self._stream(_SQL["entries_from"].decode(), {"first": first}), start=1
                ):
                    write(_entry(row, link))
                    link = row["link"] or link
                    self._report("history", done, 0)
        return {"chained_from": first, "before": before}

    def _documents(self, which: Mapping[str, Any]) -> int:
        ids = [row["invoice_id"] for row in self._db.execute(_SQL["documents"], which)]
        done = 0
        for start in range(0, len(ids), _DOCUMENTS_AT_ONCE):
            records = kept_documents.find(self._db, ids[start : start + _DOCUMENTS_AT_ONCE])
            for record in records:
                (kept,) = kept_documents.read(self._archive, [record])
                self._folder.write(f"documents/{kept.filename}", kept.content)
                done += 1
                self._report("documents", done, len(ids))
        return done

    def _messages(self, which: Mapping[str, Any]) -> tuple[int, list[int]]:
        """The messages as they were transmitted; how many, and the deliveries whose message could not be rebuilt."""
        transmitted = self._db.execute(_SQL["transmitted"], which).fetchall()
        written, not_rebuilt = 0, []
        with ExitStack() as stack, self._folder.writing(layout.MESSAGES) as write:
            composer = Composer(self._archive, stack, self._sender)
            for done, row in enumerate(transmitted, start=1):
                payload, why = self._rebuild(composer, row["delivery_id"])
                sha256 = None if payload is None else hashlib.sha256(payload).hexdigest()
                is_same = sha256 in row["payloads"]
                if is_same and payload is not None:
                    self._folder.write(layout.message_file(row["delivery_id"]), payload)
                    written += 1
                else:
                    not_rebuilt.append(row["delivery_id"])
                line = {
                    "delivery_id": row["delivery_id"],
                    "file": layout.message_file(row["delivery_id"]) if is_same else None,
                    "sha256": sha256 if is_same else None,
                    "transmitted": row["payloads"],
                    "why": None if is_same else why or "built again, it is not the same bytes",
                }
                write(json.dumps(line, ensure_ascii=False).encode() + b"\n")
                self._report("messages", done, len(transmitted))
        return written, not_rebuilt

    def _rebuild(self, composer: Composer, delivery_id: int) -> tuple[bytes | None, str | None]:
        delivery = find_delivery(self._db, delivery_id)
        assert delivery is not None
        try:
            return composer.compose(self._db, delivery).payload, None
        except (TemporaryFailureError, kept_documents.DocumentDamagedError):
            raise  # the archive: whoever exports can put it right
        except InvoicingError as error:
            return None, str(error)

    def _stream(self, statement: "str | sql.Composed", which: Mapping[str, Any]) -> Iterator[Any]:
        """Rows a few at a time, however many there are."""
        query = statement if isinstance(statement, sql.Composed) else sql.SQL(statement)
        with contextlib.closing(self._db.cursor(name="export")) as cursor:
            cursor.itersize = _ROWS_AT_ONCE
            yield from cursor.execute(query, which)


def _rows_statement(table: str) -> sql.Composed:
    columns = layout.TABLES[table]
    return sql.SQL(_SQL["rows"].decode()).format(
        table=sql.Identifier(table),
        name=sql.Literal(table),
        which=sql.SQL(_WHICH[table]),
        order=sql.SQL(", ").join(map(sql.Identifier, columns)),
        key=sql.SQL(" || '/' || ").join(
            sql.SQL("(lines.line ->> {})").format(sql.Literal(each)) for each in columns
        ),
    )


def _entry(row: Mapping[str, Any], before: str | None) -> bytes:
    line = {
        "entry": row["id"],
        "source": row["source"],
        "key": row["key"],
        "sha256": row["sha256"],
        "writer": row["writer"],
        "before": before,
        "link": row["link"],
    }
    return json.dumps(line, ensure_ascii=False).encode() + b"\n"
