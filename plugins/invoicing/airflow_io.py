"""The only module that knows Airflow: what a task needs of it, as plain values of ours."""

import logging
import os
import pkgutil
import smtplib
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeAlias

from airflow.providers.smtp.hooks.smtp import SmtpHook
from airflow.sdk import BaseHook, Connection, ObjectStoragePath, TriggerRule, get_current_context, task
from airflow.sdk.exceptions import AirflowFailException, AirflowNotFoundException

from invoicing.db.connection import Database, connect, dsn_from_parts
from invoicing.domain.address import problem
from invoicing.domain.delivery import Batch, merge_for_rendering
from invoicing.domain.errors import InputError, PermanentFailureError
from invoicing.domain.period import Period
from invoicing.mail.conversation import BoundedSMTP, BoundedSMTPS
from invoicing.mail.transmission import Relay, RelayMisconfiguredError
from invoicing.services import clock
from invoicing.services.archive import Archive
from invoicing.services.deliver import Worker
from invoicing.services.journal import Journal, wait_for_disk

log = logging.getLogger(__name__)

DATABASE_CONNECTION = "invoicing_db"
RELAY_CONNECTION = "invoicing_smtp"

TIMEZONE = clock.TIMEZONE

# Between a task's tries; doubled each time. Tests and impatient operators set it lower.
_RETRY_SECONDS = float(os.environ.get("INVOICING_RETRY_SECONDS", "30"))
DAG_DEFAULTS: dict[str, Any] = {
    "owner": "invoicing",
    "retries": 3,
    "retry_delay": timedelta(seconds=_RETRY_SECONDS),
    "retry_exponential_backoff": 2.0,
    "max_retry_delay": timedelta(seconds=30 * _RETRY_SECONDS),
}


@contextmanager
def open_database() -> Iterator[Database]:
    """The business database, by the Airflow connection ``invoicing_db``."""
    found = _connection(DATABASE_CONNECTION)
    dsn = dsn_from_parts(
        found.host, found.port, found.login, found.password, found.schema, found.extra_dejson
    )
    with connect(dsn) as db:
        yield db


def _connection(name: str) -> Connection:
    try:
        return BaseHook.get_connection(name)
    except AirflowNotFoundException:
        raise PermanentFailureError(
            f"there is no Airflow connection {name}: add it in Airflow, or set AIRFLOW_CONN_{name.upper()}"
        ) from None


class _OurClientHook(SmtpHook):
    """The provider's connection handling and authentication, around a client that keeps its deadlines."""

    def _build_client(self) -> smtplib.SMTP:
        client = BoundedSMTPS if self.use_ssl else BoundedSMTP
        return client(**self._build_client_kwargs(is_async=False))

    @property
    def use_ssl(self) -> bool:
        """TLS from the first byte, unless the extra ``disable_ssl`` says otherwise."""
        return not self._flag("disable_ssl")

    @property
    def smtp_starttls(self) -> bool:
        """STARTTLS, unless the extra ``disable_tls`` says otherwise."""
        return not self._flag("disable_tls")

    def _flag(self, name: str) -> bool:
        # The provider takes any text for true, "false" too, as a connection given as a URI has it: a password
        # would go in clear text.
        value = str(self.conn.extra_dejson.get(name, "")).strip().lower()
        if value in ("true", "yes", "1", "on"):
            return True
        if value in ("false", "no", "0", "off", "none", ""):
            return False
        raise RelayMisconfiguredError(
            f"the connection invoicing_smtp: extra {name} is {value!r}, neither true nor false"
        )

    @property
    def smtp_retry_limit(self) -> int:
        """None: Airflow retries the task; six connections in a row would hold a worker for minutes."""
        return 0


@contextmanager
def open_relay(messages_per_connection: int = 1) -> Iterator[Relay]:
    """The mail relay, by the Airflow connection ``invoicing_smtp``; connected when it is first used."""
    found = _connection(RELAY_CONNECTION)

    def connect_client() -> smtplib.SMTP:
        # A hook of its own for each: one keeps its client, and an OAuth2 token that may be over by now.
        client = _OurClientHook(smtp_conn_id=RELAY_CONNECTION).get_conn()._smtp_client  # noqa: SLF001
        if not isinstance(client, smtplib.SMTP):
            raise RelayMisconfiguredError("the connection invoicing_smtp gave no SMTP client")
        return client

    with Relay(
        connect_client,
        host=found.host or "",
        port=found.port or 0,
        messages_per_connection=messages_per_connection,
        acceptance_timeout_seconds=float(found.extra_dejson.get("acceptance_timeout", 600)),
    ) as relay:
        yield relay


def relay_sender() -> str:
    """Who sends where the settings name nobody: the connection's from-address, else its login.

    Else ``invoicing@`` this host, as mail of a Unix machine does: it works with a relay of one's own and is
    refused, loudly, by one that checks its senders.
    """
    found = _connection(RELAY_CONNECTION)
    for address in (found.extra_dejson.get("from_email"), found.login):
        if address and problem(str(address)) is None:
            return str(address)
    host = socket.getfqdn()
    sender = f"invoicing@{host if '.' in host else f'{host}.localdomain'}"
    if problem(sender) is not None:
        sender = "invoicing@localhost.localdomain"
    log.warning("no sender is set, mail goes out as %s: bin/invoicing settings set from_email=…", sender)
    return sender


class ObjectStorageArchive:
    """Documents under ``INVOICING_ARCHIVE``, any URL that `ObjectStoragePath` knows."""

    def __init__(self, root: str) -> None:
        self._root = ObjectStoragePath(root)

    def store(self, name: str, content: bytes) -> str:
        """Keep ``content`` under ``name``; on a local disk, wait until the disk has it."""
        path = self._root / name
        if path.protocol in ("", "file"):
            _store_locally(Path(path.path), content)
        else:
            path.write_bytes(content)
        return str(path)

    def fetch(self, uri: str) -> bytes:
        """The bytes at ``uri``."""
        try:
            content = ObjectStoragePath(uri).read_bytes()
        except OSError:
            raise
        except Exception as error:
            # Each store has errors of its own; one document that cannot be read must not stop its batch.
            raise OSError(f"{type(error).__name__}: {error}") from error
        assert isinstance(content, bytes)
        return content


def _store_locally(path: Path, content: bytes) -> None:
    """Written whole or not at all: a full disk or a crash leaves no truncated document under its name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with draft.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
        wait_for_disk(path.parent)
    finally:
        draft.unlink(missing_ok=True)


def open_archive() -> Archive:
    """The archive of issued documents."""
    root = os.environ.get("INVOICING_ARCHIVE") or f"file://{_state_folder() / 'archive'}"
    return ObjectStorageArchive(root)


def open_journal() -> Journal:
    """Where this machine's workers keep outcomes that the database could not take."""
    return Journal(Path(os.environ.get("INVOICING_JOURNAL") or _state_folder() / "journal"))


def _state_folder() -> Path:
    return Path(os.environ.get("INVOICING_STATE", "var")).absolute()


def current_worker() -> Worker:
    """The running task instance."""
    instance: Any = get_current_context()["ti"]
    owner = f"{instance.dag_id}/{instance.run_id}/{instance.task_id}/{instance.map_index}"
    # Airflow raises max_tries when a person clears the instance, and leaves it alone for its own retries.
    return Worker(owner, f"{owner}/{instance.max_tries}", f"{owner} try {instance.try_number}")


def current_dag_run() -> tuple[str, str]:
    """DAG id and run id."""
    run: Any = get_current_context()["dag_run"]
    return run.dag_id, run.run_id


def current_period() -> Period:
    """The period of the running DAG run.

    The partition key; else the param ``period``; else the month of the run's ``run_after`` in the agency's
    time zone. Never the clock: a run that is cleared in another month bills the same one.
    """
    context: Any = get_current_context()
    run = context["dag_run"]
    given = getattr(run, "partition_key", None) or context["params"].get("period")
    if given:
        return Period.parse(str(given))
    return Period.containing(run.run_after.astimezone(clock.zone()).date())


# A batch as it travels between tasks: ``{"label": …, "delivery_ids": […]}``. Ids only: no body, no address.
MappedBatch: TypeAlias = dict[str, Any]


def batches_to_xcom(batches: list[Batch]) -> list[MappedBatch]:
    """Batches as plain JSON, one mapped task instance each."""
    return [{"label": batch.label, "delivery_ids": list(batch.delivery_ids)} for batch in batches]


def batches_from_xcom(values: list[MappedBatch]) -> list[Batch]:
    """The inverse of `batches_to_xcom`."""
    return [Batch(value["label"], tuple(value["delivery_ids"])) for value in values]


def mapped_batch(value: MappedBatch) -> Batch:
    """The batch of the running task instance; its label becomes the instance's name in the UI."""
    context: Any = get_current_context()
    context["label"] = value["label"]
    (batch,) = batches_from_xcom([value])
    return batch


@contextmanager
def task_errors() -> Iterator[None]:
    """Tell Airflow which failures a retry cannot mend: wrong input, and what needs a person."""
    try:
        yield
    except (InputError, PermanentFailureError) as error:
        raise AirflowFailException(str(error)) from error


def notify_operator(context: Any) -> None:
    """Tell the operator that a run needs a person; whatever goes wrong with that is logged and no more.

    By the notifier that the connection ``invoicing_smtp`` names in its extra (``operator_notifier``, a class
    path, with ``operator_notifier_options``), else by mail to the setting ``operator_email``.
    """
    try:
        from airflow.providers.smtp.notifications.smtp import SmtpNotifier

        from invoicing.rendering.notice import render_notice
        from invoicing.services import settings as settings_service

        extra = BaseHook.get_connection(RELAY_CONNECTION).extra_dejson
        with open_database() as db:
            settings = settings_service.current_settings(db).settings
        if extra.get("operator_notifier"):
            notifier = pkgutil.resolve_name(extra["operator_notifier"])(
                **extra.get("operator_notifier_options", {})
            )
        elif settings.operator_email:
            run = context["dag_run"]
            notifier = SmtpNotifier(
                to=settings.operator_email,
                from_email=settings.from_email or relay_sender(),
                subject=f"Facturación: la ejecución {run.run_id} necesita atención",
                html_content=render_notice(
                    dag=run.dag_id,
                    run=run.run_id,
                    period=getattr(run, "partition_key", None),
                    reason=str(context.get("exception") or ""),
                    url=context["ti"].log_url,
                ),
                smtp_conn_id=RELAY_CONNECTION,
            )
        else:
            return
        notifier.notify(context)
    except Exception:
        log.exception("the operator could not be notified; the run is not affected")


def deliver_batches(batches: Any, cycle_run: Any) -> Any:
    """Wire what every DAG that sends has in common: render, check the relay, send.

    Args:
        batches: Output of the task that selected them: a list of `MappedBatch`.
        cycle_run: Output of the task that opened the run: its id.

    Returns:
        The last task, to be followed by the one that closes the run.
    """

    @task
    def plan_rendering(batches: list[MappedBatch]) -> list[MappedBatch]:
        """Share out the documents to be rendered: one rendering process serves some twenty tenants."""
        return batches_to_xcom(merge_for_rendering(batches_from_xcom(batches)))

    @task(pool="render", map_index_template="{{ label }}")
    def render_invoices(batch: MappedBatch, cycle_run: int) -> int:
        """Render the PDFs that the batch's deliveries lack, and keep them in the archive."""
        from invoicing.services import render

        with task_errors(), open_database() as db:
            return render.render_batch(db, open_archive(), cycle_run, mapped_batch(batch))

    # A document that could not be rendered costs its own tenant the mail; the others go on.
    @task(trigger_rule=TriggerRule.ALL_DONE_MIN_ONE_SUCCESS)
    def check_mail_server(batches: list[MappedBatch]) -> None:
        """Connect and log in once: what is wrong with the set-up must not cost any delivery an attempt."""
        from invoicing.services import deliver

        if batches:
            with task_errors(), open_database() as db, open_relay() as relay:
                deliver.check_relay(db, relay, sender=relay_sender())

    @task(pool="smtp", retries=5, map_index_template="{{ label }}")
    def send_invoices(batch: MappedBatch, cycle_run: int) -> dict[str, int]:
        """Send what is still to be sent in the batch. Safe to repeat: the ledger knows what was accepted."""
        from invoicing.services import cycles, deliver

        with task_errors(), open_database() as db:
            settings = cycles.load_run(db, cycle_run).settings.settings
            with open_relay(settings.messages_per_connection) as relay:
                return deliver.send_batch(
                    db,
                    relay,
                    open_archive(),
                    open_journal(),
                    mapped_batch(batch),
                    current_worker(),
                    sender=relay_sender(),
                )

    rendered = render_invoices.partial(cycle_run=cycle_run).expand(batch=plan_rendering(batches))
    sent = send_invoices.partial(cycle_run=cycle_run).expand(batch=batches)
    rendered >> check_mail_server(batches) >> sent
    return sent
