"""People who change their minds while everything else goes wrong: what a campaign mixes in, one act after another.

They do what the product lets them do: switch sending off and on, correct addresses and the sender, run the month again,
import a lease in mid-run, settle doubts by the relay's log, send again, withdraw, hold and release a tenant, stop the
month and let it go on, send now, have months approved and rejected, have invoices replaced and credited in part, have
all that failed retried, or some of it sent again. What each act came to counts, and what they were refused too.
"""

import contextlib
import datetime
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from typing import Literal

import psycopg

from invoicing.db.connection import Database, connect
from invoicing.domain.correction import LineAmount
from invoicing.domain.errors import InvoicingError, NotFoundError
from invoicing.services.billing import runs, single_invoices
from invoicing.services.delivery import (
    approvals,
    closing,
    corrections,
    holds,
    resolution,
    retries,
    send_now,
)
from invoicing.services.delivery import select as selection
from support.invariants import Quiet
from support.ledger import PERIOD, Ledger

# A doubt is looked into when its worker, thawed or slow, has had its say.
_COLD_SECONDS = 15
# So long somebody waits for a failure, before there is nothing to retry.
_PATIENCE_SECONDS = 2


class Grid:
    """Airflow, as a retry needs it: it clears the red squares of the campaign, or knows the run no more.

    Args:
        clear: Clears all; the numbers of their batches.
    """

    def __init__(self, clear: Callable[[], Sequence[int]], *, knows_runs: bool) -> None:
        self._clear = clear
        self._knows_runs = knows_runs

    def clear_tasks(
        self, dag_id: str, dag_run_id: str, task_ids: Sequence[str], *, only_failed: bool
    ) -> list[tuple[str, int]]:
        if not self._knows_runs:
            raise NotFoundError("run_unknown", dag_id=dag_id, dag_run_id=dag_run_id)
        return [("send_invoices", number) for number in self._clear()] if "send_invoices" in task_ids else []

    def is_at_work(self, dag_id: str, dag_run_id: str) -> bool:
        return False


class People:
    """Acts at random until it is told to stop.

    Args:
        accepted: The relay's log, read anew.
        clear: Clears what is red of the campaign.
        acts: How many are to be done, at the most; what is refused, or meets a crash, does not count.
    """

    def __init__(
        self,
        ledger: Ledger,
        accepted: Callable[[], Counter[str]],
        clear: Callable[[], Sequence[int]],
        *,
        acts: int,
        seed: int = 3,
    ) -> None:
        self.done: Counter[str] = Counter()
        self.outcomes: Counter[str] = Counter()
        self._clear = clear
        self.refused: Counter[str] = Counter()
        self.quiets: list[Quiet] = []
        self._ledger = ledger
        self._accepted = accepted
        self.wanted = acts
        self._dice = random.Random(seed)
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._live, daemon=True)

    def start(self) -> None:
        self._thread.start()

    @property
    def are_at_it(self) -> bool:
        """Whether there is an act to come."""
        return self._thread.is_alive()

    @property
    def share_done(self) -> float:
        """Of all that they are to do."""
        return self.done.total() / self.wanted

    def stop(self) -> None:
        """Let the act under way end; then everything is switched on."""
        self._is_over.set()
        self._thread.join(60)
        with connect(self._ledger.dsn) as db:
            self._switch_on(db)

    def _live(self) -> None:
        choices = (
            self._stop_everything,
            self._stop_a_tenant,
            self._correct_an_address,
            self._change_the_sender,
            self._run_again,
            self._import_a_lease,
            self._settle_a_doubt,
            self._send_again,
            self._withdraw,
            self._hold_a_tenant,
            self._stop_the_month,
            self._send_now,
            self._approve_the_month,
            self._replace_an_invoice,
            self._credit_in_part,
            self._retry_all_that_failed,
            self._send_again_what_failed,
            self._change_what_was_approved,
        )
        deck: list[Callable[[Database], None]] = []
        while self.done.total() < self.wanted and not self._is_over.wait(self._dice.uniform(0.1, 0.5)):
            # Shuffled and dealt out, so that few acts are not all of one kind.
            deck = deck or self._dice.sample(choices, len(choices))
            act = deck.pop()
            name = act.__name__.strip("_").replace("_", " ")
            try:
                with connect(self._ledger.dsn) as db:
                    act(db)
            except (psycopg.Error, InvoicingError):
                self.refused[name] += 1
            else:
                self.done[name] += 1

    def _came_to(self, *outcome: str) -> None:
        """What the act under way did, once it is sure."""
        self.outcomes[" ".join(outcome)] += 1

    @contextlib.contextmanager
    def _quiet(
        self, db: Database, tenant: str | None, why: str, *, ends_claims: bool = False
    ) -> Iterator[None]:
        """Whatever happens inside: nothing may begin to leave."""
        begun_at = _now(db)
        yield
        self.quiets.append(Quiet(tenant, why, begun_at, _now(db), ends_claims))

    def _stop_everything(self, db: Database) -> None:
        self._ledger.set(db=db, auto_send=False)
        with self._quiet(db, None, "sending is off"):
            self._is_over.wait(self._dice.uniform(0.1, 1.0))
        self._ledger.set(db=db, auto_send=True)

    def _stop_a_tenant(self, db: Database) -> None:
        tenant = self._tenant(db)
        self._switch_tenant(db, tenant, on=False)
        with self._quiet(db, tenant, "switched off"):
            if self._dice.random() < 0.5:
                self._run_again(db)
            self._is_over.wait(self._dice.uniform(0.1, 1.0))
        self._switch_tenant(db, tenant, on=True)

    def _correct_an_address(self, db: Database) -> None:
        address = f"correct{self._dice.randrange(10**9)}@correo.example"
        db.execute("UPDATE invoicing.tenant SET emails = %s WHERE code = %s", [[address], self._tenant(db)])

    def _change_the_sender(self, db: Database) -> None:
        number = self._dice.randrange(10**6)
        self._ledger.set(db=db, from_email=f"facturas{number}@agencia.example", subject=f"Factura {number}")

    def _run_again(self, db: Database) -> None:
        self._ledger.plan(f"people-{self.done.total()}-{self._dice.randrange(10**9)}", db=db)
        self._ledger.store_documents(db=db)

    def _import_a_lease(self, db: Database) -> None:
        tenant = self._tenant(db)
        self._ledger.add_lease(tenant, f"{tenant}-late-{self._dice.randrange(10**9)}", db=db)
        self._run_again(db)

    def _settle_a_doubt(self, db: Database) -> None:
        row = db.execute(
            "SELECT id, message_id FROM invoicing.delivery WHERE state = 'in_doubt'"
            " AND updated_at < now() - make_interval(secs => %s) ORDER BY random() LIMIT 1",
            [_COLD_SECONDS],
        ).fetchone()
        if row is not None:
            ruling = "sent" if row["message_id"] in self._accepted() else "retry"
            resolution.resolve(db, row["id"], ruling, reason="the relay's log", actor="people")
            self._came_to("doubts settled:", ruling)

    def _send_again(self, db: Database) -> None:
        resolution.resend(db, [self._delivery(db)], reason="the tenant lost it", actor="people")
        self._came_to("sent again")

    def _send_again_what_failed(self, db: Database) -> None:
        failed = self._wait_for_failure(db)
        if failed:
            resolution.resend(db, failed[:2], reason="it was refused", actor="people")
            self._came_to("sent again what failed")

    def _retry_all_that_failed(self, db: Database) -> None:
        """Through the grid, or apart where it has forgotten the run; twice at once does no harm."""
        # While a run goes on, what failed of it is under way.
        self._end_runs(db)
        self._wait_for_failure(db)
        grid = Grid(self._clear, knows_runs=self._dice.random() < 0.5)
        foreseen = retries.plan_retry(db, PERIOD)
        for _ in range(self._dice.choice((1, 1, 2))):
            done = retries.retry(db, PERIOD, grid, actor="people")
            if done.cleared:
                self._came_to("retried by a clear")
            if done.requested:
                self._came_to("retried apart")
            if any(each.state == "failed" for each in done.plan.to_retry):
                self._came_to("retried what failed")
        if foreseen.to_retry:
            self._came_to("retries foreseen")

    def _wait_for_failure(self, db: Database) -> list[int]:
        """Somebody looks at the page until it shows one that failed, for a while."""
        until = time.monotonic() + _PATIENCE_SECONDS
        while True:
            rows = db.execute(
                "SELECT id FROM invoicing.delivery WHERE state = 'failed' ORDER BY random()"
            ).fetchall()
            if rows or time.monotonic() > until or self._is_over.wait(0.1):
                return [row["id"] for row in rows]

    def _withdraw(self, db: Database) -> None:
        resolution.cancel(db, [self._delivery(db)], reason="paid in cash", actor="people")
        self._came_to("withdrawn")

    def _hold_a_tenant(self, db: Database) -> None:
        tenant = self._tenant(db)
        holds.hold(db, tenant, PERIOD, reason="waits for a credit", actor="people")
        with self._quiet(db, tenant, "held", ends_claims=True):
            self._is_over.wait(self._dice.uniform(0.1, 1.0))
            if self._dice.random() < 0.5:
                self._run_again(db)
        holds.release(db, tenant, PERIOD, reason="has it", actor="people")
        if self._dice.random() < 0.5:
            self._end_runs(db)
            send_now.send_now(db, PERIOD, [tenant], actor="people")
            self._came_to("sent by name after a hold")

    def _stop_the_month(self, db: Database) -> None:
        holds.stop_month(db, PERIOD, reason="a wrong text", actor="people")
        with self._quiet(db, None, "the month is stopped", ends_claims=True):
            self._is_over.wait(self._dice.uniform(0.1, 1.0))
            if self._dice.random() < 0.3:
                self._run_again(db)
        holds.resume_month(db, PERIOD, reason="it was right", actor="people")

    def _send_now(self, db: Database) -> None:
        self._end_runs(db)
        send_now.send_now(db, PERIOD, [self._tenant(db), self._tenant(db)], actor="people")

    def _approve_the_month(self, db: Database) -> None:
        """What leaves has to be approved from here on; somebody changes something meanwhile, somebody says no."""
        self._ledger.set(db=db, approval="always")
        try:
            self._run_again(db)
            for _ in range(3):
                if approvals.look(db, self._ledger.run_id).state != "wait":
                    break
                self._is_over.wait(self._dice.uniform(0.1, 0.5))
                if self._dice.random() < 0.3:
                    self._correct_an_address(db)
                wanted: Literal["approved", "rejected"] = (
                    "rejected" if self._dice.random() < 0.3 else "approved"
                )
                approvals.answer(db, PERIOD, wanted, reason="looked", actor="people", via="command")
                self._came_to("months", wanted)
        finally:
            if self._dice.random() < 0.7:
                self._ledger.set(db=db, approval="never")

    def _replace_an_invoice(self, db: Database) -> None:
        """Its rent was wrong: void or credit it, sometimes one after the other. A doubt is settled first, by others."""
        row = db.execute(
            "SELECT i.number, i.lease_id FROM invoicing.invoice i WHERE i.stands AND NOT EXISTS ("
            " SELECT FROM invoicing.delivery_invoice di JOIN invoicing.delivery d ON d.id = di.delivery_id"
            " WHERE di.invoice_id = i.id AND d.state <> 'sent' AND invoicing.may_have_left(d.id))"
            " ORDER BY random() LIMIT 1"
        ).fetchone()
        assert row is not None
        db.execute(
            "UPDATE invoicing.lease SET rent = %s WHERE id = %s",
            [self._dice.randrange(1, 10**7), row["lease_id"]],
        )
        if self._dice.random() < 0.3:
            with contextlib.suppress(InvoicingError):
                corrections.void(db, row["number"], reason="a wrong rent", actor="people")
                self._came_to("voided by itself")
        done = corrections.replace_invoice(db, row["number"], reason="a wrong rent", actor="people")
        self._came_to("replaced what is", done.state)
        self._send_apart(db)

    def _credit_in_part(self, db: Database) -> None:
        """Some of an invoice that its tenant has."""
        row = db.execute(
            "SELECT i.number, l.amount - coalesce((SELECT sum(nl.amount) FROM invoicing.invoice n"
            "  JOIN invoicing.invoice_line nl ON nl.invoice_id = n.id WHERE n.corrects = i.id), 0) AS left"
            " FROM invoicing.invoice i JOIN invoicing.invoice_line l ON l.invoice_id = i.id WHERE i.stands"
            " AND EXISTS (SELECT FROM invoicing.delivery_invoice di JOIN invoicing.delivery d ON d.id = di.delivery_id"
            "  WHERE di.invoice_id = i.id AND d.state = 'sent') ORDER BY random() LIMIT 1"
        ).fetchone()
        if row is not None and row["left"] > 1:
            part = LineAmount(1, Decimal(self._dice.randrange(1, int(row["left"]))))
            corrections.credit(db, row["number"], [part], reason="a week too many", actor="people")
            self._came_to("credited in part")
            self._send_apart(db)

    def _send_apart(self, db: Database) -> None:
        """What `send_new_invoices` does up to its documents."""
        run_id = runs.open_run(
            db, dag_id="send_new_invoices", dag_run_id=f"apart-{self._dice.randrange(10**9)}", period=None
        )
        selection.select_new_invoices(db, run_id)
        self._ledger.store_documents(db=db)

    def _tell_all(self, db: Database) -> None:
        """What was voided and not replaced before a crash is replaced; what was skipped is decided on once more."""
        for row in db.execute(
            "SELECT i.number FROM invoicing.invoice i WHERE i.kind = 'invoice' AND NOT i.stands"
            " AND NOT EXISTS (SELECT FROM invoicing.invoice r WHERE r.replaces = i.id)"
        ).fetchall():
            corrections.replace_invoice(db, row["number"], reason="all is over", actor="people")
        skipped = db.execute(
            "SELECT i.number FROM invoicing.decision d JOIN invoicing.invoice i ON i.id = d.invoice_id"
            " WHERE d.superseded_at IS NULL AND d.reason IS NOT NULL"
        ).fetchall()
        if skipped:
            numbers = [row["number"] for row in skipped]
            single_invoices.decide_anew(db, numbers, reason="all is over", actor="people")
        self._send_apart(db)

    def _change_what_was_approved(self, db: Database) -> None:
        """An address or the sender, while the approved messages leave."""
        self._ledger.set(db=db, approval="always")
        try:
            self._run_again(db)
            if approvals.look(db, self._ledger.run_id).state == "wait":
                approvals.answer(db, PERIOD, "approved", reason="looked", actor="people", via="command")
            for _ in range(3):
                self._is_over.wait(self._dice.uniform(0.0, 0.3))
                self._dice.choice((self._correct_an_address, self._change_the_sender))(db)
        finally:
            if self._dice.random() < 0.7:
                self._ledger.set(db=db, approval="never")

    def _approve_all(self, db: Database) -> None:
        """Whatever waits, or was rejected, is approved as it is; from then on nobody asks."""
        self._run_again(db)
        while approvals.look(db, self._ledger.run_id).state == "wait":
            approvals.answer(db, PERIOD, "approved", reason="all is over", actor="people", via="command")
        self._ledger.set(db=db, approval="never")

    def _end_runs(self, db: Database) -> None:
        """Runs end as failed while something is unsent: what they left is sent by name."""
        for row in db.execute("SELECT id FROM invoicing.cycle_run WHERE state = 'running'").fetchall():
            with contextlib.suppress(InvoicingError):
                closing.close_run(db, row["id"])

    def _tenant(self, db: Database) -> str:
        row = db.execute("SELECT code FROM invoicing.tenant ORDER BY random() LIMIT 1").fetchone()
        assert row is not None
        return str(row["code"])

    def _delivery(self, db: Database) -> int:
        row = db.execute("SELECT id FROM invoicing.delivery ORDER BY random() LIMIT 1").fetchone()
        assert row is not None
        return int(row["id"])

    def _switch_tenant(self, db: Database, code: str, *, on: bool) -> None:
        db.execute("UPDATE invoicing.tenant SET auto_send = %s WHERE code = %s", [on, code])

    def _release_all(self, db: Database) -> None:
        """What a crash left held in mid-act."""
        for row in db.execute(
            "SELECT t.code FROM invoicing.sending_hold h LEFT JOIN invoicing.tenant t ON t.id = h.tenant_id"
            " WHERE released_at IS NULL"
        ).fetchall():
            if row["code"] is None:
                holds.resume_month(db, PERIOD, reason="all is over", actor="people")
            else:
                holds.release(db, row["code"], PERIOD, reason="all is over", actor="people")

    def _switch_on(self, db: Database) -> None:
        db.execute("UPDATE invoicing.tenant SET auto_send = true WHERE NOT auto_send")
        self._release_all(db)
        with contextlib.suppress(InvoicingError):
            self._ledger.set(db=db, auto_send=True)
        self._approve_all(db)
        self._tell_all(db)


def _now(db: Database) -> datetime.datetime:
    row = db.execute("SELECT clock_timestamp() AS now").fetchone()
    assert row is not None
    now: datetime.datetime = row["now"]
    return now
