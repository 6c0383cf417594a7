"""The JSON API of the settings."""

import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Body, Query
from pydantic import BaseModel, Field

from invoicing.domain.errors import InputError
from invoicing.services.agency import settings
from invoicing.services.agency.settings import SettingsVersion
from invoicing.services.agency.templates import current_template
from invoicing.services.views import preview
from invoicing.web.api.subject import SubjectReport, check_subject
from invoicing.web.database import DatabaseDep, PoolDep
from invoicing.web.door.duties import Duty, needs
from invoicing.web.door.turns import EXPENSIVE
from invoicing.web.door.visitor import VisitorDep
from invoicing.web.html.settings_form import examine
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
@needs(Duty.READ_AMOUNTS)
def get_settings(db: DatabaseDep) -> SettingsAnswer:
    """The settings in force."""
    return _answer(settings.current_settings(db))


@router.patch("/settings", dependencies=[EXPENSIVE])
@needs(Duty.CHANGE_SETTINGS)
def patch_settings(
    pool: PoolDep,
    visitor: VisitorDep,
    changes: Annotated[dict[Name, Any], Body()],
    seen_version: Annotated[int | None, Query(description="The version that was read")] = None,
) -> SettingsAnswer:
    """Make a new version with the changes; no change makes none."""
    with pool.connection() as db:
        before = settings.current_settings(db)
    found = examine(pool.connection, before.settings, changes)
    if found.problems:
        raise InputError(
            "fields_wrong",
            problems=[
                Fault("field_wrong", field=field, problem=fault) for field, fault in found.problems.items()
            ],
        )
    with pool.connection() as db:
        return _answer(
            settings.change_settings(
                db,
                changes,
                actor=visitor.actor,
                seen_version=seen_version,
                proven_with=found.proven_with,
            )
        )


@router.post("/settings/subject-check", dependencies=[EXPENSIVE])
@needs(Duty.CHANGE_SETTINGS)
def post_subject(pool: PoolDep, draft: SubjectDraft) -> SubjectReport:
    """The problems of a subject line, and how it would read. Changes nothing."""
    with pool.connection() as db:
        template = current_template(db, draft.template).template
        samples = {language: preview.gather(db, language=language).mail for language in ("es", "en")}
    return check_subject(draft.subject, template, samples)


def _answer(version: SettingsVersion) -> SettingsAnswer:
    return SettingsAnswer(
        version=version.id,
        actor=version.actor,
        created_at=version.created_at,
        settings=version.settings.model_dump(),
    )
