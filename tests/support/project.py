"""Where things are, and what a program of the tests' own needs to find them."""

import contextlib
import os
import shutil
import socket
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
ROOT = TESTS.parent
PLUGINS = ROOT / "plugins"
DEMO = ROOT / "include" / "demo"
# The agency of the contract: input files, and what one cycle of them must give.
AGENCY = TESTS / "data" / "agency"

# With it, ``python -m invoicing.…`` and ``python -m support.…`` work from anywhere.
PYTHON_PATH = os.pathsep.join([str(PLUGINS), str(TESTS)])

_MEMORY = Path("/dev/shm")
_ENOUGH_BYTES = 2 * 2**30


def memory_folder() -> str | None:
    """A folder in memory, where there is one with room enough; else None, the place of temporary files.

    A database is three hundred small files: to copy it in memory costs a tenth of what it costs on many disks.
    """
    with contextlib.suppress(OSError):
        if shutil.disk_usage(_MEMORY).free > _ENOUGH_BYTES and os.access(_MEMORY, os.W_OK):
            return str(_MEMORY)
    return None


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
