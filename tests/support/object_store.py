"""An object store on this machine, moto's, that knows one key and is unwell on command.

Run as a program it is the server:

    python -m support.object_store PORT FOLDER

moto lets everybody in; here a request without the key is refused as S3 refuses it. While FOLDER has a file ``unwell``,
every request is answered 503. What was refused is counted in FOLDER, a byte each: ``answered-403``, ``answered-503``.
"""

import json
import secrets
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from support.project import PYTHON_PATH, free_port
from support.waiting import wait_until

KEY = "invoicing-tests"
BUCKET = "invoicing"
REGION = "us-east-1"

_START_SECONDS = 240
_ERROR = '<?xml version="1.0" encoding="UTF-8"?><Error><Code>{code}</Code><Message>{code}</Message></Error>'


class ObjectStore:
    """The server, with an empty bucket `BUCKET`.

    Args:
        folder: An empty one, by which it is told, and tells.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self._server: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def connection(self) -> str:
        """An Airflow connection to it, with the key."""
        extra = {
            "endpoint_url": self.url,
            "region_name": REGION,
            # Tried again by the task; botocore's own patience comes on top of s3fs's.
            "config_kwargs": {"retries": {"max_attempts": 1}},
        }
        return json.dumps(
            {"conn_type": "aws", "login": KEY, "password": secrets.token_urlsafe(8), "extra": extra}
        )

    def keys(self) -> list[str]:
        """The keys of all documents."""
        answer = self._ask("GET", f"/{BUCKET}?list-type=2")
        return [part.partition("</Key>")[0] for part in answer.text.split("<Key>")[1:]]

    def empty(self) -> None:
        """Lose all documents."""
        for key in self.keys():
            self._ask("DELETE", f"/{BUCKET}/{key}")

    def refusals(self, status: int) -> int:
        """How many requests were answered 403, or 503."""
        count = self.folder / f"answered-{status}"
        return count.stat().st_size if count.exists() else 0

    def fall_ill(self) -> None:
        """Answer 503 from now on."""
        (self.folder / "unwell").touch()

    def recover(self) -> None:
        """Answer as before."""
        (self.folder / "unwell").unlink(missing_ok=True)

    def __enter__(self) -> Self:
        with (self.folder / "store.log").open("wb") as log:
            self._server = subprocess.Popen(
                [sys.executable, "-m", "support.object_store", str(self.port), str(self.folder)],
                env={"PYTHONPATH": PYTHON_PATH, "PATH": "/usr/bin:/bin"},
                stdout=log,
                stderr=log,
            )
        try:
            wait_until(self._has_bucket, "the object store is there", _START_SECONDS, every_seconds=0.2)
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def _end(self) -> None:
        if self._server is not None:
            self._server.terminate()
            self._server.wait(timeout=20)
            self._server = None

    def _has_bucket(self) -> bool:
        try:
            return self._ask("PUT", f"/{BUCKET}").is_success
        except httpx.TransportError:
            return False

    def _ask(self, method: str, path: str) -> httpx.Response:
        signed = {"Authorization": f"AWS4-HMAC-SHA256 Credential={KEY}/20260101/{REGION}/s3/aws4_request"}
        return httpx.request(method, self.url + path, headers=signed, timeout=30)


def _guarded(store: Callable[..., Iterable[bytes]], folder: Path) -> Callable[..., Iterable[bytes]]:
    """The store behind its door, as a WSGI application."""

    def answer(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if (folder / "unwell").exists():
            status, code = "503 Slow Down", "SlowDown"
        elif f"Credential={KEY}/" not in environ.get("HTTP_AUTHORIZATION", ""):
            status, code = "403 Forbidden", "AccessDenied"
        else:
            return store(environ, start_response)
        with (folder / f"answered-{status[:3]}").open("ab") as count:
            count.write(b".")
        # What was sent is read, or the client sees a broken connection instead.
        environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        body = _ERROR.format(code=code).encode()
        start_response(status, [("Content-Type", "application/xml"), ("Content-Length", str(len(body)))])
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]

    return answer


def _serve(port: int, folder: Path) -> None:
    from moto.server import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
    from werkzeug.serving import run_simple

    store = _guarded(DomainDispatcherApplication(create_backend_app), folder)
    run_simple("127.0.0.1", port, store, threaded=True, request_handler=MotoRequestHandler)  # type: ignore[arg-type]


if __name__ == "__main__":
    _serve(int(sys.argv[1]), Path(sys.argv[2]))
