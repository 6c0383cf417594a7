"""Is all well, and if not, who has to do what? For ``bin/invoicing health``, the sweep's alarm and the pages."""

import datetime
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlsplit

from invoicing.db import grants
from invoicing.db.connection import Database
from invoicing.db.migrate import pending_migrations
from invoicing.db.statements import beside, fetch_all
from invoicing.domain.period import Period
from invoicing.domain.settings import Settings
from invoicing.rendering.cage import CALLS, FILES, NETWORK, USER, CageReport
from invoicing.rendering.errors import RenderFailedError
from invoicing.services.agency import clock
from invoicing.services.agency.settings import current_settings
from invoicing.services.billing import series
from invoicing.services.views import attention
from invoicing.services.views.attention import MOST_NAMED, Deliveries, WaitingApproval
from invoicing.words.failures import Failure, Fault

_SQL = beside(__file__)

PATIENCE = datetime.timedelta(hours=1)
"""How long a month may be on its way: after its tick, the beginning of its last run, or the import of its leases."""


@dataclass(frozen=True, slots=True)
class Check:
    """The answer to one question.

    Args:
        name: Of the question; stays as it is (docs/contract.md, section 1).
        detail: What was found.
        next_step: What a person has to do; None where all is well.
        alarms: Whether the sweep tells the operator of it. Nobody else would.
    """

    name: str
    detail: Fault
    next_step: Fault | None = None
    alarms: bool = False

    @property
    def ok(self) -> bool:
        """Whether nobody has to do anything."""
        return self.next_step is None


@dataclass(frozen=True, slots=True)
class Here:
    """What the database does not know.

    Args:
        now: An instant.
        journal_entries: Outcomes on this host that the database could not take.
        kept_notices: Notices on this host that the database could not take.
        has_notifier: Whether the relay's connection names a notifier of the operator's own.
        renderer: What holds in a process that runs templates on this host, or why none can be started; None where
            nobody looked.
    """

    now: datetime.datetime
    journal_entries: int = 0
    kept_notices: int = 0
    has_notifier: bool = False
    renderer: CageReport | RenderFailedError | None = None


def look(db: Database, here: Here) -> list[Check]:
    """Ask every question; only the first one where the database lacks migrations."""
    missing = pending_migrations(db)
    if missing:
        detail = Fault("database_unmigrated", count=len(missing), newest=missing[-1])
        return [Check("database", detail, Fault("database_unmigrated_next"))]
    checks = [Check("database", Fault("database_fine")), *(ask(db, here) for ask in _QUESTIONS)]
    return checks if here.renderer is None else [*checks, _renderer(here.renderer)]


def database_away(reason: Failure) -> Check:
    """The only answer there is without the database."""
    return Check("database", Fault("database_away", reason=reason), Fault("database_away_next"), alarms=True)


def is_unheard(settings: Settings, has_notifier: Callable[[], bool]) -> bool:
    """Whether mail goes out and nobody hears of it when that goes wrong."""
    return settings.auto_send and not settings.operator_email and not has_notifier()


def names_notifier(connection: str) -> bool:
    """Whether an Airflow connection, as a URI or as JSON, has the extra ``operator_notifier``."""
    try:
        if connection.lstrip().startswith("{"):
            extra = json.loads(connection).get("extra") or {}
        else:
            extra = dict(parse_qsl(urlsplit(connection).query))
            extra = extra.get("__extra__") or extra
        if isinstance(extra, str):
            extra = json.loads(extra)
        return bool(extra.get("operator_notifier"))
    except (ValueError, AttributeError):
        return False  # whoever connects with it says what is wrong


def _month(db: Database, here: Here) -> Check:
    """Did the month's run happen?"""
    tick = clock.last_tick(here.now)
    period = Period.containing(tick.date())
    due = f"{tick:%Y-%m-%d %H:%M}"
    found = db.execute(
        _SQL["month"],
        {
            "period": str(period),
            "first_day": period.first_day,
            "last_day": period.last_day,
            "before": here.now - PATIENCE,
        },
    ).fetchone()
    assert found is not None
    if found["is_opened"]:
        return Check("month", Fault("month_opened", period=period))
    if not found["has_leases"]:
        return Check("month", Fault("month_without_leases", period=period))
    if here.now - tick < PATIENCE:
        return Check("month", Fault("month_just_due", period=period, due=due))
    if not found["has_leases_for_long"]:
        # A new agency comes days after the tick, and whoever imported it is about to run its month.
        return Check("month", Fault("month_just_known", period=period))
    detail = Fault("month_missing", period=period, due=due)
    return Check("month", detail, Fault("month_missing_next", period=period), alarms=True)


def _cycles(db: Database, here: Here) -> Check:
    """Was every cycle closed that somebody opened?"""
    left_open = db.execute(_SQL["left_open"], {"before": here.now - PATIENCE}).fetchall()
    if not left_open:
        return Check("cycles", Fault("cycles_closed"))
    detail = Fault(
        "cycles_left_open",
        periods=", ".join(row["period"] for row in left_open),
        since=_moment(left_open[-1]["since"]),
    )
    return Check("cycles", detail, Fault("cycles_left_open_next"), alarms=True)


def _unbilled(db: Database, _here: Here) -> Check:
    """Is there rent of a month that ran, this one or of the last three, that nobody was billed?"""
    months = attention.unbilled(db)
    if not months:
        return Check("unbilled", Fault("leases_billed"))
    listed = "; ".join(
        f"{month.period}: {_first(month.leases[:MOST_NAMED], len(month.leases))}" for month in months
    )
    count = sum(len(month.leases) for month in months)
    detail = Fault("leases_unbilled", count=count, listing=listed)
    return Check("unbilled", detail, Fault("leases_unbilled_next", period=months[0].period))


def _series(db: Database, _here: Here) -> Check:
    """Does a series that is in use run out of numbers, or of days?"""
    needed = series.needed_next_month(db)
    found: list[Fault] = []
    for each in series.list_series(db):
        if not each.used_for:
            continue
        if each.left == 0 or each.days_left == 0:
            found.append(Fault("series_over", prefix=each.prefix))
            continue
        # Nobody knows how many credit notes a month needs.
        need = needed if each.used_for == "invoices" else 1
        if each.left is not None and (each.is_nearly_used_up or each.left < need):
            found.append(Fault("series_nearly_used_up", prefix=each.prefix, left=each.left, needed=need))
        if each.days_left is not None and each.days_left <= series.EXPIRES_SOON_DAYS:
            found.append(Fault("series_expires_soon", prefix=each.prefix, days=each.days_left))
    if not found:
        return Check("series", Fault("series_fine"))
    detail = Fault("series_running_out", series=found)
    return Check("series", detail, Fault("series_running_out_next"), alarms=True)


def _failed(db: Database, _here: Here) -> Check:
    """Is there a delivery that was refused, and that nobody gave up?"""
    return _deliveries("failed", attention.failed(db), Fault("deliveries_failed_next"))


def _in_doubt(db: Database, _here: Here) -> Check:
    """Is there a delivery whose outcome nobody learnt?"""
    return _deliveries("in_doubt", attention.in_doubt(db), Fault("deliveries_in_doubt_next"))


def _held(db: Database, _here: Here) -> Check:
    """Is there a hold that was not released?"""
    holds = attention.held(db)
    if not holds.count:
        return Check("held", Fault("holds_none"))
    listed = "; ".join(f"{each.period}: {each.tenant or '*'}" for each in holds.named)
    detail = Fault("holds_some", listing=listed + ("; …" if holds.count > len(holds.named) else ""))
    return Check("held", detail, Fault("holds_some_next"))


def _documents(db: Database, here: Here) -> Check:
    """Could a document be made of each invoice that nobody is mailed? No run fails with it: nobody else tells."""
    found = attention.unmade(db, here.now)
    if not found.count:
        return Check("documents", Fault("documents_made"))
    listed = _first([each.number for each in found.named], found.count)
    detail = Fault("documents_unmade", count=found.count, since=_moment(found.named[0].since), numbers=listed)
    return Check("documents", detail, Fault("documents_unmade_next"), alarms=True)


def _approvals(db: Database, here: Here) -> Check:
    """Does a month wait for a person to approve it? The operator is reminded once it waits for some hours."""
    waiting = attention.approvals(db)
    if not waiting:
        return Check("approvals", Fault("approvals_none"))
    after = datetime.timedelta(hours=current_settings(db).settings.approval_reminder_hours)
    detail = Fault("approvals_waiting", listing=_listed(waiting))
    is_late = any(here.now - each.since > after for each in waiting)
    return Check(
        "approvals", detail, Fault("approvals_waiting_next", period=waiting[0].period), alarms=is_late
    )


def _approval_deadline(db: Database, here: Here) -> Check:
    """Has a month waited for an approval until its deadline? Nothing leaves for that."""
    after = datetime.timedelta(hours=current_settings(db).settings.approval_deadline_hours)
    overdue = [each for each in attention.approvals(db) if here.now - each.since > after]
    if not overdue:
        return Check("approval_deadline", Fault("approvals_in_time"))
    detail = Fault("approvals_overdue", listing=_listed(overdue))
    next_step = Fault("approvals_waiting_next", period=overdue[0].period)
    return Check("approval_deadline", detail, next_step, alarms=True)


def _first(named: Sequence[object], count: int) -> str:
    """Those that are named, and whether there are more."""
    return ", ".join(map(str, named)) + (", …" if count > len(named) else "")


def _listed(waiting: Sequence[WaitingApproval]) -> str:
    return "; ".join(f"{each.period} ({_moment(each.since)})" for each in waiting[:MOST_NAMED])


def _unsent(db: Database, here: Here) -> Check:
    """Is there a delivery that may be sent, and that nobody tries to send?"""
    found = attention.unsent(db, here.now)
    return _deliveries("pending", found, Fault("deliveries_unsent_next"), name="unsent", alarms=True)


def _deliveries(
    state: str, found: Deliveries, next_step: Fault, *, name: str | None = None, alarms: bool = False
) -> Check:
    if not found.count:
        return Check(name or state, Fault("deliveries_none", state=state))
    listed = _first(found.ids, found.count)
    since = _moment(found.named[0].since)
    detail = Fault("deliveries_some", count=found.count, state=state, ids=listed, since=since)
    return Check(name or state, detail, next_step, alarms=alarms)


def _operator(db: Database, here: Here) -> Check:
    """Does anybody hear of it when something goes wrong?"""
    if is_unheard(current_settings(db).settings, lambda: here.has_notifier):
        return Check("operator", Fault("operator_unheard"), Fault("operator_unheard_next"))
    return Check("operator", Fault("operator_hears"))


def _journal(_db: Database, here: Here) -> Check:
    """Do outcomes wait on this host for the database?"""
    if here.journal_entries:
        detail = Fault("journal_waiting", count=here.journal_entries)
        return Check("journal", detail, Fault("journal_waiting_next"), alarms=True)
    return Check("journal", Fault("journal_empty"))


def _notices(db: Database, here: Here) -> Check:
    """Is there something that the operator was to be told, and was not?"""
    waiting = fetch_all(db, _Waiting, _SQL["unsent_notices"])
    count = len(waiting) + here.kept_notices
    if not count:
        return Check("notices", Fault("notices_sent"))
    problem = next((each.problem for each in waiting if each.problem), "-")
    return Check(
        "notices", Fault("notices_unsent", count=count, problem=problem), Fault("notices_unsent_next")
    )


def _renderer(found: CageReport | RenderFailedError) -> Check:
    """Could a template that breaks out of its sandbox read Airflow's keys, or reach the network?

    A layer that the kernel does not give is told of, and is nothing for a person to do while the others hold.
    """
    if isinstance(found, RenderFailedError):
        detail = Fault("renderer_not_started", reason=found)
        return Check("renderer", detail, Fault("renderer_not_started_next"))
    missing = [_WITHOUT[layer] for layer in found.missing]
    if found.reads_by_capability:
        missing.append(Fault("cage_reads_by_capability"))
    reach = [
        *([Fault("renderer_reads_parent")] if found.parent_is_open else []),
        *([Fault("renderer_reaches_network")] if found.network_is_open else []),
    ]
    if reach:
        detail = Fault("renderer_open", reach=reach, missing=missing)
        return Check("renderer", detail, Fault("renderer_open_next"))
    if missing:
        return Check("renderer", Fault("renderer_caged_in_part", missing=missing))
    return Check("renderer", Fault("renderer_caged"))


_WITHOUT = {
    USER: Fault("cage_without_user"),
    NETWORK: Fault("cage_without_network"),
    FILES: Fault("cage_without_files"),
    CALLS: Fault("cage_without_calls"),
}


@dataclass(frozen=True, slots=True)
class _Waiting:
    problem: str | None


def _roles(db: Database, _here: Here) -> Check:
    """Could the application empty its tables, or take out their guards?"""
    count = grants.owned_tables(db)
    if count:
        detail = Fault("roles_together", login=db.info.user, count=count)
        return Check("roles", detail, Fault("roles_together_next"))
    return Check("roles", Fault("roles_apart"))


# In the order in which they are told; one more is one more line.
_QUESTIONS: Sequence[Callable[[Database, Here], Check]] = (
    _month,
    _cycles,
    _unbilled,
    _series,
    _failed,
    _in_doubt,
    _unsent,
    _held,
    _documents,
    _approvals,
    _approval_deadline,
    _operator,
    _journal,
    _notices,
    _roles,
)


def _moment(instant: datetime.datetime) -> str:
    return f"{instant.astimezone(clock.zone()):%Y-%m-%d %H:%M}"
