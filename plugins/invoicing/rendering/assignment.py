"""What the two ends of the rendering process's pipes agree on."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    # A process that sees no template has no use for Jinja: a tenth of a second.
    from invoicing.rendering.templates import Template

LARGEST_MAIL_BYTES = 1024 * 1024
"""Of a message's HTML, and of its text. Gmail shows 102 kB."""

LARGEST_REPLY_BYTES = {
    # Up to 100 problems a part, each cut.
    "proof": 1024 * 1024,
    # Both texts and the subject, as JSON.
    "mail": 4 * LARGEST_MAIL_BYTES,
    # Most relays take 10 to 25 MB, base64 included; an invoice of ours has 40 kB.
    "invoice": 8 * 1024 * 1024,
    # A bitmap.
    "logo": 8 * 1024 * 1024,
}
"""Of one document, by product. What is larger is refused by the child, and not read by the parent."""

PATIENCE = 4
"""How much longer than it may work a document may take, on a machine where others work as well."""

HEADER = struct.Struct("!Q")
DONE = b"+"
FAILED = b"-"


@dataclass(frozen=True, slots=True)
class Limits:
    """What one document may cost.

    Args:
        seconds: Of the processor, and `PATIENCE` times as many of the clock. A usual invoice takes 0.05 s, one of a
            thousand lines 10 s.
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

    @property
    def largest_reply_bytes(self) -> int:
        """Of one document."""
        return LARGEST_REPLY_BYTES[self.product]


@dataclass(frozen=True, slots=True)
class Inspection:
    """What the child looks at of what another one made of a template; it never sees the template."""

    product: Literal["invoice", "mail"]

    @property
    def largest_reply_bytes(self) -> int:
        """Of one look: a message's HTML as it may leave, or what a PDF has that it may not."""
        return 4 * LARGEST_MAIL_BYTES if self.product == "mail" else 1024 * 1024
