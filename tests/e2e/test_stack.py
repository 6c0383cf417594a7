"""The embedded stack: it starts, it can be started again whatever became of it, and it goes without a trace."""

import json
import os
import signal
import socket
import subprocess
import time
from pathlib import Path

import httpx
import psutil
import psycopg
import pytest

from invoicing.airflow_api import AirflowApi, AirflowRefusedError, AirflowUnreachableError
from invoicing.domain.errors import NotFoundError
from invoicing.stack.layout import Layout
from invoicing.stack.parts import Part
from support.running_stack import ROOT, lives, own_processes

pytestmark = pytest.mark.e2e

PARTS = ("postgres", "inbox", "scheduler", "dag-processor", "triggerer", "api-server")


def test_status_says_that_all_parts_run(stack):
    status = stack.json("status")

    assert status["ready"]
    assert {name: part["state"] for name, part in status["parts"].items()} == dict.fromkeys(PARTS, "running")
    assert stack.run("status").returncode == 0


def test_up_again_changes_nothing_and_is_quick(stack):
    before = {part: stack.pid(part) for part in PARTS}
    begun = time.monotonic()

    stack.run("up")

    assert {part: stack.pid(part) for part in PARTS} == before
    assert time.monotonic() - begun < 20  # the interpreter's start included, on a busy machine


def test_the_dags_are_known_and_the_pools_are_there(stack):
    with stack.airflow() as api:
        assert {path.stem for path in (ROOT / "dags").glob("*.py")} <= api.dag_ids()
        assert api.import_errors() == []
        assert not api.ensure_pool("smtp", 1, "")
        assert not api.ensure_pool("render", 1, "")


def test_secrets_are_for_their_owner_only_and_not_in_the_stack_file(stack):
    credentials = stack.state / "secrets" / "credentials.json"
    login = stack.state / "secrets" / "airflow_users.json"
    public = (stack.state / "stack.json").read_text()

    secrets = [*json.loads(credentials.read_text()).values(), *json.loads(login.read_text()).values()]
    assert len(secrets) == len(set(secrets)) == 8
    assert not any(secret in public for secret in secrets)
    for path in (credentials, login, stack.state / "stack.json"):
        assert path.stat().st_mode & 0o077 == 0


def test_the_database_asks_for_a_password(stack):
    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(
            f"host=127.0.0.1 port={stack.postgres_port} user=postgres dbname=postgres password=postgres"
        )


def test_nothing_listens_beyond_this_machine(stack):
    ours = {process.pid for process in own_processes(stack)}

    addresses = {
        connection.laddr.ip
        for connection in psutil.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN and connection.pid in ours
    }

    assert addresses == {"127.0.0.1"}


def test_airflow_refuses_guessed_logins(stack):
    guessed = AirflowApi(f"http://127.0.0.1:{stack.port}", "admin", "admin")
    with guessed, pytest.raises(AirflowRefusedError, match="login of 'admin'"):
        guessed.dag_ids()
    answer = httpx.get(f"http://127.0.0.1:{stack.port}/api/v2/dags", trust_env=False)
    assert answer.status_code == 401


def test_the_client_names_what_is_wrong(stack):
    with stack.airflow() as api:
        with pytest.raises(NotFoundError, match="no_such_dag"):
            api.trigger("no_such_dag")
        with pytest.raises(NotFoundError, match="no_such_run"):
            api.dag_run("monthly_invoicing", "no_such_run")
        with pytest.raises(NotFoundError, match="no_such_asset"):
            api.emit_asset_event("no_such_asset")
    with (
        AirflowApi("http://127.0.0.1:1", "admin", "x") as api,
        pytest.raises(AirflowUnreachableError, match="up"),
    ):
        api.dag_ids()


def test_two_at_once_take_turns(stack):
    stack.kill("inbox")
    command = [str(ROOT / "bin" / "invoicing"), "up"]

    both = [subprocess.Popen(command, env=stack.environ, stderr=subprocess.PIPE, text=True) for _ in range(2)]

    errors = [process.communicate(timeout=120)[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], errors
    inboxes = [p for p in own_processes(stack) if "invoicing.stack.inbox" in " ".join(p.cmdline())]
    assert [p.pid for p in inboxes] == [stack.pid("inbox")]


def test_up_does_not_take_the_word_of_who_lived_before_the_database_died(stack):
    """It has just said that it lives, and will not again: as a scheduler that met no database and is about to end."""
    frozen = stack.pid("scheduler")
    psutil.Process(frozen).suspend()
    stack.kill("postgres")

    stack.run("up")

    assert stack.pid("scheduler") != frozen
    assert not psutil.pid_exists(frozen)
    assert stack.json("status")["ready"]


def test_up_fixes_parts_that_were_killed_and_ends_what_they_left(stack):
    before = own_processes(stack)
    kept = stack.pid("api-server")
    for part in ("postgres", "inbox", "scheduler"):
        stack.kill(part)  # the scheduler's executor workers stay behind as orphans
    assert stack.json("status", check=False)["parts"]["inbox"]["state"] == "dead"

    stack.run("up")

    assert stack.json("status")["ready"]
    assert stack.pid("api-server") == kept
    assert not [p for p in before if lives(p) and "executor" in " ".join(p.cmdline()).lower()]


def test_a_record_whose_number_another_process_has_by_now_is_not_believed(stack):
    innocent = subprocess.Popen(["sleep", "600"], start_new_session=True)
    try:
        record = stack.state / "run" / "inbox.json"
        genuine = record.read_text()
        record.write_text(json.dumps(json.loads(genuine) | {"pid": innocent.pid}))
        part = Part(Layout(stack.state, None), "inbox")

        assert part.state() == "dead"
        assert part.processes() == []
        part.end(0.5)

        assert innocent.poll() is None
        record.write_text(genuine)
        assert part.state() == "running"
    finally:
        innocent.kill()
        innocent.wait()


@pytest.mark.long
def test_down_of_a_half_dead_stack_leaves_no_process_and_up_finds_everything_again(stack):
    with psycopg.connect(stack.owner_dsn, autocommit=True) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS public.kept (said text)")
        connection.execute("INSERT INTO public.kept VALUES ('before')")
    (stack.state / "mailbox" / "00000000T000000.000000Z-witness.eml").write_text(
        "Subject: kept\r\n\r\nhello\r\n"
    )
    processes = own_processes(stack)
    assert len(processes) > 6
    for part in ("triggerer", "dag-processor"):
        stack.kill(part)

    stack.run("down")

    assert [process for process in processes if lives(process)] == []
    assert own_processes(stack) == []
    assert list((stack.state / "run").glob("*.json")) == []
    assert stack.run("down").returncode == 0
    status = stack.json("status", check=False)
    assert not status["running"]

    stack.run("up")

    with psycopg.connect(stack.owner_dsn, autocommit=True) as connection:
        assert connection.execute("SELECT said FROM public.kept").fetchone() == ("before",)
    assert "kept" in [message["Subject"] for message in stack.mailbox()]
    (stack.state / "mailbox" / "00000000T000000.000000Z-witness.eml").unlink()


def test_a_taken_port_is_named_and_nothing_is_started(other_stack):
    with socket.socket() as squatter:
        squatter.bind(("127.0.0.1", other_stack.port))
        squatter.listen()

        done = other_stack.run("up", check=False)

    assert done.returncode == 1
    assert f"port {other_stack.port} of 127.0.0.1 is taken by process {os.getpid()}" in done.stderr
    assert "INVOICING_PORT" in done.stderr
    assert own_processes(other_stack) == []


def test_a_port_that_is_none_is_refused(other_stack):
    done = other_stack.run("up", check=False, INVOICING_PORT="eighty")

    assert done.returncode == 2
    assert "INVOICING_PORT='eighty'" in done.stderr


def test_a_state_folder_that_cannot_be_made_is_named(other_stack):
    in_the_way = other_stack.state.parent / "file"
    in_the_way.write_text("")

    done = other_stack.run("up", check=False, INVOICING_STATE=str(in_the_way / "state"))

    assert done.returncode == 1
    assert str(in_the_way) in done.stderr
    assert "Traceback" not in done.stderr


def test_a_full_disk_is_named_before_anything_is_started(other_stack):
    other_stack.state.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(other_stack.state)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("mounting a small file system takes root's rights")
    try:
        done = other_stack.run("up", check=False)
    finally:
        subprocess.run(["umount", str(other_stack.state)], check=True)

    assert done.returncode == 1
    assert "MB are free" in done.stderr
    assert own_processes(other_stack) == []


def test_an_up_that_is_killed_leaves_nothing_that_down_does_not_end(other_stack):
    """And beside another running stack, whose processes are none of its business."""
    command = [str(ROOT / "bin" / "invoicing"), "up"]
    starting = subprocess.Popen(command, env=other_stack.environ, stderr=subprocess.PIPE, text=True)
    assert starting.stderr is not None
    for line in starting.stderr:
        if "mail inbox" in line:  # what follows is the migration of Airflow's database, ten seconds long
            break
    time.sleep(2)
    starting.send_signal(signal.SIGKILL)
    starting.wait()
    starting.stderr.close()
    assert own_processes(other_stack)

    other_stack.run("down")

    assert own_processes(other_stack) == []


def test_a_deep_state_folder_and_spaces_do_no_harm(other_stack):
    deep = other_stack.state.joinpath(*["a folder with a long name and spaces"] * 4)
    environ = {"INVOICING_STATE": str(deep)}
    command = [str(ROOT / "bin" / "invoicing"), "up"]
    starting = subprocess.Popen(command, env=other_stack.environ | environ, stderr=subprocess.PIPE, text=True)
    assert starting.stderr is not None
    seen = []
    for line in starting.stderr:
        seen.append(line)
        if "mail inbox" in line:
            break
    starting.kill()
    starting.wait()
    starting.stderr.close()

    status = json.loads(other_stack.run("status", "--json", check=False, **environ).stdout)
    other_stack.run("down", **environ)

    assert status["parts"]["postgres"]["state"] == "running", seen
    assert status["parts"]["inbox"]["state"] == "running"


def test_with_a_relay_of_the_callers_no_inbox_is_started(other_stack):
    relay = json.dumps({"conn_type": "smtp", "host": "127.0.0.1", "port": 1, "extra": {"disable_tls": True}})
    environ = {"AIRFLOW_CONN_INVOICING_SMTP": relay}
    command = [str(ROOT / "bin" / "invoicing"), "up"]
    starting = subprocess.Popen(command, env=other_stack.environ | environ, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not (other_stack.state / "stack.json").exists():
        assert time.monotonic() < deadline
        time.sleep(0.2)
    starting.kill()
    starting.wait()
    assert starting.stderr is not None
    starting.stderr.close()

    status = json.loads(other_stack.run("status", "--json", check=False, **environ).stdout)
    other_stack.run("down", **environ)

    # A later start from a shell that lacks the relay does not send its mail to an inbox instead.
    forgetful = other_stack.run("up", check=False)
    assert forgetful.returncode == 2
    assert "AIRFLOW_CONN_INVOICING_SMTP of your own, not set now" in forgetful.stderr

    assert "inbox" not in status["parts"]
    assert status["mailbox"] is None
    assert not Path(other_stack.state / "run" / "inbox.json").exists()
