"""A hundred people who ask without end, each one question after the other: run as a program by the tests that measure.

    python -m support.flood

The first line of standard input is
``{"url", "at_once", "headers", "requests": [{"method", "path", "headers", "body"}]}``, a body in base64; the requests
take turns. Whoever is answered 429 waits for as long as *Retry-After* says. ``begun`` is printed when the first hundred
are on their way. When standard input ends, what is under way is dropped, and the answers are told as JSON:
``{"answers": {status: count}, "without_retry_after": count}``.
"""

import asyncio
import base64
import itertools
import json
import sys
from collections import Counter
from collections.abc import Iterator
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
        await asyncio.gather(*(ask_without_end(client, turns, told) for _ in range(at_once)))


async def ask_without_end(
    client: httpx.AsyncClient, turns: Iterator[dict[str, Any]], told: dict[str, Any]
) -> None:
    while True:  # noqa: ASYNC110 (it waits for as long as it is told to, not for an event)
        await asyncio.sleep(await ask(client, next(turns), told))


async def ask(client: httpx.AsyncClient, request: dict[str, Any], told: dict[str, Any]) -> float:
    """How many seconds to wait before the next question."""
    try:
        answer = await client.request(
            request["method"],
            request["path"],
            headers=request.get("headers"),
            content=base64.b64decode(request.get("body", "")),
        )
    except httpx.TransportError as error:
        told["answers"][type(error).__name__] += 1
        return 1
    told["answers"][str(answer.status_code)] += 1
    if answer.status_code != 429:
        return 0
    seconds = answer.headers.get("retry-after", "")
    told["without_retry_after"] += not seconds.isdecimal()
    return float(seconds) if seconds.isdecimal() else 0


async def main() -> None:
    orders = json.loads(sys.stdin.readline())
    told: dict[str, Any] = {"answers": Counter(), "without_retry_after": 0}
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
