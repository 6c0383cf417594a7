"""The embedded stack: `up`, `down`, `status`."""

from typing import Annotated

import typer

from invoicing import stack
from invoicing.cli.options import AsJson
from invoicing.cli.terminal import out, print_json, print_table, say_line


def up(
    embedded: Annotated[
        bool, typer.Option("--embedded", help="Go back to the embedded database and inbox.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Start the embedded stack: PostgreSQL, mail inbox, Airflow."""
    info = stack.start(say_line, embedded=embedded)
    if as_json:
        print_json(stack.describe())
        return
    show_stack(info)


def down() -> None:
    """Stop the embedded stack; nothing is lost."""
    stack.stop(say_line)


def status(as_json: AsJson = False) -> None:
    """Say what runs, and where."""
    described = stack.describe()
    if as_json:
        print_json(described)
    else:
        print_table(
            f"stack in {described['state']}",
            [{"part": name, **part} for name, part in described["parts"].items()],
            ["part", "state", "pid", "log"],
        )
        out.print(f"Airflow: {described['airflow']['url']}  mailbox: {described['mailbox']}", markup=False)
    if not described["ready"]:
        raise typer.Exit(1)


def show_stack(info: stack.StackInfo) -> None:
    """Where pages, Airflow, mailbox and archive are."""
    out.print(f"Pages     {info.pages}", markup=False)
    out.print(f"Airflow   {info.url}   user {info.user}   password {info.password}", markup=False)
    out.print(
        f"Mailbox   {info.mailbox or 'none: mail goes to the relay of AIRFLOW_CONN_INVOICING_SMTP'}",
        markup=False,
    )
    out.print(f"Archive   {info.archive}", markup=False)
