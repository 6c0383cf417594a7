"""How much may be sent."""

from starlette.types import Message, Receive

# The largest thing anybody sends is a template with pictures in it.
LARGEST_BODY_BYTES = 4 * 1024 * 1024


class BodyTooLargeError(Exception):
    """More was sent than anything here needs."""


def announces_too_much(length: str) -> bool:
    """Whether a ``content-length`` is over the limit, or no number."""
    return not length.isdecimal() or int(length) > LARGEST_BODY_BYTES


def limited(receive: Receive) -> Receive:
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
