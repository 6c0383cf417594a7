"""Templates: named parts of text, and how they become text with a document's data.

A template has four parts, kept as strings wherever they come from (a folder of ``include/templates/``, or a
version in the database): the message as HTML and as text, the invoice as HTML, and the invoice's CSS. Both
languages stand side by side in a part, ``{{ t('Vence el', 'Due on') }}``: who edits a text sees its translation
and cannot lose it, as a catalogue keyed by the Spanish text would. Beside the parts stand its `fields`: what is
changed most, as plain text.
"""

import json
import re
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

import jinja2
from jinja2.exceptions import SecurityError
from jinja2.runtime import Context

from invoicing.domain.errors import NotFoundError
from invoicing.rendering import formats
from invoicing.rendering.complaints import FaultyUseError, NamedUndefined, prints_too_much, syntax_fault
from invoicing.rendering.document import InvoiceDocument, MailDocument
from invoicing.rendering.errors import PartFaultError, broken
from invoicing.rendering.fields import COLOUR, LOGO, TemplateFields, invoice_texts, look_of, mail_texts
from invoicing.rendering.parts import (
    CORRECTION_HTML,
    CORRECTION_TEXT,
    CREDIT_NOTE_HTML,
    INVOICE_CSS,
    INVOICE_HTML,
    MAIL_HTML,
    MAIL_TEXT,
    PARTS,
    SUBJECT,
    VARIATIONS,
    VOID_HTML,
)
from invoicing.rendering.permitted import TemplateSandbox
from invoicing.words.failures import Fault

__all__ = [
    "CORRECTION_HTML",
    "CORRECTION_TEXT",
    "CREDIT_NOTE_HTML",
    "FIELDS_FILE",
    "INVOICE_CSS",
    "INVOICE_HTML",
    "MAIL_HTML",
    "MAIL_TEXT",
    "PARTS",
    "SHIPPED_FOLDER",
    "SUBJECT",
    "VOID_HTML",
    "Part",
    "Template",
    "environment",
    "invoice_variables",
    "load_shipped",
    "mail_variables",
    "shipped_names",
]

SHIPPED_FOLDER = Path(__file__).parents[3] / "include" / "templates"
FIELDS_FILE = "fields.json"


# Where each field is printed: its name in the code, and the parts that may name it.
_PRINTED: Mapping[str, tuple[str, tuple[str, ...]]] = {
    **{
        name: (f"texts.{name}", (MAIL_HTML, MAIL_TEXT))
        for name in ("greeting", "opening", "payment_note", "closing")
    },
    "opening_several": ("texts.opening", (MAIL_HTML, MAIL_TEXT)),
    "invoice_note": ("texts.note", (INVOICE_HTML,)),
    COLOUR: ("look.colour", (MAIL_HTML, INVOICE_HTML)),
    LOGO: ("agency.logo", (MAIL_HTML, INVOICE_HTML)),
}

CORRECTION_SUBJECT = (
    "{{ t('Corrección de su factura', 'Correction of your invoice') }}"
    "{{ ' ' + corrected|join(', ') }}{% if agency.name %} – {{ agency.name }}{% endif %}"
)
"""Of a message that corrects an invoice: the settings' subject speaks of a new one."""


@cache
def shipped_variations() -> Mapping[str, str]:
    """The credit note, and the message that goes with it, in the default's look; read once."""
    folder = SHIPPED_FOLDER / "correction"
    texts = {part: (folder / part).read_text(encoding="utf-8") for part in VARIATIONS}
    return {**texts, INVOICE_CSS: (SHIPPED_FOLDER / "default" / INVOICE_CSS).read_text(encoding="utf-8")}


@dataclass(frozen=True, slots=True)
class Template:
    """One version of a template.

    Args:
        version: 0 for the shipped one.
        parts: Source text by part; all of `PARTS`.
        folder: The only folder whose files (pictures, fonts) the invoice may refer to; None for no files.
        fields: What the parts name as ``texts`` and ``look``.
        variations: Source text of what corrects an invoice, by `VARIATIONS`, and its style sheet; as shipped.
    """

    name: str
    version: int
    parts: Mapping[str, str] = field(repr=False)
    folder: Path | None = None
    fields: TemplateFields = field(default=TemplateFields(), repr=False)
    variations: Mapping[str, str] = field(default_factory=shipped_variations, repr=False)

    def __post_init__(self) -> None:
        missing = [part for part in PARTS if part not in self.parts]
        if missing:
            raise NotFoundError("template_parts_missing", template=self.name, parts=", ".join(missing))

    @property
    def fields_in_use(self) -> frozenset[str]:
        """The fields that the parts print; a template of before there were fields prints none but the logo."""
        return frozenset(
            name
            for name, (place, parts) in _PRINTED.items()
            if any(place in self.parts[part] for part in parts)
        )


def shipped_names() -> list[str]:
    """Names of the templates in ``include/templates/``."""
    return sorted(path.parent.name for path in SHIPPED_FOLDER.glob(f"*/{INVOICE_HTML}"))


def load_shipped(name: str = "default") -> Template:
    """Read a template of ``include/templates/``.

    Raises:
        NotFoundError: There is none of this name, or a part of it is missing.
    """
    folder = SHIPPED_FOLDER / name
    if name not in shipped_names():
        raise NotFoundError("template_not_shipped", template=name, shipped=", ".join(shipped_names()))
    parts = {part: (folder / part).read_text(encoding="utf-8") for part in PARTS if (folder / part).is_file()}
    fields = json.loads((folder / FIELDS_FILE).read_text(encoding="utf-8"))
    return Template(name, 0, parts, folder, TemplateFields.from_json(fields))


def invoice_variables(document: InvoiceDocument, fields: TemplateFields) -> dict[str, Any]:
    """What ``invoice.html`` may name."""
    if fields.logo:
        document = replace(document, agency=replace(document.agency, logo=fields.logo))
    return {
        "invoice": document,
        "agency": document.agency,
        "tenant": document.tenant,
        "period": document.period,
        "language": document.language,
        "texts": invoice_texts(fields, document),
        "look": look_of(fields),
    }


def mail_variables(document: MailDocument, fields: TemplateFields) -> dict[str, Any]:
    """What ``mail.html``, ``mail.txt`` and the subject may name."""
    return {
        "agency": document.agency,
        "tenant": document.tenant,
        "period": document.period,
        "invoices": document.invoices,
        "totals": document.totals,
        "first_due_on": document.first_due_on,
        "language": document.language,
        "texts": mail_texts(fields, document),
        "look": look_of(fields),
    }


def correction_variables(document: MailDocument, fields: TemplateFields) -> dict[str, Any]:
    """What the message of a correction may name: beside the rest, the numbers of the invoices that were wrong."""
    numbers = [each.corrects or each.replaces for each in document.invoices]
    return {
        **mail_variables(document, fields),
        "corrected": tuple(dict.fromkeys(number for number in numbers if number)),
        "notes": tuple(each for each in document.invoices if each.corrects),
        "replacements": tuple(each for each in document.invoices if not each.corrects),
    }


# Control characters have no business on paper, and the bidirectional overrides (U+202A–202E, U+2066–2069) let a
# name rewrite the order of the text around it. Half a surrogate pair is no character: nothing can be written that has
# one. Tabs and line ends stay.
_UNPRINTABLE = MappingProxyType(
    dict.fromkeys(
        (
            *(*range(9), 11, 12, *range(14, 32), 127),
            *(*range(0x202A, 0x202F), *range(0x2066, 0x206A)),
            *range(0xD800, 0xE000),
        )
    )
)


def _printable(value: Any) -> Any:
    if value is None:
        return ""
    return value.translate(_UNPRINTABLE) if isinstance(value, str) else value


@jinja2.pass_context
def _translate(context: Context, es: str, en: str, **values: object) -> str:
    """Choose the document's language; ``{name}`` in the text stands for the value of that name."""
    text = en if context.get("language") == "en" else es

    def value_of(match: re.Match[str]) -> str:
        if match[1] not in values:
            raise FaultyUseError(Fault("template_translation_incomplete", name=match[1], text=text))
        return str(values[match[1]])

    # Not str.format: it reads attributes of the values, {name.__class__} too.
    return re.sub(r"\{(\w+)\}", value_of, text)


def _in_language(function: Callable[..., str]) -> Callable[..., str]:
    """A filter that takes the language from the document."""

    @jinja2.pass_context
    def localized(context: Context, *arguments: Any) -> str:
        for argument in arguments:
            if isinstance(argument, jinja2.Undefined):
                # Formatting it would say something about Undefined's type; this says which name is wrong.
                str(argument)
        return function(*arguments, context["language"])

    return localized


def environment() -> TemplateSandbox:
    """The sandbox that every part is compiled in: strict about names, and without includes."""
    sandbox = TemplateSandbox(
        autoescape=lambda name: name is not None and name.endswith(".html"),
        undefined=NamedUndefined,
        finalize=_printable,
        loader=jinja2.DictLoader({}),
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    del sandbox.globals["lipsum"]
    sandbox.globals["t"] = _translate
    sandbox.filters |= {
        "money": _in_language(formats.money),
        "date": _in_language(formats.date),
        "short_date": _in_language(formats.short_date),
        "month_name": _in_language(formats.month_name),
        "percent": _in_language(formats.percent),
        "grouped": _in_language(formats.grouped),
        "in_words": _in_language(formats.in_words),
    }
    return sandbox


class Part:
    """One part, compiled.

    Args:
        sandbox: From `environment`.
        name: Decides whether values are escaped (``….html``).
        largest_bytes: Of output; longer output is a fault of the template.

    Raises:
        PartFaultError: The syntax is wrong.
    """

    def __init__(
        self,
        sandbox: TemplateSandbox,
        name: str,
        source: str,
        largest_bytes: int = 8 * 1024 * 1024,
    ) -> None:
        self.name = name
        self.source = source
        self._largest_bytes = largest_bytes
        try:
            code = sandbox.compile(source, name, name)
        except jinja2.TemplateSyntaxError as error:
            raise PartFaultError(name, error.lineno, syntax_fault(error.message or "syntax error")) from None
        self._template = jinja2.Template.from_code(sandbox, code, sandbox.globals)

    def render(self, variables: Mapping[str, Any]) -> str:
        """Print the part.

        Raises:
            PartFaultError: A variable is unknown, the sandbox refused something, the output is too long,
                or anything else went wrong while printing.
        """
        printed: list[str] = []
        length = 0
        try:
            for piece in self._template.generate(variables):
                length += len(piece)
                if length > self._largest_bytes:
                    break
                printed.append(piece)
        except (MemoryError, RecursionError):
            raise
        except FaultyUseError as error:
            raise PartFaultError(self.name, self._line_of(error), error.fault) from None
        except SecurityError as error:
            fault = Fault("template_act_forbidden", message=str(error))
            raise PartFaultError(self.name, self._line_of(error), fault) from None
        except jinja2.TemplateNotFound:
            raise PartFaultError(self.name, self._line_of_include(), Fault("template_includes")) from None
        except Exception as error:  # noqa: BLE001 (a template can raise anything)
            raise PartFaultError(self.name, self._line_of(error), broken(error)) from None
        text = "" if length > self._largest_bytes else "".join(printed)
        # Characters are counted while it is printed, since that is quick: one may have four bytes.
        if length > self._largest_bytes or len(text.encode(errors="replace")) > self._largest_bytes:
            raise PartFaultError(self.name, None, prints_too_much(self._largest_bytes))
        return text

    def _line_of(self, error: BaseException) -> int | None:
        """Jinja rewrites tracebacks so that they name the template's own lines."""
        frames = traceback.extract_tb(error.__traceback__)
        return next((frame.lineno for frame in reversed(frames) if frame.filename == self.name), None)

    def _line_of_include(self) -> int | None:
        found = re.search(r"\{%-?\s*(include|import|from|extends)\b", self.source)
        return None if found is None else self.source.count("\n", 0, found.start()) + 1
