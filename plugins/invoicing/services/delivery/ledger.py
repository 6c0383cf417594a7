"""The ledger of deliveries, as a worker writes it: claim, mark, settle.

Each step is one statement, committed before the next thing happens outside. A claim has a token and an end; every later
write carries the token, so that a worker that was thought dead cannot write over its successor.
"""

import datetime
import logging
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import psycopg
import tenacity

from invoicing.db.connection import Database, connect, dsn_of
from invoicing.db.statements import beside
from invoicing.domain.delivery import DeliveryState
from invoicing.domain.errors import PermanentFailureError, TemporaryFailureError, WorkFailedError
from invoicing.domain.task_address import TaskAddress
from invoicing.mail.transmission import Outcome, Verdict
from invoicing.services.agency.settings import VersionsInForce
from invoicing.services.delivery.journal import Journal, Settlement

log = logging.getLogger(__name__)

_SQL = beside(__file__)
# Outlives the relay's time for the payload and its answer to the final dot (15 minutes, see mail.transmission);
# a relay that is given longer makes it longer.
_SHORTEST_CLAIM = datetime.timedelta(minutes=20)
# A mark that took longer to come back counts as failed: what is left of its claim must outlive the transmission.
_LONGEST_MARK_SECONDS = 60.0
# How long a worker waits for the database to come back and take an outcome, which is in the journal by then.
_SETTLE_SECONDS = 20.0

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


class ClaimLostError(TemporaryFailureError):
    """Another worker took the delivery over; this one must not go on with it."""


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
        is_repeated: Whether a person has cleared the task instance: this is not its first execution.
    """

    address: TaskAddress
    execution: str
    name: str
    is_repeated: bool = False


@dataclass(frozen=True, slots=True)
class Delivery:
    """A delivery as the ledger has it.

    Args:
        execution: That claimed it last, None where nobody did.
        brake: Why nothing may leave now, whatever was decided: the reason of a rule (`domain.eligibility`); None where
            the automatic sending is on.
        per_minute_limit: As it is set now; 0 for none.
        has_address: Whether the tenant has one today.
    """

    id: int
    tenant_code: str
    state: DeliveryState
    message_id: str
    message_date: datetime.datetime
    to_addresses: Sequence[str]
    cc_addresses: Sequence[str]
    language: str
    settings_version_id: int
    template_version_id: int
    execution: str | None
    last_reply: str | None
    reason: str | None
    brake: str | None
    per_minute_limit: int
    has_address: bool


@dataclass(frozen=True, slots=True)
class Claim:
    """A delivery that is this worker's for a while.

    Args:
        token: Every later write of the worker carries it.
        delivery: With the content that its message has, frozen from here on.
    """

    token: int
    delivery: Delivery


def find_delivery(db: Database, delivery_id: int) -> Delivery | None:
    """The delivery as it is now; None where there is none."""
    row = db.execute(_SQL["delivery"], {"id": delivery_id}).fetchone()
    return None if row is None else Delivery(**{**row, "state": DeliveryState(row["state"])})


def adopt_acceptances(db: Database, ids: Sequence[int] | None, *, actor: str) -> list[int]:
    """Settle as sent what was put back, given up or withdrawn, and turned out to have been accepted; which ones.

    Another delivery of the same invoices, made since, is withdrawn if nothing of it has left.

    Args:
        ids: Only these; None for all.
    """
    parameters = {"ids": None if ids is None else list(ids), "actor": actor}
    with db.transaction():
        # First what was made in a withdrawn one's place, so that the invoices are the withdrawn one's again.
        db.execute(_SQL["cancel_overtaken"], {"actor": actor})
        return [row["id"] for row in db.execute(_SQL["adopt_acceptances"], parameters)]


def doubt_abandoned(db: Database, ids: Sequence[int], worker: Worker) -> list[int]:
    """Put in doubt what was being transmitted by a worker that is gone, or by an earlier try of ``worker``."""
    parameters = {"ids": list(ids), "owner": str(worker.address), "actor": worker.name}
    return [row["id"] for row in db.execute(_SQL["doubt_abandoned"], parameters)]


def reopen_failed(db: Database, ids: Sequence[int], *, actor: str, reason: str) -> None:
    """Take up what was refused and not given up."""
    db.execute(_SQL["reopen_failed"], {"ids": list(ids), "actor": actor, "reason": reason})


def claim_duration(longest_transmission_seconds: float) -> datetime.timedelta:
    """How long a claim holds, from the claim and once more from the mark.

    Args:
        longest_transmission_seconds: From the mark to the last moment at which the relay's answer may come.
    """
    longest_seconds = _LONGEST_MARK_SECONDS + longest_transmission_seconds
    return max(_SHORTEST_CLAIM, datetime.timedelta(seconds=longest_seconds))


class Ledger:
    """One worker's view of the ledger.

    Args:
        db: Replaced by a new connection where it breaks while an outcome is written.
        keep_open: Is given what must be closed in the end.
        longest_transmission_seconds: From the mark to the last moment at which the relay's answer may come.
    """

    def __init__(
        self,
        db: Database,
        journal: Journal,
        worker: Worker,
        keep_open: Callable[[Database], object],
        longest_transmission_seconds: float,
    ) -> None:
        self.db = db
        self._dsn = dsn_of(db)
        self._journal = journal
        self._worker = worker
        self._keep_open = keep_open
        self._versions = VersionsInForce()
        self.claim_duration = claim_duration(longest_transmission_seconds)

    def find(self, delivery_id: int) -> Delivery:
        """The delivery as it is now.

        Raises:
            PermanentFailureError: There is no such delivery.
        """
        delivery = find_delivery(self.db, delivery_id)
        if delivery is None:
            raise PermanentFailureError("delivery_gone", delivery=delivery_id)
        return delivery

    def take_up(self, delivery_id: int) -> Delivery:
        """The delivery as it is now; what was refused is reopened where a person has cleared the task since."""
        delivery = self.find(delivery_id)
        if delivery.state is DeliveryState.FAILED and delivery.execution != self._worker.execution:
            reason = "the task was cleared after it had failed"
            reopen_failed(self.db, [delivery_id], actor=self._worker.name, reason=reason)
            delivery = self.find(delivery_id)
        return delivery

    def claim(self, delivery: Delivery) -> Claim | None:
        """Take the delivery for this worker, and bring its content up to date where this is a new execution.

        Args:
            delivery: As `take_up` or `find` gave it; what became of it meanwhile counts.

        Returns:
            None where another worker has it, it may not leave now, or nobody approved it.
        """
        # As the statement asks it: whose content is renewed. The versions of today are looked up for those alone.
        is_new = delivery.execution != self._worker.execution
        may_renew = is_new and (delivery.execution is not None or self._worker.is_repeated)
        row = self.db.execute(
            _SQL["claim"],
            {
                **self._execution(delivery.id, is_asked_for_today=may_renew),
                "duration": self.claim_duration,
                "owner": str(self._worker.address),
                "actor": self._worker.name,
                "host": socket.gethostname(),
            },
        ).fetchone()
        if row is None:
            return None
        token = row.pop("claim_token")
        return Claim(token, replace(delivery, state=DeliveryState.CLAIMED, **row))

    def lacks_approval(self, delivery_id: int) -> bool:
        """Whether the delivery may not leave since nobody approved what this execution would send."""
        row = self.db.execute(_SQL["lacks_approval"], self._execution(delivery_id)).fetchone()
        return row is not None and bool(row["lacks_approval"])

    def _execution(self, delivery_id: int, *, is_asked_for_today: bool = True) -> dict[str, Any]:
        """What decides on the content that a claim would give the delivery."""
        settings_version, template_version = (
            self._versions.ask(self.db) if is_asked_for_today else (None, None)
        )
        return {
            "id": delivery_id,
            "execution": self._worker.execution,
            "is_repeated": self._worker.is_repeated,
            "settings_version_id": settings_version,
            "template_version_id": template_version,
        }

    def mark(self, delivery_id: int, token: int, payload_sha256: str) -> None:
        """Write down that the message is about to leave. After this only a reply, or a person, ends the transmission.

        Raises:
            ClaimLostError: The claim no longer holds, or may be over before the relay's answer: nothing may be sent.
        """
        asked_at_seconds = time.monotonic()
        marked = self.db.execute(
            _SQL["mark"],
            {
                "id": delivery_id,
                "token": token,
                "duration": self.claim_duration,
                "payload_sha256": payload_sha256,
            },
        ).fetchone()
        if marked is None:
            raise ClaimLostError("claim_lost", delivery=delivery_id)
        if time.monotonic() - asked_at_seconds > _LONGEST_MARK_SECONDS:
            # This process was stopped, or the answer was held up: the claim may be over by now, or nearly.
            raise ClaimLostError("mark_too_late", delivery=delivery_id)

    def settle(self, delivery_id: int, token: int, outcome: Outcome) -> tuple[DeliveryState, str | None]:
        """Write down how the attempt ended; where the database is away, wait a while, then use the journal.

        Returns:
            The delivery's state, and why it is not sent, None where it is.

        Raises:
            LedgerUnreachableError: The database stays away; the journal has the outcome.
        """
        state, _ = _STATE_AFTER[outcome.verdict]
        reply = f"{outcome.code} {outcome.reply}" if outcome.code else outcome.reply
        blamed = f"{outcome.address}: " if outcome.address else ""
        why = None if state is DeliveryState.SENT else f"{blamed}{reply} (at {outcome.phase})"
        settlement = Settlement(
            delivery_id, token, outcome.verdict, outcome.phase, outcome.code, reply, why, self._worker.name
        )
        try:
            is_taken = _write(self.db, settlement)
        except BaseException as error:
            # Also where a signal ends this task: what became of the message is known now, and must not be lost.
            is_kept = self._keep(settlement)
            if not isinstance(error, psycopg.Error):
                raise
            is_taken = self._write_anew(settlement, is_kept=is_kept)
        if not is_taken:
            # Settled before its answer was lost, or no longer this worker's to settle: the ledger knows.
            state = self.find(delivery_id).state
            why = None if state.is_done else why or f"another worker took it over, it is {state}"
        return state, why

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
            code = "outcome_in_journal" if is_kept else "outcome_lost"
            raise LedgerUnreachableError(
                code,
                delivery=settlement.delivery_id,
                verdict=settlement.verdict,
                folder=self._journal.folder,
            ) from error
        self._journal.forget(settlement)
        return is_taken

    def _write_on_new_connection(self, settlement: Settlement) -> bool:
        self.db = connect(self._dsn)
        self._keep_open(self.db)
        return _write(self.db, settlement)


def settle_journal(db: Database, journal: Journal) -> int:
    """Tell the database what its absence kept from it; returns the number of settlements."""
    count = 0
    for settlement in journal.settlements():
        try:
            is_known = _write(db, settlement) or _attempt_is_known(db, settlement)
        except psycopg.OperationalError:
            raise  # the database is away (again)
        except (psycopg.Error, ValueError) as error:
            # One file that the database does not take must not keep all others from being sent.
            log.error("the journal's word on delivery %s is refused, look at it: %s", settlement, error)
            continue
        if not is_known:
            # Of another database, or of one that was restored to an earlier day: somebody may still need it.
            log.error(
                "the journal speaks of an attempt that is not in this database, it is kept: %s", settlement
            )
            continue
        journal.forget(settlement)
        log.warning("delivery %s settled from the journal: %s", settlement.delivery_id, settlement.verdict)
        count += 1
    return count


def _attempt_is_known(db: Database, settlement: Settlement) -> bool:
    which = {"id": settlement.delivery_id, "token": settlement.token}
    return db.execute(_SQL["attempt"], which).fetchone() is not None


def _write(db: Database, settlement: Settlement) -> bool:
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
