"""What tests of the pages visit them with: the app below ``/invoicing``, and browsers of chosen people."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from httpx import Response
from starlette.testclient import TestClient

from invoicing.web.app import create_app
from invoicing.web.door.visitor import NotLoggedInError, Visitor
from invoicing.web.outside import Outside
from support.archive import archive_in

EDITOR = Visitor("ana", "ana", may_change=True)
VIEWER = Visitor("luis", "luis", may_change=False)


class CookieGate:
    """Takes a cookie's word for who is asking. For tests alone: the real gates have tests of their own."""

    def __init__(self, *visitors: Visitor) -> None:
        self._visitors = {visitor.id: visitor for visitor in visitors}

    async def admit(self, request: Request) -> Visitor:
        try:
            return self._visitors[request.cookies.get("visitor", "")]
        except KeyError:
            raise NotLoggedInError("no such visitor") from None

    async def may_run(self, request: Request) -> bool:
        return (await self.admit(request)).may_change


class Browser(TestClient):
    """One person's browser; paths are below the app's root. It fills a form's token in by itself."""

    def __init__(self, parent: FastAPI, visitor: Visitor, language: str) -> None:
        super().__init__(parent, base_url="http://airflow.test", headers={"accept-language": language})
        self.cookies.set("visitor", visitor.id)

    def see(self, path: str) -> Response:
        """Open a page."""
        return self.get(f"/invoicing{path}")

    def token(self) -> str:
        """A form token of this person's, from any page."""
        found = re.search(r'name="csrf-token" content="([^"]+)"', self.see("/automation").text)
        assert found
        return found[1]

    def submit(self, path: str, data: dict[str, Any], files: Any = None) -> Response:
        """Send a form as its page would; redirects are followed."""
        return self.post(
            f"/invoicing{path}",
            data={"csrf_token": self.token(), **data},
            files=files,
            headers={"origin": "http://airflow.test", "sec-fetch-site": "same-origin"},
            follow_redirects=True,
        )

    def ask(self, method: str, path: str, json: Any = None) -> Response:
        """Ask the JSON API."""
        return self.request(
            method, f"/invoicing/api/v1{path}", json=json, headers={"x-csrf-token": self.token()}
        )


class App:
    """The app, mounted as Airflow mounts it."""

    def __init__(self, outside: Outside) -> None:
        self.app = create_app(outside)
        self.parent = FastAPI(openapi_url=None)
        self.parent.mount("/invoicing", self.app)

    def as_editor(self, language: str = "es") -> Browser:
        """A browser of somebody who may change everything."""
        return Browser(self.parent, EDITOR, language)

    def as_viewer(self, language: str = "es") -> Browser:
        """A browser of somebody who may only look."""
        return Browser(self.parent, VIEWER, language)


@contextmanager
def open_app(dsn: str, archive: Path, **outside: Any) -> Iterator[App]:
    """The app over the database at ``dsn``; ``outside`` replaces parts of its `Outside`."""
    given: dict[str, Any] = {
        "gate": CookieGate(EDITOR, VIEWER),
        "secret": "a secret of the tests' own",
        "public_url": "",
        "find_dsn": lambda: dsn,
        "open_archive": lambda: archive_in(archive),
        "open_relay": _no_relay,
        "relay_sender": lambda: None,
    }
    app = App(Outside(**{**given, **outside}))
    try:
        yield app
    finally:
        app.app.state.pool.close()


def _no_relay() -> Any:
    raise AssertionError("this test has no mail relay")
