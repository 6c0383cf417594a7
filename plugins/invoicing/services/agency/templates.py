"""Templates: immutable versions of each; the newest is the one in force."""

import datetime
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from psycopg.types.json import Jsonb

from invoicing.db.connection import Database
from invoicing.db.statements import beside, fetch_one
from invoicing.domain.errors import InputError, NotFoundError
from invoicing.rendering.fields import TemplateFields
from invoicing.rendering.templates import SHIPPED_FOLDER, Template, load_shipped, shipped_names

_SQL = beside(__file__)
_LARGEST_NUMBER = 2**31 - 1

INSTALLATION = "installation"
"""Who made the versions that came with the code."""

NAME_PATTERN = "[a-z0-9][a-z0-9_-]{0,39}"


@dataclass(frozen=True, slots=True)
class TemplateVersion:
    """One version of a template, and who made it."""

    id: int
    template: Template
    actor: str
    created_at: datetime.datetime


@dataclass(frozen=True, slots=True)
class _Row:
    id: int
    name: str
    version: int
    parts: Mapping[str, str]
    fields: Mapping[str, Any]
    actor: str
    created_at: datetime.datetime

    def is_older_than(self, shipped: Template) -> bool:
        """Whether the row is an earlier shipped text, which nobody here has made their own."""
        kept = (self.parts, TemplateFields.from_json(self.fields))
        return self.actor == INSTALLATION and kept != (dict(shipped.parts), shipped.fields)

    def as_version(self) -> TemplateVersion:
        folder = SHIPPED_FOLDER / self.name if self.name in shipped_names() else None
        fields = TemplateFields.from_json(self.fields)
        template = Template(self.name, self.version, self.parts, folder, fields)
        return TemplateVersion(self.id, template, self.actor, self.created_at)


def current_template(db: Database, name: str) -> TemplateVersion:
    """The newest version of template ``name``; a shipped one is taken over when it is first asked for.

    Raises:
        InputError: No such template.
    """
    row = fetch_one(db, _Row, _SQL["current_template"], {"name": name})
    shipped = load_shipped(name) if name in shipped_names() else None
    if row is None and shipped is None:
        raise InputError("template_not_among", template=name, known=", ".join(template_names(db)))
    # An upgrade's new shipped text becomes a new version, unless somebody here has made their own since.
    if shipped and (row is None or row.is_older_than(shipped)):
        with db.transaction():
            lock_templates(db)
            row = fetch_one(db, _Row, _SQL["current_template"], {"name": name})
            if row is None or row.is_older_than(shipped):
                return add_version(db, name, shipped, actor=INSTALLATION)
    assert row is not None
    return row.as_version()


def show_template(db: Database, name: str) -> TemplateVersion:
    """The version in force; raises `NotFoundError`."""
    if not re.fullmatch(NAME_PATTERN, name):
        raise NotFoundError("template_unknown", template=name)
    try:
        return current_template(db, name)
    except InputError as error:
        raise NotFoundError(error.code, **error.values) from None


def show_version(db: Database, name: str, version: int) -> TemplateVersion:
    """An earlier version; raises `NotFoundError`."""
    which = {"name": name, "version": min(version, _LARGEST_NUMBER)}
    row = fetch_one(db, _Row, _SQL["version_by_number"], which)
    if row is None:
        raise NotFoundError("template_has_no_such_version", template=name, version=version)
    return row.as_version()


def template_version(db: Database, version_id: int) -> TemplateVersion:
    """A version by its id, as a run or a delivery keeps it; raises `NotFoundError`."""
    row = fetch_one(db, _Row, _SQL["version_by_id"], {"id": version_id})
    if row is None:
        raise NotFoundError("template_version_unknown", version=version_id)
    return row.as_version()


def template_names(db: Database) -> list[str]:
    """Templates that can be chosen: the shipped ones and those made here."""
    made_here = {row["name"] for row in db.execute(_SQL["template_names"])}
    return sorted(made_here | set(shipped_names()))


def lock_templates(db: Database) -> None:
    """Let nobody else add a version until the caller's transaction ends."""
    db.execute(_SQL["lock_templates"])


def add_version(db: Database, name: str, made: Template, *, actor: str) -> TemplateVersion:
    """Make the parts and fields of ``made`` the newest version of template ``name``.

    In the caller's transaction, which holds the lock.
    """
    written = {
        "name": name,
        "parts": Jsonb(dict(made.parts)),
        "fields": Jsonb(made.fields.to_json()),
        "actor": actor,
    }
    row = fetch_one(db, _Row, _SQL["add_version"], written)
    assert row is not None
    return row.as_version()
