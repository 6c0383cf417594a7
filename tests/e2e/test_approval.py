"""A month waits for a person: approved from Airflow, from the page and by command line; rejected; overtaken.

On the real stack: Airflow's own Required Actions answer, the scheduler dies meanwhile, and nothing leaves before.
"""

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import psycopg
import pytest

from invoicing.airflow_api import AirflowApi
from support.running_stack import Stack, wait_for
from support.waiting_month import DAG, TASK, answers, begin, end, make_agency, state_of, wait_until_asked

pytestmark = [pytest.mark.e2e, pytest.mark.long, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def agency(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Stack:
    """Two tenants; whatever a month sends has to be approved; a run looks into the ledger every few seconds."""
    make_agency(stack, tmp_path_factory.mktemp("files"))
    return stack


@pytest.fixture
def api(agency: Stack) -> Iterator[AirflowApi]:
    with agency.airflow() as client:
        yield client


def detail(api: AirflowApi, run_id: str) -> dict[str, Any]:
    return api._get(f"/dags/{DAG}/dagRuns/{run_id}/taskInstances/{TASK}/-1/hitlDetails")


@contextmanager
def pages_of(stack: Stack) -> Iterator[httpx.Client]:
    """A session with the pages, as the admin's browser has it."""
    url = f"http://127.0.0.1:{stack.port}"
    with httpx.Client(base_url=url, timeout=60, follow_redirects=True, trust_env=False) as client:
        login = {"username": "admin", "password": stack.admin_password}
        client.cookies.set("_token", client.post("/auth/token", json=login).json()["access_token"])
        yield client


def submit(client: httpx.Client, period: str, act: str, reason: str) -> httpx.Response:
    page = client.get(f"/invoicing/cycles/{period}?lang=en")
    token = re.search(r'name="csrf-token" content="([^"]+)"', page.text)
    assert token, page.text[:2000]
    return client.post(
        f"/invoicing/cycles/{period}/{act}",
        data={"csrf_token": token[1], "reason": reason},
        headers={"origin": str(client.base_url).rstrip("/"), "sec-fetch-site": "same-origin"},
    )


def test_a_month_is_approved_under_required_actions_though_the_scheduler_died(
    agency: Stack, api: AirflowApi
) -> None:
    run_id = begin(api, "2026-11")
    wait_until_asked(api, run_id)
    assert agency.mailbox() == []
    shown = detail(api, run_id)
    assert shown["options"] == ["Approve", "Reject", "Look again"]
    assert "2 messages" in shown["body"]
    assert "2,000,000" in shown["body"]
    assert "correo.test" not in shown["body"]
    agency.kill("scheduler")
    agency.run("up")
    assert state_of(api, run_id) == "awaiting_input"

    api.answer(DAG, run_id, TASK, "Approve", "all as it should be")

    assert end(api, run_id) == "success"
    assert len(agency.mailbox()) == 2
    approval = agency.json("cycle", "show", "2026-11")["approval"]
    assert (approval["state"], approval["actor"], approval["via"]) == ("approved", "admin", "airflow")
    assert approval["reason"] == "all as it should be"


def test_a_month_is_approved_on_its_page_once_what_changed_was_shown(agency: Stack, api: AirflowApi) -> None:
    run_id = begin(api, "2026-12")
    wait_until_asked(api, run_id)
    sent = len(agency.mailbox())
    with psycopg.connect(agency.dsn, autocommit=True) as db:
        db.execute("UPDATE invoicing.tenant SET emails = '{nueva@correo.test}' WHERE code = 'A'")
    with pages_of(agency) as client:
        refused = submit(client, "2026-12", "approve", "")
        assert refused.status_code == 422, refused.text[:3000]
        assert "changed meanwhile" in refused.text
        wait_for(lambda: answers(agency, "2026-12")[-1] == (None, None), "it is asked again")
        # Airflow's text is as it was: who approves that, approves nothing.
        wait_until_asked(api, run_id)
        api.answer(DAG, run_id, TASK, "Approve", "the old figures")
        time.sleep(3)
        wait_until_asked(api, run_id)
        assert answers(agency, "2026-12") == [("overtaken", "page"), (None, None)]
        assert len(agency.mailbox()) == sent
        approved = submit(client, "2026-12", "approve", "")
        assert "Approved: the messages leave in a moment" in approved.text, approved.text[:3000]
    assert end(api, run_id) == "success"
    assert [str(message["To"]) for message in agency.mailbox()[sent:]].count("nueva@correo.test") == 1
    assert answers(agency, "2026-12") == [("overtaken", "page"), ("approved", "page")]


def test_a_month_is_rejected_by_command_and_a_later_run_takes_it_up(agency: Stack, api: AirflowApi) -> None:
    run_id = begin(api, "2027-01")
    wait_until_asked(api, run_id)
    sent = len(agency.mailbox())
    assert agency.run("cycle", "reject", "2027-01", check=False).returncode == 2
    agency.run("cycle", "reject", "2027-01", "--reason", "a wrong text")
    assert end(api, run_id) == "success"
    skipped = {each.task_id for each in api.task_instances(DAG, run_id) if each.state == "skipped"}
    assert {"check_mail_server", "send_invoices", "list_unmailed", "render_unmailed"} <= skipped
    shown = agency.json("cycle", "show", "2027-01")
    assert (shown["approval"]["state"], shown["balanced"], shown["deliveries"]["held"]) == (
        "rejected",
        True,
        2,
    )
    second = agency.run("cycle", "approve", "2027-01", check=False)
    assert second.returncode == 2
    assert "rejected already" in second.stderr
    assert len(agency.mailbox()) == sent

    later = begin(api, "2027-01")
    wait_until_asked(api, later)
    agency.run("cycle", "approve", "2027-01", "--reason", "right now")
    assert end(api, later) == "success"
    assert len(agency.mailbox()) == sent + 2


def test_what_airflow_was_not_told_of_the_run_finds_in_the_ledger(agency: Stack, api: AirflowApi) -> None:
    """A time-out of Airflow's answers nothing: it is when the run looks."""
    run_id = begin(api, "2027-02")
    wait_until_asked(api, run_id)
    sent = len(agency.mailbox())
    untold = agency.run(
        "cycle", "approve", "2027-02", check=False, INVOICING_AIRFLOW_URL="http://127.0.0.1:1"
    )
    assert untold.returncode == 1
    assert "the answer is stored" in untold.stderr
    assert end(api, run_id) == "success"
    assert len(agency.mailbox()) == sent + 2


def test_a_time_out_never_approves(agency: Stack, api: AirflowApi) -> None:
    run_id = begin(api, "2027-03")
    wait_until_asked(api, run_id)
    sent = len(agency.mailbox())
    with psycopg.connect(agency.dsn, autocommit=True) as db:
        before = db.execute("SELECT count(*) FROM invoicing.approval_request").fetchone()

        def looked() -> bool:
            """A look bills the tenant's switch: it withdraws what was to leave, and asks about the rest."""
            return answers(agency, "2027-03") == [("overtaken", "run"), (None, None)]

        db.execute("UPDATE invoicing.tenant SET auto_send = false WHERE code = 'B'")
        wait_for(looked, "the run looks by itself", 120)
        assert before is not None
    wait_until_asked(api, run_id)
    assert len(agency.mailbox()) == sent
    agency.run("cycle", "approve", "2027-03")
    assert end(api, run_id) == "success"
    assert len(agency.mailbox()) == sent + 1
