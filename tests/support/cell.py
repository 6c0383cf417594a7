"""A guard and a prisoner: what hostile code can do to the process that started it, from inside the cage.

    python cell.py guard     with the environment variable SECRET; reads a `Sentence` as JSON, prints what came of it
    python cell.py prisoner  started by the guard as `sandbox` starts a renderer

Only the standard library and `invoicing.rendering.cage`: it runs as users who can read little else.
"""

import base64
import contextlib
import ctypes
import errno
import json
import os
import resource
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from invoicing.rendering import cage
from invoicing.rendering.cage import CALLS, FILES, LAYERS, NETWORK, USER, Cage

SECRET = "the-key-of-all-tokens"
libc = ctypes.CDLL(None, use_errno=True)


def guard(sentence: dict[str, Any]) -> dict[str, Any]:
    """Start a prisoner beside things worth having; what it reports."""
    with contextlib.ExitStack() as stack:
        # Folders that are everybody's: what is refused in them is not refused by their mode.
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True)))
        folder.chmod(0o777)
        scratch = folder / "scratch"
        scratch.mkdir()
        owned = folder / "owned"
        owned.write_text(SECRET)
        owned.chmod(0o600)
        tcp = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        udp = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        udp.bind(("127.0.0.1", 0))
        path = folder / "socket"
        for address in (str(path), f"\0cell-{os.getpid()}"):
            listening = stack.enter_context(socket.socket(socket.AF_UNIX))
            listening.bind(address)
            listening.listen()
        path.chmod(0o777)
        spoils = {
            "folder": str(folder),
            "owned": str(owned),
            "tcp": tcp.getsockname()[1],
            "udp": udp.getsockname()[1],
            "socket": str(path),
            "abstract": f"\0cell-{os.getpid()}",
        }
        done = subprocess.run(
            [sys.executable, "-P", __file__, "prisoner"],
            input=json.dumps({**sentence, "scratch": str(scratch), "spoils": spoils}),
            env={name: os.environ[name] for name in ("PATH", "HOME", "PYTHONPATH") if name in os.environ},
            text=True,
            capture_output=True,
            timeout=60,
            check=False,
        )
    if done.returncode:
        raise SystemExit(f"the prisoner died: {done.returncode}\n{done.stdout}\n{done.stderr}")
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def prisoner(sentence: dict[str, Any]) -> dict[str, Any]:
    """Enter the cage, of the layers asked for only, and try everything."""
    report = None
    # Out of reach afterwards, where files are.
    status_file = os.open("/proc/self/status", os.O_RDONLY)
    if sentence["layers"] is not None:
        take_out({*LAYERS} - {*sentence["layers"]})
        calls = base64.b64decode(sentence["calls"]) if CALLS in sentence["layers"] else None
        report = json.loads(cage.enter(Cage(calls, sentence["scratch"])).to_json())
    status = dict(line.split(":\t", 1) for line in os.pread(status_file, 9999, 0).decode().splitlines())
    status["dumpable"] = libc.prctl(3, 0, 0, 0, 0)
    spoils = sentence["spoils"]
    acts = {name: attempted(lambda act=act: act(spoils)) for name, act in ACTS.items()}
    acts["keep_a_file_in_scratch"] = attempted(lambda: Path(sentence["scratch"], "f").write_text("x"))
    acts["start_a_thread"] = attempted(lambda: threading.Thread(target=int).start())
    calls = {name: call_with_nonsense(number) for name, number in sentence.get("numbers", {}).items()}
    return {
        "report": report,
        "acts": acts,
        "calls": calls,
        "status": status,
        "forks": sentence.get("forks") and fork_often(),
    }


def take_out(layers: set[str]) -> None:
    """Have this process behave as on a machine that does not give these layers."""
    unshare = cage._unshare
    shut = (cage._NEW_USER if USER in layers else 0) | (cage._NEW_NETWORK if NETWORK in layers else 0)
    cage._unshare = lambda namespaces: not namespaces & shut and unshare(namespaces)
    if USER in layers:
        cage._become_nobody = lambda _: False
    if FILES in layers:
        cage._landlock_version = lambda: 0


def attempted(act: Callable[[], object]) -> str:
    """``done``, or what was answered."""
    try:
        act()
    except OSError as error:
        return errno.errorcode.get(error.errno or 0, str(error))
    except RuntimeError as error:
        return str(error)
    return "done"


def call(name: str, *arguments: Any, harmless: tuple[int, ...] = ()) -> None:
    """Call libc; ``harmless`` answers are those of a kernel that would have done it."""
    ctypes.set_errno(0)
    if getattr(libc, name)(*arguments) < 0 and ctypes.get_errno() not in harmless:
        raise OSError(ctypes.get_errno(), name)


def call_with_nonsense(number: int) -> str:
    ctypes.set_errno(0)
    libc.syscall(number, *[ctypes.c_long(-1)] * 6)
    return errno.errorcode.get(ctypes.get_errno(), "done")


def read_parent_environment(_: dict[str, Any]) -> None:
    assert SECRET in Path(f"/proc/{os.getppid()}/environ").read_text()


def read_parent_command_line(_: dict[str, Any]) -> None:
    assert Path(f"/proc/{os.getppid()}/cmdline").read_text()


def open_parent_memory(_: dict[str, Any]) -> None:
    os.close(os.open(f"/proc/{os.getppid()}/mem", os.O_RDONLY))


def copy_parent_memory(_: dict[str, Any]) -> None:
    # An address that nobody has: EFAULT comes after leave was given.
    vector = (ctypes.c_size_t * 2)(1, 8)
    here = ctypes.create_string_buffer(8)
    target = (ctypes.c_size_t * 2)(ctypes.addressof(here), 8)
    call("process_vm_readv", os.getppid(), target, 1, vector, 1, 0, harmless=(errno.EFAULT,))


def trace_parent(_: dict[str, Any]) -> None:
    seize = 0x4206  # unlike "attach", it stops nobody
    call("ptrace", seize, os.getppid(), None, None)


def signal_parent(_: dict[str, Any]) -> None:
    os.kill(os.getppid(), 0)  # whether it might


def limit_parent(_: dict[str, Any]) -> None:
    resource.prlimit(os.getppid(), resource.RLIMIT_NOFILE)


def connect_tcp(spoils: dict[str, Any]) -> None:
    socket.create_connection(("127.0.0.1", spoils["tcp"]), timeout=5).close()


def send_udp(spoils: dict[str, Any]) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as opened:
        opened.sendto(b"x", ("127.0.0.1", spoils["udp"]))


def connect_socket_file(spoils: dict[str, Any]) -> None:
    with socket.socket(socket.AF_UNIX) as opened:
        opened.connect(spoils["socket"])


def connect_abstract_socket(spoils: dict[str, Any]) -> None:
    with socket.socket(socket.AF_UNIX) as opened:
        opened.connect(spoils["abstract"])


def fork(_: dict[str, Any]) -> None:
    child = os.fork()
    if not child:
        os._exit(0)
    os.waitpid(child, 0)


def run_a_program(_: dict[str, Any]) -> None:
    call("execv", b"/nonexistent", (ctypes.c_char_p * 1)(None), harmless=(errno.ENOENT,))


def write_where_all_may(spoils: dict[str, Any]) -> None:
    Path(spoils["folder"], "new").write_text("x")


def write_a_file_of_its_user(spoils: dict[str, Any]) -> None:
    with Path(spoils["owned"]).open("a") as file:
        file.write("x")


def read_a_file_of_its_user(spoils: dict[str, Any]) -> None:
    assert SECRET in Path(spoils["owned"]).read_text()


def open_a_file_of_its_user_to_all(spoils: dict[str, Any]) -> None:
    Path(spoils["owned"]).chmod(0o666)


def mount_something(_: dict[str, Any]) -> None:
    call("mount", b"none", b"/nonexistent", b"tmpfs", 0, None, harmless=(errno.ENOENT,))


def type_into_a_terminal(_: dict[str, Any]) -> None:
    put_a_character = 0x5412
    call("ioctl", 0, put_a_character, b"x", harmless=(errno.ENOTTY,))


def become_root(_: dict[str, Any]) -> None:
    os.setuid(0)


def set_up_io_uring(_: dict[str, Any]) -> None:
    call("syscall", 425, 1, None, harmless=(errno.EFAULT,))


ACTS: dict[str, Callable[[dict[str, Any]], None]] = {
    act.__name__: act
    for act in (
        *(read_parent_environment, open_parent_memory, copy_parent_memory, trace_parent, signal_parent),
        *(limit_parent, connect_tcp, send_udp, connect_socket_file, connect_abstract_socket, fork),
        *(run_a_program, write_where_all_may, write_a_file_of_its_user, read_a_file_of_its_user),
        *(open_a_file_of_its_user_to_all, mount_something, become_root, set_up_io_uring),
        *(type_into_a_terminal, read_parent_command_line),
    )
}


def fork_often() -> int:
    """A bounded bomb; how many lived at once."""
    children = []
    with contextlib.suppress(OSError):
        for _ in range(700):
            child = os.fork()
            if not child:
                threading.Event().wait(30)
                os._exit(0)
            children.append(child)
    for child in children:
        os.kill(child, 9)
        os.waitpid(child, 0)
    return len(children)


if __name__ == "__main__":
    role = {"guard": guard, "prisoner": prisoner}[sys.argv[1]]
    print(json.dumps(role(json.load(sys.stdin))))
