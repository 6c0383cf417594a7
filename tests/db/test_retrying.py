"""All that failed of a month, once more: what is tried, what is left alone and why, and through whom it goes."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from invoicing.domain.errors import NotFoundError
from invoicing.domain.period import Period
from invoicing.services.delivery import resolution, retries
from support.agency import NOVEMBER, Agency

DAG = "monthly_invoicing"
FAILED = ("claimed", "failed")


@dataclass
class FakeAirflow:
    """Airflow's clear, with the task instances of one run that failed."""

    failed: set[tuple[str, int]] = field(default_factory=set)
    at_work: bool = False
    known: bool = True
    asked: list[tuple[str, tuple[str, ...], bool]] = field(default_factory=list)

    def clear_tasks(
        self, dag_id: str, dag_run_id: str, task_ids: Sequence[str], *, only_failed: bool
    ) -> list[tuple[str, int]]:
        assert dag_id == DAG
        if not self.known:
            raise NotFoundError("airflow_knows_nothing", reason=dag_run_id)
        self.asked.append((dag_run_id, tuple(task_ids), only_failed))
        cleared = sorted(each for each in self.failed if each[0] in task_ids)
        self.failed -= set(cleared)
        if not only_failed:
            cleared += [(task_id, -1) for task_id in task_ids if (task_id, -1) not in cleared]
        self.at_work |= bool(cleared)
        return cleared

    def is_at_work(self, _dag_id: str, _dag_run_id: str) -> bool:
        return self.at_work


@pytest.fixture
def airflow() -> FakeAirflow:
    return FakeAirflow({("send_invoices", 0), ("send_invoices", 1), ("close_cycle", -1)})


@pytest.fixture
def month(agency: Agency) -> Agency:
    """Two whose delivery failed, and one that was sent; their run is over."""
    for code in "ABC":
        agency.add_tenant(code)
    agency.run()
    for index, code in enumerate("ABC"):
        _claimed_by(agency, code, f"{DAG}/run-1/send_invoices/{index}")
    agency.put("A", *FAILED)
    agency.put("B", *FAILED)
    agency.put("C", "claimed", "transmitting", "sent")
    agency.db.execute("UPDATE invoicing.cycle_run SET state = 'failed', ended_at = now()")
    _keep_documents(agency)
    return agency


def _claimed_by(agency: Agency, code: str, address: str) -> None:
    agency.db.execute(
        "UPDATE invoicing.delivery d SET claimed_by = %s, execution = %s FROM invoicing.tenant t"
        " WHERE t.id = d.tenant_id AND t.code = %s",
        [address, address + "/6", code],
    )


def _keep_documents(agency: Agency) -> None:
    agency.db.execute(
        "INSERT INTO invoicing.invoice_document (invoice_id, key, sha256, size_bytes, template_version_id)"
        " SELECT i.id, i.number, repeat('a', 64), 1, v.id FROM invoicing.invoice i,"
        " (SELECT min(id) AS id FROM invoicing.template_version) v"
    )


def _plan(agency: Agency) -> tuple[list[str], dict[str, str]]:
    plan = retries.plan_retry(agency.db, NOVEMBER)
    return [each.tenant for each in plan.to_retry], {each.tenant: each.reason for each in plan.left_alone}


def test_a_plan_says_who_at_which_address_and_changes_nothing(month: Agency) -> None:
    month.change_tenant("A", emails=["new@correo.example"])
    before = month.deliveries()

    plan = retries.plan_retry(month.db, NOVEMBER)

    assert [(each.tenant, list(each.to), each.dag_run_id) for each in plan.to_retry] == [
        ("A", ["new@correo.example"], "run-1"),
        ("B", ["b@correo.example"], "run-1"),
    ]
    assert (plan.template, list(plan.left_alone)) == ("default", [])
    assert month.deliveries() == before


def test_what_failed_goes_through_airflows_own_clear(month: Agency, airflow: FakeAirflow) -> None:
    retried = retries.retry(month.db, NOVEMBER, airflow, actor="ana")

    assert airflow.asked == [
        ("run-1", ("approve_sending", "check_mail_server", "send_invoices", "close_cycle"), True)
    ]
    assert (retried.cleared, list(retried.requested)) == ({"run-1": 3}, [])
    # The new execution takes them up.
    assert month.deliveries() == [("A", "failed", 1), ("B", "failed", 1), ("C", "sent", 1)]
    (event,) = month.db.execute("SELECT * FROM invoicing.audit_event WHERE action = 'month_retried'")
    assert (event["actor"], event["subject"]) == ("ana", "month 2026-11")


def test_repeating_it_clears_and_asks_for_nothing_more(month: Agency, airflow: FakeAirflow) -> None:
    retries.retry(month.db, NOVEMBER, airflow, actor="ana")
    again = retries.retry(month.db, NOVEMBER, airflow, actor="ana")
    assert (again.cleared, list(again.requested)) == ({}, [])


@pytest.mark.parametrize(
    "airflow",
    [FakeAirflow(), FakeAirflow(known=False), FakeAirflow({("send_invoices", 1)})],
    ids=["nothing failed", "run deleted", "another instance"],
)
def test_what_no_task_covers_is_asked_of_the_other_dag_once(month: Agency, airflow: FakeAirflow) -> None:
    uncovered = ["A", "B"] if not airflow.failed else ["A"]
    month.change_tenant("A", emails=["new@correo.example"])

    retried = retries.retry(month.db, NOVEMBER, airflow, actor="ana")
    again = retries.retry(month.db, NOVEMBER, airflow, actor="ana")

    rows = month.db.execute(
        "SELECT t.code, d.state, d.run_id, d.to_addresses FROM invoicing.delivery d"
        " JOIN invoicing.tenant t ON t.id = d.tenant_id WHERE d.on_request ORDER BY d.id"
    ).fetchall()
    assert [row["code"] for row in rows] == uncovered
    assert len(retried.requested) == len(uncovered)
    assert (rows[0]["state"], rows[0]["run_id"], rows[0]["to_addresses"]) == (
        "pending",
        None,
        ["new@correo.example"],
    )
    assert list(again.requested) == []


def test_a_document_that_is_missing_is_rendered_before_the_check_and_the_sending(
    month: Agency, airflow: FakeAirflow
) -> None:
    month.add_lease("A-late", "A")
    month.run()
    month.db.execute("UPDATE invoicing.cycle_run SET state = 'failed', ended_at = now()")
    airflow.failed |= {("render_invoices", 0)}

    retries.retry(month.db, NOVEMBER, airflow, actor="ana")

    assert [(tasks, only_failed) for _, tasks, only_failed in airflow.asked] == [
        (("render_invoices",), True),
        (("check_mail_server",), False),
        (("approve_sending", "check_mail_server", "send_invoices", "close_cycle"), True),
    ]


def test_what_nobody_tried_yet_leaves_with_the_settings_of_today(
    agency: Agency, airflow: FakeAirflow
) -> None:
    """The mail server was away: no task of the run's came to send."""
    agency.add_tenant("A")
    agency.run()
    agency.db.execute("UPDATE invoicing.cycle_run SET state = 'failed', ended_at = now()")
    _keep_documents(agency)
    agency.set(subject="Otra cosa")
    agency.change_tenant("A", language="en")

    retries.retry(agency.db, NOVEMBER, FakeAirflow({("send_invoices", -1)}), actor="ana")

    (row,) = agency.db.execute(
        "SELECT s.settings ->> 'subject' AS subject, d.language, d.on_request FROM invoicing.delivery d"
        " JOIN invoicing.settings_version s ON s.id = d.settings_version_id"
    ).fetchall()
    assert (row["subject"], row["language"], row["on_request"]) == ("Otra cosa", "en", False)


def test_a_doubt_is_never_retried(month: Agency) -> None:
    month.put("A", "pending", "claimed", "transmitting", "in_doubt")
    assert _plan(month) == (["B"], {"A": "in_doubt"})


def test_what_a_person_gave_up_is_never_retried(month: Agency, airflow: FakeAirflow) -> None:
    month.put("A", "pending", "claimed", "transmitting", "in_doubt")
    ids = {each.tenant: each.delivery for each in retries.plan_retry(month.db, NOVEMBER).left_alone}
    resolution.resolve(month.db, ids["A"], "failed", reason="the log", actor="ana")
    resolution.cancel(
        month.db, [retries.plan_retry(month.db, NOVEMBER).to_retry[0].delivery], reason="x", actor="ana"
    )
    assert _plan(month) == ([], {"A": "given_up", "B": "cancelled"})
    retries.retry(month.db, NOVEMBER, airflow, actor="ana")
    assert airflow.asked == []


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        ({"auto_send": False}, "tenant_disabled"),
        ({"emails": []}, "no_email"),
        ({"emails": ["a@@b"]}, "invalid_email"),
    ],
)
def test_who_may_not_get_mail_today_is_named_with_the_reason(
    month: Agency, columns: dict[str, object], reason: str
) -> None:
    month.change_tenant("A", **columns)
    assert _plan(month) == (["B"], {"A": reason})


def test_with_the_brake_off_nothing_is_retried(month: Agency, airflow: FakeAirflow) -> None:
    month.set(auto_send=False)
    assert _plan(month) == ([], {"A": "sending_disabled", "B": "sending_disabled"})
    retries.retry(month.db, NOVEMBER, airflow, actor="ana")
    assert airflow.asked == []


def test_what_a_run_is_at_work_on_is_left_to_it(agency: Agency) -> None:
    for code in "AB":
        agency.add_tenant(code)
    agency.run()
    agency.put("B", *FAILED)
    assert _plan(agency) == ([], {"A": "under_way", "B": "under_way"})


def test_a_month_that_is_not_open_has_nothing_to_retry(agency: Agency, airflow: FakeAirflow) -> None:
    with pytest.raises(NotFoundError):
        retries.plan_retry(agency.db, Period(2026, 12))
    with pytest.raises(NotFoundError):
        retries.retry(agency.db, Period(2026, 12), airflow, actor="ana")


def test_where_a_month_is_approved_retrying_approves_just_what_is_retried(
    month: Agency, airflow: FakeAirflow
) -> None:
    month.set(approval="always")
    retries.retry(month.db, NOVEMBER, airflow, actor="ana")
    (answer,) = month.db.execute("SELECT answer, via, actor FROM invoicing.approval_answer").fetchall()
    items = month.db.execute("SELECT count(*) AS n FROM invoicing.approval_item").fetchone()
    assert items is not None
    assert (answer["answer"], answer["via"], answer["actor"], items["n"]) == ("approved", "act", "ana", 2)
