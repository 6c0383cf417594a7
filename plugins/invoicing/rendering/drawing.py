"""The child process of `pictures`: a `Cage` to enter and a PDF come in, its pages go out as PNG."""

import io
import pickle
import resource
import struct
import sys
from collections.abc import Iterable

# Importing it takes a tenth of a second; the parent never does.
import pypdfium2

from invoicing.rendering.cage import enter
from invoicing.rendering.pictures import HEADER, LARGEST_ANSWER_BYTES

_TALLEST = 3
_MEMORY_BYTES = 1024 * 1024 * 1024
_CPU_SECONDS = 15
_ROOM_FOR_HEADERS = 4096


def main(first: int, most: int, width: int) -> None:
    """Draw pages ``first`` to ``first + most - 1`` of the document on standard input."""
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (_CPU_SECONDS, _CPU_SECONDS))
    # The answer is a file: the kernel keeps it from growing beyond what the parent reads.
    resource.setrlimit(resource.RLIMIT_FSIZE, (LARGEST_ANSWER_BYTES, LARGEST_ANSWER_BYTES))
    enter(pickle.load(sys.stdin.buffer))  # noqa: S301 (written by the parent that started this process)
    document = pypdfium2.PdfDocument(sys.stdin.buffer.read())
    pages = len(document)
    numbers = range(first - 1, min(first - 1 + most, pages))
    pictures = fitting(_draw(document[number], width) for number in numbers)
    out = sys.stdout.buffer
    out.write(HEADER.pack(pages, len(pictures)))
    for picture in pictures:
        out.write(struct.pack("!Q", len(picture)) + picture)
    out.flush()


def fitting(pictures: Iterable[bytes]) -> list[bytes]:
    """The first pictures, as many as fit into an answer. Pages of noise are as large as their pixels."""
    taken, room = [], LARGEST_ANSWER_BYTES - _ROOM_FOR_HEADERS
    for picture in pictures:
        room -= len(picture)
        if room < 0:
            break
        taken.append(picture)
    return taken


def _draw(page: pypdfium2.PdfPage, width: int) -> bytes:
    # A sheet of ten metres is no reason to draw ten metres.
    scale = min(width / max(page.get_width(), 1), _TALLEST * width / max(page.get_height(), 1))
    picture = page.render(scale=scale, optimize_mode=None).to_pil().convert("RGB")
    # An invoice has few colours: a palette makes the file a quarter of its size.
    written = io.BytesIO()
    picture.quantize(128).save(written, "PNG", optimize=False)
    return written.getvalue()


if __name__ == "__main__":
    main(*(int(argument) for argument in sys.argv[1:4]))
