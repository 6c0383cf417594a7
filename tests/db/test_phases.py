"""How far a month's run is: its steps, how much of each is done, how long the rest takes at the pace so far."""

import datetime

import pytest

from invoicing.services.billing import count, generate, runs
from invoicing.services.billing.runs import Starter
from invoicing.services.delivery import approvals, select
from invoicing.services.views.phases import Phase, run_phases, seconds_left
from support.agency import NOVEMBER, Agency

SENT = ("claimed", "transmitting", "sent")


def open_month(agency: Agency, starter: Starter) -> int:
    return runs.open_run(
        agency.db, dag_id="monthly_invoicing", dag_run_id="r1", period=NOVEMBER, starter=starter
    )


def states(agency: Agency) -> dict[str, str]:
    run = run_phases(agency.db, NOVEMBER)
    assert run is not None
    return {phase.name: phase.state for phase in run.phases}


def phase(agency: Agency, name: str) -> Phase:
    run = run_phases(agency.db, NOVEMBER)
    assert run is not None
    return next(each for each in run.phases if each.name == name)


def render(agency: Agency, *tenants: str) -> None:
    """As rendering leaves it."""
    agency.db.execute(
        "INSERT INTO invoicing.invoice_document (invoice_id, key, sha256, size_bytes, template_version_id)"
        " SELECT i.id, '2026-11/' || i.number || '.pdf', repeat('0', 64), 1,"
        " (SELECT max(id) FROM invoicing.template_version)"
        " FROM invoicing.invoice AS i JOIN invoicing.tenant AS t ON t.id = i.tenant_id WHERE t.code = ANY(%s)",
        [list(tenants)],
    )


def test_a_run_goes_step_by_step(agency: Agency) -> None:
    agency.add_tenant("A", leases=2)
    agency.add_tenant("B")
    agency.add_tenant("C", auto_send=False)
    run_id = open_month(agency, Starter("command", "ana, admin"))
    assert states(agency) == {
        "invoices": "now", "decisions": "next", "documents": "next", "sending": "next"
    }  # fmt: skip

    generate.generate_invoices(agency.db, run_id)
    assert states(agency)["decisions"] == "now"
    count.count_invoices(agency.db, run_id)
    select.select_recipients(agency.db, run_id)
    documents = phase(agency, "documents")
    assert (documents.state, documents.done, documents.total) == ("now", 0, 3)
    assert phase(agency, "sending").state == "next"

    render(agency, "A")
    assert (phase(agency, "documents").done, phase(agency, "documents").total) == (2, 3)
    render(agency, "B")
    assert states(agency) == {
        "invoices": "done", "decisions": "done", "documents": "done", "sending": "now"
    }  # fmt: skip

    agency.put("A", *SENT)
    agency.put("B", "claimed", "transmitting", "failed")
    sending = phase(agency, "sending")
    assert (sending.state, sending.done, sending.total, sending.failed) == ("done", 1, 2, 1)

    agency.db.execute("UPDATE invoicing.cycle_run SET state = 'success', ended_at = now()")
    assert run_phases(agency.db, NOVEMBER) is None


def test_a_month_that_has_to_be_approved_has_that_step(agency: Agency) -> None:
    agency.set(approval="always")
    agency.add_tenant("A")
    run_id = open_month(agency, Starter("schedule"))
    assert states(agency)["approval"] == "next"
    generate.generate_invoices(agency.db, run_id)
    count.count_invoices(agency.db, run_id)
    select.select_recipients(agency.db, run_id)
    render(agency, "A")
    approvals.look(agency.db, run_id)
    assert (states(agency)["documents"], states(agency)["approval"], states(agency)["sending"]) == (
        "done", "now", "next",
    )  # fmt: skip

    approvals.answer(agency.db, NOVEMBER, "approved", reason="", actor="ana", via="page")
    assert (states(agency)["approval"], states(agency)["sending"]) == ("done", "now")


def test_with_nobody_to_send_to_the_last_steps_are_not_needed_and_no_failure(agency: Agency) -> None:
    agency.set(auto_send=False)
    agency.add_tenant("A")
    run_id = open_month(agency, Starter("airflow", "ana"))
    generate.generate_invoices(agency.db, run_id)
    count.count_invoices(agency.db, run_id)
    select.select_recipients(agency.db, run_id)

    assert (states(agency)["documents"], states(agency)["sending"]) == ("skipped", "skipped")


def test_what_an_earlier_run_sent_is_not_this_ones(agency: Agency) -> None:
    agency.add_tenant("A")
    agency.run()
    agency.put("A", *SENT)
    agency.db.execute("UPDATE invoicing.cycle_run SET state = 'success', ended_at = now()")
    agency.add_tenant("B")
    agency.run()

    assert (phase(agency, "sending").done, phase(agency, "sending").total) == (0, 1)


@pytest.mark.parametrize("starter", [Starter("schedule"), Starter("command", "ana, admin"), Starter()])
def test_who_started_it_is_kept_when_it_is_cleared(agency: Agency, starter: Starter) -> None:
    open_month(agency, starter)
    open_month(agency, Starter("airflow", "somebody who clears it"))

    run = run_phases(agency.db, NOVEMBER)

    assert run is not None
    assert (run.started_via, run.started_by) == (starter.via, starter.name)


@pytest.mark.parametrize(
    ("left", "done", "elapsed", "expected"),
    [(10, 20, 60, 30), (42, 3, 6, 84), (10, 2, 60, None), (0, 20, 60, None), (5, 5, 0, 0)],
)
def test_the_time_left_is_estimated_from_what_was_done(
    left: int, done: int, elapsed: int, expected: int | None
) -> None:
    at = datetime.datetime(2026, 11, 1, 6, tzinfo=datetime.UTC)
    assert seconds_left(left, done, at - datetime.timedelta(seconds=elapsed), at) == expected
    assert seconds_left(left, done, None, at) is None
