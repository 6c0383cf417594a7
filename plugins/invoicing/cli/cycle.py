"""`cycle`: what became of a month, and what of it is sent, tried again, approved."""

import time
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import typer

from invoicing.cli.connections import POLL_SECONDS, actor, open_airflow, open_database, tell_airflow
from invoicing.cli.importing import lines_out_of_step
from invoicing.cli.options import AsJson, PeriodArgument
from invoicing.cli.terminal import out, print_json, print_table, progress_bars, say
from invoicing.domain.approval import OPTIONS
from invoicing.domain.errors import InvoicingError, PermanentFailureError
from invoicing.domain.names import APPROVAL_TASK, MONTHLY_DAG
from invoicing.domain.period import Period
from invoicing.services.delivery import approvals, retries, send_now
from invoicing.services.views import report
from invoicing.services.views.approvals import approval_of
from invoicing.words.failures import Fault

_LONGEST_WAIT_SECONDS = 900
app = typer.Typer(help="Audit a month's cycle.", no_args_is_help=True)


@app.command("show")
def cycle_show(period: PeriodArgument, as_json: AsJson = False) -> None:
    """Counts and sums of a cycle."""
    with open_database() as db:
        shown = report.cycle_report(db, Period.parse(period))
    if as_json:
        print_json(shown)
    else:
        show_cycle(shown)


def show_cycle(shown: dict[str, Any]) -> None:
    """Some lines on stdout of what `cycle_report` gives."""
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
    for line in lines_out_of_step(shown["period"], shown["unbilled"], shown["drifted"]):
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


@app.command("tenants")
def cycle_tenants(period: PeriodArgument, as_json: AsJson = False) -> None:
    """One row a tenant: invoices, decision, delivery."""
    with open_database() as db:
        rows = report.cycle_tenants(db, Period.parse(period))
    if as_json:
        print_json(rows)
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
    print_table(title, shown, ["tenant", "name", "invoices", "decision", "reason", "delivery", "to"])


@app.command("invoices")
def cycle_invoices(period: PeriodArgument, as_json: AsJson = False) -> None:
    """One row an invoice."""
    with open_database() as db:
        rows = report.cycle_invoices(db, Period.parse(period))
    if as_json:
        print_json(rows)
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
        print_table(period, rows, columns)


@app.command("send")
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
    with open_database() as db:
        decided = send_now.send_now(db, month, codes, actor=actor())
    ids = [delivery_id for each in decided for delivery_id in each.deliveries]
    if ids:
        tell_airflow(Fault("deliveries_stored"))
    settled = _follow_deliveries(ids) if wait and ids else []
    rows = report.sent_now_report(decided)
    if as_json:
        print_json(rows)
    else:
        print_table(f"{month}, decided anew", rows, ["tenant", "decision", "reason", "deliveries"])
        if not ids:
            say(Fault("nothing_unsent"))
    _raise_unsent(settled)


@app.command("retry")
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
        with open_database() as db:
            _show_retry(report.retry_report(retries.plan_retry(db, month)), as_json=as_json)
        return
    with open_airflow() as airflow, open_database() as db:
        retried = retries.retry(db, month, airflow, actor=actor())
    if retried.requested:
        tell_airflow(Fault("retry_stored"))
    ids = [each.delivery for each in retried.plan.to_retry]
    settled = _follow_retried(retried) if wait and ids else []
    _show_retry(report.retry_report(retried.plan, retried), as_json=as_json)
    _raise_unsent(settled)


def _follow_retried(retried: retries.Retried) -> list[send_now.DeliveryProgress]:
    """Wait for the runs that were cleared, and then for what is asked of `send_new_invoices`."""
    deadline = time.monotonic() + _LONGEST_WAIT_SECONDS
    with open_airflow() as airflow:
        while time.monotonic() < deadline and any(
            airflow.is_at_work(MONTHLY_DAG, run) for run in retried.cleared
        ):
            time.sleep(POLL_SECONDS)
    if retried.requested:
        _follow_deliveries(retried.requested)
    with open_database() as db:
        return send_now.progress(db, [each.delivery for each in retried.plan.to_retry])


def _show_retry(shown: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(shown)
        return
    done = "would be retried" if shown["dry_run"] else "retried"
    out.print(
        f"{shown['period']}: from {shown['sender'] or 'the relay connection'}, template {shown['template']['name']}"
        f" {shown['template']['version']}",
        markup=False,
        highlight=False,
    )
    print_table(done, shown["retry"], ["delivery", "tenant", "name", "state", "to", "invoices", "run", "why"])
    if shown["left_alone"]:
        print_table("left alone", shown["left_alone"], ["delivery", "tenant", "name", "state", "reason"])
    if not shown["retry"]:
        say(Fault("nothing_to_retry"))


def _raise_unsent(settled: Sequence[send_now.DeliveryProgress]) -> None:
    unsent = [each for each in settled if each.state not in ("sent", "cancelled", "held")]
    if unsent:
        listing = "; ".join(
            f"delivery {each.id} is {each.state}: {each.reason or each.last_reply or '-'}" for each in unsent
        )
        raise PermanentFailureError(
            "deliveries_unsent", unsent=len(unsent), all=len(settled), listing=listing
        )


@app.command("approve")
def cycle_approve(
    period: PeriodArgument,
    reason: Annotated[str, typer.Option("--reason", help="Kept with the answer.")] = "",
    as_json: AsJson = False,
) -> None:
    """Let what the month's run waits with leave, as it was shown. The first answer counts."""
    _answer(period, "approved", reason, as_json=as_json)


@app.command("reject")
def cycle_reject(
    period: PeriodArgument,
    reason: Annotated[str, typer.Option("--reason", help="Why; kept with the answer.")],
    as_json: AsJson = False,
) -> None:
    """Send nothing of what the month's run waits with: it is held, and the run ends. A later run takes it up."""
    _answer(period, "rejected", reason, as_json=as_json)


def _answer(period: str, wanted: Literal["approved", "rejected"], reason: str, *, as_json: bool) -> None:
    month = Period.parse(period)
    with open_database() as db:
        answered = approvals.answer(db, month, wanted, reason=reason, actor=actor(), via="command")
        # Also where it does not count: a run that could not be told before is told now.
        untold = _tell_waiting(answered)
        answered.raise_if_refused()
        shown = report.approval_report(approval_of(db, month))
    if as_json:
        print_json(shown)
    else:
        out.print(f"{month} is {answered.state}", markup=False)
    if untold is not None:
        raise PermanentFailureError("approval_not_told", done=Fault("approval_stored"), reason=untold)


def _tell_waiting(answered: approvals.Answered) -> InvoicingError | None:
    """Tell the runs that wait; why they could not be told, None where they were."""
    try:
        with open_airflow() as api:
            for run in answered.runs:
                option = OPTIONS[answered.state]
                api.answer(run.dag_id, run.dag_run_id, APPROVAL_TASK, option, answered.reason)
    except InvoicingError as error:
        return error
    return None


def _follow_deliveries(ids: Sequence[int]) -> list[send_now.DeliveryProgress]:
    """Show how deliveries come along until all are settled, or have been waiting for too long."""
    deadline = time.monotonic() + _LONGEST_WAIT_SECONDS
    progress = progress_bars("{task.completed}/{task.total}")
    with progress, open_database() as db:
        bar = progress.add_task("sending", total=len(ids))
        while True:
            states = send_now.progress(db, ids)
            settled = [each for each in states if each.state not in ("pending", "claimed", "transmitting")]
            progress.update(bar, completed=len(settled))
            if len(settled) == len(ids) or time.monotonic() > deadline:
                return states
            time.sleep(POLL_SECONDS)
