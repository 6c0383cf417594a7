"""Retry all that failed of a month: what that is, what each would leave with, and through whom it goes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from psycopg.rows import DictRow

from invoicing.db import audit
from invoicing.db.connection import Database
from invoicing.db.statements import beside
from invoicing.domain.address import invalid_addresses
from invoicing.domain.delivery import DeliveryState
from invoicing.domain.discretion import Personal, Said
from invoicing.domain.errors import NotFoundError
from invoicing.domain.names import APPROVAL_TASK, MONTHLY_DAG
from invoicing.domain.period import Period
from invoicing.domain.refusal import refusal_of
from invoicing.domain.task_address import TaskAddress
from invoicing.services.agency.settings import SettingsVersion, current_settings
from invoicing.services.agency.templates import TemplateVersion, current_template
from invoicing.services.billing import runs
from invoicing.services.delivery import approvals

_SQL = beside(__file__)
_RENDER, _CHECK, _SEND, _CLOSE = "render_invoices", "check_mail_server", "send_invoices", "close_cycle"
_REASON = "all that failed is tried once more"


@dataclass(frozen=True, slots=True)
class ToRetry:
    """A delivery that would be tried once more, as it would leave now.

    Args:
        why: What kept it, in the relay's words or ours.
        refusal: What that means (`domain.refusal`).
        dag_run_id: The month's run whose task is cleared for it; None where `send_new_invoices` sends it.
        is_frozen: Its message may have left before: it goes as it was then.
        lacks_document: A PDF of it has to be rendered first.
    """

    delivery: int
    tenant: str
    name: Personal[str]
    state: str
    to: Personal[Sequence[str]]
    cc: Personal[Sequence[str]]
    invoices: Sequence[str]
    why: Said[str | None]
    refusal: str | None
    dag_run_id: str | None
    map_index: int | None
    is_frozen: bool
    lacks_document: bool


@dataclass(frozen=True, slots=True)
class LeftAlone:
    """A delivery that is not tried; ``reason`` is a key of `words.ledger.LEFT_ALONE`."""

    delivery: int
    tenant: str
    name: Personal[str]
    state: str
    reason: str


@dataclass(frozen=True, slots=True)
class RetryPlan:
    """What a retry of a month would do now.

    Args:
        sender: The settings' own; empty for the relay connection's.
        template: Name, and ``template_number``, of today.
    """

    period: Period
    sender: str
    template: str
    template_number: int
    to_retry: Sequence[ToRetry]
    left_alone: Sequence[LeftAlone]


@dataclass(frozen=True, slots=True)
class Retried:
    """What a retry did.

    Args:
        cleared: How many task instances of each of the month's runs that were cleared, by ``dag_run_id``.
        requested: The deliveries that the next run of `send_new_invoices` sends, of which the caller tells.
    """

    plan: RetryPlan
    cleared: dict[str, int]
    requested: Sequence[int]


class Scheduler(Protocol):
    """Airflow, as far as a retry needs it. Both raise `NotFoundError` where it does not know the run (any more)."""

    def clear_tasks(
        self, dag_id: str, dag_run_id: str, task_ids: Sequence[str], *, only_failed: bool
    ) -> Sequence[tuple[str, int]]:
        """Have tasks of a run done again; each instance's task and map index."""

    def is_at_work(self, dag_id: str, dag_run_id: str) -> bool:
        """Whether the run goes on, or is about to."""


def plan_retry(db: Database, period: Period) -> RetryPlan:
    """Say what `retry` would do. Writes nothing.

    Raises:
        NotFoundError: There is no such month.
    """
    with db.transaction():
        cycle_id = runs.lock_month(db, period)
        if cycle_id is None:
            raise NotFoundError("cycle_not_opened", period=period)
        return _plan(db, period, cycle_id, *_in_force(db))


def retry(db: Database, period: Period, scheduler: Scheduler, *, actor: str) -> Retried:
    """Try all that is unsent and may be sent once more, at today's addresses, sender and template.

    What a run of the month tried goes through Airflow's own clear of that run's failed tasks, so that its history and
    colour follow; what none of their tasks covers is asked of `send_new_invoices`. Safe to repeat: the ledger knows
    what was accepted, a task that was cleared has not failed, and what was asked for is under way.

    Where the settings ask for an approval, this act is one of just these.

    Raises:
        NotFoundError: There is no such month.
        WorkFailedError: Airflow could not be told; nothing is lost by repeating it.
    """
    with db.transaction():
        cycle_id = runs.lock_month(db, period)
        if cycle_id is None:
            raise NotFoundError("cycle_not_opened", period=period)
        settings, template = _in_force(db)
        plan = _plan(db, period, cycle_id, settings, template)
        ids = [each.delivery for each in plan.to_retry]
        if not ids:
            return Retried(plan, {}, ())
        db.execute(_SQL["lock"], {"ids": ids})
        today = {"settings_version_id": settings.id, "template_version_id": template.id}
        db.execute(_SQL["bring_up_to_date"], {"ids": ids, **today})
        approvals.approve_own_act(db, ids, actor=actor, reason="retried")
        audit.record(
            db, actor=actor, action="month_retried", subject=f"month {period}", details={"deliveries": ids}
        )
    cleared: dict[str, int] = {}
    uncovered = [each.delivery for each in plan.to_retry if each.dag_run_id is None]
    for dag_run_id in dict.fromkeys(each.dag_run_id for each in plan.to_retry if each.dag_run_id):
        of_run = [each for each in plan.to_retry if each.dag_run_id == dag_run_id]
        count, left = _clear(scheduler, dag_run_id, of_run)
        if count:
            cleared[dag_run_id] = count
        uncovered += left
    requested = []
    if uncovered:
        with db.transaction():
            asked = {"ids": uncovered, "actor": actor, "reason": _REASON}
            requested = sorted(row["id"] for row in db.execute(_SQL["request"], asked))
    return Retried(plan, cleared, requested)


def _clear(scheduler: Scheduler, dag_run_id: str, of_run: Sequence[ToRetry]) -> tuple[int, list[int]]:
    """Clear what failed of a run; how many instances, and which deliveries none of them covers."""
    try:
        done: list[tuple[str, int]] = []
        if any(each.lacks_document for each in of_run):
            # In the order in which they run: the check waits for the rendering, and the sending for the check.
            done += scheduler.clear_tasks(MONTHLY_DAG, dag_run_id, [_RENDER], only_failed=True)
            if done:
                done += scheduler.clear_tasks(MONTHLY_DAG, dag_run_id, [_CHECK], only_failed=False)
        rest = [APPROVAL_TASK, _CHECK, _SEND, _CLOSE]
        done += scheduler.clear_tasks(MONTHLY_DAG, dag_run_id, rest, only_failed=True)
        sending = {map_index for task_id, map_index in done if task_id == _SEND}
        if not sending and scheduler.is_at_work(MONTHLY_DAG, dag_run_id):
            return len(done), []  # somebody cleared it before
    except NotFoundError:
        return 0, [each.delivery for each in of_run]
    # A sending task that never ran has one instance for all that it was to be expanded to.
    is_whole = -1 in sending
    left = [
        each.delivery
        for each in of_run
        if not sending or not (is_whole or each.map_index is None or each.map_index in sending)
    ]
    return len(done), left


def _in_force(db: Database) -> tuple[SettingsVersion, TemplateVersion]:
    settings = current_settings(db)
    return settings, current_template(db, settings.settings.template)


def _plan(
    db: Database, period: Period, cycle_id: int, settings: SettingsVersion, template: TemplateVersion
) -> RetryPlan:
    to_retry: list[ToRetry] = []
    left_alone: list[LeftAlone] = []
    for row in db.execute(_SQL["unsent"], {"cycle_id": cycle_id}):
        reason = _why_not(row)
        if reason is None:
            to_retry.append(_to_retry(row))
        else:
            left_alone.append(LeftAlone(row["id"], row["tenant"], row["name"], row["state"], reason))
    named = template.template
    return RetryPlan(period, settings.settings.from_email, named.name, named.version, to_retry, left_alone)


def _why_not(row: DictRow) -> str | None:
    """Why a delivery is not tried once more; None where it is."""
    state = DeliveryState(row["state"])
    is_asked_for = row["on_request"] and row["run_id"] is None
    is_at_rest = row["run_state"] != "running" and (
        state is DeliveryState.FAILED or (state is DeliveryState.PENDING and not is_asked_for)
    )
    objections = (
        (str(state), state in (DeliveryState.IN_DOUBT, DeliveryState.HELD, DeliveryState.CANCELLED)),
        ("given_up", row["given_up"]),
        ("under_way", not is_at_rest),
        ("nothing_stands", not row["stands"]),
        (row["brake"], row["brake"] is not None),
        ("in_doubt", state is DeliveryState.FAILED and row["may_have_left"]),
        ("no_email", not row["emails"]),
        ("invalid_email", invalid_addresses((*row["emails"], *row["cc_emails"]))),
    )
    return next((reason for reason, objects in objections if objects), None)


def _to_retry(row: DictRow) -> ToRetry:
    is_frozen = row["may_have_left"]
    is_of_month = row["dag_id"] == MONTHLY_DAG
    had = TaskAddress.parse(row["claimed_by"])
    is_of_run = had is not None and (had.dag_id, had.dag_run_id, had.task_id) == (
        row["dag_id"],
        row["dag_run_id"],
        _SEND,
    )
    return ToRetry(
        delivery=row["id"],
        tenant=row["tenant"],
        name=row["name"],
        state=row["state"],
        to=row["to_addresses"] if is_frozen else row["emails"],
        cc=row["cc_addresses"] if is_frozen else row["cc_emails"],
        invoices=row["numbers"],
        why=row["reason"] or row["last_reply"],
        refusal=refusal_of(row["state"], row["last_reply"]),
        dag_run_id=row["dag_run_id"] if is_of_month else None,
        map_index=had.map_index if had and is_of_run else None,
        is_frozen=is_frozen,
        lacks_document=row["lacks_document"],
    )
