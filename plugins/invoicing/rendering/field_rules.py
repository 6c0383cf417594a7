"""What a template's fields may say; each fault names its field, and its language where it has one."""

from collections.abc import Iterator

from invoicing.rendering.fields import (
    COLOUR,
    COLOUR_PATTERN,
    OPTIONAL,
    PASSAGE,
    PLACEHOLDER,
    PLACEHOLDERS,
    SENTENCES,
    TemplateFields,
    contrast,
)
from invoicing.rendering.mail_rules import text_faults
from invoicing.rendering.validation import TemplateProblem
from invoicing.words.failures import Fault

LONGEST_SENTENCE = 2000
"""Characters, in either language: the longest one is an opening of a few lines."""

LEAST_CONTRAST = 4.5
"""To white, as of WCAG's level AA: titles and sums are printed in the colour, and white on it."""

_LANGUAGES = ("es", "en")
_LONGEST_SHOWN = 60


def field_problems(kept: TemplateFields) -> list[TemplateProblem]:
    """What is wrong with the sentences and the colour; the logo is for `services.agency.logo` to try."""
    return [*_problems(kept)]


def _problems(kept: TemplateFields) -> Iterator[TemplateProblem]:
    for name in SENTENCES:
        sentence = kept.sentence(name)
        for language in _LANGUAGES:
            part = f"{name}.{language}"
            text = sentence.in_language(language)
            if sentence and not text.strip():
                yield TemplateProblem(part, None, "field_untranslated")
            for fault in _sentence_faults(name, text):
                yield TemplateProblem(part, None, fault.code, fault.values)
    if kept.colour:
        for fault in _colour_faults(kept.colour):
            yield TemplateProblem(COLOUR, None, fault.code, fault.values)


def _sentence_faults(name: str, text: str) -> Iterator[Fault]:
    if len(text) > LONGEST_SENTENCE:
        yield Fault("field_too_long", characters=len(text), most=LONGEST_SENTENCE)
        return
    yield from text_faults(text)
    if any("\ud800" <= character <= "\udfff" for character in text):
        yield Fault("mail_character_refused", code="U+D800")
    known = PLACEHOLDERS[name]
    named = {found[1] for found in PLACEHOLDER.finditer(text)}
    listed = ", ".join(f"{{{each}}}" for each in known)
    for unknown in sorted(named.difference(known)):
        yield Fault("field_placeholder_unknown", name=unknown[:_LONGEST_SHOWN], known=listed)
    rest = PLACEHOLDER.sub("", text)
    if not named.difference(known) and ("{" in rest or "}" in rest):
        yield Fault("field_brace", known=listed)
    outside = PASSAGE.sub("", text)
    for optional in sorted(OPTIONAL.intersection(known)):
        if f"{{{optional}}}" in outside:
            yield Fault("field_needs_brackets", name=optional)


def _colour_faults(colour: str) -> Iterator[Fault]:
    if not COLOUR_PATTERN.fullmatch(colour):
        yield Fault("field_colour_malformed", colour=colour[:_LONGEST_SHOWN])
    elif contrast(colour, "#ffffff") < LEAST_CONTRAST:
        yield Fault("field_colour_pale", colour=colour)
