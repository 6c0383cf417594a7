"""A DAG run's work: opened with a snapshot of settings and template, stage by stage."""

import logging
import os
import re
from dataclasses import dataclass, replace
from typing import Any, Literal

from psycopg.types.json import Jsonb

import invoicing
from invoicing.db.connection import Database
from invoicing.db.statements import beside
from invoicing.domain.errors import InputError, NotFoundError
from invoicing.domain.period import Period
from invoicing.services.agency import clock
from invoicing.services.agency import settings as settings_service
from invoicing.services.agency.templates import TemplateVersion, current_template, template_version

log = logging.getLogger(__name__)

_SQL = beside(__file__)

_LONGEST_NAME = 200

Stage = Literal["generated", "counted", "decided"]


@dataclass(frozen=True, slots=True)
class MonthWish:
    """What a DAG run was told of the month that it bills, as typed; empty where it was not told.

    Args:
        partition_key: Airflow's, ``YYYY-MM``: scheduled runs, backfills and the command line give it.
        period: The param, ``YYYY-MM``: the field of Airflow's form.
        confirmed: The param ``confirm_month``: the month once more, or several (those of a backfill) with commas.
    """

    partition_key: str = ""
    period: str = ""
    confirmed: str = ""


StartedVia = Literal["schedule", "backfill", "airflow", "command", "asset"]


@dataclass(frozen=True, slots=True)
class Starter:
    """Who started a DAG run.

    Args:
        via: The schedule, a backfill, a person in Airflow or on the pages, the command line, an event of an asset;
            None where nobody told.
        name: Of the person; empty where none did.
    """

    via: StartedVia | None = None
    name: str = ""


UNTOLD = Starter()
"""Nobody said who started it."""


@dataclass(frozen=True, slots=True)
class Run:
    """One DAG run's work, with the snapshot it took when it opened.

    Args:
        cycle_id: None, as is ``period``, for a run that sends single invoices.
    """

    id: int
    cycle_id: int | None
    period: Period | None
    dag_id: str
    dag_run_id: str
    settings: settings_service.SettingsVersion
    template: TemplateVersion

    @property
    def name(self) -> str:
        """As the ledger names it where the run itself acts."""
        return f"{self.dag_id}/{self.dag_run_id}"


def open_month(
    db: Database, *, dag_id: str, dag_run_id: str, wish: MonthWish, starter: Starter = UNTOLD
) -> int:
    """Settle which month a DAG run bills, and open it (`open_run`).

    A run that was told no month bills the one that it opened before: never the clock's. A month other than this one
    or the next (docs/contract.md, section 5), not yet opened, has to be confirmed.

    Raises:
        InputError: It was told no month, or two; or the month is not the one it opened before; or it has to be
            confirmed and is not, or another one is. Nothing was changed.
    """
    period = _settle(db, dag_id, dag_run_id, wish)
    confirmed = [Period.parse(month) for month in re.split(r"[,;\s]+", wish.confirmed) if month]
    if confirmed and period not in confirmed:
        raise InputError("month_confirmed_differs", period=period, confirmed=", ".join(map(str, confirmed)))
    is_open = is_opened(db, period)
    if not is_open and not confirmed and not period.is_near(clock.today()):
        raise InputError("month_unconfirmed", period=period, today=clock.today())
    if is_open and confirmed:
        log.info("month %s was opened before: there was nothing to confirm", period)
    return open_run(db, dag_id=dag_id, dag_run_id=dag_run_id, period=period, starter=starter)


def is_opened(db: Database, period: Period) -> bool:
    """Whether a run has opened the month's cycle."""
    return db.execute(_SQL["find_cycle"], {"period": str(period)}).fetchone() is not None


def _settle(db: Database, dag_id: str, dag_run_id: str, wish: MonthWish) -> Period:
    told = [Period.parse(text) for text in (wish.partition_key, wish.period) if text]
    before = _period_before(db, dag_id, dag_run_id)
    if len(set(told)) > 1:
        raise InputError("month_given_twice", partition_key=told[0], period=told[1])
    if told:
        return told[0]
    if before is None:
        raise InputError("month_not_given")
    log.warning("the run is told no month any more: it goes on with %s, which it opened before", before)
    return before


def _period_before(db: Database, dag_id: str, dag_run_id: str) -> Period | None:
    """The month that the DAG run opened before, where it did."""
    row = db.execute(_SQL["period_of_dag_run"], {"dag_id": dag_id, "dag_run_id": dag_run_id}).fetchone()
    return Period.parse(row["period"]) if row else None


def open_run(
    db: Database, *, dag_id: str, dag_run_id: str, period: Period | None, starter: Starter = UNTOLD
) -> int:
    """Open the cycle of ``period`` and take the snapshot of settings and template that the run will use.

    Args:
        period: None for a run that sends single invoices.
        starter: Kept from its first opening: clearing a run does not start it.

    Returns:
        The run's id; the same one when the DAG run is repeated.

    Raises:
        InputError: The DAG run opened another month before. Nothing was changed.
    """
    snapshot = settings_service.current_settings(db)
    template = current_template(db, snapshot.settings.template)
    with db.transaction():
        before = _period_before(db, dag_id, dag_run_id)
        if before is not None and before != period:
            raise InputError("run_of_another_month", dag_run_id=dag_run_id, before=before, period=period)
        cycle_id = None
        if period is not None:
            row = db.execute(_SQL["open_cycle"], {"period": str(period)}).fetchone()
            assert row is not None
            cycle_id = row["id"]
        row = db.execute(
            _SQL["open_run"],
            {
                "cycle_id": cycle_id,
                "dag_id": dag_id,
                "dag_run_id": dag_run_id,
                "settings_version_id": snapshot.id,
                "template_version_id": template.id,
                "code_version": code_version(),
                "started_via": starter.via,
                "started_by": starter.name[:_LONGEST_NAME],
            },
        ).fetchone()
        assert row is not None
    return int(row["id"])


def load_run(db: Database, run_id: int | None) -> Run:
    """The run with its snapshot; raises `NotFoundError`, also for the None of a run that never opened."""
    if run_id is None:
        raise NotFoundError("run_never_opened")
    row = db.execute(_SQL["load_run"], {"run_id": run_id}).fetchone()
    if row is None:
        raise NotFoundError("run_not_in_database", run=run_id)
    return Run(
        id=row["id"],
        cycle_id=row["cycle_id"],
        period=Period.parse(row["period"]) if row["period"] else None,
        dag_id=row["dag_id"],
        dag_run_id=row["dag_run_id"],
        settings=settings_service.settings_version(db, row["settings_version_id"]),
        template=template_version(db, row["template_version_id"]),
    )


def find_run(db: Database, dag_id: str, dag_run_id: str) -> int | None:
    """The id of what a DAG run opened; None where it opened nothing."""
    row = db.execute(_SQL["find_run"], {"dag_id": dag_id, "dag_run_id": dag_run_id}).fetchone()
    return None if row is None else int(row["id"])


def as_of_today(db: Database, run: Run) -> Run:
    """The run with the settings and template of today in place of its snapshot."""
    settings = settings_service.current_settings(db)
    return replace(run, settings=settings, template=current_template(db, settings.settings.template))


def lock(db: Database, run: Run) -> None:
    """Take turns with other runs of the same cycle until the caller's transaction ends."""
    if run.cycle_id is None:
        lock_single_invoices(db)
    else:
        db.execute(_SQL["lock_cycle"], {"cycle_id": run.cycle_id})


def lock_month(db: Database, period: Period) -> int | None:
    """Take turns with runs of ``period`` until the caller's transaction ends; its cycle's id, None without one."""
    row = db.execute(_SQL["lock_month"], {"period": str(period)}).fetchone()
    return None if row is None else int(row["id"])


def lock_single_invoices(db: Database) -> None:
    """Take turns with others that make single invoices or decide on them, until the caller's transaction ends."""
    db.execute(_SQL["lock_single_invoices"])


def finish_stage(db: Database, run: Run, stage: Stage, counts: dict[str, Any]) -> None:
    """Keep that the run has finished ``stage``, and its counts; bring the statistics of what it wrote up to date."""
    db.execute(_SQL["analyze"], {"stage": stage})
    finished = {"run_id": run.id, "counts": Jsonb(counts)}
    match stage:
        case "generated":
            db.execute(_SQL["finish_generating"], finished)
        case "counted":
            db.execute(_SQL["finish_counting"], finished)
        case "decided":
            db.execute(_SQL["finish_deciding"], finished)


def is_sending_disabled(db: Database, run_id: int) -> bool:
    """The global rule, of the run's snapshot."""
    return not load_run(db, run_id).settings.settings.auto_send


def code_version() -> str:
    """The version of the code, and the revision it was built from where the deployment tells."""
    revision = os.environ.get("INVOICING_REVISION", "")
    return f"{invoicing.__version__}+{revision}" if revision else invoicing.__version__
