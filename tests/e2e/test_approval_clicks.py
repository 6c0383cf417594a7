"""A month that waits, answered by people in a browser: in Airflow's own pages and in ours, whoever manages its users.

On the real stack. Under FAB, a second API server stands beside the stack's own, on the same runs.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from invoicing.airflow_api import AirflowApi
from support.browser import log_into_airflow, open_in_airflow
from support.real_airflow import fab_beside
from support.running_stack import Stack, wait_for
from support.waiting_month import DAG, TASK, answers, begin, end, make_agency, wait_until_asked

pytestmark = [pytest.mark.e2e, pytest.mark.long, pytest.mark.timeout(900)]


@dataclass(frozen=True, slots=True)
class Site:
    """An Airflow to log into.

    Args:
        year: Its months are of that year: each is approved once.
        page: Its administrator's browser.
    """

    manager: str
    url: str
    name: str
    password: str
    year: int
    page: Page


@pytest.fixture(scope="module")
def agency(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Stack:
    """Two tenants; whatever a month sends has to be approved."""
    make_agency(stack, tmp_path_factory.mktemp("files"))
    return stack


@pytest.fixture(scope="module", params=["simple", "fab"])
def site(
    request: pytest.FixtureRequest,
    agency: Stack,
    chromium: Browser,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Site]:
    expect.set_options(timeout=60_000)
    if request.param == "simple":
        page = log_into_airflow(chromium, agency.url, "admin", agency.admin_password, "en")
        yield Site("simple", agency.url, "admin", agency.admin_password, 2027, page)
        return
    with fab_beside(agency, tmp_path_factory.mktemp("fab") / "home") as fab:
        page = log_into_airflow(chromium, fab.url, "ada", "ada", "en")
        yield Site("fab", fab.url, "ada", "ada", 2028, page)


@pytest.fixture
def api(agency: Stack) -> Iterator[AirflowApi]:
    with agency.airflow() as client:
        yield client


def to(stack: Stack, address: str) -> int:
    return sum(address in str(message["To"]) for message in stack.mailbox())


def open_required_action(page: Page, run_id: str) -> None:
    """As people find it: from Airflow's menu, by its list."""
    page.goto("/")
    page.get_by_role("button", name="Browse").click()
    page.get_by_role("menuitem", name="Required Actions").click()
    row = page.get_by_role("row").filter(has_text=run_id)
    expect(row).to_contain_text("Response Required")
    row.get_by_role("link", name=re.compile("Send . messages")).click()
    expect(page.get_by_text("SHA-256")).to_be_visible()


def test_a_month_is_approved_in_airflows_own_page_while_the_scheduler_is_dead(
    agency: Stack, api: AirflowApi, site: Site
) -> None:
    period = f"{site.year}-01"
    run_id = begin(api, period)
    wait_until_asked(api, run_id)
    sent = len(agency.mailbox())
    agency.kill("scheduler")

    open_required_action(site.page, run_id)
    expect(site.page.get_by_text("2 messages, 2 addresses, 2 invoices, COP 2,000,000")).to_be_visible()
    site.page.get_by_role("button", name="Approve").click()
    expect(site.page.get_by_text("response successful")).to_be_visible()
    agency.run("up")

    assert end(api, run_id) == "success"
    assert len(agency.mailbox()) == sent + 2
    approval = agency.json("cycle", "show", period)["approval"]
    assert (approval["state"], approval["via"], approval["reason"]) == ("approved", "airflow", "")
    assert site.name in approval["actor"]


def test_a_month_is_rejected_in_airflows_own_page(agency: Stack, api: AirflowApi, site: Site) -> None:
    period = f"{site.year}-02"
    run_id = begin(api, period)
    wait_until_asked(api, run_id)
    sent = len(agency.mailbox())

    open_required_action(site.page, run_id)
    site.page.get_by_label(re.compile("Reason")).or_(
        site.page.locator("input[name=element_reason]")
    ).first.fill("a wrong text")
    site.page.get_by_role("button", name="Reject").click()

    assert end(api, run_id) == "success"
    assert len(agency.mailbox()) == sent
    shown = agency.json("cycle", "show", period)
    assert (shown["approval"]["state"], shown["approval"]["reason"]) == ("rejected", "a wrong text")
    assert (shown["balanced"], shown["deliveries"]["held"]) == (True, 2)


def test_a_month_is_approved_on_our_page(agency: Stack, api: AirflowApi, site: Site) -> None:
    period = f"{site.year}-03"
    run_id = begin(api, period)
    wait_until_asked(api, run_id)
    sent = len(agency.mailbox())

    month = open_in_airflow(site.page, f"cycles/{period}")
    month.get_by_role("button", name="Approve and send").click()
    expect(month.get_by_text("Approved: the messages leave in a moment")).to_be_visible()

    assert end(api, run_id) == "success"
    assert len(agency.mailbox()) == sent + 2
    assert answers(agency, period) == [("approved", "page")]
    assert site.name in agency.json("cycle", "show", period)["approval"]["actor"]


def test_a_month_is_approved_by_command(agency: Stack, api: AirflowApi, site: Site) -> None:
    period = f"{site.year}-04"
    run_id = begin(api, period)
    wait_until_asked(api, run_id)
    sent = len(agency.mailbox())

    agency.run(
        *("cycle", "approve", period, "--reason", "looked at it"),
        INVOICING_AIRFLOW_URL=site.url,
        INVOICING_AIRFLOW_USER=site.name,
        INVOICING_AIRFLOW_PASSWORD=site.password,
    )

    assert end(api, run_id) == "success"
    assert len(agency.mailbox()) == sent + 2
    assert answers(agency, period) == [("approved", "command")]


def test_a_month_that_an_address_overtook_is_asked_about_again_and_approved(
    agency: Stack, api: AirflowApi, site: Site
) -> None:
    period, address = f"{site.year}-05", f"nueva-{site.manager}@correo.test"
    run_id = begin(api, period)
    wait_until_asked(api, run_id)
    sent = len(agency.mailbox())
    tenant = open_in_airflow(site.page, "tenants/A")
    tenant.get_by_label("E-mail addresses").fill(address)
    tenant.get_by_role("button", name="Save", exact=True).click()
    expect(tenant.get_by_role("status").first).to_contain_text("Saved")

    month = open_in_airflow(site.page, f"cycles/{period}")
    month.get_by_role("button", name="Approve and send").click()
    expect(month.get_by_text("changed meanwhile").first).to_be_visible()
    wait_for(lambda: answers(agency, period)[-1] == (None, None), "it is asked again")
    assert len(agency.mailbox()) == sent
    month = open_in_airflow(site.page, f"cycles/{period}")
    expect(month.get_by_text("It is asked again")).to_be_visible()
    month.get_by_role("button", name="Approve and send").click()
    expect(month.get_by_text("Approved: the messages leave in a moment")).to_be_visible()

    assert end(api, run_id) == "success"
    assert (len(agency.mailbox()), to(agency, address)) == (sent + 2, 1)
    assert answers(agency, period) == [("overtaken", "page"), ("approved", "page")]


def test_who_may_not_answer_is_refused_in_both_places(agency: Stack, api: AirflowApi, site: Site) -> None:
    """FAB has people who only look; the stack's simple manager has none: there it is somebody who is not logged in."""
    period = f"{site.year}-06"
    run_id = begin(api, period)
    wait_until_asked(api, run_id)
    with httpx.Client(base_url=site.url, timeout=60, trust_env=False) as client:
        if site.manager == "fab":
            login = client.post("/auth/token", json={"username": "vera", "password": "vera"})
            client.headers["authorization"] = f"Bearer {login.json()['access_token']}"
        in_airflow = client.patch(
            f"/api/v2/dags/{DAG}/dagRuns/{run_id}/taskInstances/{TASK}/-1/hitlDetails",
            json={"chosen_options": ["Approve"], "params_input": {}},
        )
        ours = client.post(f"/invoicing/api/v1/cycles/{period}/approve", json={"reason": ""})
    refusal = 403 if site.manager == "fab" else 401
    assert (in_airflow.status_code, ours.status_code) == (refusal, refusal)
    assert answers(agency, period) == [(None, None)]
    agency.run("cycle", "reject", period, "--reason", "only looked")
    assert end(api, run_id) == "success"
