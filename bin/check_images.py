"""Say which images of docker-compose.yaml are not pinned by digest: a tag may be another image tomorrow.

Needs no network, and fails nothing: ``bin/pin-images``, where there is a registry, has the digests.
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def images() -> Iterator[tuple[str, str]]:
    """The variables that name an image, and their defaults in .env.example."""
    text = (ROOT / ".env.example").read_text(encoding="utf-8")
    yield from re.findall(r"^(\w+_IMAGE)=(\S+)$", text, re.MULTILINE)


def is_pinned(image: str) -> bool:
    """Whether an image is named by the digest of what it holds."""
    return re.search(r"@sha256:[0-9a-f]{64}$", image) is not None


def main() -> int:
    """Print a warning for each image that is pinned by its tag only."""
    loose = [(name, image) for name, image in images() if not is_pinned(image)]
    for name, image in loose:
        print(f"warning: {name}={image} has no digest: bin/pin-images {name} >>.env", file=sys.stderr)
    print(f"images: {'some by tag only' if loose else 'all by digest'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
