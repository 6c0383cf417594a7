"""Airflow is told that there is something to send outside the monthly job."""

import logging

from fastapi import Request

log = logging.getLogger(__name__)


def announce(request: Request) -> bool:
    """Tell Airflow; whether it was told. What is to be sent is stored all the same: the next event makes up for it."""
    try:
        request.app.state.outside.announce()
    except Exception:
        log.exception("Airflow was not told that there is something to send")
        return False
    return True
