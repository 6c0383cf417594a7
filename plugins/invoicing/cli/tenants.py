"""`tenants`: hold and release."""

from typing import Annotated

import typer

from invoicing.cli.connections import actor, open_database, tell_airflow
from invoicing.cli.options import AsJson, PeriodOption
from invoicing.cli.terminal import out, print_json, say_line
from invoicing.domain.period import Period
from invoicing.services.delivery import holds
from invoicing.words.failures import Fault

app = typer.Typer(help="Hold a tenant's mail of a month back.", no_args_is_help=True)


@app.command("hold")
def tenants_hold(
    code: Annotated[str, typer.Argument(metavar="CODE")],
    period: PeriodOption,
    reason: Annotated[str, typer.Option("--reason", help="Why; kept for the audit.")],
    as_json: AsJson = False,
) -> None:
    """No mail to this tenant for this month until it is released."""
    month = Period.parse(period)
    with open_database() as db:
        held = holds.hold(db, code, month, reason=reason, actor=actor())
    if as_json:
        print_json(
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
        say_line(f"too late for {', '.join(map(str, held.under_way))}: being transmitted just now")


@app.command("release")
def tenants_release(
    code: Annotated[str, typer.Argument(metavar="CODE")],
    period: PeriodOption,
    reason: Annotated[str, typer.Option("--reason", help="Why; kept for the audit.")],
    as_json: AsJson = False,
) -> None:
    """End a hold; says how to send what it kept back."""
    month = Period.parse(period)
    with open_database() as db:
        released = holds.release(db, code, month, reason=reason, actor=actor())
    if released.resumed:
        tell_airflow(Fault("deliveries_stored"))
    if as_json:
        print_json(
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
