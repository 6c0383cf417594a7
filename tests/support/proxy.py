"""A TCP proxy that cuts, stalls and half-opens what runs through it: SMTP, PostgreSQL, whatever is not TLS.

proxy.cut_when(b"COMMIT", forward=True)     # the server commits, the client never hears of it
proxy.stall()                               # both ends open, nothing arrives any more
"""

import socket
import struct
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


@dataclass(slots=True)
class _Trigger:
    """Bytes on the way to the server that cut their connection."""

    pattern: bytes
    forward: bool
    times: int


@dataclass(eq=False, slots=True)
class _Pair:
    """One client's connection and its continuation to the server."""

    client: socket.socket
    server: socket.socket
    tail: bytes = b""
    is_doomed: bool = False
    is_half_open: bool = False

    def close(self, *, rudely: bool) -> None:
        for side in (self.client, self.server):
            with suppress(OSError):
                if rudely:
                    side.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            with suppress(OSError):  # wakes the thread that reads it; close alone does not
                side.shutdown(socket.SHUT_RDWR)
            side.close()


class Proxy:
    """Listens on a free port of 127.0.0.1 for one server behind it; a context manager.

    Args:
        target: The server: host and port, or the path of a Unix socket.
    """

    def __init__(self, target: tuple[str, int] | Path) -> None:
        self.connections = 0
        self._target = target
        self._pairs: set[_Pair] = set()
        self._triggers: list[_Trigger] = []
        self._lock = threading.Lock()
        self._flowing = threading.Event()
        self._flowing.set()
        self._is_refusing = False
        self._is_stopping = False
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]

    def __enter__(self) -> Self:
        self._start(self._listen)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """End the proxy and all that runs through it."""
        self._is_stopping = True
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()
        self._flowing.set()

    def cut(self) -> None:
        """Reset all connections, on both sides. New ones are served."""
        with self._lock:
            pairs, self._pairs = self._pairs, set()
        for pair in pairs:
            pair.close(rudely=True)

    def cut_when(self, pattern: bytes, *, forward: bool, times: int = 1) -> None:
        """Reset a connection when its client sends ``pattern``.

        Args:
            pattern: Found also where it comes in pieces.
            forward: Whether the server still gets it; then it is its answer that cuts, and is lost.
            times: How often in all.
        """
        with self._lock:
            self._triggers.append(_Trigger(pattern, forward, times))

    def stall(self) -> None:
        """Let nothing through any more, and close nothing."""
        self._flowing.clear()

    def resume(self) -> None:
        """Let through again what was held up."""
        self._flowing.set()

    def half_open(self) -> None:
        """End the connections to the server, and leave the clients in the belief that theirs live."""
        with self._lock:
            pairs = list(self._pairs)
        for pair in pairs:
            pair.is_half_open = True
            with suppress(OSError):
                pair.server.shutdown(socket.SHUT_RDWR)

    def refuse(self) -> None:
        """Reset new connections at once, as if the server were away."""
        self._is_refusing = True

    def restore(self) -> None:
        """Serve new connections again."""
        self._is_refusing = False

    def _listen(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            try:
                if self._is_refusing:
                    raise ConnectionRefusedError
                server = self._connect()
            except OSError:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
                client.close()
                continue
            for side in (client, server):
                if side.family != socket.AF_UNIX:
                    side.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            pair = _Pair(client, server)
            with self._lock:
                self._pairs.add(pair)
            self._start(lambda pair=pair: self._pump_to_server(pair))  # type: ignore[misc]
            self._start(lambda pair=pair: self._pump_to_client(pair))  # type: ignore[misc]

    def _connect(self) -> socket.socket:
        if isinstance(self._target, Path):
            server = socket.socket(socket.AF_UNIX)
            server.connect(str(self._target))
            return server
        return socket.create_connection(self._target)

    def _pump_to_server(self, pair: _Pair) -> None:
        rudely = False
        with suppress(OSError):
            while content := pair.client.recv(65_536):
                self._flowing.wait()
                trigger = self._triggered(pair, content)
                if trigger is not None and not trigger.forward:
                    rudely = True
                    break
                if trigger is not None:
                    pair.is_doomed = True
                if not pair.is_half_open:
                    pair.server.sendall(content)
        self._end(pair, rudely=rudely)

    def _pump_to_client(self, pair: _Pair) -> None:
        with suppress(OSError):
            while content := pair.server.recv(65_536):
                self._flowing.wait()
                if pair.is_doomed:
                    break
                pair.client.sendall(content)
        if not pair.is_half_open:
            self._end(pair, rudely=pair.is_doomed)

    def _triggered(self, pair: _Pair, content: bytes) -> _Trigger | None:
        with self._lock:
            window = pair.tail + content
            pair.tail = window[-256:]
            for trigger in self._triggers:
                if trigger.times > 0 and trigger.pattern in window:
                    trigger.times -= 1
                    pair.tail = b""
                    return trigger
        return None

    def _end(self, pair: _Pair, *, rudely: bool) -> None:
        self._flowing.wait()
        with self._lock:
            self._pairs.discard(pair)
        pair.close(rudely=rudely)

    def _start(self, target: Callable[[], None]) -> None:
        threading.Thread(target=target, daemon=True).start()
