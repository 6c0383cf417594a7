"""Who sends where the settings name nobody."""

import json
import socket
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from invoicing.domain.address import problem


def named_sender(*candidates: str | None) -> str | None:
    """The first of ``candidates`` that is an address: a relay connection's from-address, its login."""
    return next((str(each) for each in candidates if each and problem(str(each)) is None), None)


def sender_of_host() -> str:
    """``invoicing@`` this host, as mail of a Unix machine does."""
    host = socket.getfqdn()
    sender = f"invoicing@{host if '.' in host else f'{host}.localdomain'}"
    return sender if problem(sender) is None else "invoicing@localhost.localdomain"


def sender_of_connection(value: str) -> str:
    """What the two above come to for an Airflow connection, as a URI or as JSON; of this host where it is neither."""
    try:
        login, extra = _login_and_extra(value)
    except (ValueError, AttributeError):
        login, extra = None, {}
    return named_sender(extra.get("from_email"), login) or sender_of_host()


def _login_and_extra(value: str) -> tuple[str | None, dict[str, Any]]:
    if value.lstrip().startswith("{"):
        fields = json.loads(value)
        login, extra = fields.get("login"), fields.get("extra") or {}
    else:
        parts = urlsplit(value)
        login, extra = parts.username and unquote(parts.username), dict(parse_qsl(parts.query))
        extra = extra.get("__extra__") or extra
    if isinstance(extra, str):
        extra = json.loads(extra)
    return login, dict(extra)
