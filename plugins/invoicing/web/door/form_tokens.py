"""Form tokens: nothing changes at another site's bidding."""

import base64
import hashlib
import hmac
import secrets
import time

from fastapi import Request

from invoicing.web.door.form_reading import is_form, read_form
from invoicing.web.door.visitor import Visitor, current_visitor

TOKEN_FIELD = "csrf_token"  # noqa: S105 (a field's name)
TOKEN_HEADER = "x-csrf-token"  # noqa: S105 (a header's name)
SAFE_METHODS = frozenset(("GET", "HEAD", "OPTIONS"))

_TOKEN_SECONDS = 12 * 3600


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


async def require_form_token(request: Request) -> None:
    """Refuse a change that does not come from a page of ours; every route depends on it.

    Raises:
        FormTokenError: The token is missing, is another person's, or is out of date.
    """
    visitor = current_visitor(request)
    if request.method in SAFE_METHODS or visitor.sent_token:
        return
    token: object = request.headers.get(TOKEN_HEADER)
    if token is None and is_form(request):
        token = (await read_form(request)).get(TOKEN_FIELD)
    tokens: FormTokens = request.app.state.form_tokens
    if not isinstance(token, str) or not tokens.accepts(token, visitor):
        raise FormTokenError
