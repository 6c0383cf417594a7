"""What became of the settings over time: each version, who made it, and how it differs from the one before."""

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from invoicing.db.connection import Database
from invoicing.db.statements import beside
from invoicing.domain.settings import Settings

_SQL = beside(__file__)
_NEWEST = 2**62


@dataclass(frozen=True, slots=True)
class Difference:
    """One setting that changed."""

    key: str
    before: Any
    after: Any


@dataclass(frozen=True, slots=True)
class SettingsChange:
    """One version of the settings.

    Args:
        differences: From the version before; empty for the first one.
        periods: Of the cycles whose runs used this version.
    """

    id: int
    actor: str
    created_at: datetime.datetime
    differences: Sequence[Difference]
    periods: Sequence[str]


def settings_changes(db: Database, *, limit: int = 20, newest: int | None = None) -> list[SettingsChange]:
    """Versions, newest first, from ``newest`` (a version's id) downwards. A long logo is shortened."""
    rows = db.execute(
        _SQL["settings_changes"], {"limit": limit, "newest": _NEWEST if newest is None else newest}
    )
    return [
        SettingsChange(
            row["id"],
            row["actor"],
            row["created_at"],
            differences(row["before"], row["settings"]) if row["before"] is not None else (),
            row["periods"] or (),
        )
        for row in rows
    ]


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Difference]:
    """The settings that are not the same, in their usual order.

    A version kept by older code lacks the newer settings: they had their defaults.
    """
    defaults = Settings().model_dump()
    was, now = defaults | dict(before), defaults | dict(after)
    return [Difference(key, was[key], now[key]) for key in now if was.get(key) != now[key]]
