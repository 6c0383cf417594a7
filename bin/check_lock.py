"""Check that constraints.txt satisfies requirements*.txt, has a hash of each file, and is what is installed here.

Needs no network. What it finds is fixed with ``make lock`` and ``make setup-test``.
"""

import re
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
LOCKS = ("constraints.txt", "constraints-image.txt", "constraints-sbom.txt", "requirements-uv.txt")


WANTED = {
    "requirements.txt": "constraints.txt",
    "requirements-image.txt": "constraints.txt",
    "requirements-dev.txt": "constraints.txt",
    "requirements-sbom.txt": "constraints-sbom.txt",
}


def logical_lines(name: str) -> Iterator[str]:
    """Lines of a requirements file: those that a backslash continues are one, comments are left out."""
    text = (ROOT / name).read_text(encoding="utf-8")
    for line in re.sub(r"\\\n\s*", " ", text).splitlines():
        content = line.partition(" #")[0].strip()
        if content and not content.startswith("#"):
            yield content


def read(name: str) -> Iterator[Requirement]:
    """Requirements of a file, of this platform or not."""
    for line in logical_lines(name):
        if not line.startswith("-"):
            yield Requirement(line.partition(" --hash=")[0])


def by_name(lock: str) -> Locked:
    """What is locked for each package; for some it goes by platform."""
    locked: Locked = defaultdict(list)
    for pin in read(lock):
        locked[canonicalize_name(pin.name)].append(pin)
    return locked


def unverified(name: str) -> Iterator[str]:
    """What of a lock could be another file than the one that was locked, or names where it comes from."""
    for line in logical_lines(name):
        if line.startswith("-"):
            yield f"{name}: an option has no place in it: {line}"
        elif "://" in line:
            yield f"{name}: an address has no place in it: {line.split(' --hash=')[0]}"
        elif not re.search(r" --hash=sha256:[0-9a-f]{64}( |$)", line):
            yield f"{name}: {line} has no hash"


def drift() -> Iterator[str]:
    """What is wanted and not locked so."""
    for file, lock in WANTED.items():
        locked = by_name(lock)
        for wanted in read(file):
            pins = locked.get(canonicalize_name(wanted.name), [])
            if not pins:
                yield f"{file}: {wanted.name} is not in {lock}"
            for pin in pins:
                number = next(iter(pin.specifier)).version
                if not wanted.specifier.contains(number, prereleases=True):
                    yield f"{file}: {wanted} is wanted, {lock} has {pin}"


def strays(locked: Locked) -> Iterator[str]:
    """What the image is to have otherwise than what tests run with."""
    for pin in read("constraints-image.txt"):
        if pin.specifier not in [known.specifier for known in locked.get(canonicalize_name(pin.name), [])]:
            yield f"constraints-image.txt: {pin} is not in constraints.txt"


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
    locked = by_name("constraints.txt")
    found = [
        *drift(),
        *strays(locked),
        *difference(locked),
        *chain.from_iterable(map(unverified, LOCKS)),
    ]
    for problem in found:
        print(problem, file=sys.stderr)
    print(f"lock: {'drifted' if found else 'in order'}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
