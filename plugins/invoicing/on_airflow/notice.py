"""The operator is told when something needs a person: what the DAGs call."""

import logging
from typing import Any

log = logging.getLogger(__name__)


def notify_operator(context: Any) -> None:
    """Tell the operator that a run needs a person; whatever goes wrong with that is logged and no more."""
    try:
        from invoicing.on_airflow.telling import tell_of_run

        tell_of_run(context)
    except Exception:
        log.exception("the operator could not be notified; the run is not affected")


def tell_operator() -> dict[str, int]:
    """Tell the operator what no run tells, and what could not be told before; returns how many of each."""
    from airflow.sdk import get_current_context

    from invoicing.on_airflow.telling import raise_alarms

    return raise_alarms(get_current_context())
