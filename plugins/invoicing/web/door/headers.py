"""What every answer tells the browser not to do."""

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

STATIC = "/static/"

_CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
    "connect-src 'self'; frame-src 'self'; form-action 'self'; frame-ancestors 'self'; base-uri 'none'"
)


# Of this host alone, by any port, Airflow's own pages too: RFC 6797.
_STRICT_TRANSPORT = "max-age=31536000"


class SecurityHeaders:
    """Headers on every answer; a route's own stay."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on, and add to the answer."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        static = own_path(scope).startswith(STATIC)
        secure = is_secure(scope)

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.setdefault("content-security-policy", _CONTENT_SECURITY_POLICY)
                headers.setdefault("x-content-type-options", "nosniff")
                headers.setdefault("referrer-policy", "same-origin")
                headers.setdefault("cross-origin-resource-policy", "same-origin")
                if secure:
                    headers.setdefault("strict-transport-security", _STRICT_TRANSPORT)
                # A static file's address changes with its content; nothing else is for a cache.
                fresh = "public, max-age=31536000, immutable" if static else "no-store"
                headers.setdefault("cache-control", fresh if message["status"] == 200 else "no-store")
            await send(message)

        await self._app(scope, receive, send_with_headers)


def is_secure(scope: Scope) -> bool:
    """Whether the browser comes by HTTPS: as the server says (a trusted proxy's headers too), or Airflow's address."""
    public_url: str = scope["app"].state.outside.public_url
    return scope.get("scheme") == "https" or public_url.lower().startswith("https://")


def own_path(scope: Scope) -> str:
    """The path below where the app is mounted."""
    path: str = scope["path"]
    root: str = scope.get("root_path", "")
    return path[len(root) :] if root and path.startswith(root) else path
