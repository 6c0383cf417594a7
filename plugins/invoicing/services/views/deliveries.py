"""Deliveries as people look at them: one with all that happened to it, and those outside of the months."""

import datetime
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from invoicing.db.connection import Database
from invoicing.db.statements import beside, fetch_all, fetch_page
from invoicing.domain.discretion import Personal, Said
from invoicing.domain.errors import NotFoundError
from invoicing.domain.refusal import refusal_of
from invoicing.services.agency.searching import patterns

_SQL = beside(__file__)
_LARGEST_ID = 2**62


@dataclass(frozen=True, slots=True)
class Event:
    """One step of a delivery from state to state; ``from_state`` is None for its making."""

    delivery_id: int
    at: datetime.datetime
    from_state: str | None
    to_state: str
    actor: str
    reason: Said[str | None]
    reply: Said[str | None]


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt to transmit a delivery.

    Args:
        claimed_by: The task instance, as `TaskAddress` writes it.
        marked_at: When the payload was about to leave; None where it never came to that.
        verdict: None where it is not known: the worker died.
        phase: How far it got.
        code: The relay's.
    """

    delivery_id: int
    claimed_by: str
    host: str
    started_at: datetime.datetime
    marked_at: datetime.datetime | None
    ended_at: datetime.datetime | None
    verdict: str | None
    phase: str
    code: int | None
    reply: Said[str | None]


@dataclass(frozen=True, slots=True)
class History:
    """What happened to a delivery, oldest first."""

    events: Sequence[Event]
    attempts: Sequence[Attempt]


@dataclass(frozen=True, slots=True)
class DeliveryShown:
    """A delivery, whole.

    Args:
        cycle_id: None for a single invoice's.
        resend_of: The first delivery of the same invoices, where this one sends them again.
        attempts: How many; ``tries`` has them.
        claimed_by: The task instance that had it last.
        may_have_left: Whether an attempt was marked and is not known to have failed.
        given_up: A person withdrew it, or settled its doubt as failed: no run takes it up.
        emails: The tenant's of today.
        invoices: Their numbers.
        refusal: What the relay's answer means (`domain.refusal`).
    """

    id: int
    period: str
    cycle_id: int | None
    state: str
    purpose: str
    generation: int
    resend_of: int | None
    message_id: str
    message_date: datetime.datetime
    to_addresses: Personal[Sequence[str]]
    cc_addresses: Personal[Sequence[str]]
    language: str
    attempts: int
    last_reply: Said[str | None]
    actor: str
    reason: Said[str | None]
    created_at: datetime.datetime
    updated_at: datetime.datetime
    settings_version_id: int
    claimed_by: str | None
    doubt_resends: int
    on_request: bool
    may_have_left: bool
    given_up: bool
    tenant: str
    tenant_name: Personal[str]
    emails: Personal[Sequence[str]]
    tenant_updated_at: datetime.datetime
    template_name: str
    template_number: int
    invoices: Sequence[str]
    events: Sequence[Event] = ()
    tries: Sequence[Attempt] = ()
    refusal: str | None = None


@dataclass(frozen=True, slots=True)
class OtherDelivery:
    """A delivery in the list of those outside of the months.

    Args:
        actor: Who asked for it last, and ``reason`` why.
        invoices: Their numbers.
    """

    delivery_id: int
    period: str
    cycle_id: int | None
    tenant: str
    name: Personal[str]
    state: str
    purpose: str
    generation: int
    resend_of: int | None
    attempts: int
    last_reply: Said[str | None]
    actor: str | None
    reason: Said[str | None]
    updated_at: datetime.datetime
    invoices: Sequence[str]
    refusal: str | None = None


def show_delivery(db: Database, delivery_id: int) -> DeliveryShown:
    """A delivery with all that happened to it; raises `NotFoundError`."""
    which = {"id": min(delivery_id, _LARGEST_ID), "cycle_id": None, "tenant_id": None}
    found = fetch_all(db, DeliveryShown, _SQL["deliveries_to_show"], which)
    if not found:
        raise NotFoundError("delivery_unknown", delivery=delivery_id)
    return _with_history(db, found)[0]


def deliveries_of_tenant(db: Database, *, cycle_id: int, tenant_id: int) -> list[DeliveryShown]:
    """A tenant's deliveries in a cycle, newest first, each with all that happened to it."""
    which = {"id": None, "cycle_id": cycle_id, "tenant_id": tenant_id}
    return _with_history(db, fetch_all(db, DeliveryShown, _SQL["deliveries_to_show"], which))


def histories(db: Database, delivery_ids: Iterable[int]) -> Mapping[int, History]:
    """What happened to several deliveries, by their ids: every one of them is there."""
    ids = list(delivery_ids)
    events: dict[int, list[Event]] = {id_: [] for id_ in ids}
    attempts: dict[int, list[Attempt]] = {id_: [] for id_ in ids}
    for event in fetch_all(db, Event, _SQL["events_of_deliveries"], {"ids": ids}):
        events[event.delivery_id].append(event)
    for attempt in fetch_all(db, Attempt, _SQL["attempts_of_deliveries"], {"ids": ids}):
        attempts[attempt.delivery_id].append(attempt)
    return {id_: History(events[id_], attempts[id_]) for id_ in ids}


def find_other_deliveries(
    db: Database,
    search: str = "",
    *,
    run_id: int | None = None,
    owner: str | None = None,
    limit: int = 25,
    offset: int = 0,
) -> tuple[list[OtherDelivery], int]:
    """Deliveries that were sent again, newest first, and how many fit.

    Args:
        run_id: Those of this run instead.
        owner: Those that this task instance (``dag/run/task/map index``) had last instead.
    """
    which = {
        "patterns": patterns(search),
        "run_id": run_id,
        "owner": owner,
        "limit": limit,
        "offset": offset,
    }
    found, total = fetch_page(db, OtherDelivery, _SQL["other_deliveries_found"], which)
    return [replace(each, refusal=refusal_of(each.state, each.last_reply)) for each in found], total


def _with_history(db: Database, deliveries: Sequence[DeliveryShown]) -> list[DeliveryShown]:
    happened = histories(db, (each.id for each in deliveries))
    return [
        replace(
            each,
            events=happened[each.id].events,
            tries=happened[each.id].attempts,
            refusal=refusal_of(each.state, each.last_reply),
        )
        for each in deliveries
    ]
