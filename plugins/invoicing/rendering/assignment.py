"""What the two ends of the rendering process's pipes agree on."""

import struct
from dataclasses import dataclass
from typing import Literal

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
    """What the child makes of each document: an invoice's PDF, a message, or a list of a template's problems."""

    product: Literal["invoice", "mail", "proof"]
    template: Template
    subject: str = ""
