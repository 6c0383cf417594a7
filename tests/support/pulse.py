"""Whether others are served while something goes on: one request after another, from a thread of its own."""

import threading
import time
from typing import Self

import httpx


class Pulse:
    """Asks for ``path`` again and again, and keeps how long each answer took.

    Args:
        every_seconds: From one answer to the next question.
    """

    def __init__(self, url: str, path: str = "/api/v2/version", every_seconds: float = 0.05) -> None:
        self.seconds: list[float] = []
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
            begun = time.perf_counter()
            self.statuses.add(self._client.get(self._path).status_code)
            self.seconds.append(time.perf_counter() - begun)
