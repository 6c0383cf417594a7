"""How much is done at once for the people of the pages: everybody in turn, what is expensive by few and at once or not.

The pages live in Airflow's API server. Its handlers, and ours, run in one pool of threads (anyio's, 40 of them):
whoever fills it stops Airflow. So nobody waits in a thread: here they wait on the event loop, or not at all.
"""

import threading
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import anyio
from anyio.lowlevel import RunVar
from fastapi import Depends, Request

from invoicing.domain.errors import LimitReachedError
from invoicing.web.door.visitor import current_visitor

ALL_PLACES = 6
PLACES_EACH = 3
"""One person's page shows two frames at once, and whoever types leaves a check behind that nobody waits for."""

ALL_TURNS = 16
TURNS_EACH = 4
LONGEST_QUEUE = 200

_RETRY_SECONDS = 2


class Places:
    """Places for what is expensive: rendering, drawing, reading documents, whole months as one file.

    Whoever finds none is refused at once. For any number of threads and event loops.

    Args:
        in_all: Of everybody together. A rendering child takes a core, and up to half a gigabyte.
        each: Of one person: one alone cannot take them all.
    """

    def __init__(self, in_all: int = ALL_PLACES, each: int = PLACES_EACH) -> None:
        self._in_all = in_all
        self._each = each
        self._taken: Counter[str] = Counter()
        self._lock = threading.Lock()

    @contextmanager
    def place(self, person: str) -> Iterator[None]:
        """A place for ``person`` while the block lasts.

        Raises:
            LimitReachedError: There is none.
        """
        with self._lock:
            if self._taken[person] >= self._each:
                raise LimitReachedError("own_requests_busy", seconds=_RETRY_SECONDS)
            if self._taken.total() >= self._in_all:
                raise LimitReachedError("requests_busy", seconds=_RETRY_SECONDS)
            self._taken[person] += 1
        try:
            yield
        finally:
            with self._lock:
                self._taken[person] -= 1
                if not self._taken[person]:
                    del self._taken[person]


class Turns:
    """Turns for everything: one person's requests wait for each other, and keep nobody else waiting.

    They wait on the event loop, in the order in which they came; no thread is taken before their turn.

    Args:
        in_all: At once, of everybody together: the most threads of the server's pool that the pages use.
        each: At once, of one person.
        queue: Of one person's, waiting; one more is refused.
    """

    def __init__(self, in_all: int = ALL_TURNS, each: int = TURNS_EACH, queue: int = LONGEST_QUEUE) -> None:
        self._in_all = in_all
        self._each = each
        self._queue = queue
        # Locks belong to an event loop; a server has one, tests have many.
        self._loop: RunVar[_LoopTurns] = RunVar("turns")

    @asynccontextmanager
    async def turn(self, person: str) -> AsyncIterator[None]:
        """Wait for the turn of ``person``, and have it while the block lasts.

        Raises:
            LimitReachedError: Too many of theirs wait already.
        """
        try:
            turns = self._loop.get()
        except LookupError:
            turns = _LoopTurns(self._in_all)
            self._loop.set(turns)
        if turns.asked[person] >= self._each + self._queue:
            raise LimitReachedError("own_requests_busy", seconds=_RETRY_SECONDS)
        turns.asked[person] += 1
        own = turns.own.setdefault(person, anyio.Semaphore(self._each))
        try:
            async with own, turns.all:
                yield
        finally:
            turns.asked[person] -= 1
            if not turns.asked[person]:
                del turns.asked[person], turns.own[person]


class _LoopTurns:
    def __init__(self, in_all: int) -> None:
        self.all = anyio.Semaphore(in_all)
        self.own: dict[str, anyio.Semaphore] = {}
        self.asked: Counter[str] = Counter()


async def _expensive(request: Request) -> AsyncIterator[None]:
    places: Places = request.app.state.places
    with places.place(current_visitor(request).id):
        yield


async def _in_frame(request: Request) -> None:
    request.state.is_frame = True


# Over when the answer is made: sending it takes no place, however slowly it is read.
EXPENSIVE = Depends(_expensive, scope="function")
"""Of a route that is expensive; the first of its dependencies, so that nothing is held while there is no place."""

IN_FRAME = Depends(_in_frame)
"""Of a route whose answer is shown in a frame: so is its refusal. It stands before `EXPENSIVE`."""
