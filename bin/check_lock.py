"""Check that constraints.txt satisfies requirements*.txt, and that this environment is what it locks.

Needs no network. What it finds is fixed with ``make lock`` and ``make setup-test``.
"""

import sys
from collections import defaultdict
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from itertools import chain
from pathlib import Path
from typing import TypeAlias

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

Locked: TypeAlias = dict[str, list[Requirement]]

ROOT = Path(__file__).resolve().parent.parent


def read(name: str) -> Iterator[Requirement]:
    """Requirements of a file, of this platform or not."""
    for line in (ROOT / name).read_text(encoding="utf-8").splitlines():
        text = line.partition(" #")[0].strip()
        if text and not text.startswith(("#", "-")):
            yield Requirement(text)


def drift(locked: Locked) -> Iterator[str]:
    """What is wanted and not locked so."""
    for file in ("requirements.txt", "requirements-dev.txt"):
        for wanted in read(file):
            pins = locked.get(canonicalize_name(wanted.name), [])
            if not pins:
                yield f"{file}: {wanted.name} is not in constraints.txt"
            for pin in pins:
                number = next(iter(pin.specifier)).version
                if not wanted.specifier.contains(number, prereleases=True):
                    yield f"{file}: {wanted} is wanted, constraints.txt has {pin}"


def difference(locked: Locked) -> Iterator[str]:
    """What is locked for this platform and not installed so."""
    for pin in chain.from_iterable(locked.values()):
        if pin.marker is not None and not pin.marker.evaluate():
            continue
        try:
            installed = version(pin.name)
        except PackageNotFoundError:
            yield f"{pin} is locked, but not installed"
            continue
        if not pin.specifier.contains(installed, prereleases=True):
            yield f"{pin} is locked, but {installed} is installed"


def main() -> int:
    """Print the problems; 1 if there are any."""
    locked: Locked = defaultdict(list)
    for pin in read("constraints.txt"):
        locked[canonicalize_name(pin.name)].append(pin)
    found = [*drift(locked), *difference(locked)]
    for problem in found:
        print(problem, file=sys.stderr)
    print(f"lock: {'drifted' if found else 'in order'}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
