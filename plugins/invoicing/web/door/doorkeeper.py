"""The door of the web app: nobody passes without a login.

`Doorkeeper` stands before the router, so that a route which forgets to ask is closed all the same.
"""

import logging
import re
from collections.abc import Callable
from typing import TypeAlias
from urllib.parse import urlsplit

from fastapi import Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from invoicing.domain.names import MONTHLY_DAG
from invoicing.web.door.body_limit import announces_too_much, limited
from invoicing.web.door.form_tokens import SAFE_METHODS
from invoicing.web.door.headers import STATIC, own_path
from invoicing.web.door.visitor import Gate, NotLoggedInError, RefusedError, Visitor
from invoicing.words.failures import Failure, Fault

log = logging.getLogger(__name__)

Refuse: TypeAlias = Callable[[Request, int, Failure], Response]
"""Makes the answer to a refused request: status, and why."""

Refusal: TypeAlias = tuple[int, Failure]

# Asks for Airflow's permission to trigger, as Airflow does; every other change for that to change settings.
_RUNS_A_MONTH = re.compile(r"/foresight/[^/]+/run")


class Doorkeeper:
    """Lets in who may read, lets change who may change, and refuses what another site's page asks for.

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
        self._own_host = urlsplit(own_origin).netloc.lower()

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
        await self._serve(request, limited(receive), send)

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
            answer = await run_in_threadpool(self._refuse, request, 500, Fault("internal_error"))
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
            refusal = (
                None if request.method in SAFE_METHODS else await self._objection_to_change(request, visitor)
            )
        return None if refusal is None else await run_in_threadpool(self._refuse, request, *refusal)

    async def _objection_to_change(self, request: Request, visitor: Visitor) -> Refusal | None:
        if self._is_foreign(request):
            return 403, Fault("foreign_request")
        if _RUNS_A_MONTH.fullmatch(own_path(request.scope)):
            if not await self._gate.may_run(request):
                return 403, Fault("may_not_run", dag=MONTHLY_DAG)
        elif not visitor.may_change:
            return 403, Fault("may_not_change")
        if announces_too_much(request.headers.get("content-length", "0")):
            return 413, Fault("body_too_large")
        return None

    def _is_foreign(self, request: Request) -> bool:
        """Whether a page of another site made the browser ask. What is no browser says nothing about it."""
        if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
            return True
        origin = request.headers.get("origin")
        if origin is None:
            return False
        return urlsplit(origin).netloc.lower() not in {
            host for host in (request.headers.get("host", "").lower(), self._own_host) if host
        }
