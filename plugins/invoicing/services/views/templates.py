"""Templates as people look at them: all of them, the versions of one, and how two versions differ."""

import datetime
import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from invoicing.db.connection import Database
from invoicing.db.statements import beside, fetch_all
from invoicing.rendering.templates import PARTS, shipped_names
from invoicing.services.agency.settings import current_settings

_SQL = beside(__file__)

# A comparison takes time that grows with the product of both lengths.
_MOST_LINES_COMPARED = 6_000
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
