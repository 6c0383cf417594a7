"""A part of the stack: one process with a session of its own, known by a record that outlives whoever started it."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from invoicing.domain.errors import WorkFailedError
from invoicing.stack import launch
from invoicing.stack.launch import process_stamp
from invoicing.stack.layout import Layout

_POLL_SECONDS = 0.1
_KILL_SECONDS = 10.0
_LOG_KEPT_BYTES = 20_000_000
# Variables that make a difference to a part; others change from terminal to terminal. The last are for archives.
_SETTINGS = ("AIRFLOW", "INVOICING_", "PYTHONPATH", "AWS_", "AZURE_", "GOOGLE_")
# The caller's own language is none of a part's business.
_NO_SETTINGS = frozenset(("INVOICING_LANGUAGE",))


class StackError(WorkFailedError):
    """The embedded stack could not be started, stopped or reached."""


@dataclass(frozen=True, slots=True)
class Account:
    """The system user that a process runs as."""

    uid: int
    gid: int


class Part:
    """One process of the stack and all it started.

    Args:
        layout: Where the stack keeps its things.
        name: Names the record and the log.
    """

    def __init__(self, layout: Layout, name: str) -> None:
        self.name = name
        self.log = layout.logs / f"{name}.log"
        self._state = layout.state
        self._record = layout.records / f"{name}.json"

    def spawn(
        self, command: Sequence[str], environ: Mapping[str, str], account: Account | None = None
    ) -> None:
        """Start the process; it is running, or has failed on its own account, when this returns."""
        self._trim_log()
        run_as = ["-", "-"] if account is None else [str(account.uid), str(account.gid)]
        launcher = [
            sys.executable,
            "-I",
            "-S",
            launch.__file__,
            str(self._record),
            fingerprint(command, environ),
        ]
        done = subprocess.run(
            [*launcher, str(self.log), *run_as, "--", *command],
            env=dict(environ),
            cwd=self._state,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            reason = done.stderr.strip() or done.stdout.strip()
            raise StackError("part_not_started", part=self.name, reason=reason)

    def pid(self) -> int | None:
        """The running process's number; None where it is not running."""
        record = self._recorded()
        return record["pid"] if record and process_stamp(record["pid"]) == record["started"] else None

    def was_started_with(self, command: Sequence[str], environ: Mapping[str, str]) -> bool:
        """Whether the recorded process got this very command and environment."""
        record = self._recorded()
        return record is not None and record["fingerprint"] == fingerprint(command, environ)

    def state(self) -> str:
        """``running``, ``stopped``, or ``dead``: not running although nobody stopped it."""
        if self._recorded() is None:
            return "stopped"
        return "dead" if self.pid() is None else "running"

    def processes(self) -> list[psutil.Process]:
        """All living processes of the part: those of its session, and their descendants."""
        record = self._recorded()
        if record is None or process_stamp(record["pid"]) not in (record["started"], None):
            return []  # not running; at most, the number is another process's by now
        session = [process for process in psutil.process_iter() if self._is_of_session(process, record)]
        found = {process.pid: process for process in session}
        for process in session:
            try:
                found |= {child.pid: child for child in process.children(recursive=True)}
            except psutil.NoSuchProcess:
                continue
        return [process for process in found.values() if _lives(process)]

    def send(self, number: int) -> None:
        """Send a signal to the part's first process, if it runs."""
        pid = self.pid()
        if pid is not None:
            os.kill(pid, number)

    def end(self, grace_seconds: float, first_signal: int = signal.SIGTERM) -> None:
        """End the part and everything it started, kindly first.

        Args:
            grace_seconds: How long the first process may take before all are killed.
            first_signal: What asks it to stop.

        Raises:
            StackError: Something would not die.
        """
        remaining = {process.pid: process for process in self.processes()}
        self.send(first_signal)
        deadline = time.monotonic() + grace_seconds
        while self.pid() is not None and time.monotonic() < deadline:
            time.sleep(_POLL_SECONDS)
        # Twice with -9: a process may be born between the look and the signal.
        for number, patience_seconds in (
            (signal.SIGTERM, 2.0),
            (signal.SIGKILL, _KILL_SECONDS),
            (signal.SIGKILL, _KILL_SECONDS),
        ):
            remaining |= {process.pid: process for process in self.processes()}
            remaining = _signal_and_wait(remaining, number, patience_seconds)
        if remaining:
            raise StackError("part_not_ended", part=self.name, pids=", ".join(map(str, remaining)))
        self._record.unlink(missing_ok=True)

    def log_tail(self, lines: int = 15) -> str:
        """The last lines of the part's log."""
        try:
            with self.log.open("rb") as file:
                file.seek(max(0, self.log.stat().st_size - 20_000))
                text = file.read().decode(errors="replace")
        except OSError:
            return "(no log)"
        return "\n".join(text.splitlines()[-lines:])

    def _recorded(self) -> dict[str, Any] | None:
        try:
            record: dict[str, Any] = json.loads(self._record.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise StackError("stack_file_damaged", path=self._record, reason=str(error)) from None
        return record

    def _is_of_session(self, process: psutil.Process, record: Mapping[str, Any]) -> bool:
        try:
            if os.getsid(process.pid) != record["pid"]:
                return False
            if process.pid == record["pid"]:
                return True
            # With its first process gone, a session's number could by now be another session's.
            environ = process.environ()
        except (OSError, psutil.Error):
            return False
        # Airflow's processes write their title over their environment.
        return environ.get("INVOICING_STATE", str(self._state)) == str(self._state)

    def _trim_log(self) -> None:
        if self.log.exists() and self.log.stat().st_size > _LOG_KEPT_BYTES:
            self.log.replace(self.log.with_suffix(".log.1"))


def fingerprint(command: Sequence[str], environ: Mapping[str, str]) -> str:
    """Digest of a command and of what configures it, to notice that either changed."""
    settings = {
        name: value
        for name, value in environ.items()
        if name.startswith(_SETTINGS) and name not in _NO_SETTINGS
    }
    return hashlib.sha256(json.dumps([list(command), settings], sort_keys=True).encode()).hexdigest()


def write_private(path: Path, text: str) -> None:
    """Replace a file in one step; only its owner can read it."""
    temporary = path.with_name(path.name + ".new")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def end_processes(processes: Sequence[psutil.Process], first_signal: int, patience_seconds: float) -> bool:
    """Signal processes, then kill what is left; whether all are gone."""
    remaining = {process.pid: process for process in processes}
    remaining = _signal_and_wait(remaining, first_signal, patience_seconds)
    return not _signal_and_wait(remaining, signal.SIGKILL, _KILL_SECONDS)


def _signal_and_wait(
    processes: dict[int, psutil.Process], number: int, patience_seconds: float
) -> dict[int, psutil.Process]:
    for process in processes.values():
        try:
            process.send_signal(number)  # psutil makes sure that the number was not given to another process
        except psutil.NoSuchProcess:
            continue
        except psutil.AccessDenied:
            raise StackError("process_of_another_user", pid=process.pid) from None
    deadline = time.monotonic() + patience_seconds
    while True:
        processes = {pid: process for pid, process in processes.items() if _lives(process)}
        if not processes or time.monotonic() >= deadline:
            return processes
        time.sleep(_POLL_SECONDS)


def _lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() not in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
    except psutil.NoSuchProcess:
        return False
