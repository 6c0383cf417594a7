"""The child process that templates run in: ``python -m invoicing.rendering.worker``.

It reads frames (8 bytes of length, then a pickle, from the parent that started it; see `frames`) and answers each with
one (length, a status byte, then bytes: a PDF, or JSON). The first frame is an `Assignment` with its `Limits` and the
`Cage` to enter before the template is looked at; it is answered with the `CageReport`. Each later one is a document.
It ends when its input does. `sandbox` is the other end.
"""

import contextlib
import gc
import itertools
import json
import os
import resource
import select
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

from invoicing.rendering.assignment import DONE, FAILED, HEADER, PATIENCE, Assignment, Inspection, Limits
from invoicing.rendering.cage import enter
from invoicing.rendering.errors import DocumentTooLargeError, PartFaultError, broken, cut
from invoicing.rendering.frames import FrameReader
from invoicing.words.failures import Fault

DOCUMENTS_BETWEEN_COLLECTIONS = 8


def main() -> None:
    """Serve the parent until it closes the pipe."""
    # Whatever C libraries print to standard output must not end up between two frames.
    replies = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    requests = sys.stdin.buffer
    for over_time in (signal.SIGALRM, signal.SIGPROF):
        signal.signal(over_time, signal.SIG_DFL)
    reader = FrameReader()
    assignment, limits, cage = reader.read(_read(requests))
    with _answering(replies) as answer:
        # Out of reach once the cage is shut.
        statm = os.open("/proc/self/statm", os.O_RDONLY)
        folder = assignment.template.folder if isinstance(assignment, Assignment) else None
        report = enter(cage, [] if folder is None else [folder.resolve()])
        threading.Thread(target=_end_with_parent, args=(requests.fileno(),), daemon=True).start()
        make = _prepare(assignment, limits, statm)
        answer(report.to_json().encode())
    for count in itertools.count(1):
        document = reader.read(_read(requests))
        with _answering(replies) as answer, _alarm(limits.seconds):
            answer(_bounded(make(document), assignment.largest_reply_bytes))
        del document
        # The collector is off while a document is made. A used document is some 100,000 objects in cycles.
        if count % DOCUMENTS_BETWEEN_COLLECTIONS == 0:
            gc.collect()


def _prepare(assignment: Assignment | Inspection, limits: Limits, statm: int) -> Callable[[Any], bytes]:
    """Import what the product needs, then lower the limits, then compile the template within them."""
    make = (
        _prepare_inspection(assignment, limits, statm)
        if isinstance(assignment, Inspection)
        else _prepare_template(assignment, limits, statm)
    )
    gc.disable()
    gc.freeze()
    return make


def _prepare_inspection(inspection: Inspection, limits: Limits, statm: int) -> Callable[[bytes], bytes]:
    make: Callable[[bytes], bytes]
    match inspection.product:
        case "invoice":
            from invoicing.rendering.pdf_rules import inspect_invoice as make
        case "mail":
            from invoicing.rendering.mail_cleaning import clean_message as make
    _bound_memory(limits, statm)
    return make


def _prepare_template(assignment: Assignment, limits: Limits, statm: int) -> Callable[[Any], bytes]:
    make: Callable[[Any], bytes]
    match assignment.product:
        case "invoice":
            from invoicing.rendering.typesetting import Typesetter

            _bound_memory(limits, statm)
            with _alarm(limits.seconds):
                make = Typesetter(assignment.template, limits.output_bytes).typeset
        case "mail":
            from invoicing.rendering.mail_typesetting import MailTypesetter

            _bound_memory(limits, statm)
            with _alarm(limits.seconds):
                make = MailTypesetter(assignment.template, assignment.subject, limits.output_bytes).typeset
        case "proof":
            from invoicing.rendering.proofreading import Proofreader

            _bound_memory(limits, statm)
            make = Proofreader(assignment.template, assignment.subject, limits.output_bytes).proofread
        case "logo":
            from invoicing.rendering.logo_drawing import LogoDrawer

            _bound_memory(limits, statm)
            with _alarm(limits.seconds):
                make = LogoDrawer(assignment.template, limits.output_bytes).draw
    return make


def _bounded(made: bytes, most: int) -> bytes:
    if len(made) > most:
        raise DocumentTooLargeError(most)
    return made


def _bound_memory(limits: Limits, statm: int) -> None:
    held = int(os.pread(statm, 200, 0).split()[0]) * resource.getpagesize()
    allowed = held + limits.memory_bytes
    resource.setrlimit(resource.RLIMIT_AS, (allowed, allowed))


def _end_with_parent(pipe: int) -> None:
    """End this process as soon as the other end of ``pipe`` is closed, even in the middle of a document."""
    poll = select.poll()
    poll.register(pipe, 0)  # hang-ups are always reported, and nothing else is wanted
    poll.poll()
    os._exit(0)


@contextlib.contextmanager
def _alarm(seconds: float) -> Iterator[None]:
    """Have the kernel end this process once it has worked for ``seconds``, whatever it is doing then.

    By the processor's time: a busy machine refuses no template that a quiet one takes. A process that does not get to
    work has `PATIENCE` times as long.
    """
    signal.setitimer(signal.ITIMER_PROF, seconds)
    signal.setitimer(signal.ITIMER_REAL, seconds * PATIENCE)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)


@contextlib.contextmanager
def _answering(replies: BinaryIO) -> Iterator[Callable[[bytes], None]]:
    """Give the block a function to answer with; answer with the reason where it fails instead."""
    try:
        yield lambda body: _write(replies, DONE, body)
    except MemoryError:
        # The heap may be in any state now. Without an answer the parent reads the cause of death.
        os.write(sys.stderr.fileno(), b"MemoryError")
        os._exit(1)
    except PartFaultError as error:
        _refuse(replies, error.fault, error.part, error.line)
    except RecursionError:
        _refuse(replies, Fault("template_too_deep"))
    except DocumentTooLargeError as error:
        _refuse(replies, error.fault)
    except Exception as error:  # noqa: BLE001 (the parent is told; the next document may be fine)
        _refuse(replies, broken(error))


def _refuse(replies: BinaryIO, fault: Fault, part: str | None = None, line: int | None = None) -> None:
    reason = {"part": part, "line": line, "code": fault.code, "values": cut(fault.values)}
    _write(replies, FAILED, json.dumps(reason).encode())


def _read(requests: BinaryIO) -> bytes:
    header = requests.read(HEADER.size)
    if len(header) < HEADER.size:
        sys.exit(0)
    (length,) = HEADER.unpack(header)
    return requests.read(length)


def _write(replies: BinaryIO, status: bytes, body: bytes) -> None:
    replies.write(HEADER.pack(len(body) + 1) + status + body)
    replies.flush()


if __name__ == "__main__":
    main()
