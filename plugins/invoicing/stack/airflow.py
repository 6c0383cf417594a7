"""Airflow's four components, each a part of its own.

Not ``airflow standalone``: SIGTERM to it leaves its children running, and one of them that died is never seen. As
parts, each is stopped, watched and restarted alone.
"""

import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from pathlib import Path

import psutil

from invoicing.airflow_api import AirflowApi, AirflowUnreachableError, Health
from invoicing.stack.credentials import ADMIN, Credentials
from invoicing.stack.deployment import airflow_pools, airflow_settings
from invoicing.stack.layout import OWNER_CONNECTION, REPOSITORY, Layout
from invoicing.stack.parts import Part, StackError
from invoicing.stack.postgres import METADATA, Postgres
from invoicing.words.failures import Fault

MIGRATION = "airflow-migrate"
COMPONENTS = ("scheduler", "dag-processor", "triggerer", "api-server")

_READY_SECONDS = 300.0
_STALE_SECONDS = 30.0
_REREAD_SECONDS = 150.0  # a DAG file that is not changed is read every 120 s (include/deployment/airflow.env)
_MIGRATE_SECONDS = 600.0
# Longer than a usual send; a task that is cut off is safe by the ledger, only slower.
_TASK_GRACE_SECONDS = 25.0
_IDLE_SECONDS = 3.0
# Tasks at once that render and send nothing. Airflow may hold a task's place for five seconds after the task has ended:
# who watches over it sleeps where the process's last words come before its end.
_BESIDE_THE_LANES = 4


class Airflow:
    """Airflow for one stack.

    Args:
        layout: Where the stack keeps its things.
        port: Of the API server and its pages.
        connections: ``AIRFLOW_CONN_…``, ``INVOICING_…``: what our tasks are given.
        postgres: Holds the metadata database.
        credentials: Airflow's keys.
        login: The password of the user ``admin``.
    """

    def __init__(
        self,
        layout: Layout,
        port: int,
        connections: Mapping[str, str],
        postgres: Postgres,
        credentials: Credentials,
        login: str,
    ) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.parts = {name: Part(layout, name) for name in COMPONENTS}
        self._layout = layout
        self._postgres = postgres
        self._login = login
        self._environ = _environ(layout, port, connections, _metadata_url(postgres, credentials), credentials)

    def migrate(self) -> bool:
        """Bring the metadata database to this version of Airflow; whether there was anything to do."""
        remark = f"migrated by apache-airflow-core {version('apache-airflow-core')}"
        if self._postgres.remark(METADATA) == remark:
            return False
        part = Part(self._layout, MIGRATION)
        done = self._layout.records / "airflow-migrated"
        if part.pid() is None:  # else an `up` that was killed left it at work
            part.end(0.0)
            done.unlink(missing_ok=True)
            # A part has no exit status to be asked for later: it leaves a mark when all went well.
            mark_success = ["/bin/sh", "-c", '"$@" && : >"$0"', str(done)]
            part.spawn([*mark_success, *_command("db"), "migrate"], self._environ)
        if not _wait_for_end(part, _MIGRATE_SECONDS):
            part.end(0.0)
            raise StackError("airflow_migration_slow", seconds=_MIGRATE_SECONDS, log=part.log)
        if not done.exists():
            raise StackError("airflow_migration_failed", log=part.log, tail=part.log_tail())
        part.end(0.0)
        self._postgres.set_remark(METADATA, remark)
        return True

    def runs_as_configured(self) -> bool:
        """Whether all components run, with the settings they would be given now."""
        return all(
            part.pid() is not None and part.was_started_with(self._command_of(name), self._environ)
            for name, part in self.parts.items()
        )

    def start(self, report: Callable[[str], None], *, beats_since: datetime | None = None) -> None:
        """Start what does not run, restart what runs with other settings or has lost its way, and wait for all.

        Args:
            beats_since: When the database was started, if it was just now: of who was there before, only a sign of life
                since then counts. Who met no database may be about to end.

        Raises:
            StackError: A component died, the DAGs cannot be imported, or it takes too long.
        """
        for name, part in self.parts.items():
            if part.pid() is not None and not part.was_started_with(self._command_of(name), self._environ):
                report(f"{name} runs with other settings: restarting it")
                part.end(5.0)
        started_at = {name: self._spawn(name) for name, part in self.parts.items() if part.pid() is None}
        self._wait(started_at, beats_since or datetime.min.replace(tzinfo=UTC), report)
        with AirflowApi(self.url, ADMIN, self._login) as api:
            for name, pool in airflow_pools().items():
                api.ensure_pool(name, pool.slots, pool.description)

    def _command_of(self, name: str) -> list[str]:
        # The log servers listen on all addresses, on ports of their own; the API server reads the files instead.
        quiet = ["--skip-serve-logs"] if name in ("scheduler", "triggerer") else []
        return [*_command(name), *quiet]

    def _spawn(self, name: str) -> datetime:
        part = self.parts[name]
        part.end(0.0)  # what a dead one may have left running
        now = datetime.now(UTC)
        part.spawn(self._command_of(name), self._environ)
        return now

    def _wait(
        self, started_at: dict[str, datetime], beats_since: datetime, report: Callable[[str], None]
    ) -> None:
        """Wait until every component answers or beats, and every DAG file is read.

        A component that dies or falls silent is restarted once.
        """
        begun, begun_at = time.monotonic(), datetime.now(UTC)
        restarted: set[str] = set()
        api = AirflowApi(self.url, ADMIN, self._login)
        with api:
            while True:
                silent = self._silent(api, started_at, beats_since)
                dead = [name for name, part in self.parts.items() if part.pid() is None]
                given_up = [
                    name
                    for name in silent
                    if name not in started_at and time.monotonic() - begun > _STALE_SECONDS
                ]
                for name in {*dead, *given_up}:
                    if name in restarted:
                        part = self.parts[name]
                        raise StackError(
                            "airflow_component_down", component=name, log=part.log, tail=part.log_tail()
                        )
                    report(f"{name} {'died' if name in dead else 'does not answer'}: restarting it")
                    self.parts[name].end(3.0)
                    restarted.add(name)
                    started_at[name] = self._spawn(name)
                if not silent and not dead and self._dags_are_read(api, begun_at):
                    return
                if time.monotonic() - begun > _READY_SECONDS:
                    raise StackError(
                        "airflow_not_ready",
                        seconds=_READY_SECONDS,
                        waiting=", ".join(silent) or Fault("airflow_dags"),
                        logs=self._layout.logs,
                    )
                time.sleep(0.5)

    def _silent(
        self, api: AirflowApi, started_at: Mapping[str, datetime], beats_since: datetime
    ) -> list[str]:
        """Components without a recent sign of life; of those started now, none of before counts."""
        try:
            health = api.health()
        except AirflowUnreachableError:
            return ["api-server"]  # of the others nothing is known
        if not health.database:
            return ["api-server"]
        beats = _beats(health)
        oldest = datetime.now(UTC).timestamp() - _STALE_SECONDS
        return [
            name
            for name, beat in beats.items()
            if beat is None or beat.timestamp() < oldest or beat < started_at.get(name, beats_since)
        ]

    def _dags_are_read(self, api: AirflowApi, begun_at: datetime) -> bool:
        """Whether every file in dags/ gave its DAG.

        An import error from before may have been fixed since: it counts once the file was read again.
        """
        failures = api.import_errors()
        if not failures:
            return {path.stem for path in (REPOSITORY / "dags").glob("*.py")} <= api.dag_ids()
        patience = timedelta(seconds=_REREAD_SECONDS)
        if all(failure.at < begun_at for failure in failures) and datetime.now(UTC) < begun_at + patience:
            return False
        listing = "\n\n".join(f"{failure.file}:\n{failure.trace.strip()}" for failure in failures)
        raise StackError("airflow_dags_broken", count=len(failures), listing=listing)


def stop_components(layout: Layout, report: Callable[[str], None]) -> None:
    """Stop all components; running tasks get a while to finish."""
    Part(layout, MIGRATION).end(0.0)
    parts = {name: Part(layout, name) for name in COMPONENTS}
    # The scheduler waits for its tasks, and those need the API server to the end.
    for name in ("scheduler", "dag-processor", "triggerer"):
        parts[name].send(signal.SIGTERM)
    _let_tasks_finish(parts["scheduler"], report)
    parts["scheduler"].end(0.0)
    parts["dag-processor"].end(1.0)
    parts["triggerer"].end(1.0)
    parts["api-server"].end(6.0)


def _beats(health: Health) -> dict[str, datetime | None]:
    return {
        "scheduler": health.scheduler,
        "dag-processor": health.dag_processor,
        "triggerer": health.triggerer,
    }


def _let_tasks_finish(scheduler: Part, report: Callable[[str], None]) -> None:
    """Wait until the scheduler is gone, or has nothing more to wait for.

    LocalExecutor tells as many workers to stop as still live when it comes to each; one that stops meanwhile leaves
    another untold, and the scheduler waits for that one for ever (seen in Airflow 3.3.2).
    """
    begun = idle_since = time.monotonic()
    while scheduler.pid() is not None and time.monotonic() < begun + _TASK_GRACE_SECONDS:
        if _is_at_work(scheduler):
            if idle_since == begun:
                report(f"waiting up to {_TASK_GRACE_SECONDS:.0f} s for running tasks")
            idle_since = time.monotonic()
        elif time.monotonic() > idle_since + _IDLE_SECONDS:
            return
        time.sleep(0.2)


def _is_at_work(scheduler: Part) -> bool:
    """Whether a task of the scheduler's executor runs now; the workers say so in their titles."""
    for process in scheduler.processes():
        with contextlib.suppress(psutil.Error):
            title = " ".join(process.cmdline())
            if title.startswith("airflow worker") and "<idle>" not in title:
                return True
    return False


def _wait_for_end(part: Part, seconds: float) -> bool:
    """Wait until a part's process is gone; whether it is."""
    deadline = time.monotonic() + seconds
    while part.pid() is not None:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


def _command(name: str) -> list[str]:
    return [sys.executable, "-m", "airflow", name]


def _metadata_url(postgres: Postgres, credentials: Credentials) -> str:
    # token_urlsafe needs no escaping in a URL.
    return f"{METADATA}:{credentials.airflow_password}@127.0.0.1:{postgres.port}/{METADATA}"


def _environ(
    layout: Layout, port: int, connections: Mapping[str, str], metadata: str, credentials: Credentials
) -> dict[str, str]:
    """The components' environment: the caller's, below it our preferences, above it what makes the stack one."""
    lanes = sum(pool.slots for pool in airflow_pools().values())
    url = f"http://127.0.0.1:{port}"
    everywhere = airflow_settings()
    preferred = {
        **everywhere,
        "AIRFLOW__CORE__PARALLELISM": str(lanes + _BESIDE_THE_LANES),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": f"{ADMIN}:admin",
        # The default asks the name server for this machine's name, which may take long where there is none.
        "AIRFLOW__CORE__HOSTNAME_CALLABLE": "socket.gethostname",
        "AIRFLOW__API__WORKERS": "1",
        "AIRFLOW__DAG_PROCESSOR__PARSING_PROCESSES": "1",
        "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "30",
        "AIRFLOW__LOGGING__NAMESPACE_LEVELS": "http.access=WARNING",
        "AIRFLOW__LOGGING__UVICORN_LOGGING_LEVEL": "WARNING",
    }
    required = {
        "INVOICING_STATE": str(layout.state),
        "INVOICING_PORT": str(port),
        "AIRFLOW_HOME": str(layout.airflow_home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(REPOSITORY / "dags"),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(REPOSITORY / "plugins"),
        **_executor(layout),
        # Examples that cannot be imported here would keep the stack from starting.
        "AIRFLOW__CORE__LOAD_EXAMPLES": everywhere["AIRFLOW__CORE__LOAD_EXAMPLES"],
        "AIRFLOW__CORE__FERNET_KEY": credentials.fernet_key,
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{url}/execution/",
        "AIRFLOW__CORE__AUTH_MANAGER": (
            "airflow.api_fastapi.auth.managers.simple.simple_auth_manager.SimpleAuthManager"
        ),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "False",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(layout.login_file),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"postgresql+psycopg2://{metadata}",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN_ASYNC": f"postgresql+asyncpg://{metadata}",
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__API__PORT": str(port),
        "AIRFLOW__API__BASE_URL": url,
        "AIRFLOW__API__SECRET_KEY": credentials.api_secret_key,
        "AIRFLOW__API_AUTH__JWT_SECRET": credentials.jwt_secret,
        "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(layout.logs / "tasks"),
        "AIRFLOW__LOGGING__DAG_PROCESSOR_CHILD_PROCESS_LOG_DIRECTORY": str(layout.logs / "dags"),
        "AIRFLOW__LOGGING__COLORED_CONSOLE_LOG": "False",
        "NO_COLOR": "1",
        "NO_PROXY": ",".join(filter(None, ["127.0.0.1", "localhost", os.environ.get("NO_PROXY")])),
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]),
        "PYTHONPATH": _python_path(),
        **connections,
    }
    inherited = {name: value for name, value in os.environ.items() if name != OWNER_CONNECTION}
    return {**preferred, **inherited, **required}


def _executor(layout: Layout) -> dict[str, str]:
    """Tasks run in the scheduler's own workers, or in whichever takes them from the caller's broker."""
    if layout.broker is None:
        return {"AIRFLOW__CORE__EXECUTOR": "invoicing.on_airflow.warm_executor.WarmLocalExecutor"}
    return {**airflow_settings("celery.env"), "AIRFLOW__CELERY__BROKER_URL": layout.broker}


def _python_path() -> str:
    package = str(REPOSITORY / "plugins")
    others = [part for part in os.environ.get("PYTHONPATH", "").split(os.pathsep) if part and part != package]
    return os.pathsep.join([package, *others])
