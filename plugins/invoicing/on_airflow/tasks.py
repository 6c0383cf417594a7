"""The running task, as plain values of ours: its worker, its run, its period, its batch, its failures."""

import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import timedelta
from typing import Any, TypeAlias

from airflow.sdk import RetryDecision, RetryPolicy, get_current_context

from invoicing.domain.delivery import Batch, DocumentBatch
from invoicing.domain.errors import InputError, InvoicingError, PermanentFailureError
from invoicing.domain.names import STARTED_BY
from invoicing.domain.task_address import TaskAddress
from invoicing.services.agency import clock
from invoicing.services.billing.runs import MonthWish, StartedVia, Starter
from invoicing.services.delivery.ledger import Worker

TIMEZONE = clock.TIMEZONE
SCHEDULE = clock.SCHEDULE

log = logging.getLogger(__name__)

_MOST_NAMED = 5
# Airflow's column.
_LONGEST_NAME = 250


class _NoRetryOfRefusals(RetryPolicy):
    """What no retry can fix fails at once; everything else as usual."""

    def evaluate(
        self,
        exception: BaseException,
        try_number: int,  # noqa: ARG002 (Airflow's)
        max_tries: int,  # noqa: ARG002
        context: Any = None,  # noqa: ARG002
    ) -> RetryDecision:
        """Decide on a failed try."""
        if isinstance(exception, TaskRefusedError) and exception.is_final:
            return RetryDecision.fail("a person has to act first")
        return RetryDecision.default()


# Between a task's tries; doubled each time. Tests and impatient operators set it lower.
_RETRY_SECONDS = float(os.environ.get("INVOICING_RETRY_SECONDS", "30"))
DAG_DEFAULTS: dict[str, Any] = {
    "owner": "invoicing",
    "retries": 3,
    "retry_delay": timedelta(seconds=_RETRY_SECONDS),
    "retry_exponential_backoff": 2.0,
    "max_retry_delay": timedelta(seconds=30 * _RETRY_SECONDS),
    "retry_policy": _NoRetryOfRefusals(),
}
# What a run cannot begin, or send, without: the database and the relay may be away for hours. About three and a half.
SETUP_RETRIES: dict[str, Any] = {"retries": 12, "max_retry_delay": timedelta(seconds=60 * _RETRY_SECONDS)}


def current_worker() -> Worker:
    """The running task instance."""
    instance: Any = get_current_context()["ti"]
    address = TaskAddress(instance.dag_id, instance.run_id, instance.task_id, instance.map_index)
    # Airflow raises max_tries when a person clears the instance, and leaves it alone for its own retries.
    return Worker(
        address,
        f"{address}/{instance.max_tries}",
        f"{address} try {instance.try_number}",
        is_repeated=instance.max_tries > instance.task.retries,
    )


def current_dag_run() -> tuple[str, str]:
    """DAG id and run id."""
    run: Any = get_current_context()["dag_run"]
    return run.dag_id, run.run_id


def current_wish() -> MonthWish:
    """What the running DAG run was told of its month: by its partition key and by its params."""
    context: Any = get_current_context()
    params = context["params"]
    return MonthWish(
        partition_key=_text(getattr(context["dag_run"], "partition_key", None)),
        period=_text(params.get("period")),
        confirmed=_text(params.get("confirm_month")),
    )


def current_starter() -> Starter:
    """Who started the running DAG run, as Airflow knows it; of the command line, also which user of its host."""
    return starter_of(get_current_context()["dag_run"])


def starter_of(dag_run: Any) -> Starter:
    """Who started ``dag_run``, which is as a task sees it."""
    kind = str(getattr(dag_run.run_type, "value", dag_run.run_type))
    user = _text(getattr(dag_run, "triggering_user_name", None))
    typed = (getattr(dag_run, "conf", None) or {}).get(STARTED_BY)
    if kind == "manual" and isinstance(typed, str) and typed.strip():
        # Whoever may trigger runs may write it: Airflow's own user stands beside it.
        return Starter("command", f"{typed.strip()[:100]}, {user}" if user else typed.strip()[:100])
    return Starter(_VIA.get(kind), user)


_VIA: dict[str, StartedVia] = {
    "scheduled": "schedule",
    "backfill": "backfill",
    "manual": "airflow",
    "asset_triggered": "asset",
    "operator_triggered": "airflow",
}


def _text(value: object) -> str:
    return "" if value is None else str(value).strip()


# A batch as it travels between tasks: ``{"label": …, "delivery_ids": […], "is_leftover": …}``. Ids only: no body and no
# address.
MappedBatch: TypeAlias = dict[str, Any]


def batches_to_xcom(batches: list[Batch]) -> list[MappedBatch]:
    """Batches as plain JSON, one mapped task instance each."""
    return [{**asdict(batch), "delivery_ids": list(batch.delivery_ids)} for batch in batches]


def batches_from_xcom(values: list[MappedBatch]) -> list[Batch]:
    """The inverse of `batches_to_xcom`."""
    # A run that was under way when this code was installed has batches without the newer keys.
    return [Batch(**{**value, "delivery_ids": tuple(value["delivery_ids"])}) for value in values]


def documents_to_xcom(batches: list[DocumentBatch]) -> list[MappedBatch]:
    """The same of documents: ``{"label": …, "invoice_ids": […]}``."""
    return [{**asdict(batch), "invoice_ids": list(batch.invoice_ids)} for batch in batches]


def mapped_batch(value: MappedBatch) -> Batch:
    """The batch of the running task instance; its label becomes the instance's name in the UI."""
    _name_instance(value["label"])
    (batch,) = batches_from_xcom([value])
    return batch


def mapped_documents(value: MappedBatch) -> DocumentBatch:
    """The same, of a task that makes documents."""
    _name_instance(value["label"])
    return DocumentBatch(value["label"], tuple(value["invoice_ids"]))


def name_failed(batch: Batch | DocumentBatch, names: Sequence[str]) -> None:
    """Say in the name of the running instance what of its batch failed; a batch of one is named after it anyway."""
    members = batch.delivery_ids if isinstance(batch, Batch) else batch.invoice_ids
    if len(members) > 1 and names:
        others = f" +{len(names) - _MOST_NAMED}" if len(names) > _MOST_NAMED else ""
        _name_instance(f"{batch.label} ✗ {', '.join(names[:_MOST_NAMED])}{others}"[:_LONGEST_NAME])


def _name_instance(label: str) -> None:
    context: Any = get_current_context()
    # Airflow renders the name again when a task has ended, but not when it ends by `TaskRefusedError`.
    context["label"] = context["ti"].rendered_map_index = label


class TaskRefusedError(SystemExit):
    """A task ends for a reason that a person can read. Airflow logs the traceback of every exception but this kind.

    Args:
        reason: In words.
        is_final: No retry can help.
    """

    def __init__(self, reason: str, *, is_final: bool) -> None:
        super().__init__(1)
        self.is_final = is_final
        self._reason = reason

    def __str__(self) -> str:
        return self._reason


@contextmanager
def task_errors() -> Iterator[None]:
    """Have the log lead with the reason of a failure of ours, and tell Airflow which ones a retry cannot fix.

    Those are wrong input, and what needs a person.
    """
    try:
        yield
    except InvoicingError as error:
        log.error("%s", error)
        is_final = isinstance(error, InputError | PermanentFailureError)
        raise TaskRefusedError(str(error), is_final=is_final) from None
