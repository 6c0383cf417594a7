"""Templates as people change them: made from another one, saved version by version, brought back."""

import base64
import binascii
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from urllib.parse import unquote_to_bytes

from invoicing.db import audit
from invoicing.db.connection import Database, OpenDatabase
from invoicing.domain.errors import InputError, StaleEditError
from invoicing.rendering.field_rules import field_problems
from invoicing.rendering.fields import LOGO, TemplateFields
from invoicing.rendering.templates import MAIL_HTML, PARTS, SUBJECT, Template
from invoicing.rendering.validation import TemplateProblem, validate
from invoicing.services.agency import templates
from invoicing.services.agency.logo import LogoError, fit_logo
from invoicing.services.agency.templates import NAME_PATTERN, TemplateVersion

MOST_CHARACTERS = 500_000
"""Of one part: a picture as a data: URI fits, a novel does not."""

# Whoever has fixed so many asks again.
_MOST_PROBLEMS = 100
_SVG_PICTURE = re.compile(r"data:image/svg\+xml([^,\s\"']{0,60}),([^\s\"')>]*)", re.IGNORECASE)


class TemplateRefusedError(InputError):
    """A template that would not work is not saved.

    Args:
        problems: What is wrong, part by part; none of them a warning.
    """

    def __init__(self, problems: Sequence[TemplateProblem]) -> None:
        self.problems = problems
        super().__init__("template_refused", problems=[problem.in_place for problem in problems])


class TemplateNameError(InputError):
    """A template cannot have this name."""

    field = "name"


def create_template(db: Database, name: str, source: str, *, actor: str) -> TemplateVersion:
    """Make a template out of another one's text as it is in force.

    Raises:
        TemplateNameError: The name is taken, or not made of small letters, digits, ``-`` and ``_``.
        NotFoundError: There is no template ``source``.
    """
    if not re.fullmatch(NAME_PATTERN, name):
        raise TemplateNameError("template_name_malformed", template=name[:60])
    made = templates.show_template(db, source).template
    with db.transaction():
        templates.lock_templates(db)
        if name in templates.template_names(db):
            raise TemplateNameError("template_name_taken", template=name)
        return _add(db, name, made, actor=actor, action="template_created", details={"from": source})


def save_template(
    open_database: OpenDatabase,
    name: str,
    parts: Mapping[str, str] | None,
    fields: TemplateFields | None = None,
    *,
    seen_version: int,
    actor: str,
) -> TemplateVersion:
    """Save a new version; no change makes none. No connection is held while the text is checked.

    Args:
        parts: All of `PARTS`; None leaves them as they are.
        fields: None leaves them as they are.
        seen_version: The version that the person had before them.

    Raises:
        NotFoundError: There is no such template.
        TemplateRefusedError: It would not work: every problem with its part and line, or its field.
        StaleEditError: There is a newer version than the one seen.
    """
    with open_database() as db:
        before = templates.show_template(db, name)
    if before.template.version != seen_version:
        raise _stale(before)
    made = fit(draft_of(before.template, parts, fields), before.template)
    if (dict(made.parts), made.fields) == (dict(before.template.parts), before.template.fields):
        return before
    # It may take as long as a hostile template can make it.
    faults = [problem for problem in check(made) if not problem.is_warning]
    if faults:
        raise TemplateRefusedError(faults)
    with open_database() as db, db.transaction():
        templates.lock_templates(db)
        now = templates.current_template(db, name)
        if now.template.version != seen_version:
            raise _stale(now)
        details = {
            "version": {"before": seen_version, "after": seen_version + 1},
            "parts": [part for part in PARTS if now.template.parts[part] != made.parts[part]],
            "fields": now.template.fields.differing(made.fields),
        }
        return _add(db, name, made, actor=actor, action="template_changed", details=details)


def restore_version(
    open_database: OpenDatabase, name: str, version: int, *, seen_version: int, actor: str
) -> TemplateVersion:
    """Save an earlier version's text as the newest one.

    Raises:
        NotFoundError, TemplateRefusedError, StaleEditError: As `save_template`.
    """
    with open_database() as db:
        earlier = templates.show_version(db, name, version).template
    return save_template(
        open_database, name, earlier.parts, earlier.fields, seen_version=seen_version, actor=actor
    )


def draft_of(
    current: Template, parts: Mapping[str, str] | None, fields: TemplateFields | None = None
) -> Template:
    """The template as it would be after ``parts`` and ``fields`` were saved; None leaves them as they are."""
    return replace(
        current,
        parts=current.parts if parts is None else parts,
        fields=current.fields if fields is None else fields,
    )


def fit(made: Template, before: Template) -> Template:
    """``made`` with its logo as documents carry it; a new one is tried on an invoice, which takes a second.

    Raises:
        TemplateRefusedError: It is none that an invoice can carry.
    """
    logo = made.fields.logo
    if logo in ("", before.fields.logo):
        return made
    try:
        return replace(made, fields=replace(made.fields, logo=fit_logo(logo)))
    except LogoError as error:
        raise TemplateRefusedError([TemplateProblem(LOGO, None, error.code, error.values)]) from None


def check(made: Template) -> list[TemplateProblem]:
    """Find what is wrong with a template that is not saved yet, warnings included; takes about a second.

    The subject is the settings' own and was checked when it was saved: nothing is said about it here. Nor is anything
    about the logo: `fit` tries it.
    """
    of_fields = field_problems(made.fields)
    too_long = [
        TemplateProblem(
            part, None, "template_part_too_long", {"characters": len(text), "most": MOST_CHARACTERS}
        )
        for part, text in made.parts.items()
        if len(text) > MOST_CHARACTERS
    ]
    if too_long:
        return [*of_fields, *too_long]
    # Code is not blamed for a field that is wrong.
    fields = TemplateFields() if of_fields else made.fields
    found = validate(made.parts, "-", made.folder, fields=fields)
    return [
        *of_fields,
        *(problem for problem in found if problem.part != SUBJECT),
        *_picture_problems(made.parts),
    ]


def _picture_problems(parts: Mapping[str, str]) -> list[TemplateProblem]:
    """SVG pictures that are not shown, or that could unfold into millions of things.

    The printer leaves such a picture out without a word; mail readers show no SVG at all.
    """
    return list(islice(_pictures_refused(parts), _MOST_PROBLEMS))


def _pictures_refused(parts: Mapping[str, str]) -> Iterator[TemplateProblem]:
    for part, text in parts.items():
        line, counted = 1, 0
        for found in _SVG_PICTURE.finditer(text):
            # Counted on from the one before: a text full of pictures is read once, not once for each.
            line, counted = line + text.count("\n", counted, found.start()), found.start()
            if part == MAIL_HTML:
                yield TemplateProblem(part, line, "mail_svg_not_shown")
            elif _has_doctype(found[1], found[2]):
                yield TemplateProblem(part, line, "svg_with_doctype")


def _has_doctype(encoding: str, content: str) -> bool:
    written = unquote_to_bytes(content)
    if "base64" in encoding.lower():
        try:
            written = base64.b64decode(written + b"==", validate=False)
        except binascii.Error:
            return False
    # The declarations are at the start; UTF-16 has a NUL beside each letter.
    return b"<!" in written[:4096].replace(b"\0", b"").replace(b"<!--", b"")


def _stale(current: TemplateVersion) -> StaleEditError:
    return StaleEditError(
        "template_changed_meanwhile",
        template=current.template.name,
        actor=current.actor,
        version=current.template.version,
    )


def _add(
    db: Database, name: str, made: Template, *, actor: str, action: str, details: Mapping[str, object]
) -> TemplateVersion:
    added = templates.add_version(db, name, made, actor=actor)
    audit.record(db, actor=actor, action=action, subject=f"template {name}", details=dict(details))
    return added
