"""HTTP byte for byte: what no client of good manners would send."""

import http.client
import socket
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Self

_TIMEOUT_SECONDS = 20
NO_ANSWER = -1
"""For a status: the server took the request and did not answer it."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back.

    Args:
        status: 0 where the connection was closed without an answer; `NO_ANSWER`.
        headers: As they came; names in small letters.
    """

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    content: bytes = b""

    @property
    def text(self) -> str:
        return self.content.decode("utf-8", "replace")

    def header(self, name: str) -> str:
        return next((value for given, value in self.headers if given == name), "")


class Wire:
    """A connection that is kept open for as long as the server likes.

    Args:
        headers: Sent with each request, in latin-1; a request's own replace them.
    """

    def __init__(self, port: int, headers: Mapping[str, str]) -> None:
        self._port = port
        self._headers = {"Host": f"127.0.0.1:{port}", **headers}
        self._socket: socket.socket | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def ask(
        self, method: str, target: str, headers: Mapping[str, str] | None = None, body: bytes | None = None
    ) -> Answer:
        """Send ``target``, the headers and the body as they are: a letter a byte."""
        given = dict(self._headers)
        if body is not None:
            given["Content-Length"] = str(len(body))
        given |= headers or {}
        head = f"{method} {target} HTTP/1.1\r\n" + "".join(
            f"{name}: {value}\r\n" for name, value in given.items()
        )
        request = head.encode("latin-1") + b"\r\n" + (body or b"")
        answer = self._exchange(method, request)
        # The server may have closed a connection that was idle.
        return answer if answer.status else self._exchange(method, request)

    def _exchange(self, method: str, request: bytes) -> Answer:
        if self._socket is None:
            self._socket = socket.create_connection(("127.0.0.1", self._port), timeout=_TIMEOUT_SECONDS)
        # A server that has seen enough answers, and closes, before all of it was sent.
        with suppress(ConnectionError):
            self._socket.sendall(request)
        response = http.client.HTTPResponse(self._socket, method=method)
        try:
            response.begin()
            answer = Answer(
                response.status,
                tuple((name.lower(), value) for name, value in response.getheaders()),
                response.read(),
            )
        except TimeoutError:
            self._close()
            return Answer(NO_ANSWER)
        except (ConnectionError, http.client.HTTPException):
            self._close()
            return Answer(0)
        if response.will_close:
            self._close()
        return answer

    def _close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None
