"""`import`: the agency's files."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from invoicing.cli.connections import actor, open_database
from invoicing.cli.options import AsJson
from invoicing.cli.terminal import first_of, out, print_json, print_table, say_line
from invoicing.services.agency.overwrites import Overwrite
from invoicing.services.billing import out_of_step


def import_(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder with the files.")],
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Say what it would do, and what it would replace; write nothing."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Import tenants.csv, leases.csv, charges.csv and tax_rates.csv (each optional): all or nothing."""
    with open_database() as db:
        summary, months = out_of_step.import_and_look_back(
            db, folder, actor=actor(), report=say_line, dry_run=dry_run
        )
    for warning in summary.warnings:
        say_line(f"warning: {warning}")
    for name in summary.ignored:
        say_line(f"ignored: {name} is none of the four files")
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
        print_json(
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
        print_table(
            "would be imported" if dry_run else "imported",
            rows,
            ["file", "added", "updated", "unchanged", "removed"],
        )
        for month in months:
            for line in lines_out_of_step(str(month.period), month.unbilled, month.drifted):
                out.print(f"{month.period}: {line}", markup=False, highlight=False)


def _overwrite(each: Overwrite) -> dict[str, Any]:
    return asdict(each) | {"at": each.at.isoformat()}


def lines_out_of_step(period: str, unbilled: Sequence[str], drifted: Sequence[str]) -> Iterator[str]:
    """What a month is out of step in, and what to do about it; at most a line each."""
    if unbilled:
        yield (
            f"unbilled: {first_of(unbilled)}; active, without an invoice."
            f" To bill: bin/invoicing run --period {period}"
        )
    if drifted:
        yield (
            f"drifted: {first_of(drifted)}; the invoice would come out differently today, and stays as it is."
            " Was the import right? Then correct what was billed"
        )
