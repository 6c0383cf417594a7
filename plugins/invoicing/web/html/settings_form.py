"""The settings as a form and as JSON: what is wrong with what was typed."""

import base64
import struct
from collections.abc import Mapping
from typing import Any
from xml.parsers import expat

from pydantic import ValidationError

from invoicing.db.connection import Database
from invoicing.domain.errors import InputError
from invoicing.domain.settings import Settings
from invoicing.domain.typed import fault_of
from invoicing.rendering.validation import validate_subject
from invoicing.services.agency.settings import current_template, template_names
from invoicing.words import Text
from invoicing.words.failures import Fault

LARGEST_LOGO_BYTES = 290_000
_LARGEST_LOGO_PIXELS = 4000


def find_problems(db: Database, before: Settings, typed: Mapping[str, Any]) -> dict[str, Fault]:
    """What is wrong with the settings that ``typed`` would make, by field. Empty: they can be saved.

    `Settings.changed` asks the same in one message; a form needs it field by field.
    """
    problems = {
        key: Fault("setting_unknown", setting=key) for key in typed if key not in Settings.model_fields
    }
    known = {key: value for key, value in typed.items() if key not in problems}
    problems |= {
        key: Fault("setting_not_text")
        for key, value in known.items()
        if isinstance(value, str) and "\0" in value
    }
    try:
        after = Settings.model_validate(before.model_dump() | known)
    except ValidationError as error:
        problems = {str(each["loc"][0]): fault_of(each) for each in error.errors()} | problems
        # What else is wrong is told at once, not after the first mistakes are fixed.
        sound = {key: value for key, value in known.items() if key not in problems}
        after = Settings.model_validate(before.model_dump() | sound)
    if after.template not in template_names(db):
        problems["template"] = Fault("setting_template_unknown", template=after.template)
    elif "subject" not in problems:
        problem = _subject_problem(db, before, after)
        problems |= {} if problem is None else {"subject": problem}
    # In the order of the form.
    return {key: problems[key] for key in sorted(problems, key=[*Settings.model_fields, *problems].index)}


def _subject_problem(db: Database, before: Settings, after: Settings) -> Fault | None:
    if after.auto_send and not after.subject:
        return Fault("setting_subject_missing")
    if not after.subject or (after.subject, after.template) == (before.subject, before.template):
        return None
    template = current_template(db, after.template).template
    found = [each for each in validate_subject(after.subject, template) if not each.is_warning]
    return Fault("setting_subject_unusable", problems=found) if found else None


def logo_uri(content: bytes) -> str:
    """A picture as a ``data:`` URI.

    Raises:
        InputError: It is none that an invoice can carry; the message has both languages, Spanish first.
    """
    if len(content) > LARGEST_LOGO_BYTES:
        kilobytes = LARGEST_LOGO_BYTES // 1000
        raise LogoError(
            f"El archivo pesa más de {kilobytes} kB: redúzcalo.",
            f"The file is over {kilobytes} kB: make it smaller.",
        )
    if content.startswith(b"\x89PNG\r\n\x1a\n") and len(content) > 24:
        kind = "png"
        width, height = struct.unpack(">II", content[16:24])
        if max(width, height) > _LARGEST_LOGO_PIXELS:
            raise LogoError(
                f"La imagen mide {width} × {height}: redúzcala a {_LARGEST_LOGO_PIXELS} píxeles por lado.",
                f"The picture has {width} × {height} pixels: at most {_LARGEST_LOGO_PIXELS} a side.",
            )
    elif content.startswith(b"\xff\xd8\xff"):
        kind = "jpeg"
    elif b"<svg" in content[:2000]:
        kind = "svg+xml"
        _check_svg(content)
    else:
        raise LogoError("Elija una imagen PNG, JPEG o SVG.", "Choose a PNG, JPEG or SVG picture.")
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


class LogoError(InputError):
    """An uploaded file is no logo for an invoice.

    Args:
        es: Why, and what to do.
        en: The same.
    """

    def __init__(self, es: str, en: str) -> None:
        self.text: Text = (es, en)
        super().__init__(en)


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
        raise LogoError(
            f"El SVG no es XML válido: {error}", f"The SVG is not well-formed XML: {error}"
        ) from None
    if refused:
        listing = ", ".join(refused[:3])
        raise LogoError(
            f"El SVG contiene {listing}: expórtelo como SVG plano, o use PNG.",
            f"The SVG contains {listing}: export it as plain SVG, or use PNG.",
        )


class _DoctypeError(Exception):
    """Reading stops at a document type."""
