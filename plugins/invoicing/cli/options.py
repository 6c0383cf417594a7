"""Arguments and options that several commands have."""

from typing import Annotated

import typer

LARGEST = 2**62
AsJson = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]
PeriodOption = Annotated[str, typer.Option("--period", metavar="YYYY-MM", help="The month to bill.")]
ReasonOption = Annotated[str | None, typer.Option("--reason", help="Why; kept for the audit.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show what would come out, and change nothing.")]
PeriodArgument = Annotated[str, typer.Argument(metavar="PERIOD", help="YYYY-MM")]
