"""A machine that has nothing of ours: Debian's programs, Python's own library, and a folder that somebody brought."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from support.project import ROOT

# What makes up a system, wherever Python was built.
_SYSTEM = ("/usr", "/bin", "/lib", "/lib64", "/etc/ld.so.cache", sys.base_prefix)
_SETTLE = """
set -eu
mount -t tmpfs -o size=16m none "$ROOM"
for each in $SYSTEM; do
    if [ -L "$each" ]; then mkdir -p "$ROOM$(dirname "$each")"; cp -P "$each" "$ROOM$each"
    elif [ -d "$each" ]; then mkdir -p "$ROOM$each"; mount --rbind "$each" "$ROOM$each"
    elif [ -f "$each" ]; then mkdir -p "$ROOM$(dirname "$each")"; cp "$each" "$ROOM$each"; fi
done
mkdir "$ROOM/brought"
mount --bind "$BROUGHT" "$ROOM/brought"
exec chroot "$ROOM" /usr/bin/env -i PATH=/usr/bin:/bin LC_ALL=C.UTF-8 sh -c 'cd /brought && eval "$0"' "$COMMAND"
"""


def run_elsewhere(room: Path, brought: Path, command: str) -> str:
    """What a shell command says there, in the folder that was brought; without a network, or anything else of here.

    Args:
        room: An empty folder, for the machine's root.
    """
    if os.geteuid() != 0 or not all(map(shutil.which, ("unshare", "chroot"))):
        pytest.skip("the right to mount, and util-linux's unshare, are needed")
    room.mkdir()
    environ = {
        "PATH": os.environ["PATH"],
        "ROOM": str(room),
        "BROUGHT": str(brought),
        "SYSTEM": " ".join(_SYSTEM),
        "COMMAND": f"test ! -e {ROOT} && {command}",
    }
    done = subprocess.run(
        ["unshare", "--mount", "--net", "--pid", "--fork", "sh", "-c", _SETTLE],
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


PYTHON = f"{sys.base_prefix}/bin/python3 -I -S"
"""Its Python, which knows of no package that was installed."""
