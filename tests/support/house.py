"""Commands run as another user, in a checkout that everybody can read.

A checkout or a Python below a folder like /root, that only its owner enters, is of no use to anybody else. So, in a
mount namespace of the command's own, that folder is another one, which has nothing in it but them.
"""

import os
import shlex
import shutil
import stat
import sys
from collections.abc import Sequence
from pathlib import Path

from support.project import ROOT

# Nobody's on any machine, and not the user "nobody", whom a renderer of root's becomes.
STRANGER = 61234


def is_to_be_had() -> bool:
    """Whether the tests may make mount namespaces and be others: as root, with util-linux."""
    return os.geteuid() == 0 and all(shutil.which(tool) for tool in ("unshare", "setpriv", "mount"))


def in_open_house(command: Sequence[str], *, as_stranger: bool) -> list[str]:
    """``command`` where all may read the checkout and Python; as root, or as an ordinary user."""
    steps = ["set -e"]
    shut: dict[Path, list[Path]] = {}
    for needed in dict.fromkeys((ROOT, Path(sys.base_prefix))):
        closed = [folder for folder in needed.parents if not folder.stat().st_mode & stat.S_IXOTH]
        if closed:
            shut.setdefault(closed[-1], []).append(needed)
    for folder, kept in shut.items():
        names = [f"$kept/{number}" for number in range(len(kept))]
        steps.append("kept=$(mktemp -d)")
        for name, needed in zip(names, kept, strict=True):
            steps.append(f"mkdir {name}; mount --bind {shlex.quote(str(needed))} {name}")
        steps.append(f"mount -t tmpfs -o mode=755 none {shlex.quote(str(folder))}")
        for name, needed in zip(names, kept, strict=True):
            path = shlex.quote(str(needed))
            steps.append(f"mkdir -p {path}; mount --move {name} {path}; rmdir {name}")
        steps.append("rmdir $kept")
    user = f"setpriv --reuid={STRANGER} --regid={STRANGER} --clear-groups --" if as_stranger else ""
    steps.append(f'cd /; exec {user} "$@"')
    return ["unshare", "--mount", "--", "sh", "-c", "\n".join(steps), "sh", *command]
