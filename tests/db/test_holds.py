"""A tenant held for a month, a month stopped, and some tenants sent now: what a person does before the mail leaves."""

from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from invoicing.db.connection import Database, connect
from invoicing.domain.errors import InputError, NotFoundError
from invoicing.domain.period import Period
from invoicing.domain.task_address import TaskAddress
from invoicing.services.billing import runs
from invoicing.services.delivery import approvals, closing, holds, resolution, select
from invoicing.services.delivery.journal import Journal
from invoicing.services.delivery.ledger import ClaimLostError, Ledger, Worker
from invoicing.services.delivery.send_now import send_now
from support.agency import NOVEMBER, Agency
from support.waiting import wait_until

WHY = {"reason": "moves out, settles in person", "actor": "ana"}
SENT = ("claimed", "transmitting", "sent")


@pytest.fixture
def two(agency: Agency) -> Agency:
    agency.add_tenant("A", leases=2)
    agency.add_tenant("B")
    return agency


def test_a_tenant_held_before_the_run_gets_no_mail_and_the_cycle_balances(two: Agency) -> None:
    holds.hold(two.db, "A", NOVEMBER, **WHY)
    two.run()
    assert two.decisions() == {"A": "tenant_held", "B": "send"}
    assert two.deliveries() == [("B", "pending", 1)]
    assert two.balance() == []


def test_a_hold_after_the_run_sets_aside_what_has_not_left(two: Agency) -> None:
    two.run()
    held = holds.hold(two.db, "A", NOVEMBER, **WHY)
    assert (len(held.deliveries), held.under_way) == (1, [])
    assert two.decisions() == {"A": "tenant_held", "B": "send"}
    assert two.deliveries() == [("A", "held", 2), ("B", "pending", 1)]
    assert two.balance() == []
    two.run()
    assert two.deliveries() == [("A", "held", 2), ("B", "pending", 1)]
    assert two.balance() == []


def test_a_claim_is_ended_by_a_hold_and_a_transmission_is_not(two: Agency) -> None:
    two.run()
    two.put("A", "claimed")
    two.put("B", "claimed", "transmitting")
    assert holds.hold(two.db, "A", NOVEMBER, **WHY).deliveries
    late = holds.hold(two.db, "B", NOVEMBER, **WHY)
    assert (late.deliveries, len(late.under_way)) == ([], 1)
    assert two.deliveries() == [("A", "held", 2), ("B", "transmitting", 1)]
    assert two.decisions() == {"A": "tenant_held", "B": "send"}


@pytest.mark.parametrize("whose", ["tenant", "month"])
def test_a_claim_under_way_when_a_hold_begins_comes_to_no_mark(
    two: Agency, dsn: str, journal: Journal, whose: str
) -> None:
    """It asked before the hold was there, and was there after the hold had looked for claims."""
    two.run()
    with connect(dsn) as db, connect(dsn) as person, ThreadPoolExecutor() as pool:
        ledger = sending(db, journal)
        with db.transaction():
            claim = ledger.claim(ledger.find(1))
            assert claim is not None
            if whose == "tenant":
                held = pool.submit(holds.hold, person, "A", NOVEMBER, **WHY)
            else:
                held = pool.submit(holds.stop_month, person, NOVEMBER, **WHY)
            wait_until(lambda: held.done() or waits_for_lock(two), "the hold meets the claim")
        held.result(30)
        with pytest.raises(ClaimLostError):
            ledger.mark(1, claim.token, "0" * 64)


def test_a_mark_that_waits_while_a_hold_is_written_down_meets_it(
    two: Agency, dsn: str, journal: Journal
) -> None:
    """A stop of a large month takes seconds, and keeps the rows locked that were claimed while it looked."""
    two.run()
    with connect(dsn) as db, connect(dsn) as person, ThreadPoolExecutor() as pool:
        ledger = sending(db, journal)
        with person.transaction():
            with db.transaction():
                claim = ledger.claim(ledger.find(1))
                assert claim is not None
                held = pool.submit(holds.stop_month, person, NOVEMBER, **WHY)
                wait_until(lambda: held.done() or waits_for_lock(two), "the hold meets the claim")
            held.result(30)
            marked = pool.submit(ledger.mark, 1, claim.token, "0" * 64)
            wait_until(lambda: marked.done() or waits_for_lock(two), "the mark meets the hold")
        with pytest.raises(ClaimLostError):
            marked.result(30)


def test_a_claim_that_waits_while_a_hold_is_written_down_meets_it(
    two: Agency, dsn: str, journal: Journal
) -> None:
    """Of what may have left before: a hold ends its claim, and does not set it aside."""
    two.run()
    two.put("A", "claimed", "transmitting", "in_doubt")
    resolution.resolve(two.db, 1, "retry", reason="the relay's log", actor="ana")
    with connect(dsn) as db, connect(dsn) as person, ThreadPoolExecutor() as pool:
        ledger = sending(db, journal)
        delivery = ledger.find(1)
        assert ledger.claim(delivery) is not None
        with person.transaction():
            holds.stop_month(person, NOVEMBER, **WHY)
            again = pool.submit(ledger.claim, delivery)
            wait_until(lambda: again.done() or waits_for_lock(two), "the claim meets the hold")
        assert again.result(30) is None


def sending(db: Database, journal: Journal) -> Ledger:
    """What a task instance of November's run works with."""
    address = TaskAddress("monthly_invoicing", "run-1", "send_invoices", 0)
    return Ledger(db, journal, Worker(address, f"{address}/0", "try 1"), lambda _: None, 60.0)


def waits_for_lock(agency: Agency) -> bool:
    row = agency.db.execute(
        "SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    return row.fetchone() is not None


def test_what_a_person_gave_up_or_was_sent_is_not_held(two: Agency) -> None:
    two.run()
    two.put("A", *SENT)
    two.put("B", "claimed", "transmitting", "in_doubt")
    two.db.execute("UPDATE invoicing.delivery SET state = 'failed', given_up = true WHERE state = 'in_doubt'")
    for code in ("A", "B"):
        assert holds.hold(two.db, code, NOVEMBER, **WHY).deliveries == []
    assert [state for _, state, _ in two.deliveries()] == ["sent", "failed"]
    assert two.decisions() == {"A": "send", "B": "send"}


def test_a_released_tenant_is_sent_what_it_is_due_once_asked_for(two: Agency) -> None:
    two.run()
    holds.hold(two.db, "A", NOVEMBER, **WHY)
    released = holds.release(two.db, "A", NOVEMBER, reason="agreed", actor="eva")
    assert len(released.deliveries) == 1
    assert two.deliveries() == [("A", "held", 2), ("B", "pending", 1)]
    (sent,) = send_now(two.db, NOVEMBER, ["A"], actor="eva")
    assert (sent.reason, list(sent.deliveries)) == (None, list(released.deliveries))
    assert two.decisions() == {"A": "send", "B": "send"}
    assert two.deliveries() == [("A", "pending", 2), ("B", "pending", 1)]


def test_a_later_run_takes_up_what_was_released(two: Agency) -> None:
    two.run()
    holds.hold(two.db, "A", NOVEMBER, **WHY)
    holds.release(two.db, "A", NOVEMBER, reason="agreed", actor="eva")
    two.run()
    assert two.deliveries() == [("A", "pending", 2), ("B", "pending", 1)]
    assert two.decisions() == {"A": "send", "B": "send"}


def test_a_hold_is_of_its_month_alone(two: Agency) -> None:
    holds.hold(two.db, "A", NOVEMBER, **WHY)
    two.run(Period(2026, 12))
    assert two.decisions() == {"A": "send", "B": "send"}


def test_a_held_single_invoice_or_resend_does_not_leave(two: Agency) -> None:
    two.run()
    two.put("A", *SENT)
    holds.hold(two.db, "A", NOVEMBER, **WHY)
    row = two.db.execute("SELECT id FROM invoicing.delivery WHERE state = 'sent'").fetchone()
    assert row is not None
    with pytest.raises(InputError, match="holds tenant A for this period: release it"):
        resolution.resend(two.db, [row["id"]], reason="x", actor="ana")


@pytest.mark.parametrize(
    ("code", "reason", "message"),
    [
        ("X", "x", "no tenant 'X'"),
        ("C", "x", "nor a lease that makes one: there is nothing to hold"),
        ("A", " ", "give a reason"),
    ],
)
def test_what_cannot_be_held_is_said(two: Agency, code: str, reason: str, message: str) -> None:
    two.add_tenant("C", leases=0)
    with pytest.raises(InputError, match=message):
        holds.hold(two.db, code, NOVEMBER, reason=reason, actor="ana")
    assert two.db.execute("SELECT FROM invoicing.sending_hold").fetchall() == []


def test_nobody_is_held_twice_or_released_twice(two: Agency) -> None:
    holds.hold(two.db, "A", NOVEMBER, **WHY)
    with pytest.raises(InputError, match="held for 2026-11 already, by ana"):
        holds.hold(two.db, "A", NOVEMBER, reason="x", actor="eva")
    holds.release(two.db, "A", NOVEMBER, reason="x", actor="eva")
    with pytest.raises(InputError, match="nobody holds tenant A for 2026-11"):
        holds.release(two.db, "A", NOVEMBER, reason="x", actor="eva")
    holds.hold(two.db, "A", NOVEMBER, **WHY)


def test_a_hold_is_kept_as_it_was(two: Agency) -> None:
    holds.hold(two.db, "A", NOVEMBER, **WHY)
    for act in ("UPDATE invoicing.sending_hold SET reason = 'other'", "DELETE FROM invoicing.sending_hold"):
        with pytest.raises(psycopg.Error):
            two.db.execute(act.encode())
    holds.release(two.db, "A", NOVEMBER, reason="x", actor="eva")
    with pytest.raises(psycopg.Error, match="can be released, once"):
        two.db.execute("UPDATE invoicing.sending_hold SET released_at = now()")


def test_a_stopped_month_keeps_all_back_and_goes_on_when_resumed(two: Agency) -> None:
    two.run()
    two.put("B", *SENT)
    holds.hold(two.db, "A", NOVEMBER, **WHY)
    two.add_tenant("C")
    run_id, _ = two.run()
    stopped = holds.stop_month(two.db, NOVEMBER, **WHY)
    assert len(stopped.deliveries) == 1
    assert [state for _, state, _ in two.deliveries()] == ["held", "sent", "held"]
    closing.close_run(two.db, run_id)
    with pytest.raises(InputError, match="stopped already, by ana"):
        holds.stop_month(two.db, NOVEMBER, **WHY)
    resumed = holds.resume_month(two.db, NOVEMBER, **WHY)
    assert resumed.deliveries == stopped.deliveries
    assert [state for _, state, _ in two.deliveries()] == ["held", "sent", "pending"]
    with pytest.raises(InputError, match="nobody stopped the sending of 2026-11"):
        holds.resume_month(two.db, NOVEMBER, **WHY)


def test_who_was_decided_on_while_the_month_was_stopped_is_decided_on_anew_when_it_goes_on(
    two: Agency,
) -> None:
    """A run that comes meanwhile decides that all are held, and makes no message of what is new."""
    two.add_tenant("C")
    two.run()
    two.put("B", *SENT)
    holds.hold(two.db, "C", NOVEMBER, **WHY)
    holds.stop_month(two.db, NOVEMBER, **WHY)
    two.add_tenant("D")
    two.run()
    assert two.decisions() == {"A": "tenant_held", "B": "send", "C": "tenant_held", "D": "tenant_held"}

    resumed = holds.resume_month(two.db, NOVEMBER, **WHY)

    assert two.decisions() == {"A": "send", "B": "send", "C": "tenant_held", "D": "send"}
    assert two.deliveries() == [
        ("A", "pending", 2),
        ("B", "sent", 1),
        ("C", "held", 1),
        ("D", "pending", 1),
    ]
    assert two.balance() == []
    assert take_up(two) == list(resumed.deliveries)


def test_who_may_not_be_sent_to_any_more_is_not_when_the_month_goes_on(two: Agency) -> None:
    two.run()
    holds.stop_month(two.db, NOVEMBER, **WHY)
    two.run()
    two.change_tenant("A", auto_send=False)
    holds.resume_month(two.db, NOVEMBER, **WHY)
    assert two.decisions() == {"A": "tenant_disabled", "B": "send"}
    assert two.deliveries() == [("A", "cancelled", 2), ("B", "pending", 1)]


def test_what_nobody_approved_stays_aside_when_the_month_goes_on(two: Agency) -> None:
    two.set(approval="always")
    run_id, _ = two.run()
    approvals.look(two.db, run_id)
    holds.stop_month(two.db, NOVEMBER, **WHY)
    two.run()
    assert holds.resume_month(two.db, NOVEMBER, **WHY).deliveries == []
    assert two.deliveries() == [("A", "held", 2), ("B", "held", 1)]
    assert two.balance() == []


def test_a_resend_that_was_held_goes_on_with_the_release(two: Agency) -> None:
    """No run makes it again, and it is no part of what is decided on by name."""
    two.run()
    two.put("A", *SENT)
    row = two.db.execute("SELECT id FROM invoicing.delivery WHERE state = 'sent'").fetchone()
    assert row is not None
    (again,) = resolution.resend(two.db, [row["id"]], reason="lost it", actor="eva")
    assert list(holds.hold(two.db, "A", NOVEMBER, **WHY).deliveries) == [again]
    assert take_up(two) == []

    released = holds.release(two.db, "A", NOVEMBER, reason="agreed", actor="eva")

    assert (list(released.deliveries), list(released.resumed)) == ([], [again])
    assert take_up(two) == [again]


def test_a_released_resend_of_a_stopped_month_waits_for_the_month(two: Agency) -> None:
    two.run()
    two.put("A", *SENT)
    row = two.db.execute("SELECT id FROM invoicing.delivery WHERE state = 'sent'").fetchone()
    assert row is not None
    (again,) = resolution.resend(two.db, [row["id"]], reason="lost it", actor="eva")
    holds.hold(two.db, "A", NOVEMBER, **WHY)
    holds.stop_month(two.db, NOVEMBER, **WHY)
    released = holds.release(two.db, "A", NOVEMBER, reason="agreed", actor="eva")
    assert (list(released.deliveries), list(released.resumed)) == ([again], [])
    assert again in holds.resume_month(two.db, NOVEMBER, **WHY).deliveries


def take_up(agency: Agency) -> list[int]:
    """What the next run of `send_new_invoices` would send."""
    run_id = runs.open_run(agency.db, dag_id="send_new_invoices", dag_run_id="asset-1", period=None)
    batches = select.select_new_invoices(agency.db, run_id)
    return [delivery_id for batch in batches for delivery_id in batch.delivery_ids]


def test_send_now_decides_anew_on_these_alone(two: Agency) -> None:
    two.add_tenant("C", emails=[])
    run_id, _ = two.run()
    two.put("B", *SENT)
    two.change_tenant("A", auto_send=False)
    two.run()
    closing.close_run(two.db, run_id)
    two.db.execute("UPDATE invoicing.cycle_run SET state = 'success'")
    before = two.deliveries()
    two.change_tenant("A", auto_send=True, emails=["new@correo.example"])
    two.change_tenant("B", auto_send=False)
    two.change_tenant("C", emails=["c@correo.example"])
    (sent,) = send_now(two.db, NOVEMBER, ["A"], actor="ana")
    assert sent.reason is None
    assert two.decisions() == {"A": "send", "B": "send", "C": "no_email"}
    assert len(two.deliveries()) == len(before) + 1
    assert take_up(two) == list(sent.deliveries)
    assert two.balance() == []


def test_send_now_says_why_there_is_no_mail(two: Agency) -> None:
    two.run()
    two.db.execute("UPDATE invoicing.cycle_run SET state = 'success'")
    two.change_tenant("A", emails=["a@@b"])
    (skipped,) = send_now(two.db, NOVEMBER, ["A"], actor="ana")
    assert (skipped.reason, list(skipped.deliveries)) == ("invalid_email", [])
    assert two.deliveries() == [("A", "cancelled", 2), ("B", "pending", 1)]
    assert two.balance() == []


def test_send_now_makes_no_second_message(two: Agency) -> None:
    two.run()
    two.put("A", *SENT)
    two.put("B", "claimed", "transmitting", "in_doubt")
    two.db.execute("UPDATE invoicing.cycle_run SET state = 'failed'")
    before = two.deliveries()
    assert [list(each.deliveries) for each in send_now(two.db, NOVEMBER, ["A", "B", "A"], actor="x")] == [
        [],
        [],
    ]
    assert two.deliveries() == before


@pytest.mark.parametrize("state", ["pending", "claimed", "transmitting"])
def test_send_now_leaves_alone_what_a_run_is_sending(two: Agency, state: str) -> None:
    two.run()
    two.put(
        "A", *{"pending": (), "claimed": ("claimed",), "transmitting": ("claimed", "transmitting")}[state]
    )
    before = two.deliveries()
    with pytest.raises(InputError, match="to tenant A is on its way already"):
        send_now(two.db, NOVEMBER, ["B", "A"], actor="x")
    assert two.deliveries() == before


def test_send_now_waits_for_a_run_that_decides(two: Agency) -> None:
    two.run()
    runs.open_run(two.db, dag_id="monthly_invoicing", dag_run_id="another", period=NOVEMBER)
    with pytest.raises(InputError, match="run another of 2026-11 has not decided yet"):
        send_now(two.db, NOVEMBER, ["A"], actor="x")


def test_send_now_names_what_it_does_not_know(two: Agency) -> None:
    with pytest.raises(NotFoundError, match="there is no cycle 2026-11 yet"):
        send_now(two.db, NOVEMBER, ["A"], actor="x")
    two.run()
    two.add_tenant("C", leases=0)
    with pytest.raises(NotFoundError, match="no tenant 'Z'"):
        send_now(two.db, NOVEMBER, ["Z"], actor="x")
    with pytest.raises(InputError, match="tenant C has no invoice in cycle 2026-11"):
        send_now(two.db, NOVEMBER, ["C"], actor="x")
