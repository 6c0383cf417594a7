"""Send what is still to be sent: the ledger says what that is, and every step is written to it first."""

import hashlib
import logging
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Literal

import psycopg

from invoicing.db.connection import Database
from invoicing.domain.delivery import Batch, DeliveryState
from invoicing.domain.errors import InputError, PermanentFailureError, TemporaryFailureError
from invoicing.mail.message import UnsafeMessageError
from invoicing.mail.transmission import Outcome, Phase, Relay, RelayUnavailableError, Verdict
from invoicing.rendering.errors import RenderFailedError, RenderInterruptedError
from invoicing.services.agency import settings as settings_service
from invoicing.services.delivery import rate_limit
from invoicing.services.delivery.archive import (
    Archive,
    ArchiveAwayError,
    DocumentDamagedError,
    StorageFaultError,
)
from invoicing.services.delivery.compose import Composer
from invoicing.services.delivery.journal import Journal
from invoicing.services.delivery.ledger import (
    ClaimLostError,
    Delivery,
    Ledger,
    Worker,
    adopt_acceptances,
    doubt_abandoned,
    settle_journal,
)

log = logging.getLogger(__name__)

_BEFORE_ANY_MESSAGE = frozenset({Phase.CONNECT, Phase.BANNER, Phase.EHLO, Phase.STARTTLS, Phase.AUTH})
_MOST_NAMED = 10
_TOLD_AT_ONCE = 20

Away = Literal["relay", "archive"]


@dataclass(frozen=True, slots=True)
class _Result:
    """How far a delivery came.

    Args:
        why: It is unsent; None where nothing is to be done about it.
        away: What nothing can be sent without, and is not there: the rest of the batch need not be tried.
        needs_person: No retry helps until somebody has changed something.
        tenant: Whose it is; empty where it was not looked at.
    """

    state: DeliveryState
    why: str | None = None
    away: Away | None = None
    needs_person: bool = False
    tenant: str = ""


def send_batch(
    db: Database,
    relay: Relay,
    archive: Archive,
    journal: Journal,
    batch: Batch,
    worker: Worker,
    *,
    sender: str | None = None,
    on_settled: Callable[[DeliveryState], None] = lambda _state: None,
    on_unsent: Callable[[Sequence[str]], None] = lambda _tenants: None,
) -> dict[str, int]:
    """Send the deliveries of ``batch`` that are still to be sent, each settled on its own. Safe to repeat.

    Args:
        sender: The connection's own from-address, for settings that name none.
        on_settled: Is told the state of each delivery that this try settled, or put in doubt.
        on_unsent: Is told the tenants without their mail, before that is raised; those first whom no retry helps.

    Returns:
        Deliveries by state, all of them ``sent``, ``cancelled`` or ``held``; of what an earlier run left over,
        also those that are unsent still.

    Raises:
        TemporaryFailureError: Some are unsent and may be sent by a later try.
        PermanentFailureError: Some were refused, or are in doubt: a person must look at them.
    """
    settle_journal(db, journal)
    adopt_acceptances(db, batch.delivery_ids, actor=worker.name)
    for delivery_id in doubt_abandoned(db, batch.delivery_ids, worker):
        on_settled(DeliveryState.IN_DOUBT)
        log.error(
            "delivery %s is in doubt: its worker ended or went silent while it transmitted", delivery_id
        )
    with ExitStack() as stack:
        sending = _Sending(
            Ledger(
                db,
                journal,
                worker,
                keep_open=lambda opened: stack.callback(opened.close),
                longest_transmission_seconds=relay.longest_doubt_seconds,
            ),
            relay,
            Composer(archive, stack, sender),
            on_settled,
        )
        telling = stack.enter_context(_telling())
        results: dict[int, _Result] = {}
        away: Away | None = None
        for delivery_id in batch.delivery_ids:
            if away:
                results[delivery_id] = _Result(DeliveryState.PENDING, f"not tried, the {away} is away")
                continue
            results[delivery_id] = result = sending.send(delivery_id)
            telling(delivery_id, result)
            away = result.away
    _raise_unsent(results, on_unsent, is_leftover=batch.is_leftover)
    return dict(Counter(str(result.state) for result in results.values()))


@contextmanager
def _telling() -> Iterator[Callable[[int, _Result], None]]:
    """Give the block what writes into the log how far each came: what is sent some at a time, all else at once.

    Airflow passes a task's line through two processes: a millisecond and a half, of a message's twenty.
    """
    sent: list[str] = []

    def tell_sent() -> None:
        if sent:
            log.info("sent: %s", ", ".join(sent))
            sent.clear()

    def tell(delivery_id: int, result: _Result) -> None:
        if result.state == DeliveryState.SENT and not result.why:
            sent.append(f"delivery {delivery_id} of tenant {result.tenant}")
        else:
            tell_sent()
            why = f": {result.why}" if result.why else ""
            log.info("delivery %s of tenant %s is %s%s", delivery_id, result.tenant, result.state, why)
        if len(sent) == _TOLD_AT_ONCE:
            tell_sent()

    try:
        yield tell
    finally:
        tell_sent()


def check_relay(db: Database, relay: Relay, *, sender: str | None) -> None:
    """Find out whether mail can be sent at all, before any delivery is tried.

    Raises:
        RelayUnavailableError: The relay is away, or refuses the login; with what to do.
        InputError: There is no sender's address.
    """
    settings = settings_service.current_settings(db).settings
    if not (settings.from_email or sender):
        raise InputError("no_sender")
    relay.check()


def _raise_unsent(
    results: dict[int, _Result], on_unsent: Callable[[Sequence[str]], None], *, is_leftover: bool
) -> None:
    unsent = {id_: result for id_, result in results.items() if result.why}
    if is_leftover:
        # The run that made it has told of it. This one tells of what needs a person since this try.
        ended = (DeliveryState.FAILED, DeliveryState.IN_DOUBT)
        for id_ in [id_ for id_, result in unsent.items() if result.state not in ended]:
            log.warning("delivery %s of an earlier run is unsent still: %s", id_, unsent.pop(id_).why)
    if not unsent:
        return
    ordered = sorted(unsent.items(), key=lambda item: not item[1].needs_person)
    is_final = all(result.needs_person for result in unsent.values())
    listing = "; ".join(
        f"delivery {id_}{f' of tenant {result.tenant}' if result.tenant else ''} is {result.state}: {result.why}"
        for id_, result in ordered[:_MOST_NAMED]
    )
    # Those that were not tried come back by themselves.
    on_unsent([result.tenant for _, result in ordered if result.tenant])
    if is_final:
        raise PermanentFailureError(
            "deliveries_unsent", unsent=len(unsent), all=len(results), listing=listing
        )
    raise TemporaryFailureError("deliveries_unsent", unsent=len(unsent), all=len(results), listing=listing)


def _stopped(delivery: Delivery) -> _Result | None:
    """Why nothing of it may leave now, whatever was decided before."""
    if delivery.brake == "sending_disabled":
        return _Result(delivery.state, "automatic sending is off: turn it on, then clear", needs_person=True)
    if delivery.brake == "tenant_disabled":
        why = f"tenant {delivery.tenant_code} has sending switched off: switch it on, then clear"
        return _Result(delivery.state, why, needs_person=True)
    if delivery.brake == "tenant_held":
        why = f"tenant {delivery.tenant_code} is held for this period: release it, then clear"
        return _Result(delivery.state, why, needs_person=True)
    return None


class _Sending:
    """One worker's way through its batch."""

    def __init__(
        self,
        ledger: Ledger,
        relay: Relay,
        composer: Composer,
        on_settled: Callable[[DeliveryState], None],
    ) -> None:
        self._ledger = ledger
        self._relay = relay
        self._composer = composer
        self._on_settled = on_settled

    def send(self, delivery_id: int) -> _Result:
        """Bring one delivery as far as it goes now."""
        delivery = self._ledger.take_up(delivery_id)
        return replace(self._bring_on(delivery), tenant=delivery.tenant_code)

    def _bring_on(self, delivery: Delivery) -> _Result:
        match delivery.state:
            case DeliveryState.SENT | DeliveryState.CANCELLED | DeliveryState.HELD:
                return _Result(delivery.state)
            case DeliveryState.FAILED | DeliveryState.IN_DOUBT:
                why = delivery.reason or delivery.last_reply or "see its history"
                return _Result(delivery.state, why, needs_person=True)
            case DeliveryState.TRANSMITTING:
                return _Result(delivery.state, "another worker is transmitting it")
            case DeliveryState.PENDING | DeliveryState.CLAIMED:
                return _stopped(delivery) or self._transmit(delivery)

    def _transmit(self, delivery: Delivery) -> _Result:
        # The connection may be another one by the time the slot is given back.
        with rate_limit.slot(
            lambda: self._ledger.db, delivery.per_minute_limit, self._ledger.claim_duration
        ) as slot:
            claim = self._ledger.claim(delivery)
            if claim is None:
                now = self._ledger.find(delivery.id)
                if now.state is DeliveryState.PENDING and not now.has_address:
                    missing = f"tenant {now.tenant_code} has no address: give one, then clear"
                    return _Result(now.state, missing, needs_person=True)
                return _stopped(now) or self._unapproved(now) or _Result(now.state, "another worker has it")
            slot.is_used = True
            token = claim.token
            try:
                # With its content of now: while this worker waited its turn, a run may have changed it.
                outcome, away = self._attempt(claim.delivery, token)
            except RelayUnavailableError as error:
                # The set-up's fault: the delivery goes back untouched, and the batch ends here.
                self._ledger.settle(
                    delivery.id, token, Outcome(Verdict.NOT_SENT, Phase.CONNECT, None, str(error))
                )
                raise
            state, why = self._ledger.settle(delivery.id, token, outcome)
            self._on_settled(state)
            needs_person = state in (DeliveryState.FAILED, DeliveryState.IN_DOUBT)
            return _Result(state, why, away, needs_person)

    def _unapproved(self, delivery: Delivery) -> _Result | None:
        if delivery.state is not DeliveryState.PENDING or not self._ledger.lacks_approval(delivery.id):
            return None
        why = (
            f"nobody approved what would leave to tenant {delivery.tenant_code} now: clear approve_sending, which "
            "asks, or send it by name (cycle send)"
        )
        return _Result(delivery.state, why, needs_person=True)

    def _attempt(self, delivery: Delivery, token: int) -> tuple[Outcome, Away | None]:
        """Compose and transmit; every way out is an outcome, save faults of the relay's set-up, which are raised."""
        try:
            mail = self._composer.compose(self._ledger.db, delivery)
        except (StorageFaultError, RenderInterruptedError) as error:
            # Passing, or so it may be: the next try will see.
            outcome = Outcome(Verdict.NOT_SENT, Phase.CONNECT, None, f"not sent: {error}")
            return outcome, "archive" if isinstance(error, ArchiveAwayError) else None
        except (DocumentDamagedError, RenderFailedError, UnsafeMessageError, InputError) as error:
            return Outcome(Verdict.REFUSED_PERMANENTLY, Phase.CONNECT, None, f"not sent: {error}"), None
        payload_sha256 = hashlib.sha256(mail.payload).hexdigest()
        try:
            outcome = self._relay.transmit(
                mail.sender,
                mail.recipients,
                mail.payload,
                before_payload=lambda: self._ledger.mark(delivery.id, token, payload_sha256),
            )
        except (ClaimLostError, psycopg.Error) as error:
            # Raised before the first byte of the message: whatever became of the mark, nothing was sent.
            return Outcome(Verdict.NOT_SENT, Phase.DATA, None, f"not marked, not sent: {error}"), None
        is_away = outcome.verdict is Verdict.NOT_SENT and outcome.phase in _BEFORE_ANY_MESSAGE
        return outcome, "relay" if is_away else None
