"""The pages on a server of their own, beside an endpoint that stands for Airflow's: run as a program.

    python -m support.pages_server DSN ARCHIVE PORT

Who is asking is said by the cookie ``visitor``: ``ana`` and ``beto`` may change, ``luis`` and ``vera`` may look.
``/version`` takes a thread of the server's pool, as Airflow's own endpoint does.
"""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from support.project import PYTHON_PATH, free_port

_START_SECONDS = 60


@contextmanager
def run_pages(dsn: str, archive: Path) -> Iterator[str]:
    """Start the server and end it; its address."""
    port = free_port()
    server = subprocess.Popen(
        [sys.executable, "-m", "support.pages_server", dsn, str(archive), str(port)],
        env=os.environ | {"PYTHONPATH": PYTHON_PATH},
    )
    url = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + _START_SECONDS
        while True:
            assert server.poll() is None, "the pages' server does not come up"
            assert time.monotonic() < deadline, "the pages' server does not come up in time"
            try:
                httpx.get(f"{url}/version", timeout=5)
                break
            except httpx.TransportError:
                time.sleep(0.1)
        yield url
    finally:
        server.terminate()
        server.wait(timeout=30)


if __name__ == "__main__":
    import uvicorn

    from invoicing.web.door.duties import READING, Duty
    from invoicing.web.door.visitor import Visitor
    from support.visiting import CookieGate, open_app

    people = [
        Visitor(name, name, frozenset(Duty) if name in ("ana", "beto") else READING)
        for name in ("ana", "beto", "luis", "vera")
    ]
    with open_app(sys.argv[1], Path(sys.argv[2]), gate=CookieGate(*people)) as app:

        @app.parent.get("/version")
        def version() -> str:
            return "3"

        uvicorn.run(app.parent, host="127.0.0.1", port=int(sys.argv[3]), log_level="error")
