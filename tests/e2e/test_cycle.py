"""The monthly cycle as an operator sees it: command line in, real scheduler, messages in the mailbox."""

import csv
import hashlib
import json
import signal
from collections.abc import Iterator
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest

from invoicing.airflow_api import AirflowApi
from support.project import AGENCY
from support.running_stack import Stack, wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

EXPECTED: dict[str, Any] = json.loads((AGENCY / "expected.json").read_text())["all"]
PERIOD = EXPECTED["period"]
DAG = "monthly_invoicing"
OPERATOR = "operaciones@agencia.example"


@pytest.fixture(scope="module")
def agency(stack: Stack) -> Stack:
    """The stack with the reference agency imported, sending on, and its period run once."""
    stack.run("import", str(AGENCY))
    # Nothing else: what a new installation has by default is enough to send.
    stack.run("settings", "set", "auto_send=yes")
    stack.run("run", "--period", PERIOD, "--wait", "--yes")
    return stack


@pytest.fixture
def api(stack: Stack) -> Iterator[AirflowApi]:
    with stack.airflow() as client:
        yield client


@pytest.fixture
def db(stack: Stack) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(stack.dsn, autocommit=True) as connection:
        yield connection


def pdfs(message: EmailMessage) -> dict[str, bytes]:
    return {
        str(part.get_filename()): part.get_content()
        for part in message.iter_attachments()
        if part.get_content_type() == "application/pdf"
    }


def test_the_mailbox_holds_what_was_worked_out_beforehand(agency: Stack) -> None:
    shown = agency.json("cycle", "show", PERIOD)
    assert shown["balanced"] is True
    assert shown["state"] == "closed"
    assert shown["invoices"]["count"] == EXPECTED["totals"]["invoices"]
    assert shown["invoices"]["total"] == EXPECTED["totals"]["total"]
    assert {key: count for key, count in shown["decisions"].items() if count} == EXPECTED["totals"][
        "decisions"
    ]
    assert {key: count for key, count in shown["deliveries"].items() if count} == {
        "sent": EXPECTED["totals"]["mails"]
    }

    invoices = agency.json("cycle", "invoices", PERIOD)
    keys = ("lease", "tenant", "subtotal", "tax", "withholding", "total")
    assert sorted(
        ({key: row[key] for key in keys} for row in invoices), key=lambda row: row["lease"]
    ) == sorted(EXPECTED["invoices"], key=lambda row: row["lease"])

    tenants = agency.json("cycle", "tenants", PERIOD)
    assert {row["tenant"]: row["reason"] or "send" for row in tenants} == EXPECTED["decisions"]

    lease_of = {f"{row['number']}.pdf": row["lease"] for row in invoices}
    tenant_of = {row["delivery"]["message_id"]: row["tenant"] for row in tenants if row["delivery"]}
    received = {}
    for message in agency.mailbox():
        attachments = pdfs(message)
        assert all(content.startswith(b"%PDF") for content in attachments.values())
        received[tenant_of[str(message["Message-ID"])]] = {
            "to": addresses(message, "To"),
            "cc": addresses(message, "Cc"),
            "invoices": sorted(lease_of[name] for name in attachments),
        }
        envelope = message.get_all("X-Envelope-To", [])
        assert sorted(envelope) == sorted(addresses(message, "To") + addresses(message, "Cc"))
    assert received == {
        tenant: {
            "to": [in_ascii(address) for address in mail["to"]],
            "cc": [in_ascii(address) for address in mail["cc"]],
            "invoices": sorted(mail["invoices"]),
        }
        for tenant, mail in EXPECTED["mails"].items()
    }
    assert len(agency.mailbox()) == EXPECTED["totals"]["mails"]


def test_every_invoice_has_its_document_mailed_or_not(
    agency: Stack, api: AirflowApi, db: psycopg.Connection[Any]
) -> None:
    kept = db.execute(
        "SELECT i.number, doc.key, doc.sha256, doc.rendered_at >= ("
        "   SELECT max(a.ended_at) FROM invoicing.delivery_attempt a) AS is_after_the_mail"
        " FROM invoicing.invoice i JOIN invoicing.invoice_document doc ON doc.invoice_id = i.id"
        " WHERE i.period = %s",
        [PERIOD],
    ).fetchall()
    assert len(kept) == EXPECTED["totals"]["invoices"]
    mailed = {name.removesuffix(".pdf") for message in agency.mailbox() for name in pdfs(message)}
    # What is made after the mail is just what nobody is mailed, and is made in a few squares.
    assert {number for number, *_, is_after in kept if not is_after} == mailed
    archive = agency.state / "archive"
    assert all(
        hashlib.sha256((archive / key).read_bytes()).hexdigest() == digest for _, key, digest, _ in kept
    )
    (run,) = api.dag_runs(DAG, partition_key=PERIOD)
    squares = [each for each in api.task_instances(DAG, run.dag_run_id) if each.task_id == "render_unmailed"]
    assert {each.state for each in squares} == {"success"}
    assert 1 <= len(squares) <= 6


def addresses(message: EmailMessage, header: str) -> list[str]:
    return [address.addr_spec for address in message[header].addresses] if message[header] else []


def in_ascii(address: str) -> str:
    local, _, domain = address.partition("@")
    return f"{local}@{domain.encode('idna').decode()}"


def test_repeating_clearing_and_backfilling_sends_nothing_twice(agency: Stack, api: AirflowApi) -> None:
    before = [str(message["Message-ID"]) for message in agency.mailbox()]
    invoices = agency.json("cycle", "invoices", PERIOD)

    agency.run("run", "--period", PERIOD, "--wait")
    first = api.dag_runs(DAG, partition_key=PERIOD)[-1]
    api.clear(DAG, first.dag_run_id)
    wait_for(lambda: api.dag_run(DAG, first.dag_run_id).is_over, "the cleared run ends")

    # A backfill over the month that was sent.
    year, month = PERIOD.split("-")
    backfill = {
        "dag_id": DAG,
        "from_date": f"{year}-{int(month) - 1:02}-15T00:00:00Z",
        "to_date": f"{year}-{month}-15T00:00:00Z",
        "reprocess_behavior": "completed",
    }
    api._change("POST", "/backfills", backfill)
    filled = wait_for(
        lambda: next(
            (run for run in api.dag_runs(DAG) if run.dag_run_id.startswith("backfill") and run.is_over), None
        ),
        "the backfill ends",
    )

    assert (filled.partition_key, filled.state) == (PERIOD, "success")
    states = {task.task_id: task.state for task in api.task_instances(DAG, filled.dag_run_id)}
    assert states["render_unmailed"] == "skipped", "all documents are there"
    assert api.dag_run(DAG, first.dag_run_id).state == "success"
    assert [str(message["Message-ID"]) for message in agency.mailbox()] == before
    assert agency.json("cycle", "invoices", PERIOD) == invoices


def test_a_simulation_says_what_a_run_would_do_and_does_nothing(
    agency: Stack, db: psycopg.Connection[Any]
) -> None:
    count = "SELECT (SELECT count(*) FROM invoicing.invoice), (SELECT count(*) FROM invoicing.decision)"
    before = db.execute(count).fetchone()
    simulated = agency.json("simulate", "--period", "2027-03")
    assert db.execute(count).fetchone() == before
    assert {row["decision"] for row in simulated} == {"send", "skip"}
    assert all(len(row["invoices_detail"]) == row["invoices"] for row in simulated)


def test_with_sending_off_every_tenant_is_told_why_and_nobody_gets_mail(
    agency: Stack, api: AirflowApi
) -> None:
    before = len(agency.mailbox())
    agency.run("settings", "set", "auto_send=no", "unmailed_documents=no")
    try:
        agency.run("run", "--period", "2026-12", "--wait", "--yes")
    finally:
        agency.run("settings", "set", "auto_send=yes")
    shown = agency.json("cycle", "show", "2026-12")
    assert shown["decisions"] == {"send": 0, "sending_disabled": shown["tenants"]}
    assert shown["balanced"] is True
    assert len(agency.mailbox()) == before
    run = api.dag_runs(DAG, partition_key="2026-12")[0]
    states = {task.task_id: task.state for task in api.task_instances(DAG, run.dag_run_id)}
    assert states["sending_disabled"] == "success"
    assert states["send_invoices"] == "skipped"
    assert (states["list_unmailed"], states["render_unmailed"]) == ("success", "skipped")


def ended(api: AirflowApi, dag_run_id: str) -> str:
    """The run's final state."""
    return wait_for(lambda: (run := api.dag_run(DAG, dag_run_id)).is_over and run.state, "the run ends")


def periods(db: psycopg.Connection[Any]) -> set[str]:
    return {row[0] for row in db.execute("SELECT period FROM invoicing.billing_cycle")}


def test_a_run_without_a_month_or_with_a_wrong_one_bills_nothing(
    agency: Stack, api: AirflowApi, db: psycopg.Connection[Any]
) -> None:
    """A blank form, two months, and one that is far away, as people give them to Airflow."""
    before = periods(db)
    doubtful = [
        api.trigger(DAG),
        api.trigger(DAG, partition_key=PERIOD, params={"period": "2026-10"}),
        api.trigger(DAG, params={"period": "2025-03"}),
        api.trigger(DAG, params={"period": "2025-03", "confirm_month": "2025-02"}),
    ]

    assert [ended(api, run) for run in doubtful] == ["failed"] * 4

    for run in doubtful:
        states = {task.task_id: (task.state, task.attempts) for task in api.task_instances(DAG, run)}
        assert states["open_cycle"] == ("failed", 1)
    assert periods(db) == before
    refused = agency.run("run", "--period", "2025-03", check=False)
    assert refused.returncode == 2
    assert "repeat with --yes" in refused.stderr


@pytest.mark.long
def test_a_run_whose_partition_key_was_nulled_goes_on_with_its_month(
    agency: Stack, api: AirflowApi, db: psycopg.Connection[Any]
) -> None:
    before = periods(db), len(agency.mailbox())
    run = f"{PERIOD} manual 1"
    body = {"run_id": run, "clear_task_instances": True, "dry_run": False}

    api._change("POST", f"/dags/{DAG}/clearPartitions", body)

    wait_for(lambda: not api.dag_run(DAG, run).is_over, "the run is cleared")
    assert ended(api, run) == "success"
    assert api.dag_run(DAG, run).partition_key is None
    assert (periods(db), len(agency.mailbox())) == before


def test_runs_are_called_by_their_month_and_a_paused_dag_is_told_of(agency: Stack, api: AirflowApi) -> None:
    names = {run.dag_run_id for run in api.dag_runs(DAG)}
    assert f"{PERIOD} manual 1" in names
    api._change("PATCH", f"/dags/{DAG}", {"is_paused": True})
    try:
        done = agency.run("run", "--period", PERIOD)
    finally:
        api.unpause(DAG)

    assert "monthly_invoicing is paused: the run waits until somebody unpauses it" in done.stderr
    name = done.stderr.split("triggered ")[1].strip()
    assert name not in names
    assert name.startswith(f"{PERIOD} manual ")
    assert ended(api, name) == "success"


def test_single_invoices_are_sent_once_they_are_created(
    agency: Stack, api: AirflowApi, tmp_path: Path
) -> None:
    before = {str(message["Message-ID"]) for message in agency.mailbox()}
    file = tmp_path / "singles.csv"
    disabled = next(code for code, reason in EXPECTED["decisions"].items() if reason == "tenant_disabled")
    file.write_text(
        "invoice_ref,tenant_code,lease_code,description,amount,tax\n"
        "S-1,T00001,L00001,Copia de llaves,50000,iva\n"
        f"S-2,{disabled},,Multa,80000,none\n"
        "S-3,T00003,,Reparación,120000,iva\n"
        "S-3,T00003,,Materiales,30000,iva\n"
    )
    agency.run("invoices", "create", str(file))
    again = agency.run("invoices", "create", str(file))
    assert "S-3 exists already as" in again.stderr

    def new_messages() -> list[EmailMessage]:
        return [message for message in agency.mailbox() if str(message["Message-ID"]) not in before]

    wait_for(lambda: len(new_messages()) >= 2, "two messages arrive")
    assert sorted(addresses(message, "To")[0][:8] for message in new_messages()) == ["t1-00001", "t1-00003"]
    assert all(len(pdfs(message)) == 1 for message in new_messages())
    # Two events: one run or two, and both end well.
    ended = wait_for(
        lambda: (runs := api.dag_runs("send_new_invoices")) and all(r.is_over for r in runs) and runs,
        "all runs end",
    )
    assert {run.state for run in ended} == {"success"}
    assert len(new_messages()) == 2


@pytest.fixture
def only_three_tenants(agency: Stack, tmp_path: Path) -> list[str]:
    """Sending is switched off for all tenants but three who get mail."""
    chosen = [code for code, mail in EXPECTED["mails"].items() if len(mail["to"]) == 1][:3]
    with (AGENCY / "tenants.csv").open(newline="", encoding="utf-8") as source:
        rows = list(csv.DictReader(source))
    with (tmp_path / "tenants.csv").open("w", newline="", encoding="utf-8") as target:
        writer = csv.DictWriter(target, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(
            {**row, "auto_send": "yes" if row["tenant_code"] in chosen else "no"} for row in rows
        )
    agency.run("import", str(tmp_path))
    return chosen


def test_a_send_task_killed_in_mid_message_leaves_a_doubt_and_sends_nothing_twice(
    agency: Stack, api: AirflowApi, db: psycopg.Connection[Any], only_three_tenants: list[str]
) -> None:
    """The gap of RFC 1047, made to happen: the message leaves, its worker dies before the reply."""
    period, victim = "2027-01", only_three_tenants[1]
    agency.run("settings", "set", f"operator_email={OPERATOR}")
    before = {str(message["Message-ID"]) for message in tenants_mail(agency)}
    inbox = psutil.Process(agency.pid("inbox"))
    # Holds the victim's worker just before its mark commits, long enough to stop the inbox under it.
    owner = psycopg.connect(agency.owner_dsn, autocommit=True)
    owner.execute(
        f"""CREATE FUNCTION invoicing.hold_mark() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                IF NEW.state = 'transmitting' AND NEW.tenant_id =
                    (SELECT id FROM invoicing.tenant WHERE code = '{victim}') THEN PERFORM pg_sleep(4);
                END IF; RETURN NULL; END $$"""
    )
    owner.execute(
        "CREATE TRIGGER hold_mark AFTER UPDATE ON invoicing.delivery"
        " FOR EACH ROW EXECUTE FUNCTION invoicing.hold_mark()"
    )
    try:
        agency.run("run", "--period", period, "--yes")
        wait_for(
            lambda: db.execute("SELECT 1 FROM pg_stat_activity WHERE wait_event = 'PgSleep'").fetchone(),
            "the worker is held",
        )
        others = "SELECT count(*) FROM invoicing.delivery WHERE period = %s AND state = 'sent'"
        inbox.send_signal(signal.SIGSTOP)
        wait_for(lambda: state_of(db, period, victim) == "transmitting", "the message leaves")
        worker = worker_of(db, period, victim)
        worker.kill()
        worker.wait(10)
    finally:
        inbox.send_signal(signal.SIGCONT)
        owner.execute("DROP TRIGGER hold_mark ON invoicing.delivery")
        owner.execute("DROP FUNCTION invoicing.hold_mark()")
        owner.close()

    run = wait_for(
        lambda: next((run for run in api.dag_runs(DAG, partition_key=period) if run.is_over), None),
        "the run ends",
        240,
    )

    assert run.state == "failed"
    shown = agency.json("cycle", "show", period)
    assert {key: count for key, count in shown["deliveries"].items() if count} == {"sent": 2, "in_doubt": 1}
    (doubtful,) = agency.json("deliveries", "list", "--period", period, "--state", "in_doubt")
    assert doubtful["tenant"] == victim
    received = [m for m in tenants_mail(agency) if str(m["Message-ID"]) not in before]
    ids = [str(message["Message-ID"]) for message in received]
    assert len(ids) == len(set(ids)) in (2, 3)
    assert db.execute(others, [period]).fetchone() == (2,)
    told = [m for m in agency.mailbox() if m["To"] == OPERATOR and period in str(m["Subject"])]
    assert len(told) == 1, "the operator hears once of the run that failed"
    page = told[0].get_body(("html",))
    assert page is not None
    assert "1 delivery is in_doubt" in page.get_content()

    # A person looks into the relay's log and settles it; the run is then cleared and ends well.
    agency.run(
        "deliveries", "resolve", str(doubtful["id"]), "--as", "sent", "--reason", "seen in the mailbox"
    )
    api.clear(DAG, run.dag_run_id, only_failed=True)
    wait_for(lambda: api.dag_run(DAG, run.dag_run_id).is_over, "the cleared run ends")
    assert api.dag_run(DAG, run.dag_run_id).state == "success"
    assert agency.json("cycle", "show", period)["deliveries"]["sent"] == 3
    assert {str(m["Message-ID"]) for m in tenants_mail(agency)} == before | set(ids)


def tenants_mail(agency: Stack) -> list[EmailMessage]:
    return [message for message in agency.mailbox() if message["To"] != OPERATOR]


def state_of(db: psycopg.Connection[Any], period: str, tenant: str) -> str | None:
    row = db.execute(
        "SELECT d.state FROM invoicing.delivery d JOIN invoicing.tenant t ON t.id = d.tenant_id"
        " WHERE d.period = %s AND t.code = %s",
        [period, tenant],
    ).fetchone()
    return row[0] if row else None


def worker_of(db: psycopg.Connection[Any], period: str, tenant: str) -> psutil.Process:
    """The task process that holds the tenant's delivery: the one with the database connection that claimed it."""
    ports = {
        row[0]
        for row in db.execute(
            "SELECT client_port FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
            " AND query ILIKE %s",
            ["%SET state = 'transmitting'%"],
        )
    }
    for process in psutil.process_iter():
        try:
            own_ports = {each.laddr.port for each in process.net_connections("tcp") if each.laddr}
            if own_ports & ports and "postgres" not in process.name():
                return process
        except psutil.Error:
            continue
    return pytest.fail(f"nobody transmits to {tenant} in {period}")
