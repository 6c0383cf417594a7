"""The JSON API of the settings."""

import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Body, Query
from pydantic import BaseModel, Field

from invoicing.domain.errors import InputError
from invoicing.services.agency import settings
from invoicing.services.agency.settings import SettingsVersion
from invoicing.web.api.subject import SubjectReport, check_subject
from invoicing.web.database import DatabaseDep
from invoicing.web.door.visitor import VisitorDep
from invoicing.web.html.settings_form import find_problems
from invoicing.words.failures import Fault

router = APIRouter()

Name = Annotated[str, Field(max_length=100)]
"""Of a setting, if there is one: what is none is quoted in the refusal."""


class SettingsAnswer(BaseModel):
    """A version of the settings."""

    version: int
    actor: str
    created_at: datetime.datetime
    settings: dict[str, Any]


class SubjectDraft(BaseModel):
    """A subject line as it is being typed."""

    subject: str = Field(max_length=20_000)
    template: str = "default"


@router.get("/settings")
def get_settings(db: DatabaseDep) -> SettingsAnswer:
    """The settings in force."""
    return _answer(settings.current_settings(db))


@router.patch("/settings")
def patch_settings(
    db: DatabaseDep,
    visitor: VisitorDep,
    changes: Annotated[dict[Name, Any], Body()],
    seen_version: Annotated[int | None, Query(description="The version that was read")] = None,
) -> SettingsAnswer:
    """Make a new version with the changes; no change makes none."""
    before = settings.current_settings(db)
    problems = find_problems(db, before.settings, changes)
    if problems:
        raise InputError(
            "fields_wrong",
            problems=[Fault("field_wrong", field=field, problem=fault) for field, fault in problems.items()],
        )
    return _answer(settings.change_settings(db, changes, actor=visitor.actor, seen_version=seen_version))


@router.post("/settings/subject-check")
def post_subject(db: DatabaseDep, draft: SubjectDraft) -> SubjectReport:
    """The problems of a subject line, and how it would read. Changes nothing."""
    return check_subject(db, draft.subject, draft.template)


def _answer(version: SettingsVersion) -> SettingsAnswer:
    return SettingsAnswer(
        version=version.id,
        actor=version.actor,
        created_at=version.created_at,
        settings=version.settings.model_dump(),
    )
