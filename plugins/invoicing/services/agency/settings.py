"""The agency's settings: immutable versions; the newest is the one in force."""

import datetime
from dataclasses import dataclass
from typing import Any

from psycopg.rows import DictRow
from psycopg.types.json import Jsonb

from invoicing.db import audit
from invoicing.db.connection import Database
from invoicing.db.statements import beside
from invoicing.domain.errors import InputError, NotFoundError, StaleEditError
from invoicing.domain.settings import Settings
from invoicing.rendering.templates import Template
from invoicing.rendering.validation import validate_subject
from invoicing.services.agency.logo import fit_logo
from invoicing.services.agency.templates import INSTALLATION, current_template

_SQL = beside(__file__)


@dataclass(frozen=True, slots=True)
class SettingsVersion:
    """One version of the settings, and who made it."""

    id: int
    settings: Settings
    actor: str
    created_at: datetime.datetime


def current_settings(db: Database) -> SettingsVersion:
    """The settings in force; a new installation gets its first version: everything off."""
    row = db.execute(_SQL["current_settings"]).fetchone()
    if row is None:
        with db.transaction():
            db.execute(_SQL["lock_settings"])
            row = db.execute(_SQL["current_settings"]).fetchone() or _add_settings(
                db, Settings(), INSTALLATION
            )
    return _settings_version(row)


class VersionsInForce:
    """Ids of the settings and of the template in force, for who asks again and again: both are read when one is new."""

    def __init__(self) -> None:
        self._newest: DictRow | None = None
        self._in_force = (0, 0)

    def ask(self, db: Database) -> tuple[int, int]:
        """Ids of the newest settings and of the version of their template that is in force."""
        newest = db.execute(_SQL["newest_versions"]).fetchone()
        if newest is None or newest != self._newest:
            settings = current_settings(db)
            self._in_force = (settings.id, current_template(db, settings.settings.template).id)
            self._newest = newest
        return self._in_force


class SettingsVersions:
    """Versions of the settings, each read once: a version never changes."""

    def __init__(self) -> None:
        self._read: dict[int, Settings] = {}

    def find(self, db: Database, version_id: int) -> Settings:
        """The settings as they were; raises `NotFoundError`."""
        if version_id not in self._read:
            self._read[version_id] = settings_version(db, version_id).settings
        return self._read[version_id]


def settings_version(db: Database, version_id: int) -> SettingsVersion:
    """An earlier version; raises `NotFoundError`."""
    row = db.execute(_SQL["settings_version"], {"id": version_id}).fetchone()
    if row is None:
        raise NotFoundError("settings_version_unknown", version=version_id)
    return _settings_version(row)


def change_settings(
    db: Database,
    changes: dict[str, Any],
    *,
    actor: str,
    seen_version: int | None = None,
    proven_with: int | None = None,
) -> SettingsVersion:
    """Make a new version with ``changes``; no change makes no version.

    Args:
        changes: Setting to its new value, as typed or as JSON.
        actor: Who is asking, kept with the version.
        seen_version: The version that the person had before them; a newer one made meanwhile by somebody
            else is not overwritten.
        proven_with: Id of the template version that the caller has tried the new subject with: it is not tried again
            while everybody else waits for the settings.

    Raises:
        StaleEditError: Somebody else saved in between.
        LogoError: The picture is no logo.
        InputError: An unknown setting or value. Nothing is changed.
    """
    # Outside of the lock: it takes as long as the picture takes to draw.
    changes = _with_fitting_logo(current_settings(db).settings, changes)
    with db.transaction():
        db.execute(_SQL["lock_settings"])
        before = current_settings(db)
        if seen_version is not None and seen_version != before.id:
            raise StaleEditError("settings_changed_meanwhile", actor=before.actor, version=before.id)
        after = before.settings.changed(changes)
        if after == before.settings:
            return before
        template = current_template(db, after.template)
        if after.subject and after.subject != before.settings.subject and template.id != proven_with:
            _check_subject(after, template.template)
        row = _add_settings(db, after, actor)
        audit.record(
            db,
            actor=actor,
            action="settings_changed",
            subject=f"settings version {row['id']}",
            details={
                key: {"before": _short(was), "after": _short(value)}
                for key, value in after.model_dump().items()
                if value != (was := getattr(before.settings, key))
            },
        )
    return _settings_version(row)


def _with_fitting_logo(before: Settings, changes: dict[str, Any]) -> dict[str, Any]:
    """The changes with a new logo in the form in which it is kept; one that is kept already was fit when it came."""
    logo = changes.get("agency_logo")
    if not isinstance(logo, str) or not logo.startswith("data:image/") or logo == before.agency_logo:
        return changes
    return {**changes, "agency_logo": fit_logo(logo)}


def _check_subject(settings: Settings, template: Template) -> None:
    found = [each.in_place for each in validate_subject(settings.subject, template) if not each.is_warning]
    if found:
        raise InputError("settings_refused", problems=found)


def _add_settings(db: Database, settings: Settings, actor: str) -> DictRow:
    row = db.execute(
        _SQL["add_settings"], {"settings": Jsonb(settings.model_dump()), "actor": actor}
    ).fetchone()
    assert row is not None
    return row


def _settings_version(row: DictRow) -> SettingsVersion:
    # A version kept by older code lacks the newer settings: they have their defaults.
    return SettingsVersion(row["id"], Settings(**row["settings"]), row["actor"], row["created_at"])


def _short(value: object) -> object:
    text = str(value)
    return value if len(text) <= 500 else f"{text[:200]}… ({len(text)} characters)"
