"""Send what is still to be sent: the ledger says what that is, and every step is written to it first."""

import datetime
import hashlib
import logging
import socket
import time
from collections import Counter
from contextlib import ExitStack, suppress
from dataclasses import dataclass

import psycopg
import tenacity
from psycopg.rows import DictRow

from invoicing.db.connection import Database, connect, dsn_of
from invoicing.db.statements import load
from invoicing.domain.delivery import Batch, DeliveryState
from invoicing.domain.errors import (
    InputError,
    PermanentFailureError,
    TemporaryFailureError,
    WorkFailedError,
)
from invoicing.domain.task_address import TaskAddress
from invoicing.mail.message import UnsafeMessageError
from invoicing.mail.transmission import Outcome, Phase, Relay, RelayUnavailableError, Verdict
from invoicing.rendering.errors import RenderFailedError
from invoicing.services.agency import settings as settings_service
from invoicing.services.delivery import documents
from invoicing.services.delivery.archive import Archive
from invoicing.services.delivery.compose import NO_SENDER, Composer
from invoicing.services.delivery.journal import Journal, Settlement

log = logging.getLogger(__name__)

_SQL = load("delivery")
# Outlives the relay's time for the payload and its answer to the final dot (15 minutes, see mail.transmission);
# a relay that is given longer makes it longer.
_LEASE = datetime.timedelta(minutes=20)
# A mark that took longer to come back counts as failed: what is left of its lease must outlive the transmission.
_LONGEST_MARK_SECONDS = 60.0
_LONGEST_SLOT_WAIT_SECONDS = 5.0
# How long a worker waits for the database to come back and take an outcome, which is in the journal by then.
_SETTLE_SECONDS = 20.0


class LeaseLostError(TemporaryFailureError):
    """Somebody else took the delivery over; this worker must not go on with it."""


class LedgerUnreachableError(TemporaryFailureError):
    """The database went away; what became of the last transmission is kept in the journal."""


@dataclass(frozen=True, slots=True)
class Worker:
    """Who is sending.

    Args:
        address: The task instance. What an earlier try of it left behind is over when a later one asks.
        execution: Grows with each clear by a person and not with automatic retries. A refused delivery is
            tried again by a new execution only.
        name: For the log: the address and its try.
    """

    address: TaskAddress
    execution: str
    name: str


@dataclass(frozen=True, slots=True)
class _Result:
    """How far a delivery came: ``why`` it is unsent, None where nothing is to be done about it."""

    state: str
    why: str | None = None
    relay_is_away: bool = False


def send_batch(
    db: Database,
    relay: Relay,
    archive: Archive,
    journal: Journal,
    batch: Batch,
    worker: Worker,
    *,
    sender: str | None = None,
) -> dict[str, int]:
    """Send the deliveries of ``batch`` that are still to be sent, each settled on its own. Safe to repeat.

    Args:
        sender: The connection's own from-address, for settings that name none.

    Returns:
        Deliveries by state, all of them ``sent``, ``cancelled`` or ``held``.

    Raises:
        TemporaryFailureError: Some are unsent and may be sent by a later try.
        PermanentFailureError: Some were refused, or are in doubt: a person must look at them.
    """
    settle_journal(db, journal)
    ids = list(batch.delivery_ids)
    db.execute(_SQL["adopt_acceptances"], {"ids": ids, "actor": worker.name})
    doubtful = db.execute(
        _SQL["expire"], {"ids": ids, "owner": str(worker.address), "actor": worker.name}
    ).fetchall()
    for row in doubtful:
        log.error("delivery %s is in doubt: its worker ended or went silent while it transmitted", row["id"])
    with ExitStack() as stack:
        sending = _Sending(db, relay, archive, journal, worker, sender, stack)
        results: dict[int, _Result] = {}
        for delivery_id in ids:
            if any(result.relay_is_away for result in results.values()):
                results[delivery_id] = _Result("pending", "not tried, the relay is away")
                continue
            results[delivery_id] = result = sending.send(delivery_id)
            log.info(
                "delivery %s is %s%s", delivery_id, result.state, f": {result.why}" if result.why else ""
            )
    _raise_unsent(results)
    return dict(Counter(result.state for result in results.values()))


def check_relay(db: Database, relay: Relay, *, sender: str | None) -> None:
    """Find out whether mail can be sent at all, before any delivery is tried.

    Raises:
        RelayUnavailableError: The relay is away, or refuses the login; with what to do.
        InputError: There is no sender's address.
    """
    settings = settings_service.current_settings(db).settings
    if not (settings.from_email or sender):
        raise InputError(NO_SENDER)
    relay.check()


def settle_journal(db: Database, journal: Journal) -> int:
    """Tell the database what its absence kept from it; returns the number of settlements."""
    count = 0
    for settlement in journal.settlements():
        try:
            _write_settlement(db, settlement)
        except psycopg.OperationalError:
            raise  # the database is away (again)
        except (psycopg.Error, ValueError) as error:
            # One file that the database does not take must not keep all others from being sent.
            log.error("the journal's word on delivery %s is refused, look at it: %s", settlement, error)
            continue
        journal.forget(settlement)
        log.warning("delivery %s settled from the journal: %s", settlement.delivery_id, settlement.verdict)
        count += 1
    return count


def _raise_unsent(results: dict[int, _Result]) -> None:
    unsent = {id_: result for id_, result in results.items() if result.why}
    if not unsent:
        return
    final = (DeliveryState.FAILED, DeliveryState.IN_DOUBT)
    ordered = sorted(unsent.items(), key=lambda item: item[1].state not in final)
    message = f"{len(unsent)} of {len(results)} unsent: " + "; ".join(
        f"delivery {id_} is {result.state}: {result.why}" for id_, result in ordered[:10]
    )
    if all(result.state in final for result in unsent.values()):
        raise PermanentFailureError(message)
    raise TemporaryFailureError(message)


class _Sending:
    """One worker's way through its batch."""

    def __init__(
        self,
        db: Database,
        relay: Relay,
        archive: Archive,
        journal: Journal,
        worker: Worker,
        sender: str | None,
        stack: ExitStack,
    ) -> None:
        self._db = db
        self._dsn = dsn_of(db)
        self._relay = relay
        self._journal = journal
        self._worker = worker
        self._stack = stack
        self._composer = Composer(db, archive, stack, sender)
        longest_seconds = _LONGEST_MARK_SECONDS + relay.longest_doubt_seconds
        self._lease = max(_LEASE, datetime.timedelta(seconds=longest_seconds))

    def send(self, delivery_id: int) -> _Result:
        """Bring one delivery as far as it goes now."""
        row = self._load(delivery_id)
        if row["state"] == DeliveryState.FAILED and row["execution"] != self._worker.execution:
            row = self._reopen(row)
        match DeliveryState(row["state"]):
            case DeliveryState.SENT | DeliveryState.CANCELLED | DeliveryState.HELD:
                return _Result(row["state"])
            case DeliveryState.FAILED | DeliveryState.IN_DOUBT:
                return _Result(row["state"], row["reason"] or row["last_reply"] or "see its history")
            case DeliveryState.TRANSMITTING:
                return _Result(row["state"], "another worker is transmitting it")
            case DeliveryState.PENDING | DeliveryState.CLAIMED:
                return self._transmit(row)

    def _transmit(self, row: DictRow) -> _Result:
        slot = self._take_slot(self._composer.settings(row).per_minute_limit)
        token = None
        try:
            token = self._claim(row["id"])
            if token is None:
                return _Result(self._load(row["id"])["state"], "another worker has it")
            # Its content is frozen from here on; while this worker waited its turn, a run may have changed it.
            row = self._load(row["id"])
            try:
                outcome = self._attempt(row, token)
            except RelayUnavailableError as error:
                # The set-up's fault: the delivery goes back untouched, and the batch ends here.
                self._settle(row["id"], token, Outcome(Verdict.NOT_SENT, Phase.CONNECT, None, str(error)))
                raise
            return self._settle(row["id"], token, outcome)
        finally:
            if slot is not None:
                # A slot that is not given back is over when the lease would be. One that nothing was sent in,
                # for another worker had the delivery, is free at once.
                with suppress(psycopg.Error):
                    self._db.execute(_SQL["return_slot" if token is None else "end_slot"], {"id": slot})

    def _load(self, delivery_id: int) -> DictRow:
        row = self._db.execute(_SQL["delivery"], {"id": delivery_id}).fetchone()
        if row is None:
            raise PermanentFailureError(f"there is no delivery {delivery_id}: clear select_recipients")
        return row

    def _reopen(self, row: DictRow) -> DictRow:
        """A person cleared the task: what was refused is tried again, at the tenant's addresses of today."""
        self._db.execute(
            _SQL["reopen_failed"],
            {
                "ids": [row["id"]],
                "actor": self._worker.name,
                "reason": "the task was cleared after it had failed",
            },
        )
        return self._load(row["id"])

    def _claim(self, delivery_id: int) -> int | None:
        row = self._db.execute(
            _SQL["claim"],
            {
                "id": delivery_id,
                "lease": self._lease,
                "owner": str(self._worker.address),
                "execution": self._worker.execution,
                "actor": self._worker.name,
                "host": socket.gethostname(),
            },
        ).fetchone()
        return None if row is None else int(row["lease_token"])

    def _attempt(self, row: DictRow, token: int) -> Outcome:
        """Compose and transmit; every way out is an outcome, save faults of the set-up, which are raised."""
        try:
            mail = self._composer.compose(row)
        except (documents.DocumentDamagedError, RenderFailedError, UnsafeMessageError, InputError) as error:
            return Outcome(Verdict.REFUSED_PERMANENTLY, Phase.CONNECT, None, f"not sent: {error}")
        payload_sha256 = hashlib.sha256(mail.payload).hexdigest()
        try:
            return self._relay.transmit(
                mail.sender,
                mail.recipients,
                mail.payload,
                before_payload=lambda: self._mark(row["id"], token, payload_sha256),
            )
        except (LeaseLostError, psycopg.Error) as error:
            # Raised before the first byte of the message: whatever became of the mark, nothing was sent.
            return Outcome(Verdict.NOT_SENT, Phase.DATA, None, f"not marked, not sent: {error}")

    def _mark(self, delivery_id: int, token: int, payload_sha256: str) -> None:
        asked_at_seconds = time.monotonic()
        marked = self._db.execute(
            _SQL["mark"],
            {"id": delivery_id, "token": token, "lease": self._lease, "payload_sha256": payload_sha256},
        ).fetchone()
        if marked is None:
            raise LeaseLostError(f"delivery {delivery_id} was taken over by another worker")
        if time.monotonic() - asked_at_seconds > _LONGEST_MARK_SECONDS:
            # This process was stopped, or the answer was held up: the lease may be over by now, or nearly.
            raise LeaseLostError(f"the mark of delivery {delivery_id} came back too late")

    def _settle(self, delivery_id: int, token: int, outcome: Outcome) -> _Result:
        """Write down how the attempt ended; where the database is away, wait a while, then use the journal."""
        state, _ = _STATE_AFTER[outcome.verdict]
        reply = f"{outcome.code} {outcome.reply}" if outcome.code else outcome.reply
        blamed = f"{outcome.address}: " if outcome.address else ""
        why = None if state is DeliveryState.SENT else f"{blamed}{reply} (at {outcome.phase})"
        settlement = Settlement(
            delivery_id,
            token,
            outcome.verdict,
            outcome.phase,
            outcome.code,
            reply,
            why,
            self._worker.name,
        )
        try:
            is_taken = _write_settlement(self._db, settlement)
        except BaseException as error:
            # Also where a signal ends this task: what became of the message is known now, and must not be lost.
            is_kept = self._keep(settlement)
            if not isinstance(error, psycopg.Error):
                raise
            is_taken = self._write_anew(settlement, is_kept=is_kept)
        if not is_taken:
            # Settled before its answer was lost, or no longer this worker's to settle: the ledger knows.
            state = DeliveryState(self._load(delivery_id)["state"])
            why = None if state in _DONE else why or f"another worker took it over, it is {state}"
        relay_is_away = outcome.verdict is Verdict.NOT_SENT and outcome.phase in _BEFORE_ANY_MESSAGE
        return _Result(state, why, relay_is_away)

    def _keep(self, settlement: Settlement) -> bool:
        try:
            self._journal.keep(settlement)
        except OSError as error:
            log.critical("the journal cannot take this, write it down: %s (%s)", settlement, error)
            return False
        return True

    def _write_anew(self, settlement: Settlement, *, is_kept: bool) -> bool:
        """Settle on a new connection, once there is one; over that one the rest of the batch goes too."""
        log.warning(
            "the database went away, delivery %s is settled on a new connection", settlement.delivery_id
        )
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type((psycopg.Error, WorkFailedError)),
            wait=tenacity.wait_exponential(multiplier=0.2, max=3),
            stop=tenacity.stop_after_delay(_SETTLE_SECONDS),
            reraise=True,
        )
        try:
            is_taken = retrying(self._write_on_new_connection, settlement)
        except (psycopg.Error, WorkFailedError) as error:
            kept = (
                f"is kept in {self._journal.folder} and will be written by the next worker or sweep"
                if is_kept
                else "could not be kept either: it will end in doubt"
            )
            raise LedgerUnreachableError(
                f"the database went away while delivery {settlement.delivery_id} was settled; "
                f"that it is {settlement.verdict} {kept}"
            ) from error
        self._journal.forget(settlement)
        return is_taken

    def _write_on_new_connection(self, settlement: Settlement) -> bool:
        self._db = connect(self._dsn)
        self._stack.callback(self._db.close)
        self._composer.db = self._db
        return _write_settlement(self._db, settlement)

    def _take_slot(self, per_minute_limit: int) -> int | None:
        """Wait until the limit per minute, shared by all workers, allows one more transmission.

        Transmissions under way count as well as those that ended within 60 seconds, so no 60 seconds see
        more acceptances than the limit, however long each of them takes.
        """
        if per_minute_limit == 0:
            return None
        while True:
            with self._db.transaction():
                self._db.execute(_SQL["lock_slots"])
                self._db.execute(_SQL["mend_slots"])
                row = self._db.execute(_SQL["slots_in_use"], {"lease": self._lease}).fetchone()
                assert row is not None
                if row["used"] < per_minute_limit:
                    self._db.execute(_SQL["forget_slots"])
                    taken = self._db.execute(_SQL["take_slot"]).fetchone()
                    assert taken is not None
                    return int(taken["id"])
            time.sleep(min(max(row["wait_seconds"], 0.05), _LONGEST_SLOT_WAIT_SECONDS))


# What a delivery becomes, and from where. `in_doubt` is among the latter: a worker that was thought dead may
# still bring certainty about its own attempt.
_UNDER_WAY = (DeliveryState.CLAIMED, DeliveryState.TRANSMITTING, DeliveryState.IN_DOUBT)
_STATE_AFTER: dict[Verdict, tuple[DeliveryState, tuple[DeliveryState, ...]]] = {
    Verdict.ACCEPTED: (DeliveryState.SENT, (DeliveryState.TRANSMITTING, DeliveryState.IN_DOUBT)),
    Verdict.REFUSED_TEMPORARILY: (DeliveryState.PENDING, _UNDER_WAY),
    Verdict.NOT_SENT: (DeliveryState.PENDING, _UNDER_WAY),
    Verdict.REFUSED_PERMANENTLY: (DeliveryState.FAILED, _UNDER_WAY),
    Verdict.IN_DOUBT: (DeliveryState.IN_DOUBT, (DeliveryState.TRANSMITTING,)),
}
_DONE = frozenset({DeliveryState.SENT, DeliveryState.CANCELLED, DeliveryState.HELD})
_BEFORE_ANY_MESSAGE = frozenset({Phase.CONNECT, Phase.BANNER, Phase.EHLO, Phase.STARTTLS, Phase.AUTH})


def _write_settlement(db: Database, settlement: Settlement) -> bool:
    """Tell the ledger how an attempt ended; False where the attempt's word counts no more, or was heard before."""
    state, from_states = _STATE_AFTER[Verdict(settlement.verdict)]
    settled = db.execute(
        _SQL["settle"],
        {
            "id": settlement.delivery_id,
            "token": settlement.token,
            "state": state,
            "from_states": list(from_states),
            "reply": settlement.reply,
            "reason": settlement.reason,
            "actor": settlement.actor,
            "verdict": settlement.verdict,
            "phase": settlement.phase,
            "code": settlement.code,
        },
    ).fetchone()
    if settled is None:
        log.warning(
            "delivery %s was settled in the meantime; attempt %s ended %s, its history tells the rest",
            settlement.delivery_id,
            settlement.token,
            settlement.verdict,
        )
    return settled is not None
