"""Templates as people work on them: made from another one, changed version by version, compared, brought back."""

import base64
import binascii
import datetime
import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal
from urllib.parse import unquote_to_bytes

from psycopg.types.json import Jsonb

from invoicing.db import audit
from invoicing.db.connection import Database
from invoicing.db.statements import load
from invoicing.domain.errors import InputError, NotFoundError, StaleEditError
from invoicing.rendering.templates import MAIL_HTML, PARTS, SUBJECT, shipped_names
from invoicing.rendering.validation import TemplateProblem, validate
from invoicing.services.agency import settings as settings_service
from invoicing.services.agency.settings import TemplateVersion

_SQL = load("template")
_SETTINGS = load("settings")

NAME_PATTERN = "[a-z0-9][a-z0-9_-]{0,39}"
MOST_CHARACTERS = 500_000
"""Of one part: a picture as a data: URI fits, a novel does not."""

# A comparison takes time that grows with the product of both lengths.
_MOST_LINES_COMPARED = 6_000
_VERSIONS_SHOWN = 200
_SVG_PICTURE = re.compile(r"data:image/svg\+xml([^,\s\"']{0,60}),([^\s\"')>]*)", re.IGNORECASE)


class TemplateFaultyError(InputError):
    """A template that would not work is not saved.

    Args:
        problems: What is wrong, part by part; none of them a warning.
    """

    def __init__(self, problems: Sequence[TemplateProblem]) -> None:
        self.problems = problems
        super().__init__("template not saved: " + "; ".join(map(str, problems)))


class TemplateNameError(InputError):
    """A template cannot have this name."""

    field = "name"


class TemplateOvertakenError(StaleEditError):
    """Somebody else saved a version in the meantime. Nothing was changed.

    Args:
        current: The version in force now.
    """

    def __init__(self, current: TemplateVersion) -> None:
        self.current = current
        super().__init__(
            f"template {current.template.name} not saved: {current.actor} saved version "
            f"{current.template.version} in the meantime; look at it, then save again"
        )


@dataclass(frozen=True, slots=True)
class TemplateSummary:
    """A template in the list.

    Args:
        version: None for a shipped one that nobody has used yet.
        in_use: The settings in force name it.
    """

    name: str
    is_shipped: bool
    version: int | None
    versions: int
    actor: str
    created_at: datetime.datetime | None
    in_use: bool


@dataclass(frozen=True, slots=True)
class VersionSummary:
    """One version of a template.

    Args:
        periods: Of the latest cycles that used it.
    """

    version: int
    actor: str
    created_at: datetime.datetime
    periods: Sequence[str]


@dataclass(frozen=True, slots=True)
class DiffLine:
    """One line of a comparison; ``gap`` stands for lines left out.

    Args:
        before: Its number in the earlier text, None where it is new.
        after: Its number in the later text, None where it is gone.
    """

    kind: Literal["same", "gone", "new", "gap"]
    before: int | None
    after: int | None
    text: str


@dataclass(frozen=True, slots=True)
class PartDiff:
    """How one part changed.

    Args:
        lines: None where the texts are too long to be compared line by line.
    """

    part: str
    gone: int
    new: int
    lines: Sequence[DiffLine] | None


def list_templates(db: Database) -> list[TemplateSummary]:
    """The templates that can be chosen, by name."""
    in_use = settings_service.current_settings(db).settings.template
    kept = {row["name"]: row for row in db.execute(_SQL["templates"])}
    shipped = shipped_names()
    return [
        TemplateSummary(
            name=name,
            is_shipped=name in shipped,
            version=kept[name]["version"] if name in kept else None,
            versions=kept[name]["versions"] if name in kept else 0,
            actor=kept[name]["actor"] if name in kept else "",
            created_at=kept[name]["created_at"] if name in kept else None,
            in_use=name == in_use,
        )
        for name in sorted({*kept, *shipped})
    ]


def show_template(db: Database, name: str) -> TemplateVersion:
    """The version in force; raises `NotFoundError`."""
    if not re.fullmatch(NAME_PATTERN, name):
        raise NotFoundError(f"there is no template {name!r}")
    try:
        return settings_service.current_template(db, name)
    except InputError as error:
        raise NotFoundError(str(error)) from None


def show_version(db: Database, name: str, version: int) -> TemplateVersion:
    """An earlier version; raises `NotFoundError`."""
    row = db.execute(_SQL["version_of"], {"name": name, "version": min(version, 2**31 - 1)}).fetchone()
    if row is None:
        raise NotFoundError(f"template {name!r} has no version {version}")
    return settings_service.template_version(db, row["id"])


def versions_of(db: Database, name: str) -> list[VersionSummary]:
    """Who saved which version, and when; newest first."""
    return [
        VersionSummary(row["version"], row["actor"], row["created_at"], row["periods"])
        for row in db.execute(_SQL["versions"], {"name": name, "limit": _VERSIONS_SHOWN})
    ]


def create_template(db: Database, name: str, source: str, *, actor: str) -> TemplateVersion:
    """Make a template out of another one's text as it is in force.

    Raises:
        TemplateNameError: The name is taken, or not made of small letters, digits, ``-`` and ``_``.
        NotFoundError: There is no template ``source``.
    """
    if not re.fullmatch(NAME_PATTERN, name):
        raise TemplateNameError(
            f"template name {name[:60]!r}: use small letters a to z, digits, - and _, at most 40"
        )
    parts = dict(show_template(db, source).template.parts)
    with db.transaction():
        db.execute(_SETTINGS["lock_templates"])
        if name in settings_service.template_names(db):
            raise TemplateNameError(f"there is a template {name!r} already")
        return _add(db, name, parts, actor=actor, action="template_created", details={"from": source})


def save_template(
    db: Database, name: str, parts: Mapping[str, str], *, seen_version: int, actor: str
) -> TemplateVersion:
    """Save a new version; no change makes none.

    Args:
        parts: All of `PARTS`.
        seen_version: The version that the person had before them.

    Raises:
        NotFoundError: There is no such template.
        TemplateFaultyError: It would not work: every problem with its part and line.
        TemplateOvertakenError: There is a newer version than the one seen.
    """
    before = show_template(db, name)
    if before.template.version != seen_version:
        raise TemplateOvertakenError(before)
    if dict(before.template.parts) == dict(parts):
        return before
    # Outside of the lock: it may take as long as a hostile template can make it.
    faults = [problem for problem in check_parts(parts, before) if not problem.is_warning]
    if faults:
        raise TemplateFaultyError(faults)
    with db.transaction():
        db.execute(_SETTINGS["lock_templates"])
        now = settings_service.current_template(db, name)
        if now.template.version != seen_version:
            raise TemplateOvertakenError(now)
        changed = [part for part in PARTS if now.template.parts[part] != parts[part]]
        details = {"version": {"before": seen_version, "after": seen_version + 1}, "parts": changed}
        return _add(db, name, parts, actor=actor, action="template_changed", details=details)


def restore_version(
    db: Database, name: str, version: int, *, seen_version: int, actor: str
) -> TemplateVersion:
    """Save an earlier version's text as the newest one.

    Raises:
        NotFoundError, TemplateFaultyError, TemplateOvertakenError: As `save_template`.
    """
    earlier = show_version(db, name, version)
    return save_template(db, name, earlier.template.parts, seen_version=seen_version, actor=actor)


def check_parts(parts: Mapping[str, str], of: TemplateVersion) -> list[TemplateProblem]:
    """Find what is wrong with a text that is not saved yet, warnings included; takes about a second.

    The subject is the settings' own and was checked when it was saved: nothing is said about it here.
    """
    too_long = [
        TemplateProblem(
            part, None, "template_part_too_long", {"characters": len(text), "most": MOST_CHARACTERS}
        )
        for part, text in parts.items()
        if len(text) > MOST_CHARACTERS
    ]
    if too_long:
        return too_long
    found = [problem for problem in validate(parts, "-", of.template.folder) if problem.part != SUBJECT]
    return [*found, *_picture_problems(parts)]


def _picture_problems(parts: Mapping[str, str]) -> list[TemplateProblem]:
    """SVG pictures that are not shown, or that could unfold into millions of things.

    The printer leaves such a picture out without a word; mail readers show no SVG at all.
    """
    problems = []
    for part, text in parts.items():
        for found in _SVG_PICTURE.finditer(text):
            line = text.count("\n", 0, found.start()) + 1
            if part == MAIL_HTML:
                problems.append(TemplateProblem(part, line, "mail_svg_not_shown"))
            elif _has_doctype(found[1], found[2]):
                problems.append(TemplateProblem(part, line, "svg_with_doctype"))
    return problems


def _has_doctype(encoding: str, content: str) -> bool:
    written = unquote_to_bytes(content)
    if "base64" in encoding.lower():
        try:
            written = base64.b64decode(written + b"==", validate=False)
        except binascii.Error:
            return False
    # The declarations are at the start; UTF-16 has a NUL beside each letter.
    return b"<!" in written[:4096].replace(b"\0", b"").replace(b"<!--", b"")


def differences(before: Mapping[str, str], after: Mapping[str, str], context: int = 3) -> list[PartDiff]:
    """The parts that are not the same, line by line with ``context`` lines around each change."""
    return [
        _compare(part, before[part].splitlines(), after[part].splitlines(), context)
        for part in PARTS
        if before[part] != after[part]
    ]


def _compare(part: str, before: list[str], after: list[str], context: int) -> PartDiff:
    if len(before) + len(after) > _MOST_LINES_COMPARED:
        return PartDiff(part, len(before), len(after), None)
    matcher = difflib.SequenceMatcher(None, before, after, autojunk=True)
    lines: list[DiffLine] = []
    for group in matcher.get_grouped_opcodes(context):
        if lines or group[0][1] > 0:
            lines.append(DiffLine("gap", None, None, ""))
        for tag, first, last, new_first, new_last in group:
            if tag == "equal":
                lines += [
                    DiffLine("same", first + n + 1, new_first + n + 1, before[first + n])
                    for n in range(last - first)
                ]
                continue
            lines += [DiffLine("gone", n + 1, None, before[n]) for n in range(first, last)]
            lines += [DiffLine("new", None, n + 1, after[n]) for n in range(new_first, new_last)]
    gone = sum(line.kind == "gone" for line in lines)
    return PartDiff(part, gone, sum(line.kind == "new" for line in lines), lines)


def _add(
    db: Database,
    name: str,
    parts: Mapping[str, str],
    *,
    actor: str,
    action: str,
    details: Mapping[str, object],
) -> TemplateVersion:
    row = db.execute(
        _SETTINGS["add_template"], {"name": name, "parts": Jsonb(dict(parts)), "actor": actor}
    ).fetchone()
    assert row is not None
    audit.record(db, actor=actor, action=action, subject=f"template {name}", details=dict(details))
    return settings_service.template_version(db, row["id"])
