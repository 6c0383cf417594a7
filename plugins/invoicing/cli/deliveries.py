"""`deliveries`: list, resend, cancel, resolve."""

from typing import Annotated

import typer

from invoicing.cli.connections import actor, open_database, tell_airflow
from invoicing.cli.options import LARGEST, AsJson
from invoicing.cli.terminal import out, print_json, print_table, say_line
from invoicing.domain.period import Period
from invoicing.services.delivery import resolution
from invoicing.services.views import report
from invoicing.words.failures import Fault

app = typer.Typer(help="What was sent, and what is to be settled by a person.", no_args_is_help=True)


@app.command("list")
def deliveries_list(
    period: Annotated[str | None, typer.Option("--period", metavar="YYYY-MM")] = None,
    state: Annotated[str | None, typer.Option("--state", help="pending, sent, failed, in_doubt, …")] = None,
    limit: Annotated[
        int | None, typer.Option("--limit", metavar="N", min=1, max=LARGEST, help="At most so many.")
    ] = None,
    after: Annotated[
        int, typer.Option("--after", metavar="ID", min=0, max=LARGEST, help="Those that follow this one.")
    ] = 0,
    as_json: AsJson = False,
) -> None:
    """One row per delivery, oldest first."""
    month = Period.parse(period) if period else None
    with open_database() as db:
        rows = report.list_deliveries(db, period=month, state=state, after=after, limit=limit)
    if as_json:
        print_json(rows)
    else:
        columns = ["id", "period", "tenant", "state", "purpose", "to", "invoices", "attempts", "last_reply"]
        print_table(f"{len(rows)} deliveries", rows, columns)
    if len(rows) == limit:
        say_line(f"there may be more: --after {rows[-1]['id']}")


@app.command("resend")
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
    with open_database() as db:
        sending = resolution.resend(db, ids, reason=reason, actor=actor(), words=words)
    tell_airflow(Fault("deliveries_stored"))
    if as_json:
        print_json({"deliveries": sending})
    else:
        out.print(f"sending: {', '.join(map(str, sending))}")


@app.command("cancel")
def deliveries_cancel(
    ids: Annotated[list[int], typer.Argument(metavar="ID …")],
    reason: Annotated[str, typer.Option("--reason", help="Why; kept with the delivery.")],
    as_json: AsJson = False,
) -> None:
    """Withdraw deliveries that have not left: no run sends their invoices, only a resend does."""
    with open_database() as db:
        resolution.cancel(db, ids, reason=reason, actor=actor())
    cancelled = list(dict.fromkeys(ids))
    if as_json:
        print_json({"deliveries": cancelled})
    else:
        out.print(f"cancelled: {', '.join(map(str, cancelled))}")


@app.command("resolve")
def deliveries_resolve(
    delivery_id: Annotated[int, typer.Argument(metavar="ID")],
    verdict: Annotated[str, typer.Option("--as", metavar="sent|failed|retry", help="What became of it.")],
    reason: Annotated[str, typer.Option("--reason", help="How you know; kept with the delivery.")],
    as_json: AsJson = False,
) -> None:
    """Settle a delivery that is in doubt."""
    with open_database() as db:
        resolution.resolve(db, delivery_id, verdict, reason=reason, actor=actor())
    if verdict == "retry":
        tell_airflow(Fault("delivery_released"))
    if as_json:
        print_json({"delivery": delivery_id, "as": verdict})
    else:
        out.print(f"delivery {delivery_id} settled as {verdict}")
