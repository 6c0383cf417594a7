"""The door of the web app: nobody passes without a login.

`Doorkeeper` stands before the router, so that a route which forgets to ask is closed all the same.
"""

import logging
from collections.abc import Callable
from typing import TypeAlias
from urllib.parse import urlsplit

from fastapi import Request
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from invoicing.domain.errors import LimitReachedError
from invoicing.web.door.body_limit import (
    BodyTooLargeError,
    BodyTooSlowError,
    announces_too_much,
    read_body,
    replayed,
)
from invoicing.web.door.duties import duties_here, objection
from invoicing.web.door.form_tokens import SAFE_METHODS
from invoicing.web.door.headers import STATIC, own_path
from invoicing.web.door.turns import Turns
from invoicing.web.door.visitor import Gate, NotLoggedInError, RefusedError, Visitor
from invoicing.words.failures import Failure, Fault

log = logging.getLogger(__name__)

Refuse: TypeAlias = Callable[[Request, int, Failure], Response]
"""Makes the answer to a refused request: status, and why."""

Refusal: TypeAlias = tuple[int, Failure]


class Doorkeeper:
    """Lets everybody have what their duties allow, and refuses what another site's page asks for.

    Args:
        app: What is guarded.
        gate: Knows the users.
        refuse: Makes the answer where somebody is turned away.
        own_origin: Where we are seen from outside, beside the request's own host; may be empty.
    """

    def __init__(self, app: ASGIApp, gate: Gate, refuse: Refuse, own_origin: str = "") -> None:
        self._app = app
        self._gate = gate
        self._refuse = refuse
        self._own_origin = _origin_of(own_origin)
        # Apart: a body that comes slowly keeps nobody from anything but sending another one.
        self._uploads = Turns()
        self._turns = Turns()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Decide on one request."""
        if scope["type"] != "http":
            # There is no websocket here; lifespan events concern nobody.
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return
        request = Request(scope, receive)
        if own_path(scope).startswith(STATIC) and request.method in SAFE_METHODS:
            await self._app(scope, receive, send)
            return
        answer = await self._objection(request)
        if answer is not None:
            await answer(scope, receive, send)
            return
        try:
            if request.method not in SAFE_METHODS:
                async with self._uploads.turn(request.state.visitor.id):
                    receive = replayed(await read_body(receive), receive)
            async with self._turns.turn(request.state.visitor.id):
                await self._serve(request, receive, send)
        except ClientDisconnect:
            return
        except BodyTooLargeError:
            await self._turn_away(request, receive, send, (413, Fault("body_too_large")))
        except BodyTooSlowError:
            await self._turn_away(request, receive, send, (408, Fault("body_too_slow")))
        except LimitReachedError as error:
            await self._turn_away(request, receive, send, (429, error))

    async def _serve(self, request: Request, receive: Receive, send: Send) -> None:
        """Pass on; what nobody foresaw is logged and answered like everything else."""
        started = False

        async def send_noticing(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            await self._app(request.scope, receive, send_noticing)
        except Exception:
            log.exception("%s %s", request.method, request.url.path)
            if started:
                raise
            await self._turn_away(request, receive, send, (500, Fault("internal_error")))

    async def _turn_away(self, request: Request, receive: Receive, send: Send, refusal: Refusal) -> None:
        answer = await run_in_threadpool(self._refuse, request, *refusal)
        await answer(request.scope, receive, send)

    async def _objection(self, request: Request) -> Response | None:
        refusal: Refusal | None
        try:
            visitor = await self._gate.admit(request)
        except NotLoggedInError:
            refusal = 401, Fault("not_logged_in")
        except RefusedError as error:
            refusal = 403, Fault("may_not_read", needed=error.needed)
        else:
            request.state.visitor = visitor
            refusal = self._objection_to(request, visitor)
        return None if refusal is None else await run_in_threadpool(self._refuse, request, *refusal)

    def _objection_to(self, request: Request, visitor: Visitor) -> Refusal | None:
        is_change = request.method not in SAFE_METHODS
        if is_change and self._is_foreign(request):
            return 403, Fault("foreign_request")
        needed = duties_here(request.scope)
        missing = None if needed is None else objection(needed, visitor.duties)
        if missing is not None:
            return 403, missing
        if is_change and announces_too_much(request.headers.get("content-length", "0")):
            return 413, Fault("body_too_large")
        return None

    def _is_foreign(self, request: Request) -> bool:
        """Whether a page of another site made the browser ask. What is no browser says nothing about it.

        ``http://`` and ``https://`` of one host are two sites: who can answer for the first on the way may not ask
        for anything of the second. The request's scheme is what the server says, from a trusted proxy's headers too.
        """
        if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
            return True
        origin = request.headers.get("origin")
        if origin is None:
            return False
        asking = _origin_of(origin)
        here = _origin_of(f"{request.scope.get('scheme', 'http')}://{request.headers.get('host', '')}")
        return asking is None or asking not in (here, self._own_origin)


Origin: TypeAlias = tuple[str, str, int]
"""Scheme, host and port (RFC 6454)."""

_PORTS = {"http": 80, "https": 443}


def _origin_of(url: str) -> Origin | None:
    """The origin of a URL of the web; None of anything else."""
    try:
        parts = urlsplit(url)
        port = parts.port or _PORTS.get(parts.scheme)
    except ValueError:
        return None
    return (parts.scheme, parts.hostname, port) if parts.hostname and port else None
