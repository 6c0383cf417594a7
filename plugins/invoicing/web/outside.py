"""What the web app is given by whoever mounts it: in Airflow the plugin, in tests a fixture."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import NoReturn

from invoicing.domain.errors import WorkFailedError
from invoicing.domain.period import Period
from invoicing.mail.transmission import Relay
from invoicing.services.delivery.approvals import Answered, WaitingRun
from invoicing.services.delivery.archive import Archive
from invoicing.services.delivery.retries import Scheduler
from invoicing.web.door.visitor import Gate, Visitor


@dataclass(frozen=True, slots=True)
class Triggered:
    """A run of the month's DAG that Airflow was asked for.

    Args:
        is_paused: It waits until somebody unpauses the DAG.
    """

    dag_run_id: str
    is_paused: bool = False


def _tell_nobody(*_: object) -> None:
    raise WorkFailedError("airflow_absent")


def _run_nothing(_period: Period, _is_confirmed: bool, _by: str) -> Triggered:
    raise WorkFailedError("airflow_absent")


def _no_scheduler(_visitor: Visitor) -> NoReturn:
    raise WorkFailedError("airflow_absent")


@dataclass(frozen=True, slots=True)
class Outside:
    """The app's surroundings.

    Args:
        gate: Knows the users.
        secret: Of the installation; the key of the forms' tokens is derived from it.
        public_url: Where Airflow is seen from outside; may be empty.
        find_dsn: Gives the business database's connection string, when it is first needed.
        open_archive: Gives the archive of issued documents.
        open_relay: Connects to the mail relay, for a test message.
        relay_sender: The relay connection's own from-address, if it has one.
        has_notifier: Whether the relay's connection names a notifier of the operator's own.
        announce: Tells Airflow that there is something to send outside the monthly job.
        resume: Tells a run of Airflow's, which may be waiting for it, that a person answered, and who.
        scheduler: Airflow's own clear, in a person's name.
        run_month: Has Airflow run a month: which, whether it was confirmed, and who asks, as Airflow shows it.
    """

    gate: Gate
    secret: str
    public_url: str
    find_dsn: Callable[[], str]
    open_archive: Callable[[], Archive]
    open_relay: Callable[[], AbstractContextManager[Relay]]
    relay_sender: Callable[[], str | None]
    has_notifier: Callable[[], bool] = lambda: False
    announce: Callable[[], None] = _tell_nobody
    resume: Callable[[WaitingRun, Answered, Visitor], None] = _tell_nobody
    scheduler: Callable[[Visitor], Scheduler] = _no_scheduler
    run_month: Callable[[Period, bool, str], Triggered] = _run_nothing
