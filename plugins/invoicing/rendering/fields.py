"""A template's fields: its sentences, its colour and its logo, changed without a look at its code.

A sentence is plain text in both languages. ``{tenant}`` and its like stand for a value of the document; nothing else
in it means anything: it is no Jinja and no HTML. Of a value that a document may lack, the passage around it is written
in brackets, ``[ de arriendo de {month}]``: it is left out together with the value.
"""

import colorsys
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any

from invoicing.rendering import formats
from invoicing.rendering.document import CurrencyTotal, InvoiceDocument, MailDocument

DEFAULT_COLOUR = "#17405c"

SENTENCES = ("greeting", "opening", "opening_several", "payment_note", "closing", "invoice_note")
"""In the order in which a reader meets them."""

COLOUR, LOGO = "colour", "logo"
FIELDS = (*SENTENCES, COLOUR, LOGO)

INVOICE_SENTENCES = frozenset(("invoice_note",))
"""On the PDF; the others are in the message."""

OPTIONAL = frozenset(("month", "common_due", "first_due"))
"""Values that a document may lack: a single invoice has no month."""

PLACEHOLDERS: Mapping[str, tuple[str, ...]] = {
    name: ("tenant", "agency", "number", "total", "due", "month")
    if name in INVOICE_SENTENCES
    else ("tenant", "agency", "count", "total", "due", "month", "common_due", "first_due")
    for name in SENTENCES
}
"""What each sentence may name. ``due`` is the first day on which an invoice falls due; ``common_due`` is there where
all do on the same day, ``first_due`` where they do not."""

PLACEHOLDER = re.compile(r"\{(\w+)\}")
PASSAGE = re.compile(r"\[([^\[\]]*)\]")

COLOUR_PATTERN = re.compile(r"#[0-9a-f]{6}")


@dataclass(frozen=True, slots=True)
class Sentence:
    """A text in both languages; lines may follow one another."""

    es: str = ""
    en: str = ""

    def __bool__(self) -> bool:
        return bool(self.es or self.en)

    def in_language(self, language: str) -> str:
        """The one for a document of ``language``."""
        return self.en if language == "en" else self.es


_NOTHING = Sentence()


@dataclass(frozen=True, slots=True)
class TemplateFields:
    """The fields as they are kept; what is empty is not printed.

    Args:
        opening: Of a message with one invoice.
        opening_several: Of one with more.
        invoice_note: Below the invoice's payment box.
        colour: ``#rrggbb`` in small letters; empty for `DEFAULT_COLOUR`.
        logo: A ``data:`` URI (PNG or JPEG); empty for the agency's own.
    """

    greeting: Sentence = _NOTHING
    opening: Sentence = _NOTHING
    opening_several: Sentence = _NOTHING
    payment_note: Sentence = _NOTHING
    closing: Sentence = _NOTHING
    invoice_note: Sentence = _NOTHING
    colour: str = ""
    logo: str = ""

    @classmethod
    def from_json(cls, kept: Mapping[str, Any]) -> "TemplateFields":
        """Read what `to_json` wrote; what is missing, as in a version of older code, is empty."""
        sentences = {
            name: Sentence(str(kept[name].get("es", "")), str(kept[name].get("en", "")))
            for name in SENTENCES
            if name in kept
        }
        return cls(**sentences, colour=str(kept.get(COLOUR, "")), logo=str(kept.get(LOGO, "")))

    def to_json(self) -> dict[str, Any]:
        """Every field by its name; a sentence as its two languages."""
        written: dict[str, Any] = {}
        for each in fields(self):
            value = getattr(self, each.name)
            written[each.name] = {"es": value.es, "en": value.en} if isinstance(value, Sentence) else value
        return written

    def sentence(self, name: str) -> Sentence:
        """One of `SENTENCES`."""
        kept: Sentence = getattr(self, name)
        return kept

    def differing(self, other: "TemplateFields") -> list[str]:
        """Names of the fields that are not the same."""
        return [name for name in FIELDS if getattr(self, name) != getattr(other, name)]


@dataclass(frozen=True, slots=True)
class MailTexts:
    """``texts`` in a message: its language's sentences, their values filled in."""

    greeting: str
    opening: str
    payment_note: str
    closing: str


@dataclass(frozen=True, slots=True)
class InvoiceTexts:
    """``texts`` on an invoice."""

    note: str


@dataclass(frozen=True, slots=True)
class Look:
    """``look`` in a message and on an invoice.

    Args:
        colour: Dark enough to be read on white, and for white to be read on it.
        colour_on_dark: The same hue, to be read where a mail reader shows messages dark.
    """

    colour: str
    colour_on_dark: str


def mail_texts(kept: TemplateFields, document: MailDocument) -> MailTexts:
    """The sentences of a message."""
    language = document.language
    days = {invoice.due_on for invoice in document.invoices}
    due = formats.date(document.first_due_on, language)
    values = {
        "tenant": document.tenant.name,
        "agency": document.agency.name,
        "month": formats.month_name(document.period, language),
        "count": str(len(document.invoices)),
        "total": _sums(document.totals, language),
        "due": due,
        "common_due": due if len(days) == 1 else "",
        "first_due": "" if len(days) == 1 else due,
    }
    opening = kept.opening if len(document.invoices) == 1 else kept.opening_several

    def said(sentence: Sentence) -> str:
        return fill(sentence.in_language(language), values)

    return MailTexts(said(kept.greeting), said(opening), said(kept.payment_note), said(kept.closing))


def invoice_texts(kept: TemplateFields, document: InvoiceDocument) -> InvoiceTexts:
    """The sentences of an invoice."""
    language = document.language
    note = kept.invoice_note.in_language(language)
    if not note:
        return InvoiceTexts("")
    values = {
        "tenant": document.tenant.name,
        "agency": document.agency.name,
        "month": formats.month_name(document.period, language),
        "number": document.number,
        "total": formats.money(document.total, document.currency, language),
        "due": formats.date(document.due_on, language),
    }
    return InvoiceTexts(fill(note, values))


def fill(text: str, values: Mapping[str, str]) -> str:
    """Put ``values`` where their names stand in braces; each is taken as it is, whatever it looks like.

    Args:
        values: By name. An optional one that is empty takes the passage in brackets around it along.
    """

    def passage(found: re.Match[str]) -> str:
        named = [name for name in PLACEHOLDER.findall(found[1]) if name in OPTIONAL]
        if not named:
            # Brackets that somebody wrote.
            return found[0]
        return found[1] if all(values.get(name) for name in named) else ""

    return PLACEHOLDER.sub(lambda found: values.get(found[1], found[0]), PASSAGE.sub(passage, text))


def look_of(kept: TemplateFields) -> Look:
    """The colour, and its like in the dark."""
    colour = kept.colour if COLOUR_PATTERN.fullmatch(kept.colour) else DEFAULT_COLOUR
    return Look(colour, _brightened(colour))


def contrast(one: str, other: str) -> float:
    """How well one colour is read on the other, 1 to 21 (WCAG 2.2, relative luminance)."""
    dark, light = sorted((_luminance(one), _luminance(other)))
    return (light + 0.05) / (dark + 0.05)


_IN_THE_DARK = "#26323b"
"""The lightest of the surfaces that the shipped messages have in the dark."""
_EASILY_READ = 7.0


@lru_cache(maxsize=64)
def _brightened(colour: str) -> str:
    """The first lighter shade that is read easily in the dark."""
    hue, lightness, saturation = colorsys.rgb_to_hls(*_channels(colour))
    for step in range(round(lightness * 100), 101):
        shade = _written(colorsys.hls_to_rgb(hue, step / 100, saturation))
        if contrast(shade, _IN_THE_DARK) >= _EASILY_READ:
            return shade
    return "#ffffff"


def _channels(colour: str) -> tuple[float, float, float]:
    red, green, blue = (int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))
    return red, green, blue


def _written(channels: Iterable[float]) -> str:
    return "#" + "".join(f"{round(each * 255):02x}" for each in channels)


def _luminance(colour: str) -> float:
    red, green, blue = (
        each / 12.92 if each <= 0.04045 else ((each + 0.055) / 1.055) ** 2.4 for each in _channels(colour)
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _sums(totals: Iterable[CurrencyTotal], language: str) -> str:
    return ", ".join(formats.money(each.amount, each.currency, language) for each in totals)
