"""A real Airflow API server, our plugin in it, for tests of who may what."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import httpx
import pytest

from support.database import airflow_connection
from support.project import PLUGINS, PYTHON_PATH, ROOT, free_port
from support.running_stack import Stack

MANAGERS = {
    "simple": "airflow.api_fastapi.auth.managers.simple.simple_auth_manager.SimpleAuthManager",
    "fab": "airflow.providers.fab.auth_manager.fab_auth_manager.FabAuthManager",
}
# Name to role, in either manager's words; a password is the name.
USERS = {"olga": "Op", "vera": "Viewer", "ulises": "User", "ada": "Admin"}
_READS_TASKS_LOGS = ("can_read", "Task Logs")


@dataclass(frozen=True, slots=True)
class OwnRole:
    """A role of FAB that an installation makes for itself: the Viewer's permissions, some taken away, some added."""

    without: Sequence[tuple[str, str]] = ()
    plus: Sequence[tuple[str, str]] = ()


OWN_ROLES = {
    "Accountant": OwnRole(without=[_READS_TASKS_LOGS]),
    "Clerk": OwnRole(
        plus=[("can_edit", "DAGs"), ("can_edit", "DAG Runs"), ("can_edit", "Task Instances")],
    ),
    "Designer": OwnRole(without=[_READS_TASKS_LOGS], plus=[("can_edit", "Variables")]),
    "Sender": OwnRole(plus=[("can_edit", "DAGs"), ("can_create", "DAG Runs")]),
    "Guest": OwnRole(without=[("can_read", "DAG Runs")]),
    "Passer-by": OwnRole(without=[("can_read", "DAGs")]),
}
"""Roles that only FAB has: a user of each is called like it."""
_START_SECONDS = 240


@dataclass(frozen=True, slots=True)
class AirflowServer:
    """One that runs."""

    url: str
    manager: str
    pid: int

    def log_in(self, name: str) -> str:
        """A session's token, by Airflow's own login."""
        answer = httpx.post(f"{self.url}/auth/token", json={"username": name, "password": name}, timeout=30)
        assert answer.status_code == 201, answer.text
        token: str = answer.json()["access_token"]
        return token


@contextmanager
def run_airflow(
    manager: str, dsn: str, home: Path, more: Mapping[str, str] | None = None
) -> Iterator[AirflowServer]:
    """Start Airflow's API server with ``manager`` and end it.

    Args:
        manager: A key of `MANAGERS`.
        dsn: The business database, as the connection ``invoicing_db``.
        home: An empty folder, for the metadata database too.
        more: Environment variables in addition, or in place of those here.
    """
    port = free_port()
    home.mkdir(parents=True)
    passwords = home / "passwords.json"
    passwords.write_text(json.dumps({name: name for name in USERS}))
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("AIRFLOW", "INVOICING"))}
    environ = clean | {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__AUTH_MANAGER": MANAGERS[manager],
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": ",".join(f"{n}:{r.lower()}" for n, r in USERS.items()),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(passwords),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(PLUGINS),
        "AIRFLOW__CORE__DAGS_FOLDER": str(home / "no-dags"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__HOSTNAME_CALLABLE": "socket.gethostname",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home / 'metadata.db'}",
        "AIRFLOW__API__BASE_URL": f"http://127.0.0.1:{port}",
        "AIRFLOW__API__SECRET_KEY": "a secret key for the tests alone",
        "AIRFLOW__API_AUTH__JWT_SECRET": "a secret for the tests' tokens, and for nothing else at all: 64 bytes",
        "AIRFLOW_CONN_INVOICING_DB": airflow_connection(dsn),
        # Nobody listens there: most tests send nothing.
        "AIRFLOW_CONN_INVOICING_SMTP": json.dumps({"conn_type": "smtp", "host": "127.0.0.1", "port": 1}),
        "INVOICING_STATE": str(home / "state"),
        "PYTHONPATH": PYTHON_PATH,
        "PYTHONWARNINGS": "ignore",
        **(more or {}),
    }
    log = home / "server.log"
    with log.open("wb") as output:
        server = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "support.airflow_server",
                str(port),
                json.dumps(USERS),
                json.dumps({name: asdict(role) for name, role in OWN_ROLES.items()}),
            ],
            env=environ,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        url = f"http://127.0.0.1:{port}"
        deadline = time.monotonic() + _START_SECONDS
        while True:
            if server.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"Airflow with {manager} does not come up:\n{log.read_text()[-4000:]}")
            try:
                httpx.get(f"{url}/api/v2/version", timeout=5)
                break
            except httpx.TransportError:
                time.sleep(0.3)
        yield AirflowServer(url, manager, server.pid)
    finally:
        server.terminate()
        server.wait(timeout=30)


@contextmanager
def fab_beside(stack: Stack, home: Path) -> Iterator[AirflowServer]:
    """A second API server of a running stack's Airflow: the same runs and tasks, FAB's users and roles.

    The stack's own has Airflow's simple manager. Which of them serves a page or an answer makes no difference to
    scheduler, triggerer and tasks: they know the metadata database alone.

    Args:
        home: An empty folder.
    """
    secrets = {
        f"AIRFLOW__{name}": stack.secret("credentials.json", key)
        for name, key in (
            ("CORE__FERNET_KEY", "fernet_key"),
            ("API__SECRET_KEY", "api_secret_key"),
            ("API_AUTH__JWT_SECRET", "jwt_secret"),
        )
    }
    shared = {
        "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "dags"),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": stack.metadata_url,
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN_ASYNC": stack.metadata_url.replace("psycopg2", "asyncpg"),
        **secrets,
        **stack.connections(),
    }
    with run_airflow("fab", stack.dsn, home, shared) as server:
        yield server
