"""`audit`: a delivery's story, a month's export, and the proof that nothing was changed."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from invoicing.cli.connections import archive_of_stack, open_database, relay_sender
from invoicing.cli.options import LARGEST, AsJson, PeriodArgument
from invoicing.cli.terminal import (
    CODES_SHOWN,
    language_of_errors,
    out,
    print_json,
    print_table,
    progress_of_stages,
    say,
    say_line,
)
from invoicing.domain.errors import InputError, WorkFailedError
from invoicing.domain.period import Period
from invoicing.services.audit import export, look_back, story, verify
from invoicing.words.failures import Fault, tell

app = typer.Typer(help="What was sent, and the proof of it.", no_args_is_help=True)


@app.command("show")
def audit_show(
    delivery_id: Annotated[int, typer.Argument(metavar="ID", min=1, max=LARGEST)], as_json: AsJson = False
) -> None:
    """All there is to know of a delivery: what was billed, why it was sent, what left, who touched anything."""
    told = story.tell_story(open_database, archive_of_stack(), delivery_id, sender=relay_sender())
    if as_json:
        print_json(story.as_json(told))
        return
    for line in _story_lines(told):
        out.print(line, markup=False, highlight=False)


def _story_lines(told: story.Story) -> Iterator[str]:
    delivery = told.delivery
    yield (
        f"delivery {delivery.id}: {delivery.state}, {delivery.purpose} {delivery.generation}, {delivery.period},"
        f" {delivery.tenant} {delivery.tenant_name}"
    )
    yield f"  to {', '.join(delivery.to_addresses)}; copy {', '.join(delivery.cc_addresses) or 'to nobody'}"
    yield f"  Message-ID {delivery.message_id}"
    if told.run is not None:
        yield f"  run {told.run['dag_id']}/{told.run['dag_run_id']}, program {told.run['code_version']}"
    yield (
        f"  settings version {told.settings['id']} by {told.settings['actor']} {_at(told.settings['created_at'])};"
        f" template {told.template['name']} {told.template['version']} by {told.template['actor']}"
    )
    for each in told.invoices:
        yield from _invoice_lines(each)
    for row in told.decisions:
        stood = f", until {_at(row['superseded_at'])}" if row["superseded_at"] else ""
        yield f"decided {_at(row['decided_at'])}{stood}: {row['reason'] or 'send'}"
        for answer in row["trace"]:
            inputs = json.dumps(answer["inputs"], ensure_ascii=False)
            yield f"  {answer['rule']}: {'objects' if answer['objects'] else 'agrees'} {inputs}"
    for row in told.approvals:
        answer = (
            f"{row['answer']} by {row['actor']} ({row['via']}) {_at(row['at'])}" if row["answer"] else "waits"
        )
        now = "what it is" if row["is_what_it_is_now"] else "other content than now"
        yield f"approval {row['id']}: {answer}; {now}, {row['fingerprint']}"
    for row in told.holds:
        released = (
            f"; released by {row['released_by']} {_at(row['released_at'])}" if row["released_at"] else ""
        )
        yield f"held by {row['actor']} {_at(row['held_at'])}: {row['reason']}{released}"
    yield _message_line(told)
    for event in delivery.events:
        words = " ".join(filter(None, (event.reason, event.reply)))
        steps = f"{event.from_state or 'made'} → {event.to_state}"
        yield f"event {_at(event.at)}: {steps}, {event.actor} {words}".rstrip()
    for attempt, sha256 in zip(delivery.tries, told.payloads.values(), strict=False):
        yield (
            f"attempt {_at(attempt.started_at)}: {attempt.verdict or 'unknown'} ({attempt.phase}) {attempt.claimed_by}"
            f" on {attempt.host}: {attempt.reply or '-'}; SHA-256 {sha256 or '-'}"
        )
    for row in told.people:
        details = json.dumps(row["details"], ensure_ascii=False, default=str)
        yield f"person {_at(row['at'])}: {row['actor']} {row['action']} {row['subject']} {details}"
    yield f"history: {told.entries['entries']} entries, {told.entries['chained']} chained; head {told.head}"


def _invoice_lines(told: story.InvoiceTold) -> Iterator[str]:
    row = told.row
    yield (
        f"{row['kind']} {row['number']}: {row['state']}, total {row['total']} {row['currency']},"
        f" issued {row['issued_on']}, lease {row['lease'] or '-'}, settings {row['settings_version_id']},"
        f" program {row['code_version'] or '-'}"
    )
    for line in row["lines"]:
        days = f" {line['active_days']}/{line['period_days']} days" if line["active_days"] is not None else ""
        yield f"  line {line['position']} {line['concept']}: {line['amount']} + IVA {line['tax']}{days}"
    for kept in row["withholdings"]:
        yield f"  {kept['tax']} {kept['rate']} × {kept['base']}: −{kept['amount']}"
    basis = row["basis"] or {}
    if "lease" in basis:
        lease = basis["lease"]
        yield (
            f"  as billed: lease {lease['code']}, rent {lease['rent']}, {lease['use']}, {lease['start_date']} to"
            f" {lease['end_date'] or 'open'}"
        )
    for charge in basis.get("charges") or basis.get("items") or ():
        yield f"  as billed: {charge['description']} {charge['amount']}, tax {charge['tax']}"
    for rate in basis.get("rates", ()):
        yield (
            f"  rate: {' '.join(filter(None, (rate['tax'], rate['city'])))} {rate['rate']}, in force"
            f" {rate['valid_from']} to {rate['valid_to'] or 'open'}"
        )
    for each in row["corrections"]:
        yield f"  {each['act']} by {each['actor']} {each['at']}: {each['reason']} → {each['made'] or '-'}"
    if told.has_document:
        state = "verified now" if told.document_fault is None else str(told.document_fault)
        yield f"  PDF {row['document']['key']} SHA-256 {row['document']['sha256']}: {state}"


def _message_line(told: story.Story) -> str:
    if told.message is None:
        return f"message: {told.message_fault}"
    is_same = told.message.is_as_transmitted
    state = {
        None: "not transmitted yet",
        True: "the same bytes as were transmitted",
        False: "not the same bytes",
    }
    return f"message: {len(told.message.payload)} bytes built again, {state[is_same]}"


def _at(instant: Any) -> str:
    return "" if instant is None else f"{instant:%Y-%m-%d %H:%M:%S}Z"


@app.command("export")
def audit_export(
    period: PeriodArgument,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Empty, or not there yet.")],
    as_json: AsJson = False,
) -> None:
    """Write a month as files that verify without this program: CSV, JSON, PDFs, messages, SHA256SUMS."""
    month = Period.parse(period)
    with open_database() as db, progress_of_stages() as tell_progress:
        made = export.export_period(
            db, archive_of_stack(), month, folder, sender=relay_sender(), report=tell_progress
        )
    if made.not_rebuilt:
        shown = ", ".join(map(str, made.not_rebuilt[:CODES_SHOWN]))
        say(Fault("export_messages_absent", count=len(made.not_rebuilt), deliveries=shown))
    summary = {
        "period": str(month),
        "folder": str(made.folder),
        "rows": sum(made.rows.values()),
        "invoices": made.rows["invoice"],
        "deliveries": made.rows["delivery"],
        "documents": made.documents,
        "messages": made.messages,
        "not_rebuilt": list(made.not_rebuilt),
        "head": str(made.head),
    }
    if as_json:
        print_json(summary)
    else:
        columns = ["invoices", "deliveries", "documents", "messages", "rows"]
        print_table(f"exported {month} to {made.folder}", [summary], columns)
        # To be kept elsewhere, so whole.
        out.print(f"head {made.head}", markup=False, highlight=False)


@app.command("verify")
def audit_verify(
    folder: Annotated[
        Path | None, typer.Argument(metavar="DIR", help="An export; without one, the database alone.")
    ] = None,
    files_only: Annotated[
        bool, typer.Option("--files-only", help="Do not ask the database, nor the archive.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Exit 0 and one line where all is as it was written; else 1, and each file or row that differs."""
    if folder is None and files_only:
        raise InputError("verify_nothing")
    found = verify.Verified() if folder is None else verify.verify_folder(folder)
    checked = None if files_only else _look_back(found, is_needed=folder is None)
    language = language_of_errors()
    differences = [*found.differences, *(checked.differences if checked else ())]
    notes = [tell(note, language) for note in (*found.notes, *(checked.notes if checked else ()))]
    for note in notes:
        say_line(f"note: {note}")
    if as_json:
        rows = [
            {"where": each.where, "code": each.what.code, "what": tell(each.what, language)}
            for each in differences
        ]
        head = None if checked is None else str(checked.head)
        print_json(
            {
                "ok": not differences,
                "differences": rows,
                "files": found.files,
                "rows": found.rows,
                "head": head,
                "notes": notes,
            }
        )
    else:
        for each in differences:
            out.print(f"{each.where}: {tell(each.what, language)}", markup=False, highlight=False)
        if not differences:
            out.print(_verified(folder, found, checked), markup=False, highlight=False)
    if differences:
        raise typer.Exit(1)


def _look_back(found: verify.Verified, *, is_needed: bool) -> look_back.LookedBack | None:
    """The database and its archive beside an export, where they can be asked; else a note says that they cannot."""
    try:
        with open_database() as db, progress_of_stages() as tell_progress:
            checked = look_back.look_back(db, archive_of_stack(), report=tell_progress)
            found.differences += look_back.compare_head(db, found)
            return checked
    except (WorkFailedError, InputError) as error:
        if is_needed:
            raise
        found.notes.append(Fault("verify_files_alone", reason=error))
        return None


def _verified(folder: Path | None, found: verify.Verified, checked: look_back.LookedBack | None) -> str:
    parts = []
    if folder is not None:
        parts.append(
            f"{folder}: {found.files} files and {found.rows} rows of {found.period} are as they were written"
        )
    if checked is not None:
        parts.append(
            f"the database's history is whole: {checked.entries} entries, {checked.documents} documents,"
            f" head {checked.head}"
        )
    return "; ".join(parts)
