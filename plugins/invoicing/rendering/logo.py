"""The agency's logo as documents carry it: a picture that decodes, and no drawing that unfolds."""

import io
from dataclasses import dataclass
from typing import Literal

from invoicing.rendering.assignment import Assignment, Limits
from invoicing.rendering.sandbox import TemplateProcess
from invoicing.rendering.templates import load_shipped
from invoicing.words.failures import Fault

LogoKind = Literal["png", "jpeg", "svg+xml"]

# Somebody waits for it; a usual logo takes a second, most of it the process's own start.
LOGO_LIMITS = Limits(seconds=5, memory_bytes=256 * 1024 * 1024)


@dataclass(frozen=True, slots=True)
class LogoFile:
    """A picture file that is to be a logo.

    Args:
        most_pixels: Of a bitmap, a side and in all.
    """

    kind: LogoKind
    content: bytes
    most_pixels: tuple[int, int]


def draw_logo(logo: LogoFile, limits: Limits = LOGO_LIMITS) -> bytes:
    """Try a logo on an invoice, in a child process; a drawing (SVG) becomes a PNG.

    Returns:
        The file's own bytes, or a PNG; the same file gives the same bytes.

    Raises:
        RenderFailedError: It is none that a document can carry.
        RenderInterruptedError: It was over a limit.
    """
    with TemplateProcess(Assignment("logo", load_shipped()), limits) as process:
        return process.ask(logo, Fault("the_logo"))


def bitmap_size(content: bytes) -> tuple[int, int]:
    """Width and height of a PNG or JPEG in pixels, by its header: nothing of the picture is decoded.

    Raises:
        OSError: It is neither, or beyond all measure.
    """
    from PIL import Image  # a tenth of a second that nobody without a logo waits for

    try:
        with Image.open(io.BytesIO(content), formats=["PNG", "JPEG"]) as picture:
            return picture.size
    except Image.DecompressionBombError as error:
        raise OSError(str(error)) from None
