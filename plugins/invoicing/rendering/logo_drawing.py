"""A picture file to the logo that documents carry; it runs in the child process."""

import base64
import io
import itertools
import math
import struct
from dataclasses import replace
from xml.etree import ElementTree

import pypdfium2
from PIL import Image, ImageFile

from invoicing.rendering.errors import PartFaultError
from invoicing.rendering.logo import LogoFile
from invoicing.rendering.sample import sample_invoice
from invoicing.rendering.templates import INVOICE_HTML, Template
from invoicing.rendering.typesetting import Typesetter
from invoicing.words.failures import Fault

# What a drawing becomes: 300 dots an inch where the invoice shows it, 66 by 17 mm. Every invoice encodes it anew, so
# that twice as many dots would cost it ten milliseconds.
_DRAWN_WIDTH, _DRAWN_HEIGHT = 800, 210
_SLENDEREST = 20
_USUAL_SIZE = (300.0, 150.0)


class LogoDrawer:
    """Tries logos on the shipped invoice."""

    def __init__(self, template: Template, largest_html_bytes: int) -> None:
        self._typesetter = Typesetter(template, largest_html_bytes)

    def draw(self, logo: LogoFile) -> bytes:
        """The logo as a bitmap that an invoice shows.

        Raises:
            PartFaultError: There is none.
        """
        if logo.kind == "svg+xml":
            kind, bitmap = "png", self._drawn(logo.content)
        else:
            kind, bitmap = logo.kind, logo.content
            _check_bitmap(logo)
        invoice = sample_invoice()
        self._typesetter.typeset(replace(invoice, agency=replace(invoice.agency, logo=_uri(kind, bitmap))))
        self._check_notes()
        return bitmap

    def _check_notes(self) -> None:
        """The printer leaves out a picture that it cannot show, and says so in its log alone."""
        if self._typesetter.fetcher.blocked:
            raise _refused("logo_svg_refused", found=self._typesetter.fetcher.blocked[0][:100])
        if any(note.is_about_picture for note in self._typesetter.log.notes):
            raise _refused("logo_not_drawn")

    def _drawn(self, svg: bytes) -> bytes:
        width, height = _fitted(svg)
        page = self._typesetter.typeset_picture(_uri("svg+xml", svg), width, height)
        self._check_notes()
        bitmap = pypdfium2.PdfDocument(page)[0].render(scale=4 / 3, fill_color=(255, 255, 255, 0))
        picture = bitmap.to_pil().convert("RGBA")
        if picture.getchannel("A").getbbox() is None:
            raise _refused("logo_blank")
        written = io.BytesIO()
        picture.save(written, "PNG", optimize=True)
        return written.getvalue()


def _check_bitmap(logo: LogoFile) -> None:
    """It decodes, to its last byte; nothing stands behind it."""
    # WeasyPrint sets it when it is imported: a truncated picture would be drawn in part.
    ImageFile.LOAD_TRUNCATED_IMAGES = False
    if logo.kind == "png" and len(logo.content) > 24:
        _check_size(logo, *struct.unpack_from(">II", logo.content, 16))
    try:
        with Image.open(io.BytesIO(logo.content), formats=[logo.kind.upper()]) as picture:
            _check_size(logo, *picture.size)
            picture.load()
    except (OSError, SyntaxError, ValueError, struct.error, Image.DecompressionBombError) as error:
        raise _refused("logo_not_decoded", reason=str(error)) from None
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = True
    end = _end_of_png(logo.content) if logo.kind == "png" else _end_of_jpeg(logo.content)
    if logo.content[end:].strip(b"\0\r\n "):
        raise _refused("logo_carries_more")


def _check_size(logo: LogoFile, width: int, height: int) -> None:
    most_a_side, most = logo.most_pixels
    if max(width, height) > most_a_side or width * height > most:
        raise _refused("logo_too_large", width=width, height=height, most=most_a_side, in_all=most)


def _end_of_png(content: bytes) -> int:
    at = 8
    while at + 12 <= len(content):
        length, kind = struct.unpack_from(">I4s", content, at)
        at += 12 + length
        if kind == b"IEND":
            break
    return at


def _end_of_jpeg(content: bytes) -> int:
    """Behind the last end-of-image mark; cameras append a second picture, which is one too."""
    return content.rfind(b"\xff\xd9") + 2


def _fitted(svg: bytes) -> tuple[int, int]:
    """Width and height in pixels that a drawing gets, by its own proportions."""
    try:
        root = ElementTree.fromstring(svg)  # noqa: S314 (expat bounds entities, the process the rest)
    except ElementTree.ParseError as error:
        raise _refused("logo_svg_malformed", reason=str(error)) from None
    width, height = _proportions(root)
    ratio = width / height
    if not 1 / _SLENDEREST <= ratio <= _SLENDEREST:
        raise _refused("logo_too_slender", most=_SLENDEREST)
    drawn = min(_DRAWN_WIDTH, _DRAWN_HEIGHT * ratio)
    return math.ceil(drawn), math.ceil(drawn / ratio)


def _proportions(root: ElementTree.Element) -> tuple[float, float]:
    size = (_number(root.get("width", "")), _number(root.get("height", "")))
    box = [_number(each) for each in root.get("viewBox", "").replace(",", " ").split()]
    for width, height in (size, tuple(box[2:4]) if len(box) == 4 else (0.0, 0.0), _USUAL_SIZE):
        if width > 0 and height > 0:
            return width, height
    raise AssertionError


def _number(text: str) -> float:
    """A length in whatever unit; 0 for a share (``100%``) and for what is none."""
    digits = "".join(itertools.takewhile(lambda each: each in "+-.0123456789eE", text.strip()))
    try:
        number = float(digits.rstrip("eE")) if "%" not in text else 0.0
    except ValueError:
        return 0.0
    return number if math.isfinite(number) else 0.0


def _uri(kind: str, content: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def _refused(code: str, **values: object) -> PartFaultError:
    return PartFaultError(INVOICE_HTML, None, Fault(code, **values))
