"""What Jinja and WeasyPrint complain of, as faults of ours; their English stays as it is, cut to a length.

A template makes their messages of any length and content. So Jinja's are read by how they begin and by what stands
between quotes, and WeasyPrint's not at all: it logs a form and its arguments apart.
"""

from dataclasses import dataclass
from typing import Any

import jinja2
from jinja2.exceptions import SecurityError
from jinja2.utils import missing, object_type_repr

from invoicing.rendering.errors import LONGEST_VALUE
from invoicing.words.failures import Fault


class FaultyUseError(jinja2.UndefinedError):
    """A template uses what it cannot; raised while it is printed."""

    def __init__(self, fault: Fault) -> None:
        self.fault = fault
        super().__init__(str(fault))


class NamedUndefined(jinja2.StrictUndefined):
    """A name that stands for nothing, or for nothing that may be used: using it raises a `FaultyUseError`."""

    __slots__ = ("_is_forbidden",)

    def __init__(
        self,
        hint: str | None = None,
        obj: Any = missing,
        name: str | None = None,
        exc: type[jinja2.TemplateRuntimeError] = jinja2.UndefinedError,
    ) -> None:
        super().__init__(hint, obj, name, exc)
        self._is_forbidden = issubclass(exc, SecurityError)
        # Every operator raises what this makes.
        self._undefined_exception = self._error  # type: ignore[assignment]

    def _error(self, _: str) -> FaultyUseError:
        name: object = self._undefined_name
        owner = self._undefined_obj
        if self._is_forbidden:
            fault = Fault("template_attribute_forbidden", name=name, owner=type(owner).__name__)
        elif self._undefined_hint:
            fault = Fault("template_value_undefined", message=self._undefined_hint)
        elif owner is missing:
            fault = Fault("template_name_undefined", name=name)
        elif isinstance(name, str):
            fault = Fault("template_attribute_undefined", owner=object_type_repr(owner), name=name)
        else:
            fault = Fault("template_element_undefined", owner=object_type_repr(owner), name=repr(name))
        return FaultyUseError(fault)


def syntax_fault(message: str) -> Fault:
    """What Jinja's parser says of a part."""
    message = message[:LONGEST_VALUE]
    if tag := _quoted_after("Encountered unknown tag ", message):
        return Fault("template_tag_unknown", message=message, tag=tag)
    if name := _quoted_after("No filter named ", message):
        return Fault("template_filter_unknown", message=message, name=name)
    if token := _quoted_after("unexpected ", message):
        return Fault("template_token_unexpected", message=message, token=token)
    if message.startswith("Unexpected end of template"):
        return Fault("template_tag_open", message=message)
    expected = _quoted_after("expected token ", message)
    found = _quoted_after("", message.partition(", got ")[2])
    if expected and found:
        return Fault("template_token_expected", message=message, expected=expected, found=found)
    return Fault("template_syntax", message=message)


def _quoted_after(beginning: str, message: str) -> str:
    """What ``message`` quotes right after ``beginning``; empty where it begins otherwise."""
    if not message.startswith((f"{beginning}'", f'{beginning}"')):
        return ""
    rest = message.removeprefix(beginning)
    return rest[1:].partition(rest[0])[0]


def prints_too_much(most_bytes: int) -> Fault:
    """A part's text is longer than it may be."""
    return Fault("template_prints_too_much", megabytes=most_bytes // 2**20)


@dataclass(frozen=True, slots=True)
class PrinterNote:
    """One thing that WeasyPrint logged.

    Args:
        form: Its text, with ``%s`` and the like where the arguments go.
    """

    form: str
    arguments: tuple[Any, ...]

    @property
    def line(self) -> int | None:
        """The line of the style sheet that it speaks of."""
        before, place, _ = self.form.partition("%d:%d")
        return int(self.arguments[before.count("%")]) if place else None

    @property
    def is_about_ignored_css(self) -> bool:
        """Whether a declaration is without effect, and nothing worse."""
        return self.form.startswith("Ignored `")

    @property
    def is_about_picture(self) -> bool:
        """Whether a picture is left out, for it could not be read or drawn."""
        return self.form.startswith(("Failed to load image", "Failed to render SVG image"))

    @property
    def relative_url(self) -> str | None:
        """The address that nothing was read from, for it is relative to nothing."""
        if self.form.startswith("Relative URI reference"):
            return str(self.arguments[0])
        if self.is_about_ignored_css and str(self.arguments[-1]).startswith("Relative URI reference"):
            return str(self.arguments[1]).strip()
        return None

    @property
    def fault(self) -> Fault:
        """The note as a fault."""
        message = (self.form % self.arguments)[:LONGEST_VALUE]
        if self.is_about_ignored_css:
            declaration = self.form.split("`")[1] % self.arguments[:2]
            return Fault("css_ignored", declaration=declaration, message=message)
        return Fault("css_wrong", message=message)
