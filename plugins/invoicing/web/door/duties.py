"""The duties: what a visitor may be trusted with, and which of them each route needs.

A route says so below its own decorator: ``@needs(Duty.CHANGE_TENANTS)``. The doorkeeper asks before anything is read
or done; a route that says nothing is closed to everybody.
"""

from collections.abc import Callable, Collection
from enum import StrEnum
from typing import Any, TypeVar

from starlette.routing import BaseRoute, Match
from starlette.types import Scope

from invoicing.domain.names import MONTHLY_DAG
from invoicing.words.failures import Failure, Fault


class Duty(StrEnum):
    """What one may be trusted with; `invoicing.on_airflow.gate` says what grants it."""

    READ_AMOUNTS = "read_amounts"
    """Months, invoices' amounts, decisions, states, settings, templates. Nobody comes in without it."""
    READ_PERSONAL = "read_personal"
    """Tenants' names, documents and addresses; messages, PDFs, exports, previews with real tenants."""
    CHANGE_TENANTS = "change_tenants"
    """Tenants, new ones too, their leases and charges: what is billed to whom, and who gets mail."""
    CHANGE_SETTINGS = "change_settings"
    """Settings and templates, test messages included."""
    ACT_ON_DELIVERIES = "act_on_deliveries"
    """Resolve, send again, cancel, hold, approve; make a single invoice."""


READING = frozenset((Duty.READ_AMOUNTS, Duty.READ_PERSONAL))
CHANGING = frozenset(Duty) - READING

_Endpoint = TypeVar("_Endpoint", bound=Callable[..., Any])


class MissingDutyError(Exception):
    """What the visitor asks for needs a duty that is not theirs."""

    def __init__(self, duty: Duty) -> None:
        self.duty = duty
        super().__init__(duty)


def needs(*duties: Duty) -> Callable[[_Endpoint], _Endpoint]:
    """Declare the duties, all of them, that a route needs."""
    assert duties

    def declare(endpoint: _Endpoint) -> _Endpoint:
        endpoint.__dict__["duties"] = frozenset(duties)
        return endpoint

    return declare


def duties_of(route: BaseRoute) -> frozenset[Duty]:
    """What a route needs; nothing where it says nothing."""
    declared: frozenset[Duty] = getattr(getattr(route, "endpoint", None), "duties", frozenset())
    return declared


def duties_here(scope: Scope) -> frozenset[Duty] | None:
    """What the request's route needs; None where no route takes it: that is the router's to say."""
    for route in scope["app"].routes:
        match, _ = route.matches(scope)
        if match is Match.FULL:
            return duties_of(route)
    return None


def objection(needed: Collection[Duty], duties: Collection[Duty]) -> Failure | None:
    """Why somebody with ``duties`` may not have what needs ``needed``; None where they may."""
    if not needed:
        return Fault("route_closed")
    missing = next((duty for duty in Duty if duty in needed and duty not in duties), None)
    return None if missing is None else missing_duty(missing)


def missing_duty(duty: Duty) -> Failure:
    """Which duty is missing, and what grants it."""
    needed = _MISSING[duty]
    return (
        Fault("may_not_change", needed=needed) if duty in CHANGING else Fault("may_not_read", needed=needed)
    )


_MISSING = {
    Duty.READ_AMOUNTS: Fault("needs_read_amounts", dag=MONTHLY_DAG),
    Duty.READ_PERSONAL: Fault("needs_read_personal", dag=MONTHLY_DAG),
    Duty.CHANGE_TENANTS: Fault("needs_change_tenants", dag=MONTHLY_DAG),
    Duty.CHANGE_SETTINGS: Fault("needs_change_settings"),
    Duty.ACT_ON_DELIVERIES: Fault("needs_act_on_deliveries", dag=MONTHLY_DAG),
}
