"""Everything at once, at random: workers are killed, the database crashes, the relay fails, the sweep runs.

Batches go through a few workers at a time, as Airflow would have it: one that was killed or ended with a
temporary failure is started again with the same owner. At the end the relay's log is the arbiter.
"""

import contextlib
import random
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field

import psycopg

from invoicing.db.connection import connect
from invoicing.domain.errors import InvoicingError
from invoicing.services.delivery import resolution, sweep
from support.database import Server
from support.ledger import Ledger, WorkerProcess
from support.people import People

# By people, of one task instance.
_MOST_CLEARS = 20
_LAST_RUN_SECONDS = 600
_DEAD = "the worker %went silent while it transmitted"


@dataclass
class Figures:
    """What the campaign came to."""

    deliveries: int = 0
    kills: int = 0
    kills_wanted: int = 0
    freezes: int = 0
    database_crashes: int = 0
    tries: int = 0
    claims_ended: int = 0
    sweeps: int = 0
    journal: int = 0
    seconds: float = 0
    acts: Counter[str] = field(default_factory=Counter)
    acts_refused: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    quiets: int = 0
    states: Counter[str] = field(default_factory=Counter)
    doubts_of_dead_workers: int = 0
    in_doubt_accepted: int = 0
    duplicates: int = 0
    lost: int = 0
    violations: list[str] = field(default_factory=list)

    def table(self) -> str:
        """As ``make faults`` prints it."""
        in_doubt = self.states["in_doubt"]
        share = self.doubts_of_dead_workers / self.kills if self.kills else 0
        lines = [
            ("deliveries", self.deliveries),
            ("tries of tasks", self.tries),
            ("kills (-9)", self.kills),
            ("stops (-STOP, -CONT)", self.freezes),
            ("database crashes", self.database_crashes),
            ("claims ended early", self.claims_ended),
            ("people's acts", f"{self.acts.total()}, and {self.acts_refused} refused"),
            *((f"  {act}", count) for act, count in sorted(self.acts.items())),
            ("what they came to", self.outcomes.total()),
            *((f"  {outcome}", count) for outcome, count in sorted(self.outcomes.items())),
            ("sweeps", self.sweeps),
            ("settled from the journal by sweeps", self.journal),
            ("duplicates", self.duplicates),
            ("lost", self.lost),
            ("in doubt", f"{in_doubt} (the relay has {self.in_doubt_accepted} of them)"),
            ("  because a worker died or went silent", self.doubts_of_dead_workers),
            ("share of kills that ended in doubt", f"{share:.1%}"),
            ("whiles in which nothing might leave", self.quiets),
            ("violations of I1 to I9", len(self.violations)),
            ("seconds", f"{self.seconds:.0f}"),
        ]
        return "\n".join(f"{name:40} {value}" for name, value in lines)


class Campaign:
    """One run of it.

    Args:
        kills: How many workers are killed.
        crashes: How often the database is.
        accepted: The relay's log, read anew.
        before_check: Called when all is done: the relay's log may need a moment.
        acts: How often people change something meanwhile.
    """

    def __init__(
        self,
        ledger: Ledger,
        server: Server,
        relay_port: int,
        accepted: Callable[[], Counter[str]],
        *,
        kills: int,
        crashes: int,
        workers: int = 6,
        batch_size: int = 12,
        seed: int = 1,
        report: Callable[[str], None] = lambda _: None,
        before_check: Callable[[], None] = lambda: None,
        acts: int = 0,
    ) -> None:
        self.figures = Figures(kills_wanted=kills)
        self._ledger = ledger
        self._server = server
        self._relay_port = relay_port
        self._accepted = accepted
        self._crashes = crashes
        self._most = workers
        self._dice = random.Random(seed)
        self._report = report
        self._before_check = before_check
        ids = ledger.ids()
        self.figures.deliveries = len(ids)
        self._batch_size = batch_size
        self._batches = 0
        self._executions: Counter[int] = Counter()
        self._due: deque[tuple[int, list[int]]] = deque()
        # Red squares: when somebody clears each.
        self._red: list[tuple[float, int, list[int]]] = []
        # By a retry, from another thread.
        self._clear_asked: set[int] = set()
        self._take_up(ids)
        self._running: dict[WorkerProcess, tuple[int, list[int]]] = {}
        self._people = People(ledger, accepted, self._clear_all, acts=acts) if acts else None
        self._frozen: dict[WorkerProcess, float] = {}
        self._is_over = threading.Event()

    def run(self, timeout_seconds: float) -> Figures:
        """Run until nothing is left to be sent, then check."""
        begun = time.monotonic()
        sweeper = threading.Thread(target=self._sweep, daemon=True)
        sweeper.start()
        crasher = threading.Thread(target=self._crash, daemon=True)
        crasher.start()
        if self._people:
            self._people.start()
        next_kill = reported = looked = time.monotonic()
        # While a month is stopped there is nothing to do, and more to come.
        while self._due or self._running or self._red or self._look_for_more() or self._are_people_at_it():
            now = time.monotonic()
            self._clear_red(now)
            if now - begun > timeout_seconds:
                raise TimeoutError(f"not done within {timeout_seconds} s: {len(self._due)} batches are left")
            self._bury()
            done = self._done()
            most = self._workers_now(done)
            while self._due and len(self._running) < most:
                self._start()
            if now >= next_kill and self.figures.kills < self.figures.kills_wanted:
                self._hurt()
                ahead = self._kills_ahead(done)
                next_kill = now + self._dice.uniform(0.2, 1.8) * (
                    0.05 if ahead < 0 else 0.5 if ahead < 0.03 else 3
                )
            self._thaw(now)
            if now - looked > 1:
                looked = now
                self._look_for_more()
            if now - reported > 15:
                reported = now
                self._report(f"{now - begun:4.0f} s: {self._progress()}")
            time.sleep(0.01)
        self._is_over.set()
        sweeper.join(60)
        crasher.join(60)
        self._ledger.reconnect()
        if self._people:
            self._converge(self._people)
        self.figures.seconds = time.monotonic() - begun
        self._before_check()
        self._end()
        return self.figures

    def resolve_doubts(self) -> None:
        """A person looks into the relay's log and settles each doubt, then what was not there is sent."""
        accepted = self._accepted()
        for row in self._ledger.rows():
            if row["state"] == "in_doubt":
                verdict = "sent" if row["message_id"] in accepted else "retry"
                resolution.resolve(
                    self._ledger.db, row["id"], verdict, reason="the relay's log", actor="campaign"
                )

    def _workers_now(self, done: float) -> int:
        """How many may work: where people's acts or the kills fall behind the work, it waits for them."""
        people = self._people
        # All acts come before the last messages.
        if people and people.share_done < min(1.0, 1.1 * done - 0.05):
            return 0
        return 1 if self._kills_ahead(done) < -0.05 else self._most

    def _are_people_at_it(self) -> bool:
        return self._people is not None and self._people.are_at_it

    def _done(self) -> float:
        """The part of the messages that was accepted."""
        return self._accepted().total() / self.figures.deliveries

    def _kills_ahead(self, done: float) -> float:
        """The part of the kills that is done, less the part of the messages and a tenth: all die in time."""
        figures = self.figures
        return figures.kills / max(1, figures.kills_wanted) - min(1.0, done + 0.1)

    def _take_up(self, ids: list[int]) -> None:
        """Share out deliveries that no task has."""
        for start in range(0, len(ids), self._batch_size):
            self._due.append((self._batches, ids[start : start + self._batch_size]))
            self._batches += 1

    def _look_for_more(self) -> bool:
        """What no task has is taken up, as by `send_new_invoices` and later runs; whether there was any.

        That is what people make while they are at it, by runs, imports and resends, and what was set aside and let go.
        """
        if not self._are_people_at_it():
            return False
        batches = [*self._due, *self._running.values(), *((number, ids) for _, number, ids in self._red)]
        taken = {id_ for _, ids in batches for id_ in ids}
        idle: list[int] = []
        with contextlib.suppress(psycopg.Error, InvoicingError):
            idle = [
                row["id"]
                for row in self._ledger.rows()
                if row["state"] == "pending" and row["id"] not in taken
            ]
        self._take_up(idle)
        return bool(idle)

    def _converge(self, people: People) -> None:
        """Everything is switched on and run once more, and what is unsent is cleared until it is sent or in doubt."""
        people.stop()
        self.figures.acts, self.figures.acts_refused = people.done, people.refused.total()
        self.figures.outcomes = people.outcomes
        self._ledger.end_claims()
        self._ledger.sweep()
        self._ledger.plan("the last run")
        self._ledger.store_documents()
        for number in range(_MOST_CLEARS):
            unsent = [row["id"] for row in self._ledger.rows() if row["state"] not in ("sent", "in_doubt")]
            if not unsent:
                break
            worker = self._ledger.start(
                self._relay_port, unsent, owner=f"the last run {number}", patience_seconds=10.0
            )
            # Where people ended their acts early, it has much of the month to send, alone.
            worker.wait(_LAST_RUN_SECONDS)
        self.figures.deliveries = len(self._ledger.rows())

    def _start(self) -> None:
        number, ids = self._due.popleft()
        self.figures.tries += 1
        worker = self._ledger.start(
            self._relay_port,
            ids,
            owner=f"batch {number}",
            execution=str(self._executions[number] + 1),
            patience_seconds=10.0,
            messages_per_connection=self._dice.choice([3, 50]),
        )
        self._running[worker] = (number, ids)

    def _bury(self) -> None:
        for worker in [each for each in self._running if not each.is_alive]:
            number, ids = self._running.pop(worker)
            self._frozen.pop(worker, None)
            ending = worker.wait()
            if ending.ended == "error":
                raise AssertionError(f"a worker broke: {ending.message}")
            if ending.ended in ("killed", "temporary"):
                self._due.append((number, ids))
            elif (
                ending.ended == "permanent"
                and self._are_people_at_it()
                and self._executions[number] < _MOST_CLEARS
            ):
                self._red.append((time.monotonic() + self._dice.uniform(0.5, 3.0), number, ids))

    def _clear_all(self) -> list[int]:
        """A retry of the month clears every red square; which, by the numbers of their batches."""
        red = list(self._red)
        self._clear_asked.update(number for _, number, _ in red)
        return [number for _, number, _ in red]

    def _clear_red(self, now: float) -> None:
        """Somebody clears a red square, once they have seen it: what stopped it may be over by then."""
        asked, self._clear_asked = self._clear_asked, set()
        for each in [each for each in self._red if each[0] <= now or each[1] in asked]:
            self._red.remove(each)
            _, number, ids = each
            self._executions[number] += 1
            self._due.append((number, ids))

    def _hurt(self) -> None:
        """Kill one that has begun; now and then stop one for a while instead."""
        ready = [worker for worker in self._running if worker.is_alive and worker not in self._frozen]
        ready = [worker for worker in ready if time.monotonic() - worker.started_at > 0.15]
        if not ready:
            return
        worker = self._dice.choice(ready)
        if self._dice.random() < 0.5:
            # Blind kills rarely meet a message on its way: half of them look for one.
            owners = self._transmitting()
            worker = next((each for each in ready if f"batch {self._running[each][0]}" in owners), worker)
        if self._dice.random() < 0.1:
            worker.freeze()
            self._frozen[worker] = time.monotonic() + self._dice.uniform(0.2, 3.0)
            self.figures.freezes += 1
            return
        was_alive = worker.is_alive
        worker.strike()
        if was_alive:
            self.figures.kills += 1

    def _thaw(self, now: float) -> None:
        for worker, until in list(self._frozen.items()):
            if now >= until:
                worker.thaw()
                del self._frozen[worker]

    def _transmitting(self) -> set[str]:
        try:
            rows = self._ledger.db.execute(
                "SELECT claimed_by FROM invoicing.delivery WHERE state = 'transmitting'"
            )
            return {row["claimed_by"] for row in rows}
        except psycopg.Error:  # it crashes at times
            with contextlib.suppress(InvoicingError):
                self._ledger.reconnect()
            return set()

    def _crash(self) -> None:
        """Crash the database when so many parts of the messages have been accepted, or of people's acts done."""
        for number in range(1, self._crashes + 1):
            share = number / (self._crashes + 1)
            while max(self._done(), self._people.share_done if self._people else 0) < share:
                if self._is_over.wait(0.2):
                    return
            self._server.crash()
            time.sleep(self._dice.uniform(0.0, 1.0))
            self._server.start()
            self.figures.database_crashes += 1

    def _sweep(self) -> None:
        """The sweep every second, and a claim that is over sooner than its worker thinks."""
        dice = random.Random(2)
        while not self._is_over.wait(1.0):
            with contextlib.suppress(psycopg.Error, InvoicingError), connect(self._ledger.dsn) as db:
                if dice.random() < 0.5:
                    ended = db.execute(
                        "UPDATE invoicing.delivery SET claim_until = now() - interval '1 second' WHERE id ="
                        " (SELECT id FROM invoicing.delivery WHERE state IN ('claimed', 'transmitting')"
                        " ORDER BY random() LIMIT 1) AND state IN ('claimed', 'transmitting') RETURNING id"
                    ).fetchall()
                    self.figures.claims_ended += len(ended)
                self.figures.journal += sweep.sweep_deliveries(db, self._ledger.journal)["journal"]
                self.figures.sweeps += 1

    def _progress(self) -> str:
        figures = self.figures
        return (
            f"{self._accepted().total()} of {figures.deliveries} accepted, {figures.kills} kills,"
            f" {figures.database_crashes} database crashes"
            + (f", {self._people.done.total()} people's acts" if self._people else "")
        )

    def _end(self) -> None:
        ledger, figures, accepted = self._ledger, self.figures, self._accepted()
        ledger.end_claims()
        ledger.sweep()
        rows = ledger.rows()
        figures.states = Counter(row["state"] for row in rows)
        figures.duplicates = sum(count - 1 for count in accepted.values())
        figures.lost = sum(
            row["state"] not in ("sent", "in_doubt")
            or (row["state"] == "sent" and row["message_id"] not in accepted)
            for row in rows
        )
        doubted = [row for row in rows if row["state"] == "in_doubt"]
        figures.in_doubt_accepted = sum(row["message_id"] in accepted for row in doubted)
        silent = ledger.db.execute(
            "SELECT count(*) AS n FROM invoicing.delivery WHERE state = 'in_doubt' AND reason LIKE %s",
            [_DEAD],
        ).fetchone()
        assert silent is not None
        figures.doubts_of_dead_workers = silent["n"]
        quiets = self._people.quiets if self._people else []
        figures.quiets = len(quiets)
        figures.violations = ledger.violations(accepted, quiets=quiets)
        if self._people:
            figures.violations += self._objections()

    def _objections(self) -> list[str]:
        """Decisions that stand though all is switched on, and nobody is held."""
        rows = self._ledger.db.execute(
            "SELECT t.code, d.reason FROM invoicing.decision AS d JOIN invoicing.tenant AS t ON t.id = d.tenant_id"
            " WHERE d.superseded_at IS NULL AND d.reason IS NOT NULL"
        )
        return [f"I6: {row['code']} is decided {row['reason']}, and nothing objects any more" for row in rows]
