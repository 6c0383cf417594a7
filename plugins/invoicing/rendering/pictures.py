"""A PDF's first pages as pictures: Airflow shows our pages in a sandboxed frame, where browsers show no PDF.

Drawn in a child process of its own (``python -m invoicing.rendering.drawing``): a PDF that makes the library
crash or run forever costs itself and nothing else, in the same cage as a template's.
"""

import os
import pickle
import struct
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from invoicing.rendering import forbidden_calls
from invoicing.rendering.cage import Cage
from invoicing.rendering.errors import LONGEST_VALUE, RenderFailedError
from invoicing.rendering.sandbox import KEPT_VARIABLES
from invoicing.words.failures import Failure, Fault

HEADER = struct.Struct("!II")
_SECONDS = 20.0

LARGEST_ANSWER_BYTES = 8 * 1024 * 1024
"""Of all pictures together; of a document that has more than fits, fewer pages are drawn."""


@dataclass(frozen=True, slots=True)
class PagePictures:
    """The first pages of a document.

    Args:
        pages: How many it has in all.
        pictures: PNG files, one a page.
    """

    pages: int
    pictures: tuple[bytes, ...]


def draw_pages(
    pdf: bytes, label: Failure | str, *, first: int = 1, most: int = 4, width: int = 1000
) -> PagePictures:
    """Draw up to ``most`` pages from page ``first`` (counted from 1), ``width`` pixels wide.

    Raises:
        RenderFailedError: It cannot be drawn; ``label`` names the document.
    """
    package_folder = Path(__file__).parents[2]
    environment = {name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ}
    command = [
        sys.executable,
        "-P",
        "-m",
        "invoicing.rendering.drawing",
        *map(str, (first, most, width)),
    ]
    # Files, and not pipes: the child sets itself a limit of what it writes, and cannot raise it again.
    with tempfile.TemporaryFile() as answer, tempfile.TemporaryFile() as complaints:
        try:
            done = subprocess.run(
                command,
                input=pickle.dumps(Cage(forbidden_calls.compiled())) + pdf,
                stdout=answer,
                stderr=complaints,
                env=environment | {"PYTHONPATH": str(package_folder)},
                timeout=_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise RenderFailedError(label, Fault("pages_not_drawn_in_time", seconds=_SECONDS)) from None
        if done.returncode != 0:
            said = _end_of(complaints).strip().splitlines() or [str(done.returncode)]
            raise RenderFailedError(label, Fault("pages_not_drawn", said=said[-1][:LONGEST_VALUE]))
        answer.seek(0)
        return _read(answer.read(LARGEST_ANSWER_BYTES))


def _end_of(complaints: IO[bytes]) -> str:
    size = complaints.seek(0, os.SEEK_END)
    complaints.seek(max(0, size - 4 * LONGEST_VALUE))
    return complaints.read().decode(errors="replace")


def _read(answer: bytes) -> PagePictures:
    pages, count = HEADER.unpack_from(answer)
    at = HEADER.size
    pictures = []
    for _ in range(count):
        (length,) = struct.unpack_from("!Q", answer, at)
        pictures.append(answer[at + 8 : at + 8 + length])
        at += 8 + length
    return PagePictures(pages, tuple(pictures))
