"""Where the embedded stack's tasks run: beside its scheduler, or with who takes them from a broker of the caller's."""

from pathlib import Path

import pytest

from invoicing.domain.errors import InputError
from invoicing.stack.airflow import _executor
from invoicing.stack.layout import Layout


def test_without_a_broker_tasks_run_beside_the_scheduler():
    for environ in ({}, {"INVOICING_BROKER": ""}):
        told = _executor(Layout.from_environment(environ))
        assert told == {"AIRFLOW__CORE__EXECUTOR": "invoicing.on_airflow.warm_executor.WarmLocalExecutor"}, (
            "and nothing is said of Celery"
        )


@pytest.mark.parametrize("url", ["redis://:p@127.0.0.1:6379/0", "rediss://redis.example/1"])
def test_with_a_broker_workers_of_celerys_take_them(url):
    told = _executor(Layout(Path("/s"), None, url))

    assert told["AIRFLOW__CELERY__BROKER_URL"] == url
    assert told["AIRFLOW__CORE__EXECUTOR"].endswith(".CeleryExecutor")


@pytest.mark.parametrize("text", ["127.0.0.1:6379", "amqp://:secret@host/", "redis://", "redis:///0"])
def test_what_is_no_redis_is_refused_before_anything_is_started(text):
    with pytest.raises(InputError, match="INVOICING_BROKER") as caught:
        Layout.from_environment({"INVOICING_BROKER": text, "INVOICING_PORT": "1234"})

    # It may have a password in it.
    assert "secret" not in str(caught.value)
