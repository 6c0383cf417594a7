"""All that failed of a month, once more, on the real stack: by the command line, on the page, by Airflow's clear."""

import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import pytest

from invoicing.airflow_api import AirflowApi
from support.files import write_files
from support.running_stack import Stack, wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.long, pytest.mark.timeout(600)]

DAG = "monthly_invoicing"


@pytest.fixture(scope="module")
def agency(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Stack:
    """Two tenants; each month waits for an approval, so that a document can be lost meanwhile."""
    folder = tmp_path_factory.mktemp("agency") / "files"
    write_files(
        folder,
        tenants=[f"{c},CC,1,{c},{c.lower()}@correo.example,,es,Bogotá,no,yes,no" for c in ("A", "B")],
        leases=[f"L-{c},{c},Calle 1,Bogotá,residential,2020-01-01,,1000000,COP" for c in ("A", "B")],
    )
    stack.run("import", str(folder))
    stack.run("settings", "set", "auto_send=yes", "approval=always", "from_email=facturas@agencia.example")
    return stack


@pytest.fixture
def api(agency: Stack) -> Iterator[AirflowApi]:
    with agency.airflow() as client:
        yield client


@contextmanager
def failed_month(agency: Stack, api: AirflowApi, period: str) -> Iterator[str]:
    """The month's run, which failed since B's document was gone; the document is back when the block begins."""
    run = api.trigger(DAG, partition_key=period, params={"confirm_month": period})
    wait_for(
        lambda: any(
            each.task_id == "approve_sending" and each.state == "awaiting_input"
            for each in api.task_instances(DAG, run)
        ),
        "the run waits",
    )
    (number,) = [row["number"] for row in agency.json("cycle", "invoices", period) if row["tenant"] == "B"]
    (document,) = (path for path in (agency.state / "archive").rglob(f"*{number}*") if path.is_file())
    aside = Path(f"{document}.aside")
    document.rename(aside)
    agency.run("cycle", "approve", period)
    wait_for(lambda: api.dag_run(DAG, run).is_over, "the run ends")
    assert api.dag_run(DAG, run).state == "failed"
    aside.rename(document)
    yield run


def test_by_the_command_line_the_runs_colour_follows(agency: Stack, api: AirflowApi) -> None:
    with failed_month(agency, api, "2026-11") as run:
        before = len(agency.mailbox())
        plan = agency.json("cycle", "retry", "2026-11", "--dry-run")
        assert [(each["tenant"], each["run"]) for each in plan["retry"]] == [("B", run)]
        assert api.dag_run(DAG, run).state == "failed"

        done = agency.json("cycle", "retry", "2026-11", "--wait")

        assert (list(done["cleared"]), done["requested"]) == ([run], [])
        assert api.dag_run(DAG, run).state == "success"
        assert agency.json("cycle", "show", "2026-11")["deliveries"]["sent"] == 2
        assert agency.json("cycle", "retry", "2026-11")["retry"] == []
        assert [str(message["To"]) for message in agency.mailbox()[before:]] == ["b@correo.example"]
        sending = [each for each in api.task_instances(DAG, run) if each.task_id == "send_invoices"]
        assert sorted(each.attempts for each in sending) == [1, 2], "what had not failed is not done again"


def test_on_the_page_it_is_the_same(agency: Stack, api: AirflowApi) -> None:
    with failed_month(agency, api, "2026-12") as run, pages_of(agency) as client:
        before = len(agency.mailbox())
        here = "/invoicing/cycles/2026-12/retry"
        page = client.get(f"{here}?lang=en").text
        assert "1 message is tried once more" in page
        token = re.search(r'name="csrf-token" content="([^"]+)"', page)
        assert token
        origin = str(client.base_url).rstrip("/")
        form = {
            "data": {"csrf_token": token[1]},
            "headers": {"origin": origin, "sec-fetch-site": "same-origin"},
        }

        done = [client.post(here, **form) for _ in range(2)]  # type: ignore[arg-type]

        assert [answer.status_code for answer in done] == [200, 200], done[0].text[:2000]
        wait_for(lambda: api.dag_run(DAG, run).state == "success", "the cleared run ends well")
        assert [str(message["To"]) for message in agency.mailbox()[before:]] == ["b@correo.example"]


@contextmanager
def pages_of(stack: Stack) -> Iterator[httpx.Client]:
    """A session with the pages, as the admin's browser has it."""
    url = f"http://127.0.0.1:{stack.port}"
    with httpx.Client(base_url=url, timeout=60, follow_redirects=True, trust_env=False) as client:
        login = {"username": "admin", "password": stack.admin_password}
        client.cookies.set("_token", client.post("/auth/token", json=login).json()["access_token"])
        yield client


@pytest.mark.long
def test_a_monitor_hears_of_a_month_and_of_how_things_stand(agency: Stack) -> None:
    """From the real tasks, by Airflow's own configuration."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.settimeout(0.2)
        # What Airflow tells of itself would fill the socket.
        agency.up(
            AIRFLOW__METRICS__STATSD_ON="True",
            AIRFLOW__METRICS__STATSD_HOST="127.0.0.1",
            AIRFLOW__METRICS__STATSD_PORT=str(listener.getsockname()[1]),
            AIRFLOW__METRICS__METRICS_ALLOW_LIST="^invoicing",
        )
        agency.run("settings", "set", "approval=never")
        told: list[str] = []

        def hears(text: str) -> bool:
            with suppress(TimeoutError):
                while True:
                    told.append(listener.recv(4096).decode())
            return any(line.startswith(text) for line in told)

        agency.run("run", "--period", "2027-01", "--yes", "--wait")
        wait_for(lambda: hears("airflow.invoicing.deliveries.sent:"), "the batches are counted")
        with agency.airflow() as api:
            api.trigger("sweep_deliveries")
        wait_for(lambda: hears("airflow.invoicing.now.unsent_minutes:0"), "the sweep tells")
        sent = [line for line in told if line.startswith("airflow.invoicing.deliveries.sent:")]
        assert sum(int(line.split(":")[1].split("|")[0]) for line in sent) == 2
