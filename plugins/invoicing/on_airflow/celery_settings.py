"""Celery's settings, where tasks go to workers of their own (``[celery] celery_config_options``)."""

from typing import Any

from airflow.providers.celery.executors.default_celery import DEFAULT_CELERY_CONFIG

CELERY_CONFIG: dict[str, Any] = {
    **DEFAULT_CELERY_CONFIG,
    # Read by a worker before it forks, and by nobody else.
    "imports": ["invoicing.on_airflow.warm_worker"],
    # A broker that is away is tried again until Airflow ends the attempt, after a second (operation_timeout). That it
    # comes back to, `task_publish_max_retries` times; what ends by itself is the task's failure, at once.
    "task_publish_retry_policy": {
        "max_retries": None,
        "interval_start": 0.1,
        "interval_step": 0.1,
        "interval_max": 0.5,
    },
}
