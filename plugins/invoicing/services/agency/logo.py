"""The agency's logo: which pictures an invoice can carry, and the form in which the settings keep them."""

import base64
import struct
from typing import Any
from xml.parsers import expat

from invoicing.domain.errors import InputError

LARGEST_BYTES = 290_000
_LARGEST_PIXELS = 4000


class LogoError(InputError):
    """A file is no logo for an invoice; the words say why, and what to do."""


def logo_uri(content: bytes) -> str:
    """A picture as a ``data:`` URI.

    Args:
        content: Of a PNG, JPEG or SVG file.

    Raises:
        LogoError: It is none that an invoice can carry.
    """
    if len(content) > LARGEST_BYTES:
        raise LogoError("logo_too_heavy", kilobytes=LARGEST_BYTES // 1000)
    if content.startswith(b"\x89PNG\r\n\x1a\n") and len(content) > 24:
        kind = "png"
        width, height = struct.unpack(">II", content[16:24])
        if max(width, height) > _LARGEST_PIXELS:
            raise LogoError("logo_too_large", width=width, height=height, most=_LARGEST_PIXELS)
    elif content.startswith(b"\xff\xd8\xff"):
        kind = "jpeg"
    elif b"<svg" in content[:2000]:
        kind = "svg+xml"
        _check_svg(content)
    else:
        raise LogoError("logo_of_unknown_kind")
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def _check_svg(content: bytes) -> None:
    """Nothing that grows (entities), acts (scripts) or comes from elsewhere."""
    refused: list[str] = []

    def start(name: str, attributes: dict[str, str]) -> None:
        local = name.rpartition(":")[2].lower()
        if local in ("script", "foreignobject"):
            refused.append(f"<{local}>")
        for key, value in attributes.items():
            if key.lower().startswith("on"):
                refused.append(key)
            if key.rpartition(":")[2].lower() == "href" and not value.startswith(("#", "data:image/")):
                refused.append(f"{key}={value[:40]}")

    def doctype(*_: Any) -> None:
        refused.append("<!DOCTYPE>")
        # Entities are declared inside: what is not read cannot grow.
        raise _DoctypeError

    parser = expat.ParserCreate()
    parser.StartElementHandler = start
    parser.StartDoctypeDeclHandler = doctype
    try:
        parser.Parse(content, True)
    except _DoctypeError:
        pass
    except expat.ExpatError as error:
        raise LogoError("logo_svg_malformed", reason=error) from None
    if refused:
        raise LogoError("logo_svg_refused", found=", ".join(refused[:3]))


class _DoctypeError(Exception):
    """Reading stops at a document type."""
