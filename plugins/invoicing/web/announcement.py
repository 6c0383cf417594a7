"""Airflow is told: that there is something to send outside the monthly job, that a run need not wait any more."""

import logging

from fastapi import Request

from invoicing.services.delivery.approvals import Answered
from invoicing.web.door.visitor import Visitor

log = logging.getLogger(__name__)


def announce(request: Request) -> bool:
    """Tell Airflow; whether it was told. What is to be sent is stored all the same: the next event makes up for it."""
    try:
        request.app.state.outside.announce()
    except Exception:
        log.exception("Airflow was not told that there is something to send")
        return False
    return True


def tell_waiting(request: Request, answered: Answered, visitor: Visitor) -> bool:
    """Tell Airflow's waiting runs what was answered; whether each that waits was told.

    The answer is stored all the same: a run that was not told looks for itself, within minutes.
    """
    told = True
    for run in answered.runs:
        try:
            request.app.state.outside.resume(run, answered, visitor)
        except Exception:
            log.exception("Airflow was not told of the answer to run %s", run.dag_run_id)
            told = False
    return told
