"""Whether others are served while something goes on: one request after another, from a thread of its own."""

import threading
import time
from typing import Self

import httpx
import psutil


class Pulse:
    """Asks for ``path`` again and again, and keeps how long each answer took.

    Args:
        every_seconds: From one answer to the next question.
        server: The server's process. With it, ``blocked`` has of each wait what the server itself worked meanwhile,
            in seconds of the processor: what else the machine has to do is not in it.
    """

    def __init__(
        self, url: str, path: str = "/api/v2/version", every_seconds: float = 0.05, server: int | None = None
    ) -> None:
        self.seconds: list[float] = []
        self.blocked: list[float] = []
        self._server = None if server is None else psutil.Process(server)
        self.statuses: set[int] = set()
        self._client = httpx.Client(base_url=url, timeout=60)
        self._path = path
        self._every_seconds = every_seconds
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join(70)
        self._client.close()

    @property
    def longest(self) -> float:
        return max(self.seconds)

    def _beat(self) -> None:
        while not self._is_over.wait(self._every_seconds):
            worked, begun = self._worked_seconds(), time.perf_counter()
            self.statuses.add(self._client.get(self._path).status_code)
            self.seconds.append(time.perf_counter() - begun)
            self.blocked.append(min(self.seconds[-1], self._worked_seconds() - worked))

    def _worked_seconds(self) -> float:
        if self._server is None:
            return 0.0
        spent = self._server.cpu_times()
        seconds: float = spent.user + spent.system
        return seconds
