"""A worker of Celery's as one on a machine of its own: its state folder, its journal, its logs, and no more secrets."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import psutil

from invoicing.stack.deployment import airflow_settings
from support.project import PLUGINS, PYTHON_PATH, ROOT
from support.running_stack import Stack
from support.waiting import wait_until

_START_SECONDS = 240


class CeleryWorker:
    """One that takes tasks of a stack's from its broker, two at a time.

    Args:
        stack: Up, with ``INVOICING_BROKER``.
        state: Its own ``INVOICING_STATE``.
        instead: Variables of its own, in the place of those of the stack's; None for one that it is not given.
    """

    def __init__(self, stack: Stack, state: Path, instead: Mapping[str, str | None] | None = None) -> None:
        self.state = state
        self.log = state / "worker.log"
        self._started: subprocess.Popen[bytes] | None = None
        self._processes: list[psutil.Process] = []
        given = {
            **airflow_settings(),
            **airflow_settings("celery.env"),
            "AIRFLOW_HOME": str(state / "airflow"),
            "AIRFLOW__CELERY__BROKER_URL": stack.environ["INVOICING_BROKER"],
            # The one thing that it has of Airflow's database: where Celery says how a task ended.
            "AIRFLOW__CELERY__RESULT_BACKEND": f"db+{stack.metadata_url}",
            "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "dags"),
            "AIRFLOW__CORE__PLUGINS_FOLDER": str(PLUGINS),
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{stack.url}/execution/",
            "AIRFLOW__CORE__HOSTNAME_CALLABLE": "socket.gethostname",
            "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(state / "logs"),
            "PYTHONPATH": PYTHON_PATH,
            "NO_PROXY": "127.0.0.1,localhost",
            **{name: stack.environ[name] for name in ("INVOICING_RETRY_SECONDS",) if name in stack.environ},
            **stack.connections(),
            "INVOICING_STATE": str(state),
            **(instead or {}),
        }
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(("INVOICING_", "AIRFLOW"))}
        self._environ = inherited | {name: value for name, value in given.items() if value is not None}

    def start(self) -> None:
        """Start it, and wait until it takes tasks."""
        self.state.mkdir(parents=True, exist_ok=True)
        said = self.log.stat().st_size if self.log.exists() else 0
        # Its log server would listen on all addresses: the log's folder is at hand here.
        command = ["celery", "worker", "--concurrency", "2", "--celery-hostname", self.state.name]
        with self.log.open("ab") as log:
            self._started = started = subprocess.Popen(
                [sys.executable, "-m", "airflow", *command, "--skip-serve-logs"],
                env=self._environ,
                cwd=self.state,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._processes = [psutil.Process(started.pid)]

        def is_ready() -> bool:
            assert started.poll() is None, self.log.read_text(errors="replace")[-4000:]
            return f"{self.state.name} ready." in self.log.read_text(errors="replace")[said:]

        wait_until(is_ready, "the worker is ready", _START_SECONDS, every_seconds=0.2)

    def processes(self) -> list[psutil.Process]:
        """All that it consists of now: itself, its pool, and the tasks."""
        for process in self._processes[:1]:
            with contextlib.suppress(psutil.NoSuchProcess):
                self._processes += [
                    child for child in process.children(recursive=True) if child not in self._processes
                ]
        return self._processes

    def kill(self) -> None:
        """Everything at once with -9, as where a machine loses its power."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """Ask it to end; what is at work after a while is killed."""
        first = self.processes()[:1]
        for process in first:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.terminate()
        psutil.wait_procs(first, timeout=15)
        self._end(signal.SIGKILL)

    def tasks_logged(self) -> int:
        """How many tries of tasks it has begun."""
        return len(list((self.state / "logs").rglob("attempt=*.log")))

    def task_logs(self) -> str:
        """What its tasks have said."""
        return "".join(
            path.read_text(errors="replace") for path in (self.state / "logs").rglob("attempt=*.log")
        )

    def _end(self, number: int) -> None:
        ended = self.processes()
        for process in ended:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(number)
        # A process may be born between the look and the signal.
        again = [child for child in self.processes() if child not in ended]
        for process in again:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(number)
        if self._started is not None:
            self._started.wait(timeout=10)
        psutil.wait_procs([*ended, *again], timeout=10)
        self._started, self._processes = None, []
