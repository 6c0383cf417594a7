"""The operator's command line (docs/contract.md, section 1): JSON on stdout, words on stderr, exit 0, 1 or 2."""

import logging
import sys

import typer

from invoicing.cli import (
    audit,
    cycle,
    deliveries,
    demo,
    embedded,
    health,
    importing,
    invoices,
    month,
    retention,
    series,
    settings,
    tenants,
)
from invoicing.cli.terminal import err, language_of_errors
from invoicing.domain.errors import InputError, InvoicingError
from invoicing.words.failures import Fault, tell

app = typer.Typer(
    help="Rent invoicing: operate the stack, import, run a month, audit what was sent.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
app.command()(embedded.up)
app.command()(embedded.down)
app.command()(embedded.status)
app.command()(health.health)
app.command("import")(importing.import_)
app.command()(month.run)
app.command()(month.simulate)
app.command()(demo.demo)
app.add_typer(settings.app, name="settings")
app.add_typer(cycle.app, name="cycle")
app.add_typer(invoices.app, name="invoices")
app.add_typer(deliveries.app, name="deliveries")
app.add_typer(audit.app, name="audit")
app.add_typer(series.app, name="series")
app.add_typer(retention.app, name="retention")
app.add_typer(tenants.app, name="tenants")


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
        err.print(tell(Fault("interrupted"), language_of_errors()))
        sys.exit(1)


def _complain(error: InvoicingError) -> None:
    # Not markup: the text may hold a file's content.
    err.print(f"invoicing: {error.in_words(language_of_errors())}", markup=False)


if __name__ == "__main__":
    main()
