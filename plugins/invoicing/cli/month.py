"""`run` and `simulate`: a month of invoices, and what it would be."""

import getpass
import sys
import time
from collections.abc import Mapping
from decimal import Decimal
from functools import partial
from typing import Annotated

import typer
from rich.table import Table

from invoicing.airflow_api import AirflowApi
from invoicing.cli.connections import POLL_SECONDS, open_airflow, open_database
from invoicing.cli.cycle import show_cycle
from invoicing.cli.options import AsJson, PeriodOption
from invoicing.cli.terminal import (
    cell,
    err,
    first_of,
    language_of_errors,
    out,
    print_json,
    progress_bars,
    say,
    say_line,
)
from invoicing.domain.comparison import CHANGES, ChangeKind
from invoicing.domain.errors import InputError, PermanentFailureError
from invoicing.domain.names import MONTHLY_DAG, STARTED_BY
from invoicing.domain.period import Period
from invoicing.services.agency import clock
from invoicing.services.billing import runs
from invoicing.services.views import foresight, report
from invoicing.services.views import simulate as simulation
from invoicing.services.views.foresight import Foresight
from invoicing.words.failures import Fault, tell

_CHANGES_SHOWN = 10
_CHANGES: Mapping[ChangeKind, str] = {
    "new": "new leases",
    "ended": "ended leases",
    "amount": "leases with another amount",
    "decision": "tenants with another decision",
}
_REST_OF_A_LOOK = 100
_LONGEST_REST_SECONDS = 5.0
_YES = ("y", "yes", "s", "si", "sí")


def run(
    period: PeriodOption,
    wait: Annotated[bool, typer.Option("--wait", help="Show progress; exit 1 if the run failed.")] = False,
    yes: Annotated[
        bool, typer.Option("--yes", help="Confirm a month other than this or the next, not yet opened.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Trigger the monthly DAG for a period."""
    month = Period.parse(period)
    params = {STARTED_BY: getpass.getuser()}
    if _is_confirmed(month, yes=yes):
        params["confirm_month"] = str(month)
    with open_airflow() as api:
        if api.is_paused(MONTHLY_DAG):
            say(Fault("dag_paused", dag=MONTHLY_DAG))
        dag_run_id = api.trigger_numbered(
            MONTHLY_DAG, f"{month} manual", partition_key=str(month), params=params
        )
        say_line(f"triggered {dag_run_id}")
        state = _follow(api, dag_run_id) if wait else None
    if state is None:
        if as_json:
            print_json({"dag_run_id": dag_run_id})
        return
    with open_database() as db:
        try:
            shown = report.cycle_report(db, month)
        except InputError:
            shown = {}
    if as_json:
        print_json({"dag_run_id": dag_run_id, "state": state, "cycle": shown})
    elif shown:
        show_cycle(shown)
    if state != "success":
        place = f"{api.url}/dags/{MONTHLY_DAG}/runs/{dag_run_id}"
        raise PermanentFailureError("run_not_successful", dag_run_id=dag_run_id, state=state, place=place)


def _is_confirmed(month: Period, *, yes: bool) -> bool:
    """Whether the month had to be confirmed, and was.

    Raises:
        InputError: It was not; nothing was changed.
    """
    with open_database() as db:
        is_open = runs.is_opened(db, month)
    if is_open or month.is_near(clock.today()):
        if is_open and yes:
            say(Fault("month_open_already", period=month))
        return False
    if yes:
        return True
    if not sys.stdin.isatty():
        raise InputError("month_needs_yes", period=month, today=clock.today())
    question = tell(Fault("confirm_month", period=month, today=clock.today()), language_of_errors())
    err.print(f"{question} [y/N]", end=" ", markup=False)
    if sys.stdin.readline().strip().lower() not in _YES:
        raise InputError("nothing_was_run")
    return True


def _follow(api: AirflowApi, dag_run_id: str) -> str:
    """Show a run's progress until it is over; returns its state."""
    done_states = {"success", "failed", "skipped", "upstream_failed", "removed"}
    progress = progress_bars("{task.completed}/{task.total} tasks")
    with progress:
        bar = progress.add_task("waiting", total=None)
        said = ""
        next_look = 0.0
        while True:
            state = api.dag_run(MONTHLY_DAG, dag_run_id)
            began = time.monotonic()
            if began < next_look and not state.is_over:
                time.sleep(POLL_SECONDS)
                continue
            tasks = api.task_instances(MONTHLY_DAG, dag_run_id)
            # On a busy machine, and of many tasks, the answer takes long: who watches must not be what it works for.
            next_look = began + min(_REST_OF_A_LOOK * (time.monotonic() - began), _LONGEST_REST_SECONDS)
            done = sum(task.state in done_states for task in tasks)
            running = sorted({task.task_id for task in tasks if task.state in ("running", "up_for_retry")})
            doing = ", ".join(running) or state.state
            progress.update(bar, description=doing, completed=done, total=len(tasks))
            if not err.is_terminal and doing != said:
                say_line(f"  {done}/{len(tasks)} {doing}")
            said = doing
            if state.is_over:
                return state.state
            time.sleep(POLL_SECONDS)


def simulate(
    period: PeriodOption,
    rows: Annotated[bool, typer.Option("--rows", help="One row a tenant too.")] = False,
    as_json: AsJson = False,
) -> None:
    """What a run would do now: totals, who gets mail and why not, what differs from the month before.

    Writes nothing, sends nothing.
    """
    month = Period.parse(period)
    with open_database() as db:
        if as_json:
            print_json(simulation.simulate_rows(db, month))
            return
        foreseen = foresight.foresee(db, month)
    _show_foresight(foreseen)
    if rows:
        _show_foreseen_tenants(foreseen)


def _show_foresight(foreseen: Foresight) -> None:
    """The month on one screen: at most 80 columns, and ten leases of each kind of change."""
    print_ = partial(out.print, markup=False, highlight=False)
    before = foreseen.compared_with
    print_(f"{foreseen.period}, as a run would leave it now; nothing was written, nothing sent")
    for each in foreseen.totals:
        print_(f"  {each.invoices} invoices, {_amount(each.total)} {each.currency}")
        parts = f"subtotal {_amount(each.subtotal)} + tax {_amount(each.tax)}"
        print_(f"    {parts} − withholding {_amount(each.withholding)}")
        if before is not None:
            print_(
                f"    {before}: {each.invoices_before} invoices, {_amount(each.total_before)}"
                f" ({_by_how_much(each.difference, each.ratio)})"
            )
    sent = foreseen.outcomes["send"]
    print_(f"  {foreseen.billed} tenants: {sent} get mail, {foreseen.messages} messages to send")
    skips = sorted((-count, reason) for reason, count in foreseen.outcomes.items() if reason != "send")
    for count, reason in skips:
        print_(f"    {-count:6} {reason}")
    if foreseen.unreachable:
        print_(f"  {foreseen.unreachable} tenants have no address, or one that is wrong")
    if foreseen.unissued:
        codes = first_of([each.lease for each in foreseen.unissued])
        print_(f"  not invoiced, for their total is nothing or less: {codes}")
    if before is None:
        print_("  the first month: there is none before to compare with")
        return
    print_(f"  differences from {before}:")
    for kind in CHANGES[:-1]:
        _show_lease_changes(foreseen, kind)
    changed = [each for each in foreseen.tenants if "decision" in each.comparison.kinds]
    print_(f"    {len(changed):6} {_CHANGES['decision']}")
    for tenant in changed[:_CHANGES_SHOWN]:
        print_(f"           {tenant.code}: {tenant.comparison.outcome_before} → {tenant.outcome}")
    _say_more(len(changed))


def _show_lease_changes(foreseen: Foresight, kind: ChangeKind) -> None:
    found = [each for tenant in foreseen.tenants for each in tenant.comparison.leases if each.kind == kind]
    out.print(f"    {len(found):6} {_CHANGES[kind]}", markup=False, highlight=False)
    for each in found[:_CHANGES_SHOWN]:
        totals = [_amount(bill.total) for bill in (each.before, each.now) if bill is not None]
        by = f" ({_by_how_much(each.difference, each.ratio)})" if kind == "amount" else ""
        line = f"           {each.lease} of {each.tenant}: {' → '.join(totals)} {each.currency}{by}"
        out.print(line, markup=False, highlight=False)
    _say_more(len(found))


def _say_more(count: int) -> None:
    if count > _CHANGES_SHOWN:
        out.print(f"           and {count - _CHANGES_SHOWN} more", markup=False, highlight=False)


def _show_foreseen_tenants(foreseen: Foresight) -> None:
    """One line a tenant, what deserves a look first; what is too long for its column is cut."""
    table = Table(box=None, pad_edge=False)
    for column, width in (("tenant", 14), ("name", 22), ("invoices", 8), ("total", 15), ("decision", 20)):
        number = column in ("invoices", "total")
        table.add_column(
            column, max_width=width, no_wrap=True, overflow="ellipsis", justify="right" if number else "left"
        )
    table.add_column("change", no_wrap=True)
    for each in foreseen.tenants:
        total = ", ".join(_amount(part.total) for part in each.sums)
        change = each.comparison.change if foreseen.compared_with else None
        cells = (each.code, each.name, len(each.invoices), total, each.outcome, change)
        table.add_row(*map(cell, cells))
    out.print(table)


def _amount(amount: Decimal) -> str:
    from babel.numbers import format_decimal

    return str(format_decimal(amount, locale="es_CO"))


def _by_how_much(difference: Decimal | None, ratio: Decimal | None) -> str:
    """``+200.000, +20%``."""
    if difference is None:
        return "another currency"
    sign = "+" if difference > 0 else ""
    part = "" if ratio is None else f", {sign}{_amount(round(100 * ratio, 1))}%"
    return f"{sign}{_amount(difference)}{part}"
