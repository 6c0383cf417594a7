"""The running task, as plain values of ours: its worker, its run, its period, its batch, its failures."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeAlias

from airflow.sdk import get_current_context
from airflow.sdk.exceptions import AirflowFailException

from invoicing.domain.delivery import Batch
from invoicing.domain.errors import InputError, PermanentFailureError
from invoicing.domain.task_address import TaskAddress
from invoicing.services.agency import clock
from invoicing.services.billing.runs import MonthWish
from invoicing.services.delivery.ledger import Worker

TIMEZONE = clock.TIMEZONE
SCHEDULE = clock.SCHEDULE

# Between a task's tries; doubled each time. Tests and impatient operators set it lower.
_RETRY_SECONDS = float(os.environ.get("INVOICING_RETRY_SECONDS", "30"))
DAG_DEFAULTS: dict[str, Any] = {
    "owner": "invoicing",
    "retries": 3,
    "retry_delay": timedelta(seconds=_RETRY_SECONDS),
    "retry_exponential_backoff": 2.0,
    "max_retry_delay": timedelta(seconds=30 * _RETRY_SECONDS),
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


def _text(value: object) -> str:
    return "" if value is None else str(value).strip()


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
    """Tell Airflow which failures a retry cannot fix: wrong input, and what needs a person."""
    try:
        yield
    except (InputError, PermanentFailureError) as error:
        raise AirflowFailException(str(error)) from error
