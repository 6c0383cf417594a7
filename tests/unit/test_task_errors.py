"""How a task ends that could not do its work: the log leads with the reason, and no retry is wasted."""

import logging
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.definitions.retry_policy import RetryAction

from invoicing.domain.delivery import Batch
from invoicing.domain.errors import InputError, InvoicingError, PermanentFailureError, TemporaryFailureError
from invoicing.on_airflow import tasks
from invoicing.on_airflow.tasks import (
    DAG_DEFAULTS,
    TaskRefusedError,
    batches_from_xcom,
    batches_to_xcom,
    mapped_batch,
    name_failed,
    task_errors,
)

UNSENT = {"unsent": 1, "all": 2, "listing": "delivery 7 is failed: 550 never"}


@pytest.mark.parametrize(
    ("error", "action"),
    [
        (PermanentFailureError("deliveries_unsent", **UNSENT), RetryAction.FAIL),
        (InputError("no_sender"), RetryAction.FAIL),
        (TemporaryFailureError("deliveries_unsent", **UNSENT), RetryAction.DEFAULT),
    ],
    ids=["permanent", "input", "temporary"],
)
def test_a_refusal_is_told_in_a_line_and_retried_only_where_that_helps(
    error: InvoicingError, action: RetryAction, caplog: pytest.LogCaptureFixture
) -> None:
    """`SystemExit` is the one exception whose traceback Airflow's task runner does not log."""
    with caplog.at_level(logging.ERROR), pytest.raises(SystemExit) as caught, task_errors():
        raise error

    assert [(record.getMessage(), record.exc_info) for record in caplog.records] == [(str(error), None)]
    refused = caught.value
    assert isinstance(refused, TaskRefusedError)
    # What the operator's notice quotes.
    assert str(refused) == str(error)
    assert refused.code == 1
    assert DAG_DEFAULTS["retry_policy"].evaluate(refused, 1, 6).action is action


def test_what_nobody_expected_keeps_its_traceback_and_its_retries() -> None:
    with pytest.raises(ZeroDivisionError), task_errors():
        raise ZeroDivisionError
    assert DAG_DEFAULTS["retry_policy"].evaluate(ZeroDivisionError(), 1, 6).action is RetryAction.DEFAULT


def test_a_batch_travels_between_tasks_as_it_is() -> None:
    batches = [Batch("T1 Ana", (1, 2)), Batch("T2 Luz", (3,), is_leftover=True)]
    assert batches_from_xcom(batches_to_xcom(batches)) == batches
    # Of a run that was under way when this was installed.
    assert batches_from_xcom([{"label": "T1 Ana", "delivery_ids": [1, 2]}]) == [batches[0]]


def test_a_square_says_who_of_its_batch_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    context: dict[str, Any] = {"ti": SimpleNamespace(rendered_map_index=None)}
    monkeypatch.setattr(tasks, "get_current_context", lambda: context)

    def named(label: str, ids: tuple[int, ...], failed: list[str]) -> str:
        (value,) = batches_to_xcom([Batch(label, ids)])
        name_failed(mapped_batch(value), failed)
        assert context["label"] == context["ti"].rendered_map_index
        return str(context["label"])

    assert named("T1 … T9 (9)", tuple(range(9)), ["T2", "T7"]) == "T1 … T9 (9) ✗ T2, T7"
    assert named("T1 … T9 (9)", tuple(range(9)), []) == "T1 … T9 (9)"
    assert named("T1 Ana", (1,), ["T1"]) == "T1 Ana"
    many = [f"T{number:060}" for number in range(9)]
    assert named("T1 … T9 (9)", tuple(range(9)), many).startswith(f"T1 … T9 (9) ✗ {many[0]}, ")
    assert len(str(context["label"])) == 250
