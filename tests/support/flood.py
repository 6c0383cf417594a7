"""A hundred requests at once, and again as soon as all are answered: run as a program by the tests that measure.

    python -m support.flood < orders.json

The orders are ``{"url", "at_once", "headers", "requests": [{"method", "path", "headers", "body"}]}``, a body in base64;
the requests take turns. ``begun`` is printed when the first hundred are on their way. When standard input ends, what is
under way is
dropped, and the answers are told as JSON: ``{"waves", "answers": {status: count}, "without_retry_after": count}``.
"""

import asyncio
import base64
import itertools
import json
import sys
from collections import Counter
from typing import Any

import httpx

_PATIENCE_SECONDS = 120


async def flood(orders: dict[str, Any], told: dict[str, Any]) -> None:
    """Send until cancelled, and count in ``told``."""
    turns = itertools.cycle(orders["requests"])
    at_once = orders["at_once"]
    sent = itertools.count(1)

    async def notice(_: httpx.Request) -> None:
        if next(sent) == at_once:
            print("begun", flush=True)

    limits = httpx.Limits(max_connections=at_once, max_keepalive_connections=at_once)
    async with httpx.AsyncClient(
        base_url=orders["url"],
        headers=orders["headers"],
        timeout=_PATIENCE_SECONDS,
        limits=limits,
        event_hooks={"request": [notice]},
    ) as client:
        while True:
            await asyncio.gather(*(send(client, next(turns), told) for _ in range(at_once)))
            told["waves"] += 1


async def send(client: httpx.AsyncClient, request: dict[str, Any], told: dict[str, Any]) -> None:
    try:
        answer = await client.request(
            request["method"],
            request["path"],
            headers=request.get("headers"),
            content=base64.b64decode(request.get("body", "")),
        )
    except httpx.TransportError as error:
        told["answers"][type(error).__name__] += 1
        return
    told["answers"][str(answer.status_code)] += 1
    if answer.status_code == 429 and not answer.headers.get("retry-after", "").isdecimal():
        told["without_retry_after"] += 1


async def main() -> None:
    orders = json.loads(sys.stdin.readline())
    told: dict[str, Any] = {"waves": 0, "answers": Counter(), "without_retry_after": 0}
    flooding = asyncio.create_task(flood(orders, told))
    # Until the tests close the other end.
    ended = asyncio.create_task(asyncio.to_thread(sys.stdin.read))
    await asyncio.wait({flooding, ended}, return_when=asyncio.FIRST_COMPLETED)
    if flooding.done():
        flooding.result()
    flooding.cancel()
    print(json.dumps(told), flush=True)


if __name__ == "__main__":
    asyncio.run(main())
