"""Starts one long-lived process and writes down which one it is.

Run as a script, by its path, in an interpreter of its own; only the standard library may be imported. The process gets
a session of its own, so that ending the session ends all it started; it writes its record itself, so that not even
kill -9 of the caller leaves a process behind that nobody knows of; and it is no child of the caller.

    launch.py RECORD FINGERPRINT LOG UID GID -- COMMAND ...

UID and GID are ``-`` where the process stays the caller's.
"""

import json
import os
import sys
from pathlib import Path


def process_stamp(pid: int) -> str | None:
    """What tells a process from a later one with the same number: the boot and the tick it started in.

    None where there is no such process, or it is dead and merely not yet reaped.
    """
    try:
        # The command's name, in parentheses, may itself hold spaces and parentheses.
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return None
    state, started_ticks = fields[0], fields[19]
    return None if state in "ZX" else f"{boot}:{started_ticks}"


def main(arguments: list[str]) -> int:
    """Start the command; 0 once it runs."""
    record, fingerprint, log, uid, gid, _, *command = arguments
    read_end, write_end = os.pipe()  # closed by a successful exec, as are all descriptors that Python opens
    if os.fork():
        os.close(write_end)
        with os.fdopen(read_end, encoding="utf-8") as answer:
            problem = answer.read()
        sys.stderr.write(problem)
        return 1 if problem else 0
    try:
        os.setsid()
        os.umask(0o077)
        output = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        nothing = os.open(os.devnull, os.O_RDONLY)
        _write_record(Path(record), fingerprint)
        os.dup2(nothing, 0)
        os.dup2(output, 1)
        os.dup2(output, 2)
        if uid != "-":
            os.setgroups([])
            os.setgid(int(gid))
            os.setuid(int(uid))
        os.execv(command[0], command)
    except BaseException as error:
        os.write(write_end, str(error).encode())
    os._exit(1)


def _write_record(path: Path, fingerprint: str) -> None:
    pid = os.getpid()
    record = {"pid": pid, "started": process_stamp(pid), "fingerprint": fingerprint}
    temporary = path.with_name(path.name + ".new")
    with temporary.open("w", encoding="utf-8") as file:
        json.dump(record, file)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
