"""What has been tried (``tests/data/hostile``); a secret and a server that counts tell whether it came through."""

import re
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from support.project import TESTS

FOLDER = TESTS / "data" / "hostile"
SECRET = "canary-7f3a91-that-nobody-may-see"
"""Stands in a file and in an environment variable of whatever is tried; no answer may have it."""

_REPEATED = re.compile("⟦([^⟦⟧]*)×([0-9]+)⟧", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Entry:
    """One trick.

    Args:
        why: Why it is in the corpus.
        told: What else its file says of it; text is unfolded.
    """

    name: str
    why: str
    told: Mapping[str, Any] = field(repr=False)

    def __getitem__(self, key: str) -> Any:
        return self.told[key]

    def get(self, key: str, default: Any = None) -> Any:
        return self.told.get(key, default)


@cache
def corpus(kind: str) -> Mapping[str, Entry]:
    """The entries of ``tests/data/hostile/<kind>.yaml`` by their names."""
    entries = [
        Entry(told.pop("name"), told.pop("why"), {key: _unfolded(value) for key, value in told.items()})
        for told in yaml.safe_load((FOLDER / f"{kind}.yaml").read_text(encoding="utf-8"))
    ]
    by_name = {entry.name: entry for entry in entries}
    assert len(by_name) == len(entries), "two entries have the same name"
    return by_name


def _unfolded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _unfolded(each) for key, each in value.items()}
    return _REPEATED.sub(_repeat, value) if isinstance(value, str) else value


def _repeat(found: re.Match[str]) -> str:
    text, times = found[1], int(found[2])
    if "№" in text:
        return "".join(text.replace("№", str(number)) for number in range(times))
    return text * times


class Listener:
    """A server that counts who calls, whatever they speak; it answers everybody with a way to ``file``."""

    def __init__(self, file: Path) -> None:
        self._answer = (
            f"HTTP/1.1 302 Found\r\nLocation: {file.as_uri()}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        ).encode()
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=200)
        self.host = f"127.0.0.1:{self._socket.getsockname()[1]}"
        self.calls: list[bytes] = []
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def _listen(self) -> None:
        while True:
            try:
                caller, _ = self._socket.accept()
            except OSError:
                return
            with caller, suppress(OSError):
                caller.settimeout(0.5)
                self.calls.append(b"somebody")
                self.calls[-1] = caller.recv(500).partition(b"\r\n")[0]
                caller.sendall(self._answer)

    def close(self) -> None:
        # A thread that waits in accept() is woken by a shutdown, not by a close.
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join(5)


@dataclass(frozen=True, slots=True)
class Watch:
    """What a test looks at after it has tried everything.

    Args:
        file: Has the secret in it.
    """

    file: Path
    listener: Listener

    def place(self, source: str) -> str:
        """``source`` with the file and the server that this watch looks after."""
        return source.replace("⟦FILE⟧", str(self.file)).replace("⟦HOST⟧", self.listener.host)

    def assert_nothing_out(self, *answers: bytes | str) -> None:
        """Nobody called, and no answer has the secret."""
        assert self.listener.calls == []
        for answer in answers:
            content = answer if isinstance(answer, bytes) else answer.encode("utf-8", "replace")
            assert SECRET.encode() not in content


@contextmanager
def watching(folder: Path) -> Iterator[Watch]:
    """A secret in ``folder``, and a server that counts."""
    file = folder / "secret.txt"
    file.write_text(SECRET)
    listener = Listener(file)
    try:
        yield Watch(file, listener)
    finally:
        listener.close()
