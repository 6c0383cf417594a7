"""`invoices`: single invoices; what is voided, credited, replaced."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from invoicing.cli.connections import actor, open_database, tell_airflow
from invoicing.cli.options import AsJson, DryRun, ReasonOption
from invoicing.cli.terminal import out, print_json, print_table, say_line
from invoicing.domain.correction import LineAmount
from invoicing.domain.errors import InputError
from invoicing.services.billing import single_invoices
from invoicing.services.billing.corrections import Act
from invoicing.services.delivery import corrections
from invoicing.services.delivery.correction_file import read_corrections
from invoicing.services.views import report
from invoicing.services.views.single_invoices import list_single_invoices
from invoicing.words.failures import Fault

app = typer.Typer(help="Single invoices; what is voided, credited, replaced.", no_args_is_help=True)
CorrectionFile = Annotated[
    Path | None,
    typer.Option("--file", metavar="CSV", help="Several at once, all or none: number,action,lines,reason."),
]


@app.command("create")
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
    with open_database() as db:
        result = single_invoices.create_from_file(db, file, actor=actor())
    for reference, number in result.known.items():
        say_line(f"{reference} exists already as {number}: left alone")
    if result.awaiting:
        tell_airflow(Fault("invoices_stored"))
    if as_json:
        print_json({"created": result.created, "known": result.known})
    else:
        rows = [{"reference": ref, "invoice": number} for ref, number in result.created.items()]
        print_table(f"{len(rows)} invoice(s) created", rows, ["reference", "invoice"])


@app.command("list")
def invoices_list(as_json: AsJson = False) -> None:
    """One row a single invoice: what was decided on it, and what became of it."""
    with open_database() as db:
        rows = list_single_invoices(db)
    if as_json:
        print_json(rows)
    else:
        columns = ["reference", "number", "tenant", "total", "currency", "decision", "reason", "delivery"]
        print_table(f"{len(rows)} single invoices", rows, columns)


@app.command("decide")
def invoices_decide(
    references: Annotated[list[str], typer.Argument(metavar="INVOICE_REF …")],
    reason: Annotated[str, typer.Option("--reason", help="Why; kept for the audit.")],
) -> None:
    """Decide once more on single invoices that got no mail, by the settings and switches of today."""
    with open_database() as db:
        single_invoices.decide_anew(db, references, reason=reason, actor=actor())
    tell_airflow(Fault("invoices_to_decide"))
    out.print(f"Airflow decides anew on {', '.join(references)}", markup=False)


@app.command("void")
def invoices_void(
    number: Annotated[str | None, typer.Argument(metavar="NUMBER")] = None,
    reason: ReasonOption = None,
    file: CorrectionFile = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Void an invoice that nobody was sent; its number stays used."""
    _correct("void", number, reason, file, dry_run=dry_run, as_json=as_json)


@app.command("credit")
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


@app.command("replace")
def invoices_replace(
    number: Annotated[str | None, typer.Argument(metavar="NUMBER")] = None,
    reason: ReasonOption = None,
    file: CorrectionFile = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Void or credit an invoice, and issue it again from its lease as it is now."""
    _correct("replace", number, reason, file, dry_run=dry_run, as_json=as_json)


@app.command("correct")
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
    with open_database() as db:
        done = corrections.correct(db, orders, actor=actor(), file=file, dry_run=dry_run)
    rows = [report.correction_report(each) for each in done]
    if as_json:
        print_json(rows if file is not None else rows[0])
    else:
        _show_corrections(rows, "as it would be; nothing was changed" if dry_run else "corrected")
    if not dry_run and any(each.is_to_be_sent for each in done):
        tell_airflow(Fault("corrections_stored"))


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
    print_table(title, shown, columns)
