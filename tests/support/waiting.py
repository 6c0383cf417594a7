"""Until something has happened."""

import time
from collections.abc import Callable
from typing import Any

WAIT_SECONDS = 40.0


def wait_until(
    condition: Callable[[], Any],
    what: str,
    timeout_seconds: float = WAIT_SECONDS,
    every_seconds: float = 0.02,
) -> Any:
    """Wait until ``condition`` gives something true, and return it.

    Raises:
        TimeoutError: It names ``what`` did not happen.
    """
    ends = time.monotonic() + timeout_seconds
    while not (result := condition()):
        if time.monotonic() > ends:
            raise TimeoutError(f"{what}: not within {timeout_seconds} s")
        time.sleep(every_seconds)
    return result
