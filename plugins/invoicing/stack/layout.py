"""Where the stack keeps its things."""

import contextlib
import os
import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from invoicing.domain.errors import InputError
from invoicing.words.failures import Fault

REPOSITORY = Path(__file__).resolve().parents[3]
DEFAULT_PORT = 8080
OWNER_CONNECTION = "INVOICING_DB_OWNER"
"""The owner's login to a database of the caller's own. Not an Airflow connection, which any task could ask for."""


@dataclass(frozen=True, slots=True)
class Layout:
    """The folders and files of one stack.

    Args:
        state: ``INVOICING_STATE``, absolute.
        port: ``INVOICING_PORT`` where it was given.
        broker: ``INVOICING_BROKER`` where it was given: a Redis from which workers take tasks.
    """

    state: Path
    port: int | None
    broker: str | None = None

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] | None = None) -> "Layout":
        """Read ``INVOICING_STATE``, ``INVOICING_PORT`` and ``INVOICING_BROKER``.

        Raises:
            InputError: The port is no port, or the broker is not a Redis.
        """
        environ = os.environ if environ is None else environ
        state = Path(environ.get("INVOICING_STATE") or REPOSITORY / "var").expanduser().absolute()
        port_text = environ.get("INVOICING_PORT") or None
        broker = environ.get("INVOICING_BROKER") or None
        if broker is not None and not re.match(r"rediss?://[^/\s]+", broker):
            raise InputError("broker_malformed")
        if port_text is None:
            return cls(state, None, broker)
        port = int(port_text) if port_text.isascii() and port_text.isdigit() else 0
        if not 1 <= port <= 65535:
            raise InputError("port_malformed", text=port_text)
        return cls(state, port, broker)

    @property
    def stack_file(self) -> Path:
        """What others need to reach the stack; no secrets."""
        return self.state / "stack.json"

    @property
    def lock_file(self) -> Path:
        """Held by whoever starts or stops the stack."""
        return self.state / "lock"

    @property
    def credentials_file(self) -> Path:
        """Database passwords and Airflow's keys."""
        return self.state / "secrets" / "credentials.json"

    @property
    def login_file(self) -> Path:
        """Passwords of Airflow's users, in the form that its SimpleAuthManager reads."""
        return self.state / "secrets" / "airflow_users.json"

    @property
    def records(self) -> Path:
        """One file a running part: its process."""
        return self.state / "run"

    @property
    def logs(self) -> Path:
        """One file a part, and the logs of Airflow's tasks."""
        return self.state / "logs"

    @property
    def database(self) -> Path:
        """PostgreSQL's data directory."""
        return self.state / "postgres"

    @property
    def mailbox(self) -> Path:
        """Messages that the inbox accepted."""
        return self.state / "mailbox"

    @property
    def airflow_home(self) -> Path:
        """Airflow's own folder."""
        return self.state / "airflow"

    @property
    def archive(self) -> Path:
        """Default place of issued PDFs."""
        return self.state / "archive"


def is_free(port: int) -> bool:
    """Whether a server could listen on ``port`` of 127.0.0.1 now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def choose_port(earlier: int | None) -> int:
    """The port of an earlier start where it is still free, else any free one."""
    if earlier is not None and is_free(earlier):
        return earlier
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def holder_of(port: int) -> Fault:
    """Who listens on ``port``, in words, as far as this user may see it."""
    import psutil

    with contextlib.suppress(psutil.Error, OSError):
        for connection in psutil.net_connections("tcp"):
            if (
                connection.status == psutil.CONN_LISTEN
                and connection.pid
                and connection.laddr[1:2] == (port,)
            ):
                return Fault("port_holder", pid=connection.pid, name=psutil.Process(connection.pid).name())
    return Fault("port_holder_unknown")
