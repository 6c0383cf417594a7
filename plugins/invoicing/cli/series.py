"""`series`: the range and the days of each."""

from datetime import datetime
from typing import Annotated, Any

import typer

from invoicing.cli.connections import actor, open_database
from invoicing.cli.options import LARGEST, AsJson
from invoicing.cli.terminal import out, print_json, print_table
from invoicing.services.billing import series

app = typer.Typer(help="Numbers: the range and the days of each series.", no_args_is_help=True)


@app.command("show")
def series_show(as_json: AsJson = False) -> None:
    """Every series: how far its numbers are taken, and the range and the days that it has."""
    with open_database() as db:
        rows = [_series_json(each) for each in series.list_series(db)]
    if as_json:
        print_json(rows)
        return
    columns = ["prefix", "used_for", "last", "from", "to", "left", "valid_from", "valid_to", "resolution"]
    print_table(f"{len(rows)} series", rows, columns)


@app.command("set")
def series_set(
    prefix: Annotated[str, typer.Argument(metavar="PREFIX", help="What stands before the numbers.")],
    first: Annotated[int, typer.Option("--from", metavar="N", min=1, max=LARGEST, help="First number.")] = 1,
    last: Annotated[
        int | None, typer.Option("--to", metavar="N", min=1, max=LARGEST, help="Last number.")
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
    with open_database() as db:
        changed = series.set_range(
            db,
            prefix,
            first_serial=first,
            last_serial=last,
            valid_from=valid_from and valid_from.date(),
            valid_to=valid_to and valid_to.date(),
            resolution=resolution,
            actor=actor(),
        )
    if as_json:
        print_json(_series_json(changed))
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
