"""A stack for tests, handled as an operator does: through the command line."""

import contextlib
import email
import email.policy
import json
import os
import shutil
import socket
import subprocess
import tempfile
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import psutil
import pytest

ROOT = Path(__file__).resolve().parents[2]


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


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
            **(environ or {}),
        }

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
        self.run("down", check=False)
        shutil.rmtree(self.state, ignore_errors=True)


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
