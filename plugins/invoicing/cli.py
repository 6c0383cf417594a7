"""The operator's command line (docs/contract.md, section 1): JSON on stdout, words on stderr, exit 0, 1 or 2."""

import getpass
import json
import logging
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from invoicing import stack
from invoicing.airflow_api import AirflowApi
from invoicing.db.connection import Database, connect, dsn_from_airflow_connection
from invoicing.domain.approval import OPTIONS
from invoicing.domain.comparison import CHANGES, ChangeKind
from invoicing.domain.correction import LineAmount
from invoicing.domain.errors import InputError, InvoicingError, PermanentFailureError, WorkFailedError
from invoicing.domain.names import APPROVAL_TASK, INVOICES_ASSET, MONTHLY_DAG, STARTED_BY
from invoicing.domain.period import Period
from invoicing.mail.sender import sender_of_connection
from invoicing.rendering.cage import CageReport
from invoicing.rendering.errors import RenderFailedError
from invoicing.rendering.sandbox import look_at_cage
from invoicing.services.agency import clock, tenants
from invoicing.services.agency import settings as settings_service
from invoicing.services.agency.overwrites import Overwrite
from invoicing.services.audit import export, look_back, story, verify
from invoicing.services.billing import out_of_step, runs, series, single_invoices
from invoicing.services.billing.corrections import Act
from invoicing.services.delivery import (
    approvals,
    corrections,
    holds,
    resolution,
    retention,
    retries,
    send_now,
)
from invoicing.services.delivery.archive import Archive, FolderArchive
from invoicing.services.delivery.correction_file import read_corrections
from invoicing.services.delivery.journal import Journal, journal_folder
from invoicing.services.delivery.notices import NoticeFolder
from invoicing.services.views import foresight, health, report, simulate
from invoicing.services.views.approvals import approval_of
from invoicing.services.views.foresight import Foresight
from invoicing.services.views.single_invoices import list_single_invoices
from invoicing.words import Language
from invoicing.words.failures import Fault, tell

DEMO_FOLDER = Path(__file__).parents[2] / "include" / "demo"
_POLL_SECONDS = 1.0
_REST_OF_A_LOOK = 30
_LONGEST_REST_SECONDS = 5.0
_LONGEST_WAIT_SECONDS = 900
_CODES_SHOWN = 20
_LARGEST = 2**62
_CHANGES_SHOWN = 10
_CHANGES: Mapping[ChangeKind, str] = {
    "new": "new leases",
    "ended": "ended leases",
    "amount": "leases with another amount",
    "decision": "tenants with another decision",
}
_YES = ("y", "yes", "s", "si", "sí")

app = typer.Typer(
    help="Rent invoicing: operate the stack, import, run a month, audit what was sent.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
settings_app = typer.Typer(help="Show and change the agency's settings.", no_args_is_help=True)
cycle_app = typer.Typer(help="Audit a month's cycle.", no_args_is_help=True)
invoices_app = typer.Typer(help="Single invoices; what is voided, credited, replaced.", no_args_is_help=True)
deliveries_app = typer.Typer(
    help="What was sent, and what is to be settled by a person.", no_args_is_help=True
)
app.add_typer(settings_app, name="settings")
app.add_typer(cycle_app, name="cycle")
app.add_typer(invoices_app, name="invoices")
app.add_typer(deliveries_app, name="deliveries")
audit_app = typer.Typer(help="What was sent, and the proof of it.", no_args_is_help=True)
app.add_typer(audit_app, name="audit")
series_app = typer.Typer(help="Numbers: the range and the days of each series.", no_args_is_help=True)
app.add_typer(series_app, name="series")
retention_app = typer.Typer(help="What may be purged after how long.", no_args_is_help=True)
app.add_typer(retention_app, name="retention")
tenants_app = typer.Typer(help="Hold a tenant's mail of a month back.", no_args_is_help=True)
app.add_typer(tenants_app, name="tenants")

out = Console(soft_wrap=True)
err = Console(stderr=True, soft_wrap=True, highlight=False)

AsJson = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]
PeriodOption = Annotated[str, typer.Option("--period", metavar="YYYY-MM", help="The month to bill.")]
ReasonOption = Annotated[str | None, typer.Option("--reason", help="Why; kept for the audit.")]
CorrectionFile = Annotated[
    Path | None,
    typer.Option("--file", metavar="CSV", help="Several at once, all or none: number,action,lines,reason."),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show what would come out, and change nothing.")]
PeriodArgument = Annotated[str, typer.Argument(metavar="PERIOD", help="YYYY-MM")]


def main() -> None:
    """Run the command line; an error of ours is one message and its exit code, not a traceback."""
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(levelname)s %(message)s")
    # Each request of the progress bar would be a line.
    logging.getLogger("httpx").setLevel(logging.WARNING)
    try:
        app()
    except InputError as error:
        _complain(error)
        sys.exit(2)
    except InvoicingError as error:
        _complain(error)
        sys.exit(1)
    except KeyboardInterrupt:
        err.print(tell(Fault("interrupted"), _language()))
        sys.exit(1)


def _complain(error: InvoicingError) -> None:
    # Not markup: the text may hold a file's content.
    err.print(f"invoicing: {error.in_words(_language())}", markup=False)


def _language() -> Language:
    """Of errors; scripts that read them get English unless they ask for Spanish."""
    return "es" if os.environ.get("INVOICING_LANGUAGE") == "es" else "en"


def _say(fault: Fault) -> None:
    _report(tell(fault, _language()))


def _report(line: str) -> None:
    err.print(line, markup=False)


@contextmanager
def _database() -> Iterator[Database]:
    with connect(_environment("AIRFLOW_CONN_INVOICING_DB", dsn_from_airflow_connection)) as db:
        yield db


def _environ() -> dict[str, str]:
    """The caller's variables, over those of the embedded stack."""
    return {**stack.environment(), **os.environ}


def _environment(name: str, convert: Callable[[str], str]) -> str:
    value = os.environ.get(name) or stack.environment().get(name)
    if not value:
        raise InputError("variable_missing", variable=name)
    return convert(value)


@contextmanager
def _airflow() -> Iterator[AirflowApi]:
    with AirflowApi.from_environment(_environ()) as api:
        yield api


def _actor() -> str:
    return f"{getpass.getuser()} (command line)"


def _progress_bars(figures: str) -> Progress:
    """Bars where somebody looks, nothing where nobody does.

    Args:
        figures: What each says of its task beside its name and the time, in rich's way of writing.
    """
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn(figures),
        TimeElapsedColumn(),
        console=err,
        disable=not err.is_terminal,
    )


def _print_json(document: Any) -> None:
    sys.stdout.write(json.dumps(document, ensure_ascii=False, indent=2, default=str) + "\n")


def _print_table(title: str, rows: list[dict[str, Any]], columns: list[str]) -> None:
    table = Table(title=title, title_justify="left")
    for column in columns:
        table.add_column(column)
    for row in rows:
        table.add_row(*(_cell(row.get(column)) for column in columns))
    out.print(table)


def _cell(value: Any) -> str:
    from rich.markup import escape

    if value is None:
        return ""
    return escape(", ".join(map(str, value)) if isinstance(value, list) else str(value))


# The stack.


@app.command()
def up(
    embedded: Annotated[
        bool, typer.Option("--embedded", help="Go back to the embedded database and inbox.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Start the embedded stack: PostgreSQL, mail inbox, Airflow."""
    info = stack.start(_report, embedded=embedded)
    if as_json:
        _print_json(stack.describe())
        return
    _show_stack(info)


@app.command()
def down() -> None:
    """Stop the embedded stack; nothing is lost."""
    stack.stop(_report)


@app.command()
def status(as_json: AsJson = False) -> None:
    """Say what runs, and where."""
    described = stack.describe()
    if as_json:
        _print_json(described)
    else:
        _print_table(
            f"stack in {described['state']}",
            [{"part": name, **part} for name, part in described["parts"].items()],
            ["part", "state", "pid", "log"],
        )
        out.print(f"Airflow: {described['airflow']['url']}  mailbox: {described['mailbox']}", markup=False)
    if not described["ready"]:
        raise typer.Exit(1)


@app.command("health")
def health_(as_json: AsJson = False) -> None:
    """One line for each thing that needs a person; exit 0 where there is none, else 1."""
    try:
        with _database() as db:
            checks = health.look(db, _here())
    except WorkFailedError as error:
        checks = [health.database_away(error)]
    language = _language()
    is_well = all(check.ok for check in checks)
    if as_json:
        rows = [
            {
                "name": check.name,
                "ok": check.ok,
                "detail": tell(check.detail, language),
                "next_step": check.next_step and tell(check.next_step, language),
            }
            for check in checks
        ]
        _print_json({"ok": is_well, "checks": rows})
    for check in checks if not as_json else ():
        if check.next_step is not None:
            line = f"{check.name}: {tell(check.detail, language)} → {tell(check.next_step, language)}"
            out.print(line, markup=False, highlight=False)
    if is_well and not as_json:
        _say(Fault("all_well"))
    if not is_well:
        raise typer.Exit(1)


def _here() -> health.Here:
    environ = stack.environment()
    folder = journal_folder(environ)
    return health.Here(
        datetime.now(UTC),
        journal_entries=Journal(folder).waiting(),
        kept_notices=NoticeFolder(folder.parent / "notices").waiting(),
        has_notifier=health.names_notifier(environ.get("AIRFLOW_CONN_INVOICING_SMTP", "")),
        renderer=_renderer(),
    )


def _renderer() -> CageReport | RenderFailedError:
    try:
        return look_at_cage()
    except RenderFailedError as error:
        return error


def _show_stack(info: stack.StackInfo) -> None:
    out.print(f"Pages     {info.pages}", markup=False)
    out.print(f"Airflow   {info.url}   user {info.user}   password {info.password}", markup=False)
    out.print(
        f"Mailbox   {info.mailbox or 'none: mail goes to the relay of AIRFLOW_CONN_INVOICING_SMTP'}",
        markup=False,
    )
    out.print(f"Archive   {info.archive}", markup=False)


# Input.


@app.command("import")
def import_(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder with the files.")],
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Say what it would do, and what it would replace; write nothing."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Import tenants.csv, leases.csv, charges.csv and tax_rates.csv (each optional): all or nothing."""
    with _database() as db:
        summary, months = out_of_step.import_and_look_back(
            db, folder, actor=_actor(), report=_report, dry_run=dry_run
        )
    for warning in summary.warnings:
        _report(f"warning: {warning}")
    for name in summary.ignored:
        _report(f"ignored: {name} is none of the four files")
    files = {
        name: {"added": c.added, "updated": c.updated, "unchanged": c.unchanged, "removed": c.removed}
        for name, c in summary.files.items()
    }
    if as_json:
        warnings = [str(warning) for warning in summary.warnings]
        periods = [
            {"period": str(month.period), "unbilled": list(month.unbilled), "drifted": list(month.drifted)}
            for month in months
        ]
        _print_json(
            {
                "files": files,
                "warnings": warnings,
                "overwrites": [_overwrite(each) for each in summary.overwrites],
                "ignored": list(summary.ignored),
                "periods": periods,
                "dry_run": dry_run,
            }
        )
    else:
        rows = [{"file": name, **counts} for name, counts in files.items()]
        _print_table(
            "would be imported" if dry_run else "imported",
            rows,
            ["file", "added", "updated", "unchanged", "removed"],
        )
        for month in months:
            for line in _out_of_step(str(month.period), month.unbilled, month.drifted):
                out.print(f"{month.period}: {line}", markup=False, highlight=False)


def _overwrite(each: Overwrite) -> dict[str, Any]:
    return asdict(each) | {"at": each.at.isoformat()}


def _out_of_step(period: str, unbilled: Sequence[str], drifted: Sequence[str]) -> Iterator[str]:
    """What a month is out of step in, and what to do about it; at most a line each."""
    if unbilled:
        yield (
            f"unbilled: {_first_of(unbilled)}; active, without an invoice."
            f" To bill: bin/invoicing run --period {period}"
        )
    if drifted:
        yield (
            f"drifted: {_first_of(drifted)}; the invoice would come out differently today, and stays as it is."
            " Was the import right? Then correct what was billed"
        )


def _first_of(codes: Sequence[str]) -> str:
    more = len(codes) - _CODES_SHOWN
    return ", ".join(codes[:_CODES_SHOWN]) + (f" and {more} more" if more > 0 else "")


@settings_app.command("show")
def settings_show(as_json: AsJson = False) -> None:
    """Show the settings in force."""
    with _database() as db:
        version = settings_service.current_settings(db)
    values = version.settings.model_dump()
    if as_json:
        _print_json(
            {
                **values,
                "version": version.id,
                "actor": version.actor,
                "created_at": version.created_at.isoformat(),
            }
        )
        return
    fields = type(version.settings).model_fields
    rows = [
        {"setting": key, "value": _shortened(str(value)), "meaning": fields[key].description}
        for key, value in values.items()
    ]
    _print_table(f"settings version {version.id}, by {version.actor}", rows, ["setting", "value", "meaning"])
    for fault in version.settings.doubtful:
        err.print(tell(fault, _language()), markup=False)


def _shortened(text: str) -> str:
    return text if len(text) <= 60 else text[:57] + "…"


@settings_app.command("set")
def settings_set(
    assignments: Annotated[list[str], typer.Argument(metavar="KEY=VALUE …")], as_json: AsJson = False
) -> None:
    """Change settings; all of them or, if one is wrong, none."""
    changes: dict[str, Any] = {}
    for assignment in assignments:
        key, equals, value = assignment.partition("=")
        if not equals:
            raise InputError("assignment_malformed", assignment=assignment)
        if key in changes:
            raise InputError("setting_given_twice", setting=key)
        changes[key] = value
    with _database() as db:
        version = settings_service.change_settings(db, changes, actor=_actor())
    if as_json:
        _print_json({**version.settings.model_dump(), "version": version.id})
    else:
        out.print(f"settings version {version.id} is in force")


@invoices_app.command("create")
def invoices_create(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="CSV, one row a line: invoice_ref,tenant_code,lease_code,description,amount,tax.",
        ),
    ],
    as_json: AsJson = False,
) -> None:
    """Store invoices made outside the monthly job; Airflow is told and sends them."""
    with _database() as db:
        result = single_invoices.create_from_file(db, file, actor=_actor())
    for reference, number in result.known.items():
        _report(f"{reference} exists already as {number}: left alone")
    if result.awaiting:
        _tell_airflow(Fault("invoices_stored"))
    if as_json:
        _print_json({"created": result.created, "known": result.known})
    else:
        rows = [{"reference": ref, "invoice": number} for ref, number in result.created.items()]
        _print_table(f"{len(rows)} invoice(s) created", rows, ["reference", "invoice"])


@invoices_app.command("list")
def invoices_list(as_json: AsJson = False) -> None:
    """One row a single invoice: what was decided on it, and what became of it."""
    with _database() as db:
        rows = list_single_invoices(db)
    if as_json:
        _print_json(rows)
    else:
        columns = ["reference", "number", "tenant", "total", "currency", "decision", "reason", "delivery"]
        _print_table(f"{len(rows)} single invoices", rows, columns)


@invoices_app.command("decide")
def invoices_decide(
    references: Annotated[list[str], typer.Argument(metavar="INVOICE_REF …")],
    reason: Annotated[str, typer.Option("--reason", help="Why; kept for the audit.")],
) -> None:
    """Decide once more on single invoices that got no mail, by the settings and switches of today."""
    with _database() as db:
        single_invoices.decide_anew(db, references, reason=reason, actor=_actor())
    _tell_airflow(Fault("invoices_to_decide"))
    out.print(f"Airflow decides anew on {', '.join(references)}", markup=False)


@invoices_app.command("void")
def invoices_void(
    number: Annotated[str | None, typer.Argument(metavar="NUMBER")] = None,
    reason: ReasonOption = None,
    file: CorrectionFile = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Void an invoice that nobody was sent; its number stays used."""
    _correct("void", number, reason, file, dry_run=dry_run, as_json=as_json)


@invoices_app.command("credit")
def invoices_credit(
    number: Annotated[str | None, typer.Argument(metavar="NUMBER")] = None,
    reason: ReasonOption = None,
    line: Annotated[
        list[str] | None,
        typer.Option(
            "--line", metavar="POSITION=AMOUNT", help="Of this line so much, before tax; as often as needed."
        ),
    ] = None,
    file: CorrectionFile = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Issue a credit note of an invoice that was sent, or may have been: whole, or by line."""
    _correct("credit", number, reason, file, dry_run=dry_run, as_json=as_json, lines=line)


@invoices_app.command("replace")
def invoices_replace(
    number: Annotated[str | None, typer.Argument(metavar="NUMBER")] = None,
    reason: ReasonOption = None,
    file: CorrectionFile = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Void or credit an invoice, and issue it again from its lease as it is now."""
    _correct("replace", number, reason, file, dry_run=dry_run, as_json=as_json)


@invoices_app.command("correct")
def invoices_correct(
    file: Annotated[Path, typer.Argument(metavar="CSV", help="number,action,lines,reason")],
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Void, credit and replace what a file says, all of it or nothing."""
    _correct(None, None, None, file, dry_run=dry_run, as_json=as_json)


def _correct(
    act: Act | None,
    number: str | None,
    reason: str | None,
    file: Path | None,
    *,
    dry_run: bool,
    as_json: bool,
    lines: Sequence[str] | None = None,
) -> None:
    if (number is None) == (file is None) or (file is not None and (reason is not None or lines)):
        raise InputError("correction_number_or_file")
    if file is not None:
        orders = read_corrections(file, act)
    else:
        assert act is not None
        amounts = [LineAmount.parse(text) for text in lines] if lines else None
        orders = [corrections.Order(str(number), act, reason or "", amounts)]
    with _database() as db:
        done = corrections.correct(db, orders, actor=_actor(), file=file, dry_run=dry_run)
    rows = [report.correction_report(each) for each in done]
    if as_json:
        _print_json(rows if file is not None else rows[0])
    else:
        _show_corrections(rows, "as it would be; nothing was changed" if dry_run else "corrected")
    if not dry_run and any(each.is_to_be_sent for each in done):
        _tell_airflow(Fault("corrections_stored"))


def _show_corrections(rows: list[dict[str, Any]], title: str) -> None:
    shown = [
        {
            **row,
            "credit_note": row["credit_note"]
            and f"{row['credit_note']['number']}: {row['credit_note']['total']}",
            "replacement": row["replacement"]
            and f"{row['replacement']['number']}: {row['replacement']['total']}",
        }
        for row in rows
    ]
    columns = ["number", "tenant", "lease", "total", "state", "credit_note", "replacement", "difference"]
    _print_table(title, shown, columns)


# Series.


@series_app.command("show")
def series_show(as_json: AsJson = False) -> None:
    """Every series: how far its numbers are taken, and the range and the days that it has."""
    with _database() as db:
        rows = [_series_json(each) for each in series.list_series(db)]
    if as_json:
        _print_json(rows)
        return
    columns = ["prefix", "used_for", "last", "from", "to", "left", "valid_from", "valid_to", "resolution"]
    _print_table(f"{len(rows)} series", rows, columns)


@series_app.command("set")
def series_set(
    prefix: Annotated[str, typer.Argument(metavar="PREFIX", help="What stands before the numbers.")],
    first: Annotated[int, typer.Option("--from", metavar="N", min=1, max=_LARGEST, help="First number.")] = 1,
    last: Annotated[
        int | None, typer.Option("--to", metavar="N", min=1, max=_LARGEST, help="Last number.")
    ] = None,
    valid_from: Annotated[
        datetime | None, typer.Option("--valid-from", formats=["%Y-%m-%d"], help="First day.")
    ] = None,
    valid_to: Annotated[
        datetime | None, typer.Option("--valid-to", formats=["%Y-%m-%d"], help="Last day.")
    ] = None,
    resolution: Annotated[str, typer.Option("--resolution", help="Number of the DIAN's resolution.")] = "",
    as_json: AsJson = False,
) -> None:
    """Say what range and days a series has from now on; what is not given is unbounded."""
    with _database() as db:
        changed = series.set_range(
            db,
            prefix,
            first_serial=first,
            last_serial=last,
            valid_from=valid_from and valid_from.date(),
            valid_to=valid_to and valid_to.date(),
            resolution=resolution,
            actor=_actor(),
        )
    if as_json:
        _print_json(_series_json(changed))
    else:
        out.print(f"series {prefix} is set", markup=False, highlight=False)


def _series_json(shown: series.Series) -> dict[str, Any]:
    bounds = shown.range
    return {
        "prefix": shown.prefix,
        "used_for": shown.used_for or None,
        "last": shown.last_serial,
        "from": bounds and bounds.first_serial,
        "to": bounds and bounds.last_serial,
        "left": shown.left,
        "valid_from": bounds and bounds.valid_from and bounds.valid_from.isoformat(),
        "valid_to": bounds and bounds.valid_to and bounds.valid_to.isoformat(),
        "days_left": shown.days_left,
        "resolution": bounds and bounds.resolution,
    }


# The cycle.


@app.command()
def run(
    period: PeriodOption,
    wait: Annotated[bool, typer.Option("--wait", help="Show progress; exit 1 if the run failed.")] = False,
    yes: Annotated[
        bool, typer.Option("--yes", help="Confirm a month other than this or the next, not yet opened.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Trigger the monthly DAG for a period."""
    month = Period.parse(period)
    params = {STARTED_BY: getpass.getuser()}
    if _is_confirmed(month, yes=yes):
        params["confirm_month"] = str(month)
    with _airflow() as api:
        if api.is_paused(MONTHLY_DAG):
            _say(Fault("dag_paused", dag=MONTHLY_DAG))
        dag_run_id = api.trigger_numbered(
            MONTHLY_DAG, f"{month} manual", partition_key=str(month), params=params
        )
        _report(f"triggered {dag_run_id}")
        state = _follow(api, dag_run_id) if wait else None
    if state is None:
        if as_json:
            _print_json({"dag_run_id": dag_run_id})
        return
    with _database() as db:
        try:
            shown = report.cycle_report(db, month)
        except InputError:
            shown = {}
    if as_json:
        _print_json({"dag_run_id": dag_run_id, "state": state, "cycle": shown})
    elif shown:
        _show_cycle(shown)
    if state != "success":
        place = f"{api.url}/dags/{MONTHLY_DAG}/runs/{dag_run_id}"
        raise PermanentFailureError("run_not_successful", dag_run_id=dag_run_id, state=state, place=place)


def _is_confirmed(month: Period, *, yes: bool) -> bool:
    """Whether the month had to be confirmed, and was.

    Raises:
        InputError: It was not; nothing was changed.
    """
    with _database() as db:
        is_open = runs.is_opened(db, month)
    if is_open or month.is_near(clock.today()):
        if is_open and yes:
            _say(Fault("month_open_already", period=month))
        return False
    if yes:
        return True
    if not sys.stdin.isatty():
        raise InputError("month_needs_yes", period=month, today=clock.today())
    question = tell(Fault("confirm_month", period=month, today=clock.today()), _language())
    err.print(f"{question} [y/N]", end=" ", markup=False)
    if sys.stdin.readline().strip().lower() not in _YES:
        raise InputError("nothing_was_run")
    return True


def _follow(api: AirflowApi, dag_run_id: str) -> str:
    """Show a run's progress until it is over; returns its state."""
    done_states = {"success", "failed", "skipped", "upstream_failed", "removed"}
    progress = _progress_bars("{task.completed}/{task.total} tasks")
    with progress:
        bar = progress.add_task("waiting", total=None)
        said = ""
        next_look = 0.0
        while True:
            state = api.dag_run(MONTHLY_DAG, dag_run_id)
            began = time.monotonic()
            if began < next_look and not state.is_over:
                time.sleep(_POLL_SECONDS)
                continue
            tasks = api.task_instances(MONTHLY_DAG, dag_run_id)
            # On a busy machine, and of many tasks, the answer takes long: who watches must not be what it works for.
            next_look = began + min(_REST_OF_A_LOOK * (time.monotonic() - began), _LONGEST_REST_SECONDS)
            done = sum(task.state in done_states for task in tasks)
            running = sorted({task.task_id for task in tasks if task.state in ("running", "up_for_retry")})
            doing = ", ".join(running) or state.state
            progress.update(bar, description=doing, completed=done, total=len(tasks))
            if not err.is_terminal and doing != said:
                _report(f"  {done}/{len(tasks)} {doing}")
            said = doing
            if state.is_over:
                return state.state
            time.sleep(_POLL_SECONDS)


@app.command("simulate")
def simulate_(
    period: PeriodOption,
    rows: Annotated[bool, typer.Option("--rows", help="One row a tenant too.")] = False,
    as_json: AsJson = False,
) -> None:
    """What a run would do now: totals, who gets mail and why not, what differs from the month before.

    Writes nothing, sends nothing.
    """
    month = Period.parse(period)
    with _database() as db:
        if as_json:
            _print_json(simulate.simulate_rows(db, month))
            return
        foreseen = foresight.foresee(db, month)
    _show_foresight(foreseen)
    if rows:
        _show_foreseen_tenants(foreseen)


def _show_foresight(foreseen: Foresight) -> None:
    """The month on one screen: at most 80 columns, and ten leases of each kind of change."""
    print_ = partial(out.print, markup=False, highlight=False)
    before = foreseen.compared_with
    print_(f"{foreseen.period}, as a run would leave it now; nothing was written, nothing sent")
    for each in foreseen.totals:
        print_(f"  {each.invoices} invoices, {_amount(each.total)} {each.currency}")
        parts = f"subtotal {_amount(each.subtotal)} + tax {_amount(each.tax)}"
        print_(f"    {parts} − withholding {_amount(each.withholding)}")
        if before is not None:
            print_(
                f"    {before}: {each.invoices_before} invoices, {_amount(each.total_before)}"
                f" ({_by_how_much(each.difference, each.ratio)})"
            )
    sent = foreseen.outcomes["send"]
    print_(f"  {foreseen.billed} tenants: {sent} get mail, {foreseen.messages} messages to send")
    skips = sorted((-count, reason) for reason, count in foreseen.outcomes.items() if reason != "send")
    for count, reason in skips:
        print_(f"    {-count:6} {reason}")
    if foreseen.unreachable:
        print_(f"  {foreseen.unreachable} tenants have no address, or one that is wrong")
    if foreseen.unissued:
        codes = _first_of([each.lease for each in foreseen.unissued])
        print_(f"  not invoiced, for their total is nothing or less: {codes}")
    if before is None:
        print_("  the first month: there is none before to compare with")
        return
    print_(f"  differences from {before}:")
    for kind in CHANGES[:-1]:
        _show_lease_changes(foreseen, kind)
    changed = [each for each in foreseen.tenants if "decision" in each.comparison.kinds]
    print_(f"    {len(changed):6} {_CHANGES['decision']}")
    for tenant in changed[:_CHANGES_SHOWN]:
        print_(f"           {tenant.code}: {tenant.comparison.outcome_before} → {tenant.outcome}")
    _say_more(len(changed))


def _show_lease_changes(foreseen: Foresight, kind: ChangeKind) -> None:
    found = [each for tenant in foreseen.tenants for each in tenant.comparison.leases if each.kind == kind]
    out.print(f"    {len(found):6} {_CHANGES[kind]}", markup=False, highlight=False)
    for each in found[:_CHANGES_SHOWN]:
        totals = [_amount(bill.total) for bill in (each.before, each.now) if bill is not None]
        by = f" ({_by_how_much(each.difference, each.ratio)})" if kind == "amount" else ""
        line = f"           {each.lease} of {each.tenant}: {' → '.join(totals)} {each.currency}{by}"
        out.print(line, markup=False, highlight=False)
    _say_more(len(found))


def _say_more(count: int) -> None:
    if count > _CHANGES_SHOWN:
        out.print(f"           and {count - _CHANGES_SHOWN} more", markup=False, highlight=False)


def _show_foreseen_tenants(foreseen: Foresight) -> None:
    """One line a tenant, what deserves a look first; what is too long for its column is cut."""
    table = Table(box=None, pad_edge=False)
    for column, width in (("tenant", 14), ("name", 22), ("invoices", 8), ("total", 15), ("decision", 20)):
        number = column in ("invoices", "total")
        table.add_column(
            column, max_width=width, no_wrap=True, overflow="ellipsis", justify="right" if number else "left"
        )
    table.add_column("change", no_wrap=True)
    for each in foreseen.tenants:
        total = ", ".join(_amount(part.total) for part in each.sums)
        change = each.comparison.change if foreseen.compared_with else None
        cells = (each.code, each.name, len(each.invoices), total, each.outcome, change)
        table.add_row(*map(_cell, cells))
    out.print(table)


def _amount(amount: Decimal) -> str:
    from babel.numbers import format_decimal

    return str(format_decimal(amount, locale="es_CO"))


def _by_how_much(difference: Decimal | None, ratio: Decimal | None) -> str:
    """``+200.000, +20%``."""
    if difference is None:
        return "another currency"
    sign = "+" if difference > 0 else ""
    part = "" if ratio is None else f", {sign}{_amount(round(100 * ratio, 1))}%"
    return f"{sign}{_amount(difference)}{part}"


@cycle_app.command("show")
def cycle_show(period: PeriodArgument, as_json: AsJson = False) -> None:
    """Counts and sums of a cycle."""
    with _database() as db:
        shown = report.cycle_report(db, Period.parse(period))
    if as_json:
        _print_json(shown)
    else:
        _show_cycle(shown)


def _show_cycle(shown: dict[str, Any]) -> None:
    from babel.numbers import format_decimal

    out.print(
        f"Cycle {shown['period']}: {shown['state']}, {'balanced' if shown['balanced'] else 'NOT balanced'}"
    )
    for each in shown["invoices"]["by_currency"]:
        total = format_decimal(each["total"], locale="es_CO")
        out.print(f"  {each['count']} invoices, {total} {each['currency']}", highlight=False)
    for each in shown["credits"]["by_currency"]:
        total = format_decimal(each["total"], locale="es_CO")
        out.print(f"  {each['count']} credit notes, {total} {each['currency']}", highlight=False)
    for row in shown["unissued"]:
        out.print(f"  not issued: lease {row['lease']}, total {row['total']}", markup=False)
    for line in _out_of_step(shown["period"], shown["unbilled"], shown["drifted"]):
        out.print(f"  {line}", markup=False, highlight=False)
    decisions = ", ".join(f"{count} {outcome}" for outcome, count in shown["decisions"].items())
    out.print(f"  {shown['tenants']} tenants: {decisions}", highlight=False)
    states = ", ".join(f"{count} {state}" for state, count in shown["deliveries"].items() if count)
    out.print(f"  deliveries: {states or 'none'}", highlight=False)
    if shown["approval"]:
        approval = shown["approval"]
        by = f" by {approval['actor']}" if approval["actor"] else f", asked {approval['asked_at']}"
        out.print(f"  approval: {approval['state']}{by}", markup=False, highlight=False)
    for fault in shown["imbalances"]:
        out.print(f"  {fault}", markup=False)


@cycle_app.command("tenants")
def cycle_tenants(period: PeriodArgument, as_json: AsJson = False) -> None:
    """One row a tenant: invoices, decision, delivery."""
    with _database() as db:
        rows = report.cycle_tenants(db, Period.parse(period))
    if as_json:
        _print_json(rows)
    else:
        _show_tenants(period, rows)


def _show_tenants(title: str, rows: list[dict[str, Any]]) -> None:
    shown = [
        {
            **row,
            "delivery": row["delivery"] and row["delivery"]["state"],
            "to": row["delivery"] and row["delivery"]["to"],
        }
        for row in rows
    ]
    _print_table(title, shown, ["tenant", "name", "invoices", "decision", "reason", "delivery", "to"])


@cycle_app.command("invoices")
def cycle_invoices(period: PeriodArgument, as_json: AsJson = False) -> None:
    """One row an invoice."""
    with _database() as db:
        rows = report.cycle_invoices(db, Period.parse(period))
    if as_json:
        _print_json(rows)
    else:
        columns = [
            "number",
            "lease",
            "tenant",
            "subtotal",
            "tax",
            "withholding",
            "total",
            "currency",
            "due_on",
            "state",
            "corrects",
            "replaced_by",
        ]
        _print_table(period, rows, columns)


@cycle_app.command("send")
def cycle_send(
    period: PeriodArgument,
    codes: Annotated[list[str], typer.Argument(metavar="TENANT …", help="Codes of tenants.")],
    wait: Annotated[
        bool, typer.Option("--wait", help="Until all is settled; exit 1 where it is not sent.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Decide anew on these tenants alone, and send what they are due; the rest of the month is left alone."""
    month = Period.parse(period)
    with _database() as db:
        decided = send_now.send_now(db, month, codes, actor=_actor())
    ids = [delivery_id for each in decided for delivery_id in each.deliveries]
    if ids:
        _tell_airflow(Fault("deliveries_stored"))
    settled = _follow_deliveries(ids) if wait and ids else []
    rows = report.sent_now_report(decided)
    if as_json:
        _print_json(rows)
    else:
        _print_table(f"{month}, decided anew", rows, ["tenant", "decision", "reason", "deliveries"])
        if not ids:
            _say(Fault("nothing_unsent"))
    _raise_unsent(settled)


@cycle_app.command("retry")
def cycle_retry(
    period: PeriodArgument,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say who would get what, and who not and why; change nothing.")
    ] = False,
    wait: Annotated[
        bool, typer.Option("--wait", help="Until all is settled; exit 1 where it is not sent.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Try all that is unsent and may be sent once more, at the addresses, sender and template of today."""
    month = Period.parse(period)
    if dry_run:
        with _database() as db:
            _show_retry(report.retry_report(retries.plan_retry(db, month)), as_json=as_json)
        return
    with _airflow() as airflow, _database() as db:
        retried = retries.retry(db, month, airflow, actor=_actor())
    if retried.requested:
        _tell_airflow(Fault("retry_stored"))
    ids = [each.delivery for each in retried.plan.to_retry]
    settled = _follow_retried(retried) if wait and ids else []
    _show_retry(report.retry_report(retried.plan, retried), as_json=as_json)
    _raise_unsent(settled)


def _follow_retried(retried: retries.Retried) -> list[send_now.DeliveryProgress]:
    """Wait for the runs that were cleared, and then for what is asked of `send_new_invoices`."""
    deadline = time.monotonic() + _LONGEST_WAIT_SECONDS
    with _airflow() as airflow:
        while time.monotonic() < deadline and any(
            airflow.is_at_work(MONTHLY_DAG, run) for run in retried.cleared
        ):
            time.sleep(_POLL_SECONDS)
    if retried.requested:
        _follow_deliveries(retried.requested)
    with _database() as db:
        return send_now.progress(db, [each.delivery for each in retried.plan.to_retry])


def _show_retry(shown: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        _print_json(shown)
        return
    done = "would be retried" if shown["dry_run"] else "retried"
    out.print(
        f"{shown['period']}: from {shown['sender'] or 'the relay connection'}, template {shown['template']['name']}"
        f" {shown['template']['version']}",
        markup=False,
        highlight=False,
    )
    _print_table(
        done, shown["retry"], ["delivery", "tenant", "name", "state", "to", "invoices", "run", "why"]
    )
    if shown["left_alone"]:
        _print_table("left alone", shown["left_alone"], ["delivery", "tenant", "name", "state", "reason"])
    if not shown["retry"]:
        _say(Fault("nothing_to_retry"))


def _raise_unsent(settled: Sequence[send_now.DeliveryProgress]) -> None:
    unsent = [each for each in settled if each.state not in ("sent", "cancelled", "held")]
    if unsent:
        listing = "; ".join(
            f"delivery {each.id} is {each.state}: {each.reason or each.last_reply or '-'}" for each in unsent
        )
        raise PermanentFailureError(
            "deliveries_unsent", unsent=len(unsent), all=len(settled), listing=listing
        )


@cycle_app.command("approve")
def cycle_approve(
    period: PeriodArgument,
    reason: Annotated[str, typer.Option("--reason", help="Kept with the answer.")] = "",
    as_json: AsJson = False,
) -> None:
    """Let what the month's run waits with leave, as it was shown. The first answer counts."""
    _answer(period, "approved", reason, as_json=as_json)


@cycle_app.command("reject")
def cycle_reject(
    period: PeriodArgument,
    reason: Annotated[str, typer.Option("--reason", help="Why; kept with the answer.")],
    as_json: AsJson = False,
) -> None:
    """Send nothing of what the month's run waits with: it is held, and the run ends. A later run takes it up."""
    _answer(period, "rejected", reason, as_json=as_json)


def _answer(period: str, wanted: Literal["approved", "rejected"], reason: str, *, as_json: bool) -> None:
    month = Period.parse(period)
    with _database() as db:
        answered = approvals.answer(db, month, wanted, reason=reason, actor=_actor(), via="command")
        # Also where it does not count: a run that could not be told before is told now.
        untold = _tell_waiting(answered)
        answered.raise_if_refused()
        shown = report.approval_report(approval_of(db, month))
    if as_json:
        _print_json(shown)
    else:
        out.print(f"{month} is {answered.state}", markup=False)
    if untold is not None:
        raise PermanentFailureError("approval_not_told", done=Fault("approval_stored"), reason=untold)


def _tell_waiting(answered: approvals.Answered) -> InvoicingError | None:
    """Tell the runs that wait; why they could not be told, None where they were."""
    try:
        with _airflow() as api:
            for run in answered.runs:
                option = OPTIONS[answered.state]
                api.answer(run.dag_id, run.dag_run_id, APPROVAL_TASK, option, answered.reason)
    except InvoicingError as error:
        return error
    return None


def _follow_deliveries(ids: Sequence[int]) -> list[send_now.DeliveryProgress]:
    """Show how deliveries come along until all are settled, or have been waiting for too long."""
    deadline = time.monotonic() + _LONGEST_WAIT_SECONDS
    progress = _progress_bars("{task.completed}/{task.total}")
    with progress, _database() as db:
        bar = progress.add_task("sending", total=len(ids))
        while True:
            states = send_now.progress(db, ids)
            settled = [each for each in states if each.state not in ("pending", "claimed", "transmitting")]
            progress.update(bar, completed=len(settled))
            if len(settled) == len(ids) or time.monotonic() > deadline:
                return states
            time.sleep(_POLL_SECONDS)


@tenants_app.command("hold")
def tenants_hold(
    code: Annotated[str, typer.Argument(metavar="CODE")],
    period: PeriodOption,
    reason: Annotated[str, typer.Option("--reason", help="Why; kept for the audit.")],
    as_json: AsJson = False,
) -> None:
    """No mail to this tenant for this month until it is released."""
    month = Period.parse(period)
    with _database() as db:
        held = holds.hold(db, code, month, reason=reason, actor=_actor())
    if as_json:
        _print_json(
            {
                "tenant": code,
                "period": str(month),
                "held": True,
                "deliveries": list(held.deliveries),
                "under_way": list(held.under_way),
            }
        )
        return
    out.print(f"{code} is held for {month}: {len(held.deliveries)} deliveries set aside", markup=False)
    if held.under_way:
        _report(f"too late for {', '.join(map(str, held.under_way))}: being transmitted just now")


@tenants_app.command("release")
def tenants_release(
    code: Annotated[str, typer.Argument(metavar="CODE")],
    period: PeriodOption,
    reason: Annotated[str, typer.Option("--reason", help="Why; kept for the audit.")],
    as_json: AsJson = False,
) -> None:
    """End a hold; says how to send what it kept back."""
    month = Period.parse(period)
    with _database() as db:
        released = holds.release(db, code, month, reason=reason, actor=_actor())
    if released.resumed:
        _tell_airflow(Fault("deliveries_stored"))
    if as_json:
        _print_json(
            {
                "tenant": code,
                "period": str(month),
                "held": False,
                "deliveries": list(released.deliveries),
                "resumed": list(released.resumed),
            }
        )
        return
    out.print(
        f"{code} is released for {month}; to send: bin/invoicing cycle send {month} {code}", markup=False
    )


@deliveries_app.command("list")
def deliveries_list(
    period: Annotated[str | None, typer.Option("--period", metavar="YYYY-MM")] = None,
    state: Annotated[str | None, typer.Option("--state", help="pending, sent, failed, in_doubt, …")] = None,
    limit: Annotated[
        int | None, typer.Option("--limit", metavar="N", min=1, max=_LARGEST, help="At most so many.")
    ] = None,
    after: Annotated[
        int, typer.Option("--after", metavar="ID", min=0, max=_LARGEST, help="Those that follow this one.")
    ] = 0,
    as_json: AsJson = False,
) -> None:
    """One row per delivery, oldest first."""
    month = Period.parse(period) if period else None
    with _database() as db:
        rows = report.list_deliveries(db, period=month, state=state, after=after, limit=limit)
    if as_json:
        _print_json(rows)
    else:
        columns = ["id", "period", "tenant", "state", "purpose", "to", "invoices", "attempts", "last_reply"]
        _print_table(f"{len(rows)} deliveries", rows, columns)
    if len(rows) == limit:
        _report(f"there may be more: --after {rows[-1]['id']}")


@deliveries_app.command("resend")
def deliveries_resend(
    ids: Annotated[list[int], typer.Argument(metavar="ID …")],
    reason: Annotated[str, typer.Option("--reason", help="Why; kept with the delivery.")],
    words: Annotated[
        str,
        typer.Option(
            "--words", metavar="then|today", help="Of then: sender, subject, template, language; or of today."
        ),
    ] = "then",
    as_json: AsJson = False,
) -> None:
    """Send the same invoices again, to the addresses of today: a new, audited delivery each.

    What failed is taken up again: it has no words of then.
    """
    with _database() as db:
        sending = resolution.resend(db, ids, reason=reason, actor=_actor(), words=words)
    _tell_airflow(Fault("deliveries_stored"))
    if as_json:
        _print_json({"deliveries": sending})
    else:
        out.print(f"sending: {', '.join(map(str, sending))}")


@deliveries_app.command("cancel")
def deliveries_cancel(
    ids: Annotated[list[int], typer.Argument(metavar="ID …")],
    reason: Annotated[str, typer.Option("--reason", help="Why; kept with the delivery.")],
    as_json: AsJson = False,
) -> None:
    """Withdraw deliveries that have not left: no run sends their invoices, only a resend does."""
    with _database() as db:
        resolution.cancel(db, ids, reason=reason, actor=_actor())
    cancelled = list(dict.fromkeys(ids))
    if as_json:
        _print_json({"deliveries": cancelled})
    else:
        out.print(f"cancelled: {', '.join(map(str, cancelled))}")


@deliveries_app.command("resolve")
def deliveries_resolve(
    delivery_id: Annotated[int, typer.Argument(metavar="ID")],
    verdict: Annotated[str, typer.Option("--as", metavar="sent|failed|retry", help="What became of it.")],
    reason: Annotated[str, typer.Option("--reason", help="How you know; kept with the delivery.")],
    as_json: AsJson = False,
) -> None:
    """Settle a delivery that is in doubt."""
    with _database() as db:
        resolution.resolve(db, delivery_id, verdict, reason=reason, actor=_actor())
    if verdict == "retry":
        _tell_airflow(Fault("delivery_released"))
    if as_json:
        _print_json({"delivery": delivery_id, "as": verdict})
    else:
        out.print(f"delivery {delivery_id} settled as {verdict}")


def _tell_airflow(done: Fault) -> None:
    """Have `send_new_invoices` look. A doubled event does no harm, a lost one is made up for by the next."""
    try:
        with _airflow() as api:
            api.emit_asset_event(INVOICES_ASSET)
    except InvoicingError as error:
        raise PermanentFailureError("airflow_not_told", done=done, reason=error) from error


# What may go after a while.


OlderThan = Annotated[int, typer.Option("--older-than", metavar="MONTHS", help="Of 31 days; at least two.")]


@retention_app.command("show")
def retention_show(older_than: OlderThan = 120, as_json: AsJson = False) -> None:
    """Say what may be purged, and how much of it is that old. Ten years by default."""
    before = retention.cutoff(datetime.now(UTC), older_than)
    with _database() as db:
        _show_purgeable(retention.find_purgeable(db, _mailbox(), before), as_json=as_json, is_done=False)


@retention_app.command("purge")
def retention_purge(
    older_than: OlderThan,
    dry_run: DryRun = False,
    yes: Annotated[bool, typer.Option("--yes", help="It does not come back.")] = False,
    as_json: AsJson = False,
) -> None:
    """Take out personal data in messages, tests and notices, as the database's owner; hashes and amounts stay.

    Never what is unsettled, nor invoices, deliveries and what happened to them: they are proof.
    """
    before = retention.cutoff(datetime.now(UTC), older_than)
    if dry_run:
        with _database() as db:
            _show_purgeable(retention.find_purgeable(db, _mailbox(), before), as_json=as_json, is_done=False)
        return
    if not yes:
        raise InputError("purge_unconfirmed")
    with connect(stack.owner_dsn()) as db:
        purged = retention.purge(db, _mailbox(), before, actor=_actor())
    _show_purgeable(purged, as_json=as_json, is_done=True)


def _mailbox() -> Path | None:
    mailbox = stack.describe()["mailbox"]
    return Path(mailbox) if mailbox else None


def _show_purgeable(found: retention.Purgeable, *, as_json: bool, is_done: bool) -> None:
    counts = {
        "messages": found.messages,
        "trial_messages": found.trial_messages,
        "notices": found.notices,
    }
    if as_json:
        _print_json(
            {
                "before": found.before.isoformat(),
                "purged": is_done,
                **counts,
                "unsettled": found.unsettled,
            }
        )
        return
    rows = [{"what": what, "count": str(count)} for what, count in counts.items()]
    _print_table(
        f"{'purged' if is_done else 'may be purged'}, older than {found.before:%Y-%m-%d}",
        rows,
        ["what", "count"],
    )
    if found.unsettled:
        _report(f"{found.unsettled} messages stay: their deliveries are unsettled, or not of this database")


# The demo.


@app.command()
def demo() -> None:
    """Start the stack, import the demo agency, run this month's cycle, and say where to look."""
    for name in ("AIRFLOW_CONN_INVOICING_SMTP", "AIRFLOW_CONN_INVOICING_DB"):
        if os.environ.get(name):
            raise InputError("demo_connection_set", variable=name)
    month = Period.containing(clock.today())
    parts: list[tuple[str, float]] = []

    def timed(name: str, work: Callable[[], Any]) -> Any:
        started = time.monotonic()
        err.rule(name)
        result = work()
        parts.append((name, time.monotonic() - started))
        return result

    info: stack.StackInfo = timed("start the stack", lambda: stack.start(_report))
    _refuse_foreign_tenants(info)
    timed("import the demo agency", lambda: import_(DEMO_FOLDER))
    timed("settings of the demo agency", _demo_settings)
    timed(f"run the cycle of {month} through Airflow", lambda: run(str(month), wait=True))
    err.rule("done")
    for name, seconds in parts:
        out.print(f"{seconds:6.1f} s  {name}", highlight=False)
    messages = len(list(info.mailbox.glob("*.eml"))) if info.mailbox else 0
    out.print(f"\n{messages} messages in {info.mailbox}", markup=False)
    _show_stack(info)
    out.print(f"Month     {info.pages}cycles/{month}", markup=False)
    out.print(f"Audit     bin/invoicing cycle tenants {month}")


def _refuse_foreign_tenants(info: stack.StackInfo) -> None:
    """The demo is not for a state folder in which somebody keeps tenants of their own."""
    demo_codes = {
        row.split(",", 1)[0] for row in (DEMO_FOLDER / "tenants.csv").read_text("utf-8").splitlines()
    }
    with _database() as db:
        foreign = tenants.tenant_codes(db) - demo_codes
    if foreign:
        raise InputError("demo_foreign_tenants", state=info.state, tenant=min(foreign))


def _demo_settings() -> None:
    wanted = json.loads((DEMO_FOLDER / "settings.json").read_text(encoding="utf-8"))
    with _database() as db:
        settings_service.change_settings(db, wanted, actor="demo")


# Proof.


@audit_app.command("show")
def audit_show(
    delivery_id: Annotated[int, typer.Argument(metavar="ID", min=1, max=_LARGEST)], as_json: AsJson = False
) -> None:
    """All there is to know of a delivery: what was billed, why it was sent, what left, who touched anything."""
    told = story.tell_story(_database, _archive(), delivery_id, sender=_sender())
    if as_json:
        _print_json(story.as_json(told))
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


@audit_app.command("export")
def audit_export(
    period: PeriodArgument,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Empty, or not there yet.")],
    as_json: AsJson = False,
) -> None:
    """Write a month as files that verify without this program: CSV, JSON, PDFs, messages, SHA256SUMS."""
    month = Period.parse(period)
    with _database() as db, _progress() as tell_progress:
        made = export.export_period(db, _archive(), month, folder, sender=_sender(), report=tell_progress)
    if made.not_rebuilt:
        shown = ", ".join(map(str, made.not_rebuilt[:_CODES_SHOWN]))
        _say(Fault("export_messages_absent", count=len(made.not_rebuilt), deliveries=shown))
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
        _print_json(summary)
    else:
        columns = ["invoices", "deliveries", "documents", "messages", "rows"]
        _print_table(f"exported {month} to {made.folder}", [summary], columns)
        # To be kept elsewhere, so whole.
        out.print(f"head {made.head}", markup=False, highlight=False)


@audit_app.command("verify")
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
    language = _language()
    differences = [*found.differences, *(checked.differences if checked else ())]
    notes = [tell(note, language) for note in (*found.notes, *(checked.notes if checked else ()))]
    for note in notes:
        _report(f"note: {note}")
    if as_json:
        rows = [
            {"where": each.where, "code": each.what.code, "what": tell(each.what, language)}
            for each in differences
        ]
        head = None if checked is None else str(checked.head)
        _print_json(
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
        with _database() as db, _progress() as tell_progress:
            checked = look_back.look_back(db, _archive(), report=tell_progress)
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


@contextmanager
def _progress() -> Iterator[Callable[[str, int, int], None]]:
    """Gives what shows how far a long reading or writing is, where somebody looks."""
    progress = _progress_bars("{task.completed}")
    bars: dict[str, Any] = {}

    def show(stage: str, done: int, total: int) -> None:
        if stage not in bars:
            bars[stage] = progress.add_task(stage, total=total or None)
        progress.update(bars[stage], completed=done)

    with progress:
        yield show


def _archive() -> Archive:
    """The archive of issued documents, wherever it is."""
    environ = _environ()
    root = environ.get("INVOICING_ARCHIVE", "")
    if not root:
        raise InputError("variable_missing", variable="INVOICING_ARCHIVE")
    if "://" not in root or root.startswith("file://"):
        return FolderArchive(Path(root.removeprefix("file://")))
    # Of a bucket only Airflow knows the connection; importing it takes seconds.
    os.environ.update(environ)
    from invoicing.on_airflow.storage import open_archive

    return open_archive()


def _sender() -> str:
    return sender_of_connection(_environ().get("AIRFLOW_CONN_INVOICING_SMTP", ""))


if __name__ == "__main__":
    main()
