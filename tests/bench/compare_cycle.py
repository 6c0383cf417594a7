"""What a month costs in one checkout and in another: rendering, composing and sending, by turns, in one run.

    .venv/bin/python tests/bench/compare_cycle.py BEFORE AFTER [--tenants 1000] [--turns 3] [--most 1.05]

BEFORE and AFTER are folders of two checkouts, each with a Python environment of its own (``make setup-test``). Each
turn runs either checkout's own ``bench_cycle.py``, so that either is asked by its own names: real PostgreSQL on the
disk, real renderers, a real SMTP conversation with the embedded inbox, no Airflow. The order is turned round from
turn to turn, for a machine gets slower or faster meanwhile. Exits 1 where the ratio of the medians is above ``--most``.

The times are the clock's; beside them is what the processors worked (all of the run, import and PostgreSQL included),
which others on the machine disturb less.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

PARTS = ("render", "send")


@dataclass(frozen=True, slots=True)
class Turn:
    """One run of a checkout.

    Args:
        seconds: By part, on the clock.
        worked: Seconds of processors, of all its processes.
    """

    seconds: dict[str, float]
    worked: float

    @property
    def together(self) -> float:
        return sum(self.seconds.values())


def run(checkout: Path, tenants: int) -> Turn:
    """A month of so many tenants in ``checkout``: one in nine has two leases."""
    python = checkout / ".venv" / "bin" / "python"
    # Where it is written today, and where it was.
    reports = [checkout / "var" / name for name in ("bench-parts.json", "bench.json")]
    for report in reports:
        report.unlink(missing_ok=True)
    before = _worked()
    done = subprocess.run(
        [
            *(python if python.exists() else sys.executable, checkout / "tests" / "bench" / "bench_cycle.py"),
            *("--leases", str(tenants * 10 // 9 + 2), "--messages", str(tenants)),
        ],
        cwd=checkout,
        env=os.environ
        | {
            "PYTHONPATH": os.pathsep.join([str(checkout / "plugins"), str(checkout / "tests")]),
            "AIRFLOW_HOME": str(checkout / "var" / "bench-airflow"),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        sys.exit(f"{checkout}:\n{done.stderr[-4000:]}")
    (written,) = filter(Path.exists, reports)
    parts = json.loads(written.read_text(encoding="utf-8"))["parts"]
    assert parts["send"]["items"] == tenants, parts["send"]
    return Turn({part: parts[part]["seconds"] for part in PARTS}, _worked() - before)


def _worked() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path)
    parser.add_argument("--tenants", type=int, default=1000)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--most", type=float, default=1.05, help="the ratio that is still good")
    asked = parser.parse_args()
    checkouts = {"before": asked.before.resolve(), "after": asked.after.resolve()}
    turns: dict[str, list[Turn]] = {name: [] for name in checkouts}
    for number in range(asked.turns):
        for name in sorted(checkouts, reverse=number % 2 == 0):
            turns[name].append(run(checkouts[name], asked.tenants))
            last = turns[name][-1]
            parts = ", ".join(f"{part} {seconds:.1f} s" for part, seconds in last.seconds.items())
            print(f"turn {number + 1}, {name}: {parts}; processors {last.worked:.1f} s", flush=True)
    ratio = _ratio([turn.together for turn in turns["before"]], [turn.together for turn in turns["after"]])
    worked = _ratio([turn.worked for turn in turns["before"]], [turn.worked for turn in turns["after"]])
    print(
        f"{asked.tenants} tenants, medians of {asked.turns} turns: after / before = {ratio:.3f} on the clock,"
    )
    print(f"{worked:.3f} of the processors' work; at most {asked.most:.2f} on the clock is good")
    return 1 if ratio > asked.most else 0


def _ratio(before: list[float], after: list[float]) -> float:
    return statistics.median(after) / statistics.median(before)


if __name__ == "__main__":
    sys.exit(main())
