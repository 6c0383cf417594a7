"""How much may be sent, and how slowly: a body is read whole before anything is done for it."""

import anyio
from starlette.requests import ClientDisconnect
from starlette.types import Message, Receive

# The largest thing anybody sends is a template with pictures in it.
LARGEST_BODY_BYTES = 4 * 1024 * 1024
SLOWEST_BODY_SECONDS = 30.0


class BodyTooLargeError(Exception):
    """More was sent than anything here needs."""


class BodyTooSlowError(Exception):
    """It took longer to come than anybody's line needs."""


def announces_too_much(length: str) -> bool:
    """Whether a ``content-length`` is over the limit, or no number."""
    return not length.isdecimal() or int(length) > LARGEST_BODY_BYTES


async def read_body(receive: Receive) -> bytes:
    """The whole body.

    Raises:
        BodyTooLargeError, BodyTooSlowError: It is refused.
        ClientDisconnect: Nobody is there any more.
    """
    body = bytearray()
    try:
        with anyio.fail_after(SLOWEST_BODY_SECONDS):
            while True:
                message = await receive()
                if message["type"] != "http.request":
                    raise ClientDisconnect
                body += message.get("body", b"")
                if len(body) > LARGEST_BODY_BYTES:
                    raise BodyTooLargeError
                if not message.get("more_body", False):
                    return bytes(body)
    except TimeoutError:
        raise BodyTooSlowError from None


def replayed(body: bytes, receive: Receive) -> Receive:
    """Give ``body``, which was read already; afterwards what else comes."""
    is_given = False

    async def receive_replayed() -> Message:
        nonlocal is_given
        if is_given:
            return await receive()
        is_given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return receive_replayed
