"""Settings and templates: immutable versions; the newest is the one in force."""

import datetime
from dataclasses import dataclass
from typing import Any

from psycopg.rows import DictRow
from psycopg.types.json import Jsonb

from invoicing.db import audit
from invoicing.db.connection import Database
from invoicing.db.statements import load
from invoicing.domain.errors import InputError, NotFoundError, StaleEditError
from invoicing.domain.settings import Settings
from invoicing.rendering.templates import SHIPPED_FOLDER, Template, load_shipped, shipped_names
from invoicing.rendering.validation import validate_subject

_SQL = load("settings")
_INSTALLATION = "installation"


@dataclass(frozen=True, slots=True)
class SettingsVersion:
    """One version of the settings, and who made it."""

    id: int
    settings: Settings
    actor: str
    created_at: datetime.datetime


@dataclass(frozen=True, slots=True)
class TemplateVersion:
    """One version of a template, and who made it."""

    id: int
    template: Template
    actor: str
    created_at: datetime.datetime


def current_settings(db: Database) -> SettingsVersion:
    """The settings in force; a new installation gets its first version: everything off."""
    row = db.execute(_SQL["current_settings"]).fetchone()
    if row is None:
        with db.transaction():
            db.execute(_SQL["lock_settings"])
            row = db.execute(_SQL["current_settings"]).fetchone() or _add_settings(
                db, Settings(), _INSTALLATION
            )
    return _settings_version(row)


def settings_version(db: Database, version_id: int) -> SettingsVersion:
    """An earlier version; raises `NotFoundError`."""
    row = db.execute(_SQL["settings_version"], {"id": version_id}).fetchone()
    if row is None:
        raise NotFoundError(f"there is no settings version {version_id}")
    return _settings_version(row)


def settings_history(db: Database, limit: int = 100) -> list[SettingsVersion]:
    """The newest ``limit`` versions, newest first."""
    return [_settings_version(row) for row in db.execute(_SQL["settings_versions"], {"limit": limit})]


def change_settings(
    db: Database, changes: dict[str, Any], *, actor: str, seen_version: int | None = None
) -> SettingsVersion:
    """Make a new version with ``changes``; no change makes no version.

    Args:
        changes: Setting to its new value, as typed or as JSON.
        actor: Who is asking, kept with the version.
        seen_version: The version that the person had before them; a newer one made meanwhile by somebody
            else is not overwritten.

    Raises:
        InputError: An unknown setting or value, or somebody else saved in between. Nothing is changed.
    """
    with db.transaction():
        db.execute(_SQL["lock_settings"])
        before = current_settings(db)
        if seen_version is not None and seen_version != before.id:
            raise StaleEditError(
                f"settings not changed: {before.actor} saved version {before.id} in the meantime; "
                "look at it, then save again"
            )
        after = before.settings.changed(changes)
        if after == before.settings:
            return before
        template = current_template(db, after.template).template
        if after.subject and after.subject != before.settings.subject:
            _check_subject(after, template)
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


def current_template(db: Database, name: str) -> TemplateVersion:
    """The newest version of template ``name``; a shipped one is taken over when it is first asked for.

    Raises:
        InputError: No such template.
    """
    row = db.execute(_SQL["current_template"], {"name": name}).fetchone()
    shipped = load_shipped(name) if name in shipped_names() else None
    if row is None and shipped is None:
        raise InputError(f"there is no template {name!r}; known are {', '.join(template_names(db))}")
    # An upgrade's new shipped text becomes a new version, unless somebody here has made their own since.
    if shipped and (row is None or (row["actor"] == _INSTALLATION and row["parts"] != dict(shipped.parts))):
        with db.transaction():
            db.execute(_SQL["lock_templates"])
            row = db.execute(_SQL["current_template"], {"name": name}).fetchone()
            if row is None or (row["actor"] == _INSTALLATION and row["parts"] != dict(shipped.parts)):
                row = db.execute(
                    _SQL["add_template"],
                    {"name": name, "parts": Jsonb(dict(shipped.parts)), "actor": _INSTALLATION},
                ).fetchone()
    assert row is not None
    return _template_version(row)


def template_version(db: Database, version_id: int) -> TemplateVersion:
    """A version by its id, as a run or a delivery keeps it; raises `NotFoundError`."""
    row = db.execute(_SQL["template_version"], {"id": version_id}).fetchone()
    if row is None:
        raise NotFoundError(f"there is no template version {version_id}")
    return _template_version(row)


def template_names(db: Database) -> list[str]:
    """Templates that can be chosen: the shipped ones and those made here."""
    made_here = {row["name"] for row in db.execute(_SQL["template_names"])}
    return sorted(made_here | set(shipped_names()))


def _check_subject(settings: Settings, template: Template) -> None:
    problems = [str(p) for p in validate_subject(settings.subject, template) if not p.is_warning]
    if problems:
        raise InputError("settings not changed: " + "; ".join(problems))


def _add_settings(db: Database, settings: Settings, actor: str) -> DictRow:
    row = db.execute(
        _SQL["add_settings"], {"settings": Jsonb(settings.model_dump()), "actor": actor}
    ).fetchone()
    assert row is not None
    return row


def _settings_version(row: DictRow) -> SettingsVersion:
    # A version kept by older code lacks the newer settings: they have their defaults.
    return SettingsVersion(row["id"], Settings(**row["settings"]), row["actor"], row["created_at"])


def _template_version(row: DictRow) -> TemplateVersion:
    folder = SHIPPED_FOLDER / row["name"] if row["name"] in shipped_names() else None
    template = Template(row["name"], row["version"], row["parts"], folder)
    return TemplateVersion(row["id"], template, row["actor"], row["created_at"])


def _short(value: object) -> object:
    text = str(value)
    return value if len(text) <= 500 else f"{text[:200]}… ({len(text)} characters)"
