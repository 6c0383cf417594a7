"""The running task, as plain values of ours: its worker, its run, its period, its batch, its failures."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import timedelta
from typing import Any, TypeAlias

from airflow.sdk import get_current_context
from airflow.sdk.exceptions import AirflowFailException

from invoicing.domain.delivery import Batch
from invoicing.domain.errors import InputError, PermanentFailureError
from invoicing.domain.period import Period
from invoicing.domain.task_address import TaskAddress
from invoicing.services.agency import clock
from invoicing.services.delivery.ledger import Worker

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
