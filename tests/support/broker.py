"""Debian's Redis as a broker: one of the tests' own, on 127.0.0.1, with a password, that may be away for a while."""

import secrets
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Self

from invoicing.stack.layout import is_free
from support.project import free_port
from support.waiting import wait_until


class Broker:
    """A Redis server; what it holds survives a stop.

    Args:
        folder: An empty one, for its file.
    """

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.password = secrets.token_urlsafe(16)
        self._folder = folder
        self._server: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Its address, password and all."""
        return f"redis://:{self.password}@127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Start it, with what it held when it was stopped."""
        # By a file: an argument is seen by all who list processes.
        settings = self._folder / "redis.conf"
        settings.write_text(
            f"requirepass {self.password}\nbind 127.0.0.1\nport {self.port}\nappendonly yes\n"
        )
        settings.chmod(0o600)
        with (self._folder / "redis.log").open("ab") as log:
            self._server = subprocess.Popen(
                ["redis-server", str(settings), "--dir", str(self._folder)], stdout=log, stderr=log
            )
        wait_until(lambda: not is_free(self.port), "Redis listens")

    def stop(self) -> None:
        """End it; whoever is connected is cut off."""
        if self._server is not None:
            self._server.terminate()
            self._server.wait(timeout=20)
            self._server = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
