"""What the two ends of the rendering process's pipes agree on."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    # A process that sees no template has no use for Jinja: a tenth of a second.
    from invoicing.rendering.templates import Template

HEADER = struct.Struct("!Q")
DONE = b"+"
FAILED = b"-"


@dataclass(frozen=True, slots=True)
class Limits:
    """What one document may cost.

    Args:
        seconds: Wall clock. A usual invoice takes 0.05 s, one of a thousand lines 10 s.
        memory_bytes: On top of what the process holds before it has seen the template.
        output_bytes: Of HTML or text that the template prints.
    """

    seconds: float = 20.0
    memory_bytes: int = 512 * 1024 * 1024
    output_bytes: int = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Assignment:
    """What the child makes of each document, and of which template.

    Args:
        product: Of a document: an ``invoice`` (PDF) or a ``mail`` (a message); of a template's part, its ``proof`` (a
            list of problems); of a picture file, a ``logo``, tried on the template's invoice.
    """

    product: Literal["invoice", "mail", "proof", "logo"]
    template: Template
    subject: str = ""


@dataclass(frozen=True, slots=True)
class Inspection:
    """What the child looks at of what another one made of a template; it never sees the template."""

    product: Literal["invoice", "mail"]
