"""The cage of the processes that run templates or draw their PDFs: what is left to one that a template took over.

Jinja's sandbox is the lock; this is for the day on which it gives way, and code of the template's author runs in the
child. Four layers, each for itself and as far as the machine offers it:

    user      root becomes nobody; anybody else goes into a user namespace: no signal to, and nothing of the memory
              or environment of, the processes outside
    network   a network namespace without an interface, and an IPC namespace
    files     Landlock: reads Python, libraries, fonts and the template's own folder, writes one scratch folder
    calls     seccomp: no socket, no program, no process, no ptrace (`forbidden_calls`)

On top of them what every kernel has: no new privileges, no capability, not dumpable, limits. `enter` never fails for
want of a layer; it reports what holds, and `bin/invoicing health` tells it.

Only the standard library, and no thread may run yet: Landlock and user namespaces are of one thread.
"""

import contextlib
import ctypes
import json
import os
import resource
import stat
import struct
import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

USER, NETWORK, FILES, CALLS = LAYERS = ("user", "network", "files", "calls")

# "nobody" of Debian, and the kernel's own number for whom it cannot name.
NOBODY = 65534

# fontconfig's cache and a template's fonts are the largest files that the child has to do with.
LARGEST_FILE_BYTES = 8 * 1024 * 1024
_MOST_OPEN_FILES = 256
# Of the whole user, threads included: for nobody only, all of whose processes here are renderers.
_MOST_PROCESSES = 512


@dataclass(frozen=True, slots=True)
class Cage:
    """What the parent gives along.

    Args:
        calls: seccomp's program, from `forbidden_calls.compiled`; None where libseccomp is missing.
        scratch: The one folder to write in; None for none.
    """

    calls: bytes | None
    scratch: str | None = None


@dataclass(frozen=True, slots=True)
class CageReport:
    """What holds in one process.

    Args:
        layers: Those of `LAYERS` that are in force.
        reads_by_capability: Whether nobody could not read Python, the project or the template, so that the process
            was left the capability to read any file. With the layer ``files`` those are the ones it needs.
        parent_is_open: Whether the parent's environment could be read, all the same. It was tried.
        network_is_open: Whether a socket to the machine's network could be made, all the same. It was tried.
    """

    layers: tuple[str, ...]
    reads_by_capability: bool
    parent_is_open: bool
    network_is_open: bool

    @classmethod
    def from_json(cls, text: bytes | str) -> Self:
        """Read what another process sent of its own."""
        told = json.loads(text)
        return cls(**{**told, "layers": tuple(told["layers"])})

    def to_json(self) -> str:
        """For the process that started this one."""
        return json.dumps(asdict(self))

    @property
    def missing(self) -> tuple[str, ...]:
        """The layers that this machine does not give."""
        return tuple(layer for layer in LAYERS if layer not in self.layers)


def enter(cage: Cage, readable: Iterable[Path] = ()) -> CageReport:
    """Shut this process in, for good.

    Args:
        readable: Folders that it needs beside Python's, the libraries' and the fonts'.
    """
    needed = [*_python_folders(), *map(str, readable)]
    layers, reads_by_capability = _step_down(needed, cage.scratch) if os.geteuid() == 0 else (set(), False)
    if USER in layers:
        _lower_limit(resource.RLIMIT_NPROC, _MOST_PROCESSES)
    else:
        layers |= _enter_user_namespace()
    _keep_capabilities(_DAC_READ_SEARCH if reads_by_capability else 0)
    _prctl(_NO_NEW_PRIVS, 1)
    _prctl(_DUMPABLE, 0)
    _lower_limit(resource.RLIMIT_CORE, 0)
    _lower_limit(resource.RLIMIT_FSIZE, LARGEST_FILE_BYTES)
    _lower_limit(resource.RLIMIT_NOFILE, _MOST_OPEN_FILES)
    if _restrict_files(needed, cage.scratch):
        layers.add(FILES)
    if cage.calls is not None and _restrict_calls(cage.calls):
        layers.add(CALLS)
    return CageReport(
        layers=tuple(layer for layer in LAYERS if layer in layers),
        reads_by_capability=reads_by_capability,
        parent_is_open=_is_parent_open(),
        network_is_open=_is_socket_to_be_had() and NETWORK not in layers,
    )


# The kernel's numbers, and libc's door to it.

_NEW_USER, _NEW_NETWORK, _NEW_IPC = 0x10000000, 0x40000000, 0x08000000
_DUMPABLE, _KEEP_CAPABILITIES, _SECCOMP, _NO_NEW_PRIVS = 4, 8, 22, 38
_SECCOMP_FILTER = 2
_CAPABILITY_VERSION = 0x20080522
_DAC_READ_SEARCH = 1 << 2

_libc = ctypes.CDLL(None, use_errno=True)


def _prctl(option: int, *arguments: int) -> bool:
    padded = [ctypes.c_ulong(argument) for argument in (*arguments, 0, 0, 0, 0)[:4]]
    return bool(_libc.prctl(option, *padded) == 0)


def _unshare(namespaces: int) -> bool:
    return bool(_libc.unshare(namespaces) == 0)


# The layer `user`.


def _step_down(needed: list[str], scratch: str | None) -> tuple[set[str], bool]:
    """What only root can: leave the network, and be somebody else.

    Returns:
        The layers reached, and whether the capability to read any file has to stay.
    """
    layers: set[str] = set()
    if _unshare(_NEW_NETWORK | _NEW_IPC):
        layers.add(NETWORK)
    is_readable = _is_readable_by_nobody(needed, scratch)
    if not _become_nobody(scratch):
        return layers, False
    layers.add(USER)
    return layers, not is_readable


def _is_readable_by_nobody(paths: Iterable[str], scratch: str | None) -> bool:
    """Whether nobody could read ``paths`` and get to ``scratch``. The kernel is asked, as nobody."""
    entries = [entry for path in paths for entry in _with_entries(path)]
    group, groups = os.getegid(), os.getgroups()
    try:
        os.setgroups([])
        os.setresgid(-1, NOBODY, -1)
        os.setresuid(-1, NOBODY, -1)
        # The scratch folder becomes nobody's own; the way to it may be shut all the same.
        return all(os.access(entry, os.R_OK, effective_ids=True) for entry in entries) and (
            scratch is None or os.access(Path(scratch).parent, os.X_OK, effective_ids=True)
        )
    except OSError:
        return True  # root may not become nobody here, and reads on
    finally:
        os.setresuid(-1, 0, -1)
        os.setresgid(-1, group, -1)
        with contextlib.suppress(OSError):
            os.setgroups(groups)


def _with_entries(path: str) -> list[str]:
    """An existing path and, of a folder, what is in it. Installed together, the rest is as readable as those."""
    try:
        return [path, *map(str, Path(path).iterdir())]
    except FileNotFoundError:
        return []
    except OSError:
        return [path]  # a file; or not even root gets in


def _become_nobody(scratch: str | None) -> bool:
    try:
        if scratch is not None:
            os.chown(scratch, NOBODY, NOBODY)
        _prctl(_KEEP_CAPABILITIES, 1)
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
    except OSError:
        return False
    return True


def _enter_user_namespace() -> set[str]:
    """Without a map of users: who it is stays as it is for every file, and in here it is nobody."""
    if _unshare(_NEW_USER | _NEW_NETWORK | _NEW_IPC):
        return {USER, NETWORK}
    return {USER} if _unshare(_NEW_USER) else set()


def _keep_capabilities(kept: int) -> None:
    header = ctypes.create_string_buffer(struct.pack("=Ii", _CAPABILITY_VERSION, 0))
    # Twice effective, permitted, inheritable: the low and the high half.
    data = ctypes.create_string_buffer(struct.pack("=6I", kept, kept, 0, 0, 0, 0))
    _libc.capset(header, data)


# The layer `files`.

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_VERSION = 1
_PATH_BENEATH = 1
_READ_FILE, _READ_FOLDER = 1 << 2, 1 << 3
_WRITE_FILE, _TRUNCATE = 1 << 1, 1 << 14
_REMOVE, _MAKE = 1 << 4 | 1 << 5, 1 << 7 | 1 << 8  # folders and regular files
# How many rights on files each version of Landlock knows, from the first on.
_RIGHTS_BY_VERSION = (13, 14, 15, 15, 16)
_CONNECT_AND_BIND = 0b11
_ABSTRACT_SOCKETS_AND_SIGNALS = 0b11

# What libraries look at: themselves, fonts, and a handful of settings. Not the whole of /etc, let alone /proc.
_LIBRARIES = (
    "/usr",
    "/lib",
    "/lib64",
    "/nix/store",
    "/etc/ld.so.cache",
    "/etc/localtime",
    "/etc/mime.types",
    "/etc/ssl/openssl.cnf",
    "/etc/fonts",
    "/var/cache/fontconfig",
    "/dev/null",
    "/dev/zero",
    "/dev/urandom",
)
_FONTS_AT_HOME = (".fonts", ".fonts.conf", ".local/share/fonts", ".config/fontconfig", ".cache/fontconfig")


def _python_folders() -> list[str]:
    return sorted({sys.prefix, sys.base_prefix, *(entry for entry in sys.path if entry)})


def _font_folders() -> list[str]:
    home = os.environ.get("HOME")
    cache = os.environ.get("XDG_CACHE_HOME")
    return [
        *(os.environ[name] for name in ("FONTCONFIG_PATH", "FONTCONFIG_FILE") if os.environ.get(name)),
        *([f"{cache}/fontconfig"] if cache else []),
        *([f"{home}/{name}" for name in _FONTS_AT_HOME] if home else []),
    ]


def _landlock_version() -> int:
    """0 where the kernel has none, or it is off."""
    return max(0, int(_libc.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), _VERSION)))


def _restrict_files(needed: Iterable[str], scratch: str | None) -> bool:
    version = _landlock_version()
    if not version:
        return False
    rights = (1 << _RIGHTS_BY_VERSION[min(version, len(_RIGHTS_BY_VERSION)) - 1]) - 1
    ruleset = _create_ruleset(version, rights)
    if ruleset < 0:
        return False
    try:
        for path in (*needed, *_LIBRARIES, *_font_folders()):
            _allow(ruleset, path, _READ_FILE | _READ_FOLDER)
        if scratch is not None:
            everything = _READ_FILE | _READ_FOLDER | _WRITE_FILE | _TRUNCATE | _REMOVE | _MAKE
            _allow(ruleset, scratch, everything & rights)
        return bool(_libc.syscall(_RESTRICT_SELF, ruleset, 0) == 0)
    finally:
        os.close(ruleset)


def _create_ruleset(version: int, rights: int) -> int:
    attributes = struct.pack("=Q", rights)
    if version >= 4:
        attributes += struct.pack("=Q", _CONNECT_AND_BIND)
    if version >= 6:
        attributes += struct.pack("=Q", _ABSTRACT_SOCKETS_AND_SIGNALS)
    return int(_libc.syscall(_CREATE_RULESET, attributes, ctypes.c_size_t(len(attributes)), 0))


def _allow(ruleset: int, path: str, rights: int) -> None:
    try:
        opened = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return  # what is not there, or not for us to read, needs no leave
    try:
        if not stat.S_ISDIR(os.fstat(opened).st_mode):
            rights &= _READ_FILE
        _libc.syscall(_ADD_RULE, ruleset, _PATH_BENEATH, struct.pack("=Qi", rights, opened), 0)
    finally:
        os.close(opened)


# The layer `calls`.


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_void_p))


_INSTRUCTION_BYTES = 8


def _restrict_calls(instructions: bytes) -> bool:
    held = ctypes.create_string_buffer(instructions, len(instructions))
    program = _Program(len(instructions) // _INSTRUCTION_BYTES, ctypes.addressof(held))
    return _prctl(_SECCOMP, _SECCOMP_FILTER, ctypes.addressof(program))


# What every kernel has, and the proof.


def _lower_limit(limit: int, most: int) -> None:
    _, hard = resource.getrlimit(limit)
    lowered = most if hard == resource.RLIM_INFINITY else min(most, hard)
    resource.setrlimit(limit, (lowered, lowered))


def _is_parent_open() -> bool:
    try:
        return bool(Path(f"/proc/{os.getppid()}/environ").read_bytes())
    except OSError:
        return False


def _is_socket_to_be_had() -> bool:
    internet, datagram = 2, 2
    opened = int(_libc.socket(internet, datagram, 0))
    if opened < 0:
        return False
    os.close(opened)
    return True
