"""How fast the machine is just now, for limits in seconds: shared machines differ by two from one hour to the next."""

import json
import statistics
import time

_USUAL_SECONDS = 0.075
"""What the work below takes of a processor where the pages take what they took when their 300 ms were set.

It was not measured then: it is what the work took in an hour in which those pages took 1.5 times as long as then.
"""


def slowness() -> float:
    """How many times longer the machine takes now than the one that the limits were set on; at least 1."""
    return max(1.0, statistics.median(_work() for _ in range(7)) / _USUAL_SECONDS)


def _work() -> float:
    """Seconds of rows made, sorted, written and read, as a page has them: in memory, more than caches hold."""
    begun = time.process_time()
    rows = [
        {
            "code": f"T{n:05d}",
            "name": f"Name {n * 7919 % 10007}",
            "total": n * 37,
            "emails": [f"a{n}@x.example"],
        }
        for n in range(20_000)
    ]
    rows.sort(key=lambda row: str(row["name"]))
    json.loads(json.dumps(rows))
    return time.process_time() - begun
