"""The agency's logo: which pictures an invoice can carry, and the form in which the settings keep them.

One way in for all: an upload on the page, a change by JSON, ``settings set``. What is kept is a bitmap that an invoice
was tried with; a drawing (SVG) is made one, for what it unfolds into is known only when it is drawn.
"""

import base64
import binascii
import functools
import logging
import re
from typing import Any
from xml.parsers import expat

from invoicing.domain.errors import InputError
from invoicing.rendering.errors import RenderFailedError, RenderInterruptedError
from invoicing.rendering.logo import LogoFile, LogoKind, bitmap_size, draw_logo

log = logging.getLogger(__name__)

LARGEST_BYTES = 290_000
LARGEST_SIDE = 4000
LARGEST_AREA = 4_000_000
"""Pixels in all: every invoice decodes them anew."""

_BEGINNINGS: dict[LogoKind, bytes] = {"png": b"\x89PNG\r\n\x1a\n", "jpeg": b"\xff\xd8\xff"}
_URI = re.compile(r"data:image/(png|jpeg|svg\+xml);base64,([A-Za-z0-9+/=]+)")
_WITHIN = ("#", "data:image/")


class LogoError(InputError):
    """A file is no logo for an invoice; the words say why, and what to do."""

    field = "agency_logo"


def logo_uri(content: bytes) -> str:
    """A picture file as a ``data:`` URI, by what it begins with; whether it will do is for `fit_logo` to say.

    Raises:
        LogoError: It is too heavy, or no PNG, JPEG or SVG.
    """
    if len(content) > LARGEST_BYTES:
        raise LogoError("logo_too_heavy", kilobytes=LARGEST_BYTES // 1000)
    return _uri(_kind_of(content), content)


@functools.lru_cache(maxsize=4)
def fit_logo(uri: str) -> str:
    """The logo that the settings keep for a ``data:`` URI that is to be one: a PNG or a JPEG.

    Takes about a second: it is tried on an invoice, in a child process and within its limits.

    Raises:
        LogoError: It is none that an invoice can carry.
    """
    found = _URI.fullmatch(uri)
    if found is None:
        raise LogoError("logo_of_unknown_kind")
    try:
        content = base64.b64decode(found[2], validate=True)
    except binascii.Error:
        raise LogoError("logo_not_decoded", reason="base64") from None
    if logo_uri(content).partition(";")[0] != uri.partition(";")[0]:
        raise LogoError("logo_kind_differs", kind=found[1])
    if _kind_of(content) == "svg+xml":
        _check_svg(content)
    try:
        return _drawn(content)
    except RenderInterruptedError as error:
        raise LogoError("logo_over_limit", reason=error.failure) from None
    except RenderFailedError as error:
        # Its place is a part of our own template: nothing that the picture's owner knows.
        fault: Any = error.failure.values.get("problem", error.failure)
        raise LogoError(fault.code, **fault.values) from None


@functools.lru_cache(maxsize=4)
def printable_logo(uri: str) -> str:
    """A kept logo as documents carry it; empty for one that no document can carry.

    Settings of older code may hold anything: a drawing is made a bitmap here, once for all invoices of a process, and
    one that cannot be drawn is left out of each rather than tried again on each.
    """
    found = _URI.fullmatch(uri)
    if found is None:
        return ""
    try:
        content = base64.b64decode(found[2])
        if _kind_of(content) == "svg+xml":
            return _drawn(content)
        width, height = bitmap_size(content)
    except (LogoError, RenderFailedError, binascii.Error, OSError) as error:
        log.error("the logo in the settings is left out: %s", error)
        return ""
    if width * height > LARGEST_SIDE**2:
        log.error("the logo in the settings is left out: it has %d × %d pixels", width, height)
        return ""
    return uri


def _drawn(content: bytes) -> str:
    kind = _kind_of(content)
    bitmap = draw_logo(LogoFile(kind, content, (LARGEST_SIDE, LARGEST_AREA)))
    if len(bitmap) > LARGEST_BYTES:
        raise LogoError("logo_too_heavy", kilobytes=LARGEST_BYTES // 1000)
    return _uri("png" if kind == "svg+xml" else kind, bitmap)


def _kind_of(content: bytes) -> LogoKind:
    for kind, beginning in _BEGINNINGS.items():
        if content.startswith(beginning):
            return kind
    if b"<svg" in content[:2000]:
        return "svg+xml"
    raise LogoError("logo_of_unknown_kind")


def _uri(kind: LogoKind, content: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def _check_svg(content: bytes) -> None:
    """Nothing that grows (entities), acts (scripts) or comes from elsewhere."""
    reader = _SvgReader()
    try:
        reader.parser.Parse(content, True)
    except _DoctypeError:
        pass
    except expat.ExpatError as error:
        raise LogoError("logo_svg_malformed", reason=error) from None
    if reader.refused:
        raise LogoError("logo_svg_refused", found=", ".join(reader.refused[:3]))


class _SvgReader:
    """Collects what a drawing must not have."""

    def __init__(self) -> None:
        self.refused: list[str] = []
        self.parser = expat.ParserCreate()
        self.parser.buffer_text = True
        self.parser.StartElementHandler = self._element
        self.parser.CharacterDataHandler = self._text
        self.parser.StartDoctypeDeclHandler = self._doctype

    def _element(self, name: str, attributes: dict[str, str]) -> None:
        local = name.rpartition(":")[2].lower()
        if local in ("script", "foreignobject"):
            self.refused.append(f"<{local}>")
        for key, value in attributes.items():
            if key.lower().startswith("on"):
                self.refused.append(key)
            is_address = key.rpartition(":")[2].lower() == "href"
            if (is_address and not value.startswith(_WITHIN)) or _loads(value):
                self.refused.append(f"{key}={value[:40]}")

    def _text(self, content: str) -> None:
        if _loads(content):
            self.refused.append(content.strip()[:40])

    def _doctype(self, *_: Any) -> None:
        self.refused.append("<!DOCTYPE>")
        # Entities are declared inside: what is not read cannot grow.
        raise _DoctypeError


def _loads(style: str) -> bool:
    """Whether a style names something that is elsewhere; what is hidden better is not fetched when it is drawn."""
    lowered = style.lower()
    addresses = (rest.lstrip(" '\"") for rest in lowered.split("url(")[1:])
    return "@import" in lowered or any(not address.startswith(_WITHIN) for address in addresses)


class _DoctypeError(Exception):
    """Reading stops at a document type."""
