"""Picture files that an agency may give as its logo, and files that only look like it."""

import base64
import io
import struct
import zipfile
import zlib
from collections.abc import Callable

from PIL import Image

SVG = "http://www.w3.org/2000/svg"


def bitmap(kind: str = "PNG", size: tuple[int, int] = (120, 40), mode: str = "RGB") -> bytes:
    """A picture with something in it."""
    picture = Image.new(mode, size)
    picture.paste(1 if mode == "1" else 200, (0, 0, size[0] // 2, size[1]))
    written = io.BytesIO()
    picture.save(written, kind)
    return written.getvalue()


def png_chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def empty_png(width: int, height: int) -> bytes:
    """A PNG that says it has so many pixels, all of them black: a bomb where they are many."""
    rows = zlib.compress(bytes(min((width // 8 + 2) * height, 10**8)), 9)
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + png_chunk(b"IDAT", rows) + png_chunk(b"IEND", b"")
    )


def svg(content: str = '<rect width="9" height="9"/>', attributes: str = 'viewBox="0 0 30 10"') -> bytes:
    return f'<svg xmlns="{SVG}" {attributes}>{content}</svg>'.encode()


def nested_use(levels: int = 12, times: int = 10) -> bytes:
    """Two kilobytes that unfold into ``times ** levels`` rectangles."""
    nested = "".join(
        f'<g id="g{level}">' + f'<use href="#g{level - 1}"/>' * times + "</g>"
        for level in range(1, levels + 1)
    )
    return svg(f'<defs><g id="g0"><rect width="1" height="1"/></g>{nested}</defs><use href="#g{levels}"/>')


def nested_patterns(levels: int = 14) -> bytes:
    """Patterns filled with patterns."""
    size = 'width="1" height="1" patternUnits="userSpaceOnUse"'
    nested = "".join(
        f'<pattern id="p{level}" {size}>'
        + f'<rect width="1" height="1" fill="url(#p{level - 1})"/>' * 8
        + "</pattern>"
        for level in range(1, levels + 1)
    )
    innermost = f'<pattern id="p0" {size}><rect width="1" height="1"/></pattern>'
    return svg(f'{innermost}{nested}<rect fill="url(#p{levels})" width="30" height="10"/>')


def entities() -> bytes:
    """The billion laughs."""
    declared = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, 10))
    return f'<!DOCTYPE svg [<!ENTITY e0 "ha">{declared}]><svg xmlns="{SVG}"><text>&e9;</text></svg>'.encode()


def entity_from_a_file() -> bytes:
    return f'<!DOCTYPE svg [<!ENTITY e SYSTEM "file:///etc/passwd">]><svg xmlns="{SVG}"><text>&e;</text></svg>'.encode()


def with_an_archive(picture: bytes) -> bytes:
    """A picture and, behind it, a ZIP file: each reader finds what it looks for."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("x.exe", b"MZ")
    return picture + packed.getvalue()


def picture_in_a_drawing(picture: bytes, kind: str) -> bytes:
    encoded = base64.b64encode(picture).decode()
    return svg(f'<image width="30" height="10" href="data:image/{kind};base64,{encoded}"/>')


GOOD: dict[str, Callable[[], bytes]] = {
    "png": bitmap,
    "png with a palette": lambda: bitmap(mode="P"),
    "png with transparency": lambda: bitmap(mode="RGBA"),
    "png in black and white": lambda: bitmap(mode="1"),
    "jpeg": lambda: bitmap("JPEG"),
    "jpeg for print": lambda: bitmap("JPEG", mode="CMYK"),
    "svg": svg,
    "svg with a size alone": lambda: svg(attributes='width="3cm" height="1cm"'),
    "svg of a plotter": lambda: svg('<rect width="2e8" height="1e8"/>', 'viewBox="0 0 3e8 1e8" width="3e8"'),
    "svg with a shape used twice": lambda: svg('<rect id="a" width="9" height="9"/><use href="#a" x="10"/>'),
    "svg with letters": lambda: svg('<text y="9" font-size="9">Ladera</text>'),
    "svg of patterns in patterns": nested_patterns,
    "svg with a picture": lambda: picture_in_a_drawing(bitmap(), "png"),
}

# Each with the code of what is said.
HOSTILE: dict[str, tuple[Callable[[], bytes], str]] = {
    "nothing but a beginning": (lambda: b"\x89PNG\r\n\x1a\n", "logo_not_decoded"),
    "png cut off": (lambda: bitmap(size=(300, 300))[:-40], "logo_not_decoded"),
    "png with a broken check": (lambda: bitmap().replace(b"IDAT", b"IDAX"), "logo_not_decoded"),
    "png without pixels": (
        lambda: bitmap().replace(struct.pack(">II", 120, 40), struct.pack(">II", 0, 0)),
        "logo_not_decoded",
    ),
    "png too wide": (lambda: empty_png(4001, 1), "logo_too_large"),
    "png of too many pixels": (lambda: bitmap(size=(3000, 3000), mode="1"), "logo_too_large"),
    "png bomb": (lambda: empty_png(60_000, 60_000), "logo_too_large"),
    "png beyond all numbers": (lambda: empty_png(2**31 - 1, 2**31 - 1), "logo_too_large"),
    "png and an archive": (lambda: with_an_archive(bitmap()), "logo_carries_more"),
    "png and a page": (lambda: bitmap() + b"<script>alert(1)</script>", "logo_carries_more"),
    "png too heavy": (lambda: bitmap() + b"\0" * 300_000, "logo_too_heavy"),
    "jpeg cut off": (lambda: bitmap("JPEG", (600, 600))[:900], "logo_not_decoded"),
    "jpeg and an archive": (lambda: with_an_archive(bitmap("JPEG")), "logo_carries_more"),
    "jpeg of too many pixels": (lambda: bitmap("JPEG", (2500, 2500), "L"), "logo_too_large"),
    "gif": (lambda: bitmap("GIF"), "logo_of_unknown_kind"),
    "tiff": (lambda: bitmap("TIFF"), "logo_of_unknown_kind"),
    "postscript": (lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "logo_of_unknown_kind"),
    "pdf": (lambda: b"%PDF-1.7\n", "logo_of_unknown_kind"),
    "svg packed": (lambda: b"\x1f\x8b\x08\0\0\0\0\0", "logo_of_unknown_kind"),
    "svg that unfolds": (nested_use, "logo_over_limit"),
    "svg of entities in entities": (entities, "logo_svg_refused"),
    "svg with a file": (entity_from_a_file, "logo_svg_refused"),
    "svg with a script": (lambda: svg("<script>alert(1)</script>"), "logo_svg_refused"),
    "svg with a handler": (lambda: svg(attributes='onload="alert(1)"'), "logo_svg_refused"),
    "svg with a page": (lambda: svg("<foreignObject><p>x</p></foreignObject>"), "logo_svg_refused"),
    "svg with a picture from elsewhere": (
        lambda: svg('<image width="9" height="9" href="https://evil.example/a.png"/>'),
        "logo_svg_refused",
    ),
    "svg with a picture of a file": (
        lambda: svg(
            '<image xmlns:x="http://www.w3.org/1999/xlink" width="9" height="9" x:href="file:///etc/passwd"/>'
        ),
        "logo_svg_refused",
    ),
    "svg with a style from elsewhere": (
        lambda: svg('<style>@import url("https://evil.example/a.css");</style><rect width="9" height="9"/>'),
        "logo_svg_refused",
    ),
    "svg cut off": (lambda: svg()[:-8], "logo_svg_malformed"),
    "svg nested deeper than anything": (lambda: svg("<g>" * 20_000 + "</g>" * 20_000), "logo_not_drawn"),
    "svg like a thread": (lambda: svg(attributes='viewBox="0 0 100000 1"'), "logo_too_slender"),
    "svg of nothing": (lambda: svg(""), "logo_blank"),
    "svg with a bomb for a picture": (
        lambda: picture_in_a_drawing(empty_png(60_000, 60_000), "png"),
        "logo_not_drawn",
    ),
}


def uri(content: bytes, kind: str) -> str:
    """As the settings keep it, or a caller of the JSON API gives it."""
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
