"""Whether an export is what it says: ``audit verify DIR`` (docs/contract.md, section 1). It needs the files alone.

The sums come first: any byte that changed is in a file that is named. What follows finds what was changed together with
its sums: rows against the chained history, sheets against the rows, documents and messages against their hashes, and
every amount, decision, count and sum worked out again.
"""

import hashlib
import json
import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import groupby
from pathlib import Path
from typing import Any

from invoicing.domain.errors import InputError
from invoicing.domain.spreadsheet import BYTE_ORDER_MARK, csv_rows
from invoicing.services.audit import layout
from invoicing.services.audit.history import GENESIS, Difference
from invoicing.services.audit.layout import Names, Row
from invoicing.services.audit.recompute import Issued, check_decision, check_invoice
from invoicing.services.delivery.documents import filename
from invoicing.words.failures import Failure, Fault

_SUM_LINE = re.compile(r"([0-9a-f]{64})  ([^\n\\]+)")
# What reading something that was tampered with may raise.
_MALFORMED = (
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    ArithmeticError,
    IndexError,
    OSError,
    InputError,
)


@dataclass(slots=True)
class Verified:
    """What was found.

    Args:
        differences: Empty where all is as it was written.
        head_entry: The last entry that the export's history is chained to, and ``head`` its link; None where the export
            does not say.
        notes: What could not be shown, and is no difference.
    """

    differences: list[Difference] = field(default_factory=list)
    files: int = 0
    rows: int = 0
    period: str = ""
    head_entry: int | None = None
    head: str | None = None
    notes: list[Failure] = field(default_factory=list)


def verify_folder(folder: Path) -> Verified:
    """Look at every file of an export.

    Raises:
        InputError: It is no folder.
    """
    if not folder.is_dir():
        raise InputError("export_folder_missing", folder=folder)
    verifier = _Verifier(folder)
    verifier.run()
    return verifier.found


class _Verifier:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.found = Verified()
        self._names = Names()
        self._hashes: dict[tuple[str, str], str] = {}
        self._sums: dict[str, str] = {}

    def run(self) -> None:
        self._check_sums()
        try:
            manifest = json.loads((self._folder / layout.MANIFEST).read_bytes())
            self.found.period = str(manifest["period"])
            self.found.head_entry = int(manifest["history"]["head_entry"])
            self.found.head = str(manifest["history"]["head"])
            columns: Mapping[str, list[str]] = {table: manifest["columns"][table] for table in layout.TABLES}
        except _MALFORMED as error:
            self._differs(layout.MANIFEST, "export_unreadable", why=_why(error))
            return
        self._guarded(layout.HISTORY, lambda: self._check_history(manifest["history"]))
        for table in layout.TABLES:
            self._guarded(
                layout.rows_file(table), lambda table=table: self._check_rows(table, columns[table], manifest)
            )
        self._guarded(layout.rows_file("invoice_document"), self._check_documents)
        self._guarded(layout.MESSAGES, lambda: self._check_messages(manifest))
        invoices = self._guarded(layout.rows_file("invoice"), self._check_amounts) or {}
        self._guarded(layout.rows_file("decision"), self._check_decisions)
        self._guarded(layout.rows_file("delivery_event"), self._check_events)
        self._guarded(layout.MANIFEST, lambda: self._check_counts(manifest, invoices))

    def _differs(self, where: str, code: str, /, **values: object) -> None:
        self.found.differences.append(Difference(where, Fault(code, **values)))

    def _guarded(self, where: str, check: Any) -> Any:
        """One check; what stops it is itself a difference, and the others go on."""
        try:
            return check()
        except _UnreadableError as error:
            self._differs(error.where, "export_unreadable", why=error.why)
        except _MALFORMED as error:
            self._differs(where, "export_unreadable", why=_why(error))
        return None

    # The files.

    def _check_sums(self) -> None:
        for path in sorted(self._folder.rglob("*")):
            name = path.relative_to(self._folder).as_posix()
            if path.is_symlink() or not (path.is_dir() or path.is_file()):
                self._differs(name, "export_not_a_file")
            elif path.is_file() and name != layout.SUMS:
                self._sums[name] = _sha256(path)
            elif path.is_dir() and not any(path.iterdir()):
                self._differs(name, "export_file_extra")
        self.found.files = len(self._sums)
        said = self._read_sums()
        for name in sorted(set(said) | set(self._sums)) if said is not None else ():
            assert said is not None
            if name not in said:
                self._differs(name, "export_file_extra")
            elif name not in self._sums:
                self._differs(name, "export_file_missing")
            elif said[name] != self._sums[name]:
                self._differs(name, "export_file_altered", said=said[name], found=self._sums[name])

    def _read_sums(self) -> dict[str, str] | None:
        """What SHA256SUMS says; None where it cannot be read."""
        try:
            text = (self._folder / layout.SUMS).read_bytes().decode("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            self._differs(layout.SUMS, "export_unreadable", why=_why(error))
            return None
        said: dict[str, str] = {}
        for number, line in enumerate(text.split("\n")[:-1], start=1):
            parts = _SUM_LINE.fullmatch(line)
            if parts is None or parts[2] in said:
                self._differs(f"{layout.SUMS} line {number}", "export_unreadable", why="not a sum and a name")
            else:
                said[parts[2]] = parts[1]
        if text and not text.endswith("\n"):
            self._differs(layout.SUMS, "export_unreadable", why="it ends within a line")
        return said

    # The history, the rows, and the sheets.

    def _check_history(self, said: Mapping[str, Any]) -> None:
        chained_from, before = said["chained_from"], said["before"]
        link, last = before, None
        for number, entry in self._lines(layout.HISTORY):
            where = f"{layout.HISTORY} line {number}"
            self._hashes[entry["source"], entry["key"]] = entry["sha256"]
            if entry["link"] is None:
                continue  # not chained when it was exported
            words = (
                entry["before"],
                entry["entry"],
                entry["source"],
                entry["key"],
                entry["sha256"],
                entry["writer"],
            )
            text = " ".join(map(str, words))
            is_in_chain = chained_from is not None and entry["entry"] >= chained_from
            if hashlib.sha256(text.encode()).hexdigest() != entry["link"] or (
                is_in_chain and entry["before"] != link
            ):
                self._differs(where, "history_entry_altered")
            if is_in_chain:
                link, last = entry["link"], entry["entry"]
        if last is not None and (last, link) != (said["head_entry"], said["head"]):
            self._differs(layout.MANIFEST, "export_head_differs", entry=last, head=link)
        if last is None and chained_from is None and not self._hashes:
            self._differs(layout.HISTORY, "export_unreadable", why="it is empty")
        if before is None or (before != GENESIS and not re.fullmatch("[0-9a-f]{64}", before)):
            self._differs(layout.MANIFEST, "export_unreadable", why="where the chain begins")

    def _check_rows(self, table: str, columns: list[str], manifest: Mapping[str, Any]) -> None:
        name = layout.rows_file(table)
        sheets = layout.sheets_of(table, columns)
        digests = {sheet.name: hashlib.sha256() for sheet in sheets}
        for sheet in sheets:
            digests[sheet.name].update((BYTE_ORDER_MARK + csv_rows([sheet.head()])).encode())
        count = 0
        last: tuple[Any, ...] | None = None
        for number, text, row in self._raw_lines(name):
            count += 1
            key = layout.key_of(table, row)
            known = self._hashes.get((table, key))
            if known is None:
                self._differs(f"{name} line {number}", "export_row_unrecorded", table=table, key=key)
            elif known != hashlib.sha256(text).hexdigest():
                self._differs(f"{name} line {number}", "export_row_altered", table=table, key=key)
            order = tuple(row[column] for column in layout.TABLES[table])
            if last is not None and order <= last:
                self._differs(f"{name} line {number}", "export_row_out_of_order", table=table, key=key)
            last = order
            self._names.learn(table, row)
            for sheet in sheets:
                digests[sheet.name].update(csv_rows(sheet.lines(row, self._names)).encode())
        self.found.rows += count
        if count != manifest["rows"][table]:
            self._differs(name, "export_count_differs", said=manifest["rows"][table], found=count)
        for sheet in sheets:
            file = layout.sheet_file(sheet.name)
            if self._sums.get(file) != digests[sheet.name].hexdigest():
                self._differs(file, "export_sheet_differs", rows=name)

    def _check_documents(self) -> None:
        expected = set()
        for _, row in self._lines(layout.rows_file("invoice_document")):
            file = f"documents/{filename(self._names.invoices[row['invoice_id']])}"
            expected.add(file)
            if self._sums.get(file) != row["sha256"]:
                self._differs(
                    file, "export_document_differs", invoice=self._names.invoices[row["invoice_id"]]
                )
        self._name_extra("documents/", expected)

    def _name_extra(self, folder: str, expected: set[str]) -> None:
        for file in self._sums:
            if file.startswith(folder) and file not in expected:
                self._differs(file, "export_file_extra")

    def _check_messages(self, manifest: Mapping[str, Any]) -> None:
        transmitted = self._transmitted()
        not_rebuilt, expected = [], set()
        for number, line in self._lines(layout.MESSAGES):
            delivery = line["delivery_id"]
            if set(line["transmitted"]) != transmitted.pop(delivery, set()):
                self._differs(f"{layout.MESSAGES} line {number}", "export_message_differs", delivery=delivery)
            if line["file"] is None:
                not_rebuilt.append(delivery)
                continue
            file = layout.message_file(delivery)
            expected.add(file)
            if self._sums.get(file) not in line["transmitted"] or file != line["file"]:
                self._differs(file, "export_message_differs", delivery=delivery)
            elif line["sha256"] != self._sums[file]:
                self._differs(f"{layout.MESSAGES} line {number}", "export_message_differs", delivery=delivery)
        for delivery in transmitted:
            self._differs(layout.MESSAGES, "export_message_missing", delivery=delivery)
        self._name_extra("messages/", expected)
        if not_rebuilt != manifest["not_rebuilt"]:
            self._differs(layout.MANIFEST, "export_unreadable", why="not_rebuilt")
        if not_rebuilt:
            shown = ", ".join(map(str, not_rebuilt[:20]))
            self.found.notes.append(Fault("export_messages_absent", count=len(not_rebuilt), deliveries=shown))

    def _transmitted(self) -> dict[int, set[str]]:
        """By delivery: the hashes of what its attempts transmitted."""
        found: defaultdict[int, set[str]] = defaultdict(set)
        for _, row in self._lines(layout.rows_file("delivery_attempt")):
            if row["marked_at"] is not None and row["payload_sha256"] is not None:
                found[row["delivery_id"]].add(row["payload_sha256"])
        return dict(found)

    # Amounts, decisions, events, counts.

    def _check_amounts(self) -> Mapping[int, Row]:
        """Work out every invoice again; the invoices' rows, by id."""
        invoices = {row["id"]: _brief(row) for _, row in self._lines(layout.rows_file("invoice"))}
        credited = {row["corrects"] for row in invoices.values() if row["corrects"] is not None}
        lines = _Merge(self._grouped("invoice_line"))
        withholdings = _Merge(self._grouped("invoice_withholding"))
        bases = _Merge(self._grouped("invoice_basis"))
        issued: dict[int, Issued] = {}
        notes: defaultdict[int, list[Issued]] = defaultdict(list)
        without_basis = 0
        for number, row in self._lines(layout.rows_file("invoice")):
            id_ = row["id"]
            basis = bases.of(id_)
            invoice = Issued(row, lines.of(id_), withholdings.of(id_), basis[0]["basis"] if basis else None)
            corrects = row["corrects"]
            original = None if corrects is None else issued.get(corrects)
            where = f"{layout.rows_file('invoice')} line {number}"
            self._check_invoice(where, invoice, original, notes[corrects] if corrects else ())
            if corrects is not None:
                notes[corrects].append(invoice)
            elif invoice.basis is None:
                without_basis += 1
            if id_ in credited:
                issued[id_] = invoice
        for left, table in (
            (lines, "invoice_line"),
            (withholdings, "invoice_withholding"),
            (bases, "invoice_basis"),
        ):
            for id_ in left.left_over():
                self._differs(
                    f"{layout.rows_file(table)}, invoice {id_}", "export_original_missing", invoice=id_
                )
        self._check_states(invoices, credited, issued, notes)
        if without_basis:
            self.found.notes.append(Fault("export_without_basis", count=without_basis))
        return invoices

    def _check_invoice(
        self, where: str, invoice: Issued, original: Issued | None, earlier: Sequence[Issued]
    ) -> None:
        number = invoice.row["number"]
        if invoice.row["corrects"] is not None and original is None:
            self._differs(where, "export_original_missing", invoice=number)
        try:
            for fault in check_invoice(invoice, original, earlier):
                self.found.differences.append(Difference(where, fault))
        except _MALFORMED as error:
            self._differs(where, "export_amounts_not_computable", invoice=number, why=_why(error))

    def _check_states(
        self,
        invoices: Mapping[int, Row],
        credited: Collection[int],
        issued: Mapping[int, Issued],
        notes: Mapping[int, Sequence[Issued]],
    ) -> None:
        """Each invoice's state is what its credit notes make of it."""
        for row in invoices.values():
            stands = row["kind"] == "invoice" and row["state"] in ("issued", "partly_credited")
            if row["stands"] != stands or (
                row["state"] in ("partly_credited", "credited") and row["id"] not in credited
            ):
                self._state_differs(row, "issued")
        for id_, invoice in issued.items():
            credited_total = sum((note.row["total"] for note in notes[id_]), start=0)
            state = "credited" if credited_total >= invoice.row["total"] else "partly_credited"
            if invoice.row["state"] != state:
                self._state_differs(invoice.row, state)

    def _state_differs(self, row: Row, expected: str) -> None:
        where, number = f"{layout.rows_file('invoice')}, {row['number']}", row["number"]
        self._differs(where, "export_state_differs", invoice=number, found=row["state"], expected=expected)

    def _check_decisions(self) -> None:
        runs = {row["id"]: row for _, row in self._lines(layout.rows_file("cycle_run"))}
        settings = {row["id"]: row for _, row in self._lines(layout.rows_file("settings_version"))}
        for number, row in self._lines(layout.rows_file("decision")):
            run = runs[row["run_id"]]
            version = settings.get(run["settings_version_id"])
            code = self._names.tenants[row["tenant_id"]]
            for fault in check_decision(row, code, version):
                where = f"{layout.rows_file('decision')} line {number}"
                self.found.differences.append(Difference(where, fault))

    def _check_events(self) -> None:
        """The states of each delivery follow one another, and end where it is."""
        states: dict[int, str] = {}
        for number, row in self._lines(layout.rows_file("delivery_event")):
            if row["from_state"] != states.get(row["delivery_id"]):
                where = f"{layout.rows_file('delivery_event')} line {number}"
                self._differs(where, "export_event_out_of_line", delivery=row["delivery_id"])
            states[row["delivery_id"]] = row["to_state"]
        for number, row in self._lines(layout.rows_file("delivery")):
            if states.pop(row["id"], None) != row["state"]:
                where = f"{layout.rows_file('delivery')} line {number}"
                self._differs(where, "export_event_out_of_line", delivery=row["id"])
        for delivery in states:
            self._differs(layout.rows_file("delivery_event"), "export_event_out_of_line", delivery=delivery)

    def _check_counts(self, manifest: Mapping[str, Any], invoices: Mapping[int, Row]) -> None:
        """What the month's page said: counts, sums, decisions, deliveries; and that they balance."""
        cycle = manifest["cycle"]
        if cycle is None:
            return
        monthly = [row for row in invoices.values() if row["origin"] == "monthly" and row["stands"]]
        notes = [
            row for row in invoices.values() if row["kind"] == "credit_note" and row["cycle_id"] is not None
        ]
        decisions = Counter(
            row["reason"] or "send"
            for _, row in self._lines(layout.rows_file("decision"))
            if row["cycle_id"] is not None and row["superseded_at"] is None
        )
        deliveries = Counter(
            row["state"]
            for _, row in self._lines(layout.rows_file("delivery"))
            if row["cycle_id"] is not None
        )
        for what, said, found in (
            ("invoices", _sums(cycle["invoices"]["by_currency"]), _sums_of(monthly)),
            ("credits", _sums(cycle["credits"]["by_currency"]), _sums_of(notes)),
            ("tenants", cycle["tenants"], len({row["tenant_id"] for row in monthly})),
            ("decisions", _present(cycle["decisions"]), dict(decisions)),
            ("deliveries", _present(cycle["deliveries"]), dict(deliveries)),
            ("period", cycle["period"], manifest["period"]),
        ):
            if said != found:
                self._differs(f"{layout.MANIFEST}, {what}", "export_count_differs", said=said, found=found)

    # Reading.

    def _raw_lines(self, name: str) -> Iterator[tuple[int, bytes, dict[str, Any]]]:
        with (self._folder / name).open("rb") as file:
            for number, line in enumerate(file, start=1):
                text = line.removesuffix(b"\n")
                try:
                    row = layout.parse(text.decode("utf-8"))
                except ValueError as error:
                    raise _UnreadableError(f"{name} line {number}", _why(error)) from None
                yield number, text, row

    def _lines(self, name: str) -> Iterator[tuple[int, dict[str, Any]]]:
        for number, _, row in self._raw_lines(name):
            yield number, row

    def _grouped(self, table: str) -> Iterator[tuple[int, list[Row]]]:
        rows: Iterator[Row] = (row for _, row in self._lines(layout.rows_file(table)))
        for id_, group in groupby(rows, key=lambda row: row["invoice_id"]):
            yield id_, list(group)


class _UnreadableError(Exception):
    def __init__(self, where: str, why: str) -> None:
        super().__init__(where)
        self.where = where
        self.why = why


class _Merge:
    """Rows that belong to invoices, taken as the invoices go by: both are in the order of the invoices' ids."""

    def __init__(self, groups: Iterable[tuple[int, list[Row]]]) -> None:
        self._groups = iter(groups)
        self._next = next(self._groups, None)
        self._passed: list[int] = []

    def of(self, id_: int) -> list[Row]:
        while self._next is not None and self._next[0] < id_:
            self._passed.append(self._next[0])
            self._next = next(self._groups, None)
        if self._next is None or self._next[0] != id_:
            return []
        rows = self._next[1]
        self._next = next(self._groups, None)
        return rows

    def left_over(self) -> list[int]:
        """Ids of invoices that did not go by."""
        while self._next is not None:
            self._passed.append(self._next[0])
            self._next = next(self._groups, None)
        return self._passed


_BRIEF = (
    "id",
    "number",
    "kind",
    "origin",
    "state",
    "stands",
    "corrects",
    "cycle_id",
    "tenant_id",
    "currency",
    "total",
)


def _brief(row: Row) -> dict[str, Any]:
    return {name: row[name] for name in _BRIEF}


def _sums_of(rows: Iterable[Row]) -> dict[str, tuple[int, str]]:
    counts: Counter[str] = Counter()
    totals: dict[str, Any] = {}
    for row in rows:
        counts[row["currency"]] += 1
        totals[row["currency"]] = totals.get(row["currency"], 0) + row["total"]
    return {currency: (counts[currency], _plain(totals[currency])) for currency in counts}


def _sums(by_currency: Iterable[Mapping[str, Any]]) -> dict[str, tuple[int, str]]:
    return {each["currency"]: (each["count"], _plain(each["total"])) for each in by_currency}


def _plain(amount: Any) -> str:
    return f"{Decimal(amount).normalize():f}"


def _present(counts: Mapping[str, int]) -> dict[str, int]:
    return {name: count for name, count in counts.items() if count}


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _why(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}" if isinstance(error, KeyError | TypeError) else str(error)
