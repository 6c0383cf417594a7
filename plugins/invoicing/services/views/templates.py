"""Templates as people look at them: all of them, the versions of one, and how two versions differ."""

import datetime
import difflib
import hashlib
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from invoicing.db.connection import Database
from invoicing.db.statements import beside, fetch_all
from invoicing.rendering.fields import SENTENCES, TemplateFields
from invoicing.rendering.templates import PARTS, Template, shipped_names
from invoicing.services.agency.settings import current_settings

_SQL = beside(__file__)

FIELDS_PART = "fields"
"""How a comparison names what stands beside the parts."""

_MOST_LINES_COMPARED = 6_000
# A third of a second. Texts can be made whose comparison takes time that grows with the third power of their length.
_MOST_STEPS = 2_000_000
_VERSIONS_SHOWN = 200


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
    in_use = current_settings(db).settings.template
    kept = {row["name"]: row for row in db.execute(_SQL["newest_versions"])}
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


def versions_of(db: Database, name: str) -> list[VersionSummary]:
    """Who saved which version, and when; newest first."""
    return fetch_all(db, VersionSummary, _SQL["versions_of"], {"name": name, "limit": _VERSIONS_SHOWN})


def compare_parts(before: Mapping[str, str], after: Mapping[str, str], context: int = 3) -> list[PartDiff]:
    """The parts that are not the same, line by line with ``context`` lines around each change."""
    return [
        _compare(part, before[part].splitlines(), after[part].splitlines(), context)
        for part in PARTS
        if before[part] != after[part]
    ]


def compare(before: Template, after: Template) -> list[PartDiff]:
    """How two versions differ: first their fields, then each part that is not the same."""
    differing = compare_parts(before.parts, after.parts)
    if before.fields == after.fields:
        return differing
    return [_compare(FIELDS_PART, field_lines(before.fields), field_lines(after.fields), 0), *differing]


def field_lines(kept: TemplateFields) -> list[str]:
    """The fields that are not empty, a line of text each; the logo by its size and the start of its SHA-256."""
    lines = [
        f"{name}.{language}: {line}"
        for name in SENTENCES
        for language in ("es", "en")
        for line in kept.sentence(name).in_language(language).splitlines()
    ]
    if kept.colour:
        lines.append(f"colour: {kept.colour}")
    if kept.logo:
        digest = hashlib.sha256(kept.logo.encode()).hexdigest()[:16]
        lines.append(f"logo: {kept.logo.partition(';')[0].removeprefix('data:')}, {len(kept.logo)}, {digest}")
    return lines


class _TooMuchWorkError(Exception):
    """Two texts take too long to be compared line by line."""


class _Matcher(difflib.SequenceMatcher[str]):
    """Compares two lists of lines in a bounded number of steps; raises `_TooMuchWorkError` beyond it."""

    def __init__(self, before: list[str], after: list[str]) -> None:
        super().__init__(None, before, after, autojunk=True)
        self._steps_left = _MOST_STEPS
        # Of all lines up to each: what looking for them takes, one step and one more a place where the line stands.
        index: Mapping[str, Sequence[int]] = self.b2j  # type: ignore[attr-defined]  # not in typeshed
        places = (1 + len(index.get(line, ())) for line in before)
        self._steps = list(itertools.accumulate(places, initial=0))

    def find_longest_match(
        self, alo: int = 0, ahi: int | None = None, blo: int = 0, bhi: int | None = None
    ) -> difflib.Match:
        """As difflib's, while there are steps left."""
        self._steps_left -= self._steps[-1 if ahi is None else ahi] - self._steps[alo]
        if self._steps_left < 0:
            raise _TooMuchWorkError
        return super().find_longest_match(alo, ahi, blo, bhi)


def _compare(part: str, before: list[str], after: list[str], context: int) -> PartDiff:
    if len(before) + len(after) > _MOST_LINES_COMPARED:
        return PartDiff(part, len(before), len(after), None)
    try:
        groups = list(_Matcher(before, after).get_grouped_opcodes(context))
    except _TooMuchWorkError:
        return PartDiff(part, len(before), len(after), None)
    lines: list[DiffLine] = []
    for group in groups:
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
