"""A relay in a process of its own that takes its time, and fails at random; for the campaigns.

Between the whole message and its acceptance, and again before it says so, it pauses: whoever is killed then was
transmitting. It accepts also what its client no longer waits for, as servers do.
"""

import argparse
import random
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from support.project import PYTHON_PATH
from support.relay import FaultyRelay, Session, Step, at_random, drop_connection, on, reply

REFUSE_FOR_NOW = reply("451 4.3.0 try again later")
REFUSE = reply("550 5.7.1 not today")


class TroubledRelay:
    """Such a relay at work; a context manager.

    Args:
        refusals: Share of the recipients that it refuses for good, whoever they are: another day it takes them.
    """

    def __init__(
        self, log: Path, *, trouble: float, refusals: float = 0.0, pause_seconds: float = 0.06, seed: int = 1
    ) -> None:
        log.touch()
        command = [sys.executable, "-m", "support.troubled_relay", "--log", str(log)]
        command += ["--refusals", str(refusals)]
        self._process = subprocess.Popen(
            [*command, "--trouble", str(trouble), "--pause", str(pause_seconds), "--seed", str(seed)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={"PYTHONPATH": PYTHON_PATH, "PATH": "/usr/bin:/bin"},
            text=True,
        )
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(30)
        self._process.stdout.close()


def main() -> None:
    """Serve until standard input ends; the port is printed."""
    parser = argparse.ArgumentParser(description="A slow mail relay that fails at random.")
    parser.add_argument("--log", type=Path, required=True, help="accepted messages, one JSON document a line")
    parser.add_argument("--trouble", type=float, default=0.0, help="share of the steps that fail, 0 to 1")
    parser.add_argument(
        "--pause", type=float, default=0.0, help="seconds it takes at the most, twice a message"
    )
    parser.add_argument(
        "--refusals", type=float, default=0.0, help="share of the recipients refused for good"
    )
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    dice = random.Random(options.seed)
    share = options.trouble

    def answer_the_dot(session: Session) -> bool:
        time.sleep(dice.uniform(0, options.pause))
        drawn = dice.random()
        if drawn < share / 2:
            return REFUSE_FOR_NOW(session)
        if drawn < share * 3 / 4:
            session.drop()
        session.accept()
        time.sleep(dice.uniform(0, options.pause))
        if drawn < share:
            session.drop()
        return False

    with FaultyRelay(options.log, keep=False) as relay:
        some = {REFUSE_FOR_NOW: share / 2, drop_connection: share / 2}
        relay.script(
            on(
                Step.CONNECT,
                at_random(dice, {drop_connection: share / 2, reply("421 4.3.2 not now"): share / 2}),
            ),
            on(Step.MAIL, at_random(dice, some)),
            on(Step.RCPT, at_random(dice, {REFUSE_FOR_NOW: share, REFUSE: options.refusals})),
            on(Step.DATA, at_random(dice, some)),
            on(Step.DOT, answer_the_dot),
        )
        print(relay.port, flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
