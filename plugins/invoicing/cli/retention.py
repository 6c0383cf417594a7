"""`retention`: what may be purged after how long."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from invoicing import stack
from invoicing.cli.connections import actor, open_database
from invoicing.cli.options import AsJson, DryRun
from invoicing.cli.terminal import print_json, print_table, say_line
from invoicing.db.connection import connect
from invoicing.domain.errors import InputError
from invoicing.services.delivery import retention

app = typer.Typer(help="What may be purged after how long.", no_args_is_help=True)
OlderThan = Annotated[int, typer.Option("--older-than", metavar="MONTHS", help="Of 31 days; at least two.")]


@app.command("show")
def retention_show(older_than: OlderThan = 120, as_json: AsJson = False) -> None:
    """Say what may be purged, and how much of it is that old. Ten years by default."""
    before = retention.cutoff(datetime.now(UTC), older_than)
    with open_database() as db:
        _show_purgeable(retention.find_purgeable(db, _mailbox(), before), as_json=as_json, is_done=False)


@app.command("purge")
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
        with open_database() as db:
            _show_purgeable(retention.find_purgeable(db, _mailbox(), before), as_json=as_json, is_done=False)
        return
    if not yes:
        raise InputError("purge_unconfirmed")
    with connect(stack.owner_dsn()) as db:
        purged = retention.purge(db, _mailbox(), before, actor=actor())
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
        print_json(
            {
                "before": found.before.isoformat(),
                "purged": is_done,
                **counts,
                "unsettled": found.unsettled,
            }
        )
        return
    rows = [{"what": what, "count": str(count)} for what, count in counts.items()]
    print_table(
        f"{'purged' if is_done else 'may be purged'}, older than {found.before:%Y-%m-%d}",
        rows,
        ["what", "count"],
    )
    if found.unsettled:
        say_line(f"{found.unsettled} messages stay: their deliveries are unsettled, or not of this database")
