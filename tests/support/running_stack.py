"""A stack for tests, handled as an operator does: through the command line."""

import contextlib
import email
import email.policy
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from email.message import EmailMessage
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psutil
import psycopg
import pytest
import tenacity
from psycopg.conninfo import make_conninfo

from invoicing.airflow_api import AirflowApi
from invoicing.db.migrate import migrate
from invoicing.stack.postgres import METADATA
from support.project import PYTHON_PATH, ROOT, free_port, memory_folder
from support.waiting import wait_until


class Stack:
    """A stack of its own: state folder and port.

    Args:
        state: Its ``INVOICING_STATE``.
        environ: Variables on top of the test's own.
    """

    def __init__(self, state: Path, environ: dict[str, str] | None = None) -> None:
        self.state = state
        self.port = free_port()
        # What the machine's owner has set for a stack of theirs is not for this one.
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("INVOICING_", "AIRFLOW"))}
        self.environ = clean | {
            "INVOICING_STATE": str(state),
            "INVOICING_PORT": str(self.port),
            "INVOICING_RETRY_SECONDS": "2",
            "INVOICING_APPROVAL_POLL_SECONDS": "15",
            # A second by default, before each step of a run.
            "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.1",
            **(environ or {}),
        }

    def up(self, **environ: str) -> None:
        """Start it with ``environ`` added to its variables; start it anew where it runs with others."""
        if not environ.items() <= self.environ.items():
            self.run("down")
            self.environ |= environ
        self.run("up")

    def run(
        self, *arguments: str, check: bool = True, timeout: float = 400, **environ: str
    ) -> subprocess.CompletedProcess[str]:
        """Run ``bin/invoicing`` from a folder that is not the project's."""
        done = subprocess.run(
            [str(ROOT / "bin" / "invoicing"), *arguments],
            env=self.environ | environ,
            cwd=tempfile.gettempdir(),
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        if check and done.returncode != 0:
            pytest.fail(
                f"invoicing {' '.join(arguments)}: exit {done.returncode}\n{done.stdout}\n{done.stderr}"
            )
        return done

    def json(self, *arguments: str, check: bool = True) -> Any:
        """Run a reading command with ``--json`` and return its document."""
        return json.loads(self.run(*arguments, "--json", check=check).stdout)

    def mailbox(self) -> list[EmailMessage]:
        """The messages that the inbox accepted, oldest first."""
        return [
            email.message_from_bytes(path.read_bytes(), policy=email.policy.default)  # type: ignore[misc]
            for path in sorted((self.state / "mailbox").glob("*.eml"))
        ]

    def secret(self, file: str, name: str) -> str:
        """A password that the stack made up, by its file and its name there."""
        secret: str = json.loads((self.state / "secrets" / file).read_text())[name]
        return secret

    @property
    def admin_password(self) -> str:
        """The password of Airflow's ``admin``."""
        return self.secret("airflow_users.json", "admin")

    @property
    def postgres_port(self) -> int:
        port: int = json.loads((self.state / "stack.json").read_text())["postgres_port"]
        return port

    @property
    def dsn(self) -> str:
        """Conninfo of the business database, as the application logs in."""
        return self._dsn("invoicing", self.secret("credentials.json", "invoicing_password"))

    @property
    def owner_dsn(self) -> str:
        """Conninfo of the business database for its owner."""
        return self._dsn("invoicing_owner", self.secret("credentials.json", "owner_password"))

    def _dsn(self, user: str, password: str) -> str:
        return make_conninfo(
            "",
            host="127.0.0.1",
            port=self.postgres_port,
            user=user,
            password=password,
            dbname="invoicing",
        )

    @property
    def url(self) -> str:
        """Of its Airflow."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def metadata_url(self) -> str:
        """SQLAlchemy's URL of Airflow's own database."""
        password = self.secret("credentials.json", "airflow_password")
        return f"postgresql+psycopg2://{METADATA}:{password}@127.0.0.1:{self.postgres_port}/{METADATA}"

    def airflow(self) -> AirflowApi:
        """A client of its Airflow, to be closed."""
        return AirflowApi(self.url, "admin", self.admin_password)

    def connections(self) -> dict[str, str]:
        """What its tasks and pages are given: variables with our connections, the archive and Airflow's address."""
        ask = "import json; from invoicing import stack; print(json.dumps(stack.environment()))"
        environ = self.environ | {"PYTHONPATH": PYTHON_PATH}
        told = subprocess.run([sys.executable, "-c", ask], env=environ, capture_output=True, check=True)
        known: dict[str, str] = json.loads(told.stdout)
        return known

    def clear(self) -> None:
        """As new, in two seconds rather than a minute: an agency without tenants, no run, no message, no document.

        What runs goes on; Airflow's own things (pools, users, which DAG is paused) stay.
        """
        with self.airflow() as api:
            for dag_id in api.dag_ids():
                for run in api.dag_runs(dag_id):
                    if run.is_over:
                        path = f"/dags/{quote(dag_id)}/dagRuns/{quote(run.dag_run_id, safe='')}"
                        api._exchange("DELETE", path, None, {})
        self._drop()
        migrate(self.owner_dsn, runtime="invoicing")
        for folder in ("mailbox", "archive", "journal"):
            for path in (self.state / folder).rglob("*"):
                if path.is_file():
                    path.unlink()

    # What runs goes on: somebody may read two tables in the other order.
    @tenacity.retry(
        retry=tenacity.retry_if_exception_type(psycopg.errors.DeadlockDetected),
        stop=tenacity.stop_after_attempt(5),
    )
    def _drop(self) -> None:
        with psycopg.connect(self.owner_dsn, autocommit=True) as connection:
            connection.execute("DROP SCHEMA invoicing CASCADE")

    def pid(self, part: str) -> int:
        """The process that a part was recorded with, alive or not."""
        pid: int = json.loads((self.state / "run" / f"{part}.json").read_text())["pid"]
        return pid

    def kill(self, part: str) -> None:
        """Kill a part's first process with -9 and wait until it is gone."""
        with contextlib.suppress(psutil.NoSuchProcess):  # the end of another part may have ended it
            process = psutil.Process(self.pid(part))
            process.kill()
            psutil.wait_procs([process], timeout=10)

    def remove(self) -> None:
        """End it, however broken it is, and remove what it kept."""
        if own_processes(self):
            self.run("down", check=False)
        shutil.rmtree(self.state, ignore_errors=True)


@contextlib.contextmanager
def room_for_stack() -> Iterator[Stack]:
    """A stack that was never started, in a folder of its own; it is ended and removed at the end."""
    with tempfile.TemporaryDirectory(
        prefix="inv-stack-", dir=memory_folder(), ignore_cleanup_errors=True
    ) as folder:
        fresh = Stack(Path(folder) / "state")
        try:
            yield fresh
        finally:
            fresh.remove()


def own_processes(stack: Stack) -> list[psutil.Process]:
    """Every living process that has to do with a stack, found by other means than the stack's own.

    Airflow's processes write their title over their environment, so that children are found by their parents too.
    """
    marked: dict[int, psutil.Process] = {}
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            named = str(stack.state) in " ".join(process.cmdline())
            if named or process.environ().get("INVOICING_STATE") == str(stack.state):
                marked[process.pid] = process
                marked |= {child.pid: child for child in process.children(recursive=True)}
    return [process for process in marked.values() if lives(process)]


def lives(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def wait_for(condition: Callable[[], Any], what: str, timeout_seconds: float = 120) -> Any:
    """`wait_until` for what the scheduler, or a run of it, has to do first."""
    return wait_until(condition, what, timeout_seconds, every_seconds=0.1)
