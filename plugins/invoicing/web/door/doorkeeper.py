"""The door of the web app: nobody passes without a login, and nothing changes at another site's bidding.

`Doorkeeper` stands before the router, so that a route which forgets to ask is closed all the same.
"""

import base64
import hashlib
import hmac
import logging
import secrets
import time
from collections.abc import Callable
from urllib.parse import urlsplit

from fastapi import Request
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from invoicing.web.door.visitor import Gate, NotLoggedInError, RefusedError, Visitor, current_visitor

log = logging.getLogger(__name__)

STATIC = "/static/"
TOKEN_FIELD = "csrf_token"  # noqa: S105 (a field's name)
TOKEN_HEADER = "x-csrf-token"  # noqa: S105 (a header's name)
SAFE_METHODS = frozenset(("GET", "HEAD", "OPTIONS"))
# The largest thing anybody sends is a template with pictures in it.
LARGEST_BODY_BYTES = 4 * 1024 * 1024

_TOKEN_SECONDS = 12 * 3600
_CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
    "connect-src 'self'; frame-src 'self'; form-action 'self'; frame-ancestors 'self'; base-uri 'none'"
)

Refusal = Callable[[Request, int, str, str], Response]
"""Makes the answer to a refused request: status, and why in Spanish and in English."""


class FormTokens:
    """Tokens that tie a form to the person it was shown to.

    Args:
        secret: Of the installation; the signing key is derived from it.
    """

    def __init__(self, secret: str) -> None:
        self._key = hashlib.blake2b(secret.encode(), person=b"invoicing-form", digest_size=32).digest()

    def issue(self, visitor: Visitor) -> str:
        """A token for the visitor's next form."""
        stamp = f"{int(time.time())}.{secrets.token_urlsafe(9)}"
        return f"{stamp}.{self._sign(stamp, visitor)}"

    def accepts(self, token: str, visitor: Visitor) -> bool:
        """Whether ``token`` was issued to this visitor and is not out of date."""
        stamp, _, signature = token.rpartition(".")
        issued_at = stamp.partition(".")[0]
        # isascii: compare_digest takes no other text, and a digit may be no number.
        if not (token.isascii() and issued_at.isdecimal()):
            return False
        if not hmac.compare_digest(signature, self._sign(stamp, visitor)):
            return False
        return time.time() - int(issued_at) <= _TOKEN_SECONDS

    def _sign(self, stamp: str, visitor: Visitor) -> str:
        signed = hmac.new(self._key, f"{stamp}\0{visitor.id}".encode(), hashlib.sha256).digest()
        return base64.urlsafe_b64encode(signed).decode().rstrip("=")


class FormTokenError(Exception):
    """A change was asked for without the token of a form of ours."""


class BodyTooLargeError(Exception):
    """More was sent than anything here needs."""


async def require_form_token(request: Request) -> None:
    """Refuse a change that does not come from a page of ours; every route depends on it.

    Raises:
        FormTokenError: The token is missing, is another person's, or is out of date.
    """
    visitor = current_visitor(request)
    if request.method in SAFE_METHODS or visitor.sent_token:
        return
    token: object = request.headers.get(TOKEN_HEADER)
    if token is None and request.headers.get("content-type", "").startswith(
        ("application/x-www-form-urlencoded", "multipart/form-data")
    ):
        token = (await request.form()).get(TOKEN_FIELD)
    tokens: FormTokens = request.app.state.form_tokens
    if not isinstance(token, str) or not tokens.accepts(token, visitor):
        raise FormTokenError


class Doorkeeper:
    """Lets in who may read, lets change who may change, and refuses what another site's page asks for.

    Args:
        app: What is guarded.
        gate: Knows the users.
        refuse: Makes the answer where somebody is turned away.
        own_origin: Where we are seen from outside, beside the request's own host; may be empty.
    """

    def __init__(self, app: ASGIApp, gate: Gate, refuse: Refusal, own_origin: str = "") -> None:
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
        if _own_path(scope).startswith(STATIC) and request.method in SAFE_METHODS:
            await self._app(scope, receive, send)
            return
        answer = await self._objection(request)
        if answer is not None:
            await answer(scope, receive, send)
            return
        await self._serve(request, _limited(receive), send)

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
            answer = await run_in_threadpool(
                self._refuse,
                request,
                500,
                "Algo falló de nuestro lado; los detalles están en el registro del servidor de Airflow.",
                "Something failed on our side; the details are in the log of Airflow's API server.",
            )
            await answer(request.scope, receive, send)

    async def _objection(self, request: Request) -> Response | None:
        refusal: tuple[int, str, str] | None
        try:
            visitor = await self._gate.admit(request)
        except NotLoggedInError:
            refusal = (401, "Inicie sesión en Airflow.", "Log in to Airflow.")
        except RefusedError as error:
            refusal = (403, "Su usuario no puede ver la facturación.", f"You may not see this: {error}.")
        else:
            request.state.visitor = visitor
            refusal = None if request.method in SAFE_METHODS else self._objection_to_change(request, visitor)
        return None if refusal is None else await run_in_threadpool(self._refuse, request, *refusal)

    def _objection_to_change(self, request: Request, visitor: Visitor) -> tuple[int, str, str] | None:
        if self._is_foreign(request):
            return (
                403,
                "La petición viene de otro sitio y no se atendió.",
                "The request comes from another site and was not served.",
            )
        if not visitor.may_change:
            return (
                403,
                "Su usuario puede ver, no cambiar. No se cambió nada.",
                "You may look, not change. Nothing was changed.",
            )
        length = request.headers.get("content-length", "0")
        if not length.isdecimal() or int(length) > LARGEST_BODY_BYTES:
            return 413, "Lo enviado es demasiado grande.", "What was sent is too large."
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


class SecurityHeaders:
    """Headers on every answer; a route's own stay."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on, and add to the answer."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        static = _own_path(scope).startswith(STATIC)

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.setdefault("content-security-policy", _CONTENT_SECURITY_POLICY)
                headers.setdefault("x-content-type-options", "nosniff")
                headers.setdefault("referrer-policy", "same-origin")
                headers.setdefault("cross-origin-resource-policy", "same-origin")
                # A static file's address changes with its content; nothing else is for a cache.
                fresh = "public, max-age=31536000, immutable" if static else "no-store"
                headers.setdefault("cache-control", fresh if message["status"] == 200 else "no-store")
            await send(message)

        await self._app(scope, receive, send_with_headers)


def _own_path(scope: Scope) -> str:
    """The path below where the app is mounted."""
    path: str = scope["path"]
    root: str = scope.get("root_path", "")
    return path[len(root) :] if root and path.startswith(root) else path


def _limited(receive: Receive) -> Receive:
    """Count what arrives without a length in its header."""
    received = 0

    async def receive_limited() -> Message:
        nonlocal received
        message = await receive()
        received += len(message.get("body", b""))
        if received > LARGEST_BODY_BYTES:
            raise BodyTooLargeError
        return message

    return receive_limited
