"""Airflow's LocalExecutor, whose processes have imported beforehand what our tasks import."""

import importlib
import logging
import os

from airflow.executors.local_executor import LocalExecutor

log = logging.getLogger(__name__)

# What a task would begin with: of its half a second of processor's time, nearly all is imports. What they import in
# their turn comes along.
_OF_TASKS = (
    "airflow.dag_processing.dagbag",
    "airflow.providers.smtp.hooks.smtp",
    "airflow.providers.standard.decorators.branch_python",
    "airflow.providers.standard.decorators.python",
    "airflow.providers.standard.decorators.short_circuit",
    "airflow.sdk.definitions.decorators.condition",
    "airflow.sdk.execution_time.task_runner",
    "invoicing.on_airflow.approving",
    "invoicing.on_airflow.metrics",
    "invoicing.on_airflow.notice",
    "invoicing.on_airflow.wiring",
    "invoicing.services.audit.history",
    "invoicing.services.billing.count",
    "invoicing.services.billing.generate",
    "invoicing.services.delivery.approvals",
    "invoicing.services.delivery.closing",
    "invoicing.services.delivery.deliver",
    "invoicing.services.delivery.render",
    "invoicing.services.delivery.select",
    "invoicing.services.delivery.sweep",
    "pandas",
    "upath.implementations.local",
)


class WarmLocalExecutor(LocalExecutor):
    """Imports once, in the scheduler, what its workers have from then on by being forked.

    Code that is changed is seen by tasks when the scheduler is started anew; DAG files are read by each task.
    """

    def start(self) -> None:
        """Import, then fork the workers."""
        warm_up()
        super().start()


def warm_up() -> None:
    """Import what tasks import. What cannot be imported is each task's to fail by, and to tell of."""
    # Threads of a library's would not come along when a worker is forked; nothing here computes with matrices.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    for name in _OF_TASKS:
        try:
            importlib.import_module(name)
        except Exception:
            log.exception("%s cannot be imported: tasks begin without it", name)
