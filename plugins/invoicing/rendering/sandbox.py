"""The reins of the child process that templates run in: start it, ask it, end it when it is over a limit.

A template can loop forever, or ask for more memory than there is, in a single C call that no exception, thread
or signal handler of Python's interrupts. So it runs in a process of its own (`invoicing.rendering.worker`),
which the kernel ends: by an alarm for the time, by RLIMIT_AS for the memory. The next document gets a new one.

What it can reach meanwhile is `cage`'s: it enters one before it looks at the template.

A plain `subprocess`, not `multiprocessing`: no `__main__` to import again, no fork of an Airflow task with its
threads, and an environment without the parent's secrets. What the child writes is never unpickled.
"""

import contextlib
import json
import os
import pickle
import selectors
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from invoicing.rendering import forbidden_calls
from invoicing.rendering.assignment import FAILED, HEADER, PATIENCE, Assignment, Inspection, Limits
from invoicing.rendering.cage import Cage, CageReport
from invoicing.rendering.errors import (
    LONGEST_VALUE,
    DocumentTooLargeError,
    RenderFailedError,
    RenderInterruptedError,
    cut,
    in_place,
)
from invoicing.rendering.frames import FrameWriter
from invoicing.rendering.templates import load_shipped
from invoicing.words.failures import Failure, Fault

# How long after the child's own alarm the parent ends it itself: a stopped child (SIGSTOP) has no alarm.
GRACE_SECONDS = 5.0
# Importing WeasyPrint takes half a second here, and may take long on a cold, busy machine.
START_SECONDS = 60.0
# A failure, or the answer to an assignment.
_LARGEST_REASON_BYTES = 64 * 1024

# What fontconfig, Pango and Python look at; nothing else of the parent's environment reaches a template's process.
KEPT_VARIABLES = (
    "PATH",
    "HOME",
    "LANG",
    "LC_ALL",
    "TMPDIR",
    "FONTCONFIG_PATH",
    "FONTCONFIG_FILE",
    "XDG_CACHE_HOME",
)


class _ChildEndedError(Exception):
    """The child process is gone without an answer."""


@dataclass(slots=True)
class _Child:
    process: subprocess.Popen[bytes]
    complaints: IO[bytes]
    scratch: str
    writer: FrameWriter


class TemplateProcess:
    """A child process that renders documents of one template, replaced whenever it dies.

    Serves one thread at a time. Ends when the ``with`` block does, and when this process does.

    Args:
        assignment: What the child makes, of which template.
        limits: Around each document, and around compiling the template.
    """

    def __init__(self, assignment: Assignment | Inspection, limits: Limits) -> None:
        self._assignment = assignment
        self._limits = limits
        self._child: _Child | None = None
        self._cage: CageReport | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    @property
    def pid(self) -> int | None:
        """The child's process id while one is running."""
        return None if self._child is None else self._child.process.pid

    def ask(self, document: object, label: Failure | str) -> bytes:
        """Have ``document`` rendered and return what came of it.

        Raises:
            RenderFailedError: The template is wrong; ``label`` names the document.
            RenderInterruptedError: The process was over a limit, or died.
        """
        try:
            self.start(label)
            assert self._child is not None
            return self._exchange(self._child.writer.write(document), self._longest_seconds, label)
        except BaseException:
            # Whatever interrupted the exchange, an answer to it must not be taken for the next one's.
            self.close()
            raise

    def start(self, label: Failure | str) -> CageReport:
        """Start the child where none runs; what holds in it.

        Raises:
            RenderFailedError: As `ask` does.
        """
        if self._child is None or self._cage is None:
            try:
                self._cage = self._start(label)
            except BaseException:
                self.close()
                raise
        return self._cage

    def close(self) -> None:
        """End the child, at once: it holds nothing worth keeping."""
        child, self._child, self._cage = self._child, None, None
        if child is None:
            return
        child.process.kill()
        child.process.wait()
        for stream in (child.process.stdin, child.process.stdout, child.complaints):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()
        shutil.rmtree(child.scratch, ignore_errors=True)

    def _start(self, label: Failure | str) -> CageReport:
        package_folder = Path(__file__).parents[2]
        environment = {name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ}
        # A template's own fonts are files for a while.
        scratch = tempfile.mkdtemp(prefix="rendering-")
        environment |= {"PYTHONPATH": str(package_folder), "PYTHONUTF8": "1", "TMPDIR": scratch}
        complaints = tempfile.TemporaryFile()  # noqa: SIM115 (closed in close())
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "invoicing.rendering.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=complaints,
            env=environment,
            bufsize=0,
        )
        self._child = _Child(process, complaints, scratch, FrameWriter())
        for stream in (process.stdin, process.stdout):
            assert stream is not None
            os.set_blocking(stream.fileno(), False)
        cage = Cage(forbidden_calls.compiled(), scratch)
        order = pickle.dumps((self._assignment, self._limits, cage), protocol=pickle.HIGHEST_PROTOCOL)
        answer = self._exchange(order, START_SECONDS + self._longest_seconds, label)
        return CageReport.from_json(answer)

    def _exchange(self, frame: bytes, seconds: float, label: Failure | str) -> bytes:
        try:
            reply = self._transfer(
                HEADER.pack(len(frame)) + frame, time.monotonic() + seconds + GRACE_SECONDS
            )
        except TimeoutError:
            raise RenderInterruptedError(label, self._over_time()) from None
        except _ChildEndedError:
            raise RenderInterruptedError(label, self._cause_of_death()) from None
        except DocumentTooLargeError as error:
            raise RenderFailedError(label, error.fault) from None
        status, body = reply[:1], reply[1:]
        if status == FAILED:
            raise RenderFailedError(label, _reason(body))
        return body

    def _transfer(self, outgoing: bytes, deadline: float) -> bytes:
        """Write one frame and read one, neither past ``deadline``."""
        assert self._child is not None
        stdin, stdout = self._child.process.stdin, self._child.process.stdout
        assert stdin is not None
        assert stdout is not None
        incoming = bytearray()
        unsent = memoryview(outgoing)
        with selectors.DefaultSelector() as selector:
            selector.register(stdin, selectors.EVENT_WRITE)
            selector.register(stdout, selectors.EVENT_READ)
            while True:
                remaining = deadline - time.monotonic()
                if remaining <= 0:
                    raise TimeoutError
                for key, _ in selector.select(remaining):
                    if key.fileobj is stdin:
                        unsent = _send_some(stdin, unsent)
                        if not unsent:
                            selector.unregister(stdin)
                    elif _receive_some(stdout, incoming, self._assignment.largest_reply_bytes):
                        return bytes(incoming[HEADER.size :])

    @property
    def _longest_seconds(self) -> float:
        """Of the clock: how long one document may take."""
        return self._limits.seconds * PATIENCE

    def _over_time(self) -> Fault:
        return Fault("template_too_slow", seconds=self._limits.seconds)

    def _cause_of_death(self) -> Fault:
        assert self._child is not None
        process = self._child.process
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=GRACE_SECONDS)
        if process.returncode in (-signal.SIGPROF, -signal.SIGALRM):
            return self._over_time()
        size = os.fstat(self._child.complaints.fileno()).st_size
        self._child.complaints.seek(max(0, size - 500))
        complaint = " ".join(self._child.complaints.read().decode(errors="replace").split())
        code: Any = process.returncode
        how = signal.Signals(-code).name if code is not None and code < 0 else f"exit status {code}"
        return Fault(
            "template_process_died",
            how=how,
            megabytes=self._limits.memory_bytes // 2**20,
            said=complaint or "nothing",
        )


def look_at_cage() -> CageReport:
    """What holds in the children that this process starts. Starts one, which takes half a second.

    Raises:
        RenderFailedError: It cannot be started.
    """
    with TemplateProcess(Assignment("mail", load_shipped(), "-"), Limits()) as process:
        return process.start(Fault("renderer_trial"))


def _reason(body: bytes) -> Fault:
    """What the child gave as the reason: a fault, with its place in the template where it has one.

    It is cut once more: what a template made of the child's own words is nobody's to trust.
    """
    told = json.loads(body)
    code = str(told["code"])[:LONGEST_VALUE]
    fault = Fault(code, **cut(told["values"]))
    if told["part"] is None:
        return fault
    return in_place(str(told["part"])[:LONGEST_VALUE], told["line"], fault)


def _send_some(stdin: IO[bytes], unsent: memoryview) -> memoryview:
    """Write what fits into the pipe; the rest. Nothing is left to send to a child that is gone."""
    try:
        return unsent[os.write(stdin.fileno(), unsent[:65536]) :]
    except BrokenPipeError:
        return unsent[:0]


def _receive_some(stdout: IO[bytes], incoming: bytearray, most: int) -> bool:
    """Add what has come to ``incoming``; whether the frame is complete. A body has ``most`` bytes at the most."""
    chunk = os.read(stdout.fileno(), 1 << 20)
    if not chunk:
        raise _ChildEndedError
    incoming += chunk
    if len(incoming) < HEADER.size:
        return False
    length: int = HEADER.unpack_from(incoming)[0]
    if length > max(most, _LARGEST_REASON_BYTES) + len(FAILED):
        raise DocumentTooLargeError(most)
    return len(incoming) >= HEADER.size + length
