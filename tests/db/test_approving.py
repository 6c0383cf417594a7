"""Nothing of a month leaves before a person approved just that: what is asked, answered, overtaken, and refused."""

import datetime
from typing import Any

import psycopg
import pytest

from invoicing.db.connection import connect, dsn_of
from invoicing.domain.errors import InputError, NotFoundError
from invoicing.domain.period import Period
from invoicing.services.agency import templates
from invoicing.services.delivery import approvals, closing, holds, resolution
from invoicing.services.delivery.approvals import Reply
from invoicing.services.delivery.send_now import send_now
from invoicing.services.views import health
from support.agency import NOVEMBER, Agency

OCTOBER = Period(2026, 10)
WHO: dict[str, Any] = {"reason": "looked at it", "actor": "ana", "via": "page"}


@pytest.fixture
def asked(agency: Agency) -> Agency:
    """Two tenants; whatever a month sends has to be approved."""
    agency.set(approval="always")
    agency.add_tenant("A", leases=2)
    agency.add_tenant("B")
    return agency


def answers(agency: Agency) -> list[tuple[str, str]]:
    rows = agency.db.execute("SELECT answer, actor FROM invoicing.approval_answer ORDER BY id")
    return [(row["answer"], row["actor"]) for row in rows]


def try_to_claim(agency: Agency, tenant: str) -> bool:
    try:
        agency.put(tenant, "claimed")
    except psycopg.errors.CheckViolation as error:
        return error.diag.constraint_name != "delivery_approved"
    return True


def test_without_the_setting_nothing_is_asked_and_nothing_written(agency: Agency) -> None:
    agency.add_tenant("A")
    run_id, _ = agency.run()
    assert approvals.look(agency.db, run_id).state == "send"
    assert agency.db.execute("SELECT FROM invoicing.approval_request").fetchall() == []
    assert try_to_claim(agency, "A")


def test_a_month_waits_and_leaves_once_it_is_approved(asked: Agency) -> None:
    run_id, _ = asked.run()
    waiting = approvals.look(asked.db, run_id)
    assert waiting.state == "wait"
    assert waiting.asked is not None
    assert waiting.asked.summary["messages"] == 2
    assert waiting.asked.summary["sums"] == [{"currency": "COP", "invoices": 3, "total": "3000000"}]
    assert not try_to_claim(asked, "A")
    assert approvals.look(asked.db, run_id).asked == waiting.asked
    answered = approvals.answer(asked.db, NOVEMBER, "approved", **WHO)
    assert (answered.state, answered.is_counted, answered.actor) == ("approved", True, "ana")
    assert [each.dag_run_id for each in answered.runs] == ["run-1"]
    assert approvals.look(asked.db, run_id).state == "send"
    assert try_to_claim(asked, "A")
    assert try_to_claim(asked, "B")
    assert answers(asked) == [("approved", "ana")]


def test_the_first_answer_counts_and_the_second_is_told(asked: Agency) -> None:
    run_id, _ = asked.run()
    request = approvals.look(asked.db, run_id).asked
    assert request is not None
    approvals.answer(asked.db, NOVEMBER, "rejected", **WHO)
    second = approvals.answer(asked.db, NOVEMBER, "approved", reason="", actor="eva", via="command")
    assert (second.state, second.is_counted) == ("rejected", False)
    with pytest.raises(InputError, match="rejected already, by ana"):
        second.raise_if_refused()
    in_airflow = approvals.look(asked.db, run_id, Reply(request.id, "approved", "admin"))
    assert (in_airflow.state, in_airflow.actor, in_airflow.reason) == ("rejected", "ana", "looked at it")
    assert answers(asked) == [("rejected", "ana")]


def test_two_at_once_leave_one_answer(asked: Agency) -> None:
    run_id, _ = asked.run()
    approvals.look(asked.db, run_id)
    with connect(dsn_of(asked.db)) as other:
        with asked.db.transaction():
            first = approvals.answer(asked.db, NOVEMBER, "approved", **WHO)
            other.execute("SET lock_timeout = '200ms'")
            with pytest.raises(psycopg.errors.LockNotAvailable):
                approvals.answer(other, NOVEMBER, "rejected", reason="no", actor="eva", via="api")
        second = approvals.answer(other, NOVEMBER, "rejected", reason="no", actor="eva", via="api")
    assert (first.is_counted, second.is_counted, second.state) == (True, False, "approved")
    request = asked.db.execute("SELECT id FROM invoicing.approval_request").fetchone()
    assert request is not None
    with pytest.raises(psycopg.errors.UniqueViolation):
        asked.db.execute(
            "INSERT INTO invoicing.approval_answer (request_id, answer, via, actor)"
            " VALUES (%s, 'rejected', 'api', 'x')",
            [request["id"]],
        )


def test_a_rejected_run_ends_well_and_a_later_one_asks_anew(asked: Agency) -> None:
    run_id, _ = asked.run()
    approvals.look(asked.db, run_id)
    approvals.answer(asked.db, NOVEMBER, "rejected", **WHO)
    assert asked.deliveries() == [("A", "held", 2), ("B", "held", 1)]
    assert approvals.look(asked.db, run_id).state == "rejected"
    assert approvals.look(asked.db, run_id).state == "rejected", "a repeated task must not send"
    assert asked.balance() == []
    assert closing.close_run(asked.db, run_id) == {"deliveries": {"held": 2}}
    later, _ = asked.run()
    assert asked.deliveries() == [("A", "pending", 2), ("B", "pending", 1)]
    assert not try_to_claim(asked, "A")
    assert approvals.look(asked.db, later).state == "wait"
    approvals.answer(asked.db, NOVEMBER, "approved", **WHO)
    assert try_to_claim(asked, "A")
    assert answers(asked) == [("rejected", "ana"), ("approved", "ana")]


def test_a_rejection_ends_an_earlier_approval(asked: Agency) -> None:
    run_id, _ = asked.run()
    approvals.look(asked.db, run_id)
    approvals.answer(asked.db, NOVEMBER, "approved", **WHO)
    asked.add_tenant("C")
    later, _ = asked.run()
    assert approvals.look(asked.db, later).state == "wait"
    approvals.answer(asked.db, NOVEMBER, "rejected", **WHO)
    asked.run()
    assert asked.deliveries() == [("A", "pending", 2), ("B", "pending", 1), ("C", "pending", 1)]
    assert not try_to_claim(asked, "A")


CHANGES = {
    "address": lambda agency: agency.change_tenant("A", emails=["otra@correo.example"]),
    "copy": lambda agency: agency.change_tenant("A", cc_emails=["copia@correo.example"]),
    "settings": lambda agency: agency.set(from_name="Otro nombre"),
    "sender": lambda agency: agency.set(from_email="otra@agencia.example"),
    "switch": lambda agency: agency.change_tenant("A", auto_send=False),
    "template": lambda agency: (new_template(agency),),
    "hold": lambda agency: holds.hold(agency.db, "A", NOVEMBER, reason="waits", actor="eva"),
    "lease": lambda agency: (agency.add_lease("A-late", "A"), agency.run()),
}


def new_template(agency: Agency) -> None:
    current = templates.current_template(agency.db, "default")
    agency.db.execute(
        "INSERT INTO invoicing.template_version (name, version, parts, actor)"
        " SELECT name, version + 1, parts, 'eva' FROM invoicing.template_version WHERE id = %s",
        [current.id],
    )


@pytest.mark.parametrize("change", CHANGES)
def test_what_changed_meanwhile_is_asked_about_again(asked: Agency, change: str) -> None:
    run_id, _ = asked.run()
    before = approvals.look(asked.db, run_id).asked
    assert before is not None
    CHANGES[change](asked)
    second = approvals.answer(asked.db, NOVEMBER, "approved", **WHO)
    assert (second.state, second.is_counted) == ("overtaken", False)
    with pytest.raises(InputError, match="changed meanwhile"):
        second.raise_if_refused()
    assert not try_to_claim(asked, "B")
    again = approvals.look(asked.db, run_id)
    assert again.state == "wait"
    assert again.asked is not None
    assert again.asked.id > before.id
    assert again.asked.summary["overtook"]["actor"] == "ana"
    approvals.answer(asked.db, NOVEMBER, "approved", **WHO)
    assert approvals.look(asked.db, run_id).state == "send"
    assert try_to_claim(asked, "B")
    assert answers(asked) == [("overtaken", "ana"), ("approved", "ana")]


@pytest.mark.parametrize("change", CHANGES)
def test_an_answer_in_airflow_to_what_changed_is_none(asked: Agency, change: str) -> None:
    run_id, _ = asked.run()
    before = approvals.look(asked.db, run_id).asked
    assert before is not None
    CHANGES[change](asked)
    again = approvals.look(asked.db, run_id, Reply(before.id, "approved", "admin"))
    assert again.state == "wait"
    assert again.asked is not None
    assert again.asked.id > before.id
    # What was shown before is no longer what is asked.
    assert approvals.look(asked.db, run_id, Reply(before.id, "approved", "admin")).asked == again.asked
    assert not try_to_claim(asked, "B")
    assert approvals.look(asked.db, run_id, Reply(again.asked.id, "approved", "admin")).state == "send"
    assert answers(asked)[-1] == ("approved", "admin")


def test_who_lost_its_address_while_the_month_waits_gets_no_mail(asked: Agency) -> None:
    run_id, _ = asked.run()
    approvals.look(asked.db, run_id)
    asked.change_tenant("A", emails=[])
    assert approvals.look(asked.db, run_id).state == "wait"
    assert asked.decisions() == {"A": "no_email", "B": "send"}
    assert asked.deliveries() == [("A", "cancelled", 2), ("B", "pending", 1)]
    assert asked.balance() == []


def test_sending_switched_off_while_the_month_waits_leaves_nothing_to_approve(asked: Agency) -> None:
    run_id, _ = asked.run()
    approvals.look(asked.db, run_id)
    asked.set(auto_send="no")
    assert approvals.look(asked.db, run_id).state == "send"
    assert asked.deliveries() == [("A", "cancelled", 2), ("B", "cancelled", 1)]
    assert [answer for answer, _ in answers(asked)] == ["overtaken"]


def test_a_setting_turned_off_lets_the_month_go(asked: Agency) -> None:
    run_id, _ = asked.run()
    approvals.look(asked.db, run_id)
    asked.set(approval="never")
    assert approvals.look(asked.db, run_id).state == "send"
    assert try_to_claim(asked, "A")


def test_what_one_sends_by_name_one_approves_and_nothing_else(asked: Agency) -> None:
    run_id, _ = asked.run()
    approvals.look(asked.db, run_id)
    approvals.answer(asked.db, NOVEMBER, "rejected", **WHO)
    approvals.look(asked.db, run_id)
    closing.close_run(asked.db, run_id)
    send_now(asked.db, NOVEMBER, ["A"], actor="eva")
    assert try_to_claim(asked, "A")
    assert asked.deliveries() == [("A", "claimed", 2), ("B", "held", 1)]
    rows = asked.db.execute("SELECT scope, actor FROM invoicing.approval_request ORDER BY id").fetchall()
    assert [(row["scope"], row["actor"]) for row in rows] == [
        ("month", "monthly_invoicing/run-1"),
        ("deliveries", "eva"),
    ]


def test_what_failed_is_sent_again_by_whoever_says_so(asked: Agency) -> None:
    run_id, _ = asked.run()
    approvals.look(asked.db, run_id)
    approvals.answer(asked.db, NOVEMBER, "approved", **WHO)
    asked.put("A", "claimed", "failed")
    asked.change_tenant("A", emails=["buena@correo.example"])
    row = asked.db.execute("SELECT id FROM invoicing.delivery WHERE state = 'failed'").fetchone()
    assert row is not None
    resolution.resend(asked.db, [row["id"]], reason="mended", actor="eva")
    assert answers(asked) == [("approved", "ana"), ("approved", "eva")]


def test_what_is_in_doubt_and_was_approved_is_tried_again_as_it_was(asked: Agency) -> None:
    run_id, _ = asked.run()
    approvals.look(asked.db, run_id)
    approvals.answer(asked.db, NOVEMBER, "approved", **WHO)
    asked.put("A", "claimed", "transmitting", "in_doubt")
    asked.change_tenant("A", emails=["otra@correo.example"])
    row = asked.db.execute("SELECT id FROM invoicing.delivery WHERE state = 'in_doubt'").fetchone()
    assert row is not None
    resolution.resolve(asked.db, row["id"], "retry", reason="not in the log", actor="eva")
    assert try_to_claim(asked, "A")
    assert answers(asked) == [("approved", "ana")], "nothing new left"


def test_with_changed_a_quiet_month_is_approved_by_the_rule_and_a_loud_one_is_asked(agency: Agency) -> None:
    agency.set(approval="changed", approval_change_percent=20)
    for code in "ABCDEFGHIJ":
        agency.add_tenant(code)
    first, _ = agency.run(OCTOBER)
    waiting = approvals.look(agency.db, first)
    assert waiting.asked is not None
    assert waiting.asked.summary["why"] == ["first_month"]
    approvals.answer(agency.db, OCTOBER, "approved", **WHO)
    agency.db.execute("UPDATE invoicing.lease SET rent = 1200000 WHERE code = 'A-L0'")
    second, _ = agency.run(NOVEMBER)
    assert approvals.look(agency.db, second).state == "send"
    assert answers(agency)[1:] == [("approved", "approval=changed")]
    assert try_to_claim(agency, "A")
    agency.db.execute("UPDATE invoicing.lease SET rent = 1500000 WHERE code = 'A-L0'")
    third, _ = agency.run(NOVEMBER.following)
    waiting = approvals.look(agency.db, third)
    assert waiting.asked is not None
    assert waiting.asked.summary["why"] == ["invoice"]
    (change,) = waiting.asked.summary["difference"]["leases"]
    assert change == {
        "lease": "A-L0", "kind": "amount", "before": "1200000", "now": "1500000", "currency": "COP", "percent": 25.0,
    }  # fmt: skip


def test_the_operator_is_reminded_and_told_of_the_deadline(asked: Agency) -> None:
    run_id, _ = asked.run()
    approvals.look(asked.db, run_id)

    def found(hours: int) -> dict[str, tuple[bool, bool]]:
        later = datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=hours)
        checks = health.look(asked.db, health.Here(later))
        return {
            each.name: (each.ok, each.alarms)
            for each in checks
            if each.name in ("approvals", "approval_deadline", "unsent", "cycles")
        }

    fine = (True, False)
    quiet = {"unsent": fine, "cycles": fine}
    assert found(1) == {**quiet, "approvals": (False, False), "approval_deadline": fine}
    assert found(5) == {**quiet, "approvals": (False, True), "approval_deadline": fine}
    assert found(25) == {**quiet, "approvals": (False, True), "approval_deadline": (False, True)}
    approvals.answer(asked.db, NOVEMBER, "rejected", **WHO)
    closing.close_run(asked.db, run_id)
    assert found(25) == {**quiet, "approvals": fine, "approval_deadline": fine}


def test_a_month_that_is_stopped_and_resumed_is_not_thereby_approved(asked: Agency) -> None:
    run_id, _ = asked.run()
    approvals.look(asked.db, run_id)
    holds.stop_month(asked.db, NOVEMBER, reason="wrong text", actor="eva")
    holds.resume_month(asked.db, NOVEMBER, reason="right text", actor="eva")
    assert asked.deliveries() == [("A", "held", 2), ("B", "held", 1)]


def test_nobody_approves_what_was_not_asked(asked: Agency) -> None:
    with pytest.raises(NotFoundError):
        approvals.answer(asked.db, NOVEMBER, "approved", **WHO)
    asked.run()
    with pytest.raises(InputError, match="nothing of 2026-11 waits"):
        approvals.answer(asked.db, NOVEMBER, "approved", **WHO)
    with pytest.raises(InputError, match="give a reason"):
        approvals.answer(asked.db, NOVEMBER, "rejected", reason=" ", actor="ana", via="page")


@pytest.mark.parametrize("table", ["approval_request", "approval_item", "approval_answer"])
def test_what_was_asked_and_answered_is_kept(asked: Agency, table: str) -> None:
    run_id, _ = asked.run()
    approvals.look(asked.db, run_id)
    approvals.answer(asked.db, NOVEMBER, "approved", **WHO)
    for statement in (f"DELETE FROM invoicing.{table}", f"TRUNCATE invoicing.{table} CASCADE"):
        with pytest.raises((psycopg.errors.IntegrityError, psycopg.errors.InsufficientPrivilege)):
            asked.db.execute(statement.encode())


def test_nothing_is_added_to_what_was_answered(asked: Agency) -> None:
    run_id, _ = asked.run()
    approvals.look(asked.db, run_id)
    approvals.answer(asked.db, NOVEMBER, "approved", **WHO)
    asked.add_tenant("C")
    asked.run()
    with pytest.raises(psycopg.errors.IntegrityError, match="nothing is added"):
        asked.db.execute(
            "INSERT INTO invoicing.approval_item (request_id, delivery_id, fingerprint)"
            " SELECT q.id, d.id, q.fingerprint FROM invoicing.approval_request q, invoicing.delivery d"
            " WHERE d.id = (SELECT max(id) FROM invoicing.delivery)"
        )
