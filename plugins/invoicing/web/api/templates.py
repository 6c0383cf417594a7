"""The JSON API of templates."""

import datetime
from typing import Any, Literal

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from invoicing.rendering.templates import PARTS
from invoicing.services.agency import template_editing, templates
from invoicing.services.agency.templates import TemplateVersion
from invoicing.services.views.templates import list_templates, versions_of
from invoicing.web.database import DatabaseDep
from invoicing.web.door.duties import Duty, needs
from invoicing.web.door.visitor import VisitorDep
from invoicing.web.html.i18n import Translator
from invoicing.web.html.template_problems import in_words

router = APIRouter()


class Parts(BaseModel):
    """The text of every part."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    mail_html: str = Field(alias="mail.html")
    mail_txt: str = Field(alias="mail.txt")
    invoice_html: str = Field(alias="invoice.html")
    invoice_css: str = Field(alias="invoice.css")

    def by_name(self) -> dict[str, str]:
        """Part to text."""
        given = self.model_dump(by_alias=True)
        return {
            part: given[part].replace("\r\n", "\n").replace("\0", "\N{REPLACEMENT CHARACTER}")
            for part in PARTS
        }


class Draft(BaseModel):
    """A text that is not saved yet."""

    parts: Parts
    language: Literal["es", "en"] = Field("en", description="Of the messages")


class NewTemplate(BaseModel):
    """A template to be made out of another one."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(max_length=200)
    source: str = Field("default", max_length=200)


class NewVersion(BaseModel):
    """A version to be saved."""

    model_config = ConfigDict(extra="forbid")

    parts: Parts
    seen_version: int = Field(description="The version that was read; a newer one is not overwritten")


class Restoration(BaseModel):
    """An earlier version to be brought back."""

    model_config = ConfigDict(extra="forbid")

    seen_version: int = Field(description="The version in force that was read")


class TemplateAnswer(BaseModel):
    """A version of a template."""

    name: str
    version: int
    actor: str
    created_at: datetime.datetime
    parts: dict[str, str]


class ProblemAnswer(BaseModel):
    """Something wrong with a template; ``line`` is counted from 1."""

    part: str
    line: int | None
    message: str
    is_warning: bool


class CheckAnswer(BaseModel):
    """What a check found; without an error among it the text can be saved."""

    problems: list[ProblemAnswer]


@router.get("/templates")
@needs(Duty.READ_AMOUNTS)
def get_templates(db: DatabaseDep) -> list[dict[str, Any]]:
    """Every template, its version in force, and whether the settings use it."""
    return [
        {
            "name": each.name,
            "shipped": each.is_shipped,
            "version": each.version,
            "versions": each.versions,
            "actor": each.actor or None,
            "created_at": each.created_at,
            "in_use": each.in_use,
        }
        for each in list_templates(db)
    ]


@router.post("/templates", status_code=201)
@needs(Duty.CHANGE_SETTINGS)
def post_template(db: DatabaseDep, visitor: VisitorDep, new: NewTemplate) -> TemplateAnswer:
    """Make a template out of another one."""
    return _answer(template_editing.create_template(db, new.name, new.source, actor=visitor.actor))


@router.get("/templates/{name}")
@needs(Duty.READ_AMOUNTS)
def get_template(db: DatabaseDep, name: str) -> TemplateAnswer:
    """The version in force."""
    return _answer(templates.show_template(db, name))


@router.put("/templates/{name}")
@needs(Duty.CHANGE_SETTINGS)
def put_template(db: DatabaseDep, visitor: VisitorDep, name: str, new: NewVersion) -> TemplateAnswer:
    """Save a new version; no change makes none."""
    return _answer(
        template_editing.save_template(
            db, name, new.parts.by_name(), seen_version=new.seen_version, actor=visitor.actor
        )
    )


@router.post("/templates/{name}/check")
@needs(Duty.CHANGE_SETTINGS)
def post_check(db: DatabaseDep, name: str, draft: Draft) -> CheckAnswer:
    """What is wrong with a text, by part and line. Changes nothing; takes about a second."""
    t = Translator(draft.language)
    found = template_editing.check_parts(draft.parts.by_name(), templates.show_template(db, name))
    return CheckAnswer(
        problems=[
            ProblemAnswer(
                part=each.part, line=each.line, message=t.text(each.text), is_warning=each.is_warning
            )
            for each in in_words(found)
        ]
    )


@router.get("/templates/{name}/versions")
@needs(Duty.READ_AMOUNTS)
def get_versions(db: DatabaseDep, name: str) -> list[dict[str, Any]]:
    """Who saved which version and when, newest first; ``cycles``: of the latest that used it."""
    templates.show_template(db, name)
    return [
        {
            "version": each.version,
            "actor": each.actor,
            "created_at": each.created_at,
            "cycles": list(each.periods),
        }
        for each in versions_of(db, name)
    ]


@router.get("/templates/{name}/versions/{version}")
@needs(Duty.READ_AMOUNTS)
def get_version(db: DatabaseDep, name: str, version: int) -> TemplateAnswer:
    """An earlier version."""
    return _answer(templates.show_version(db, name, version))


@router.post("/templates/{name}/versions/{version}/restore")
@needs(Duty.CHANGE_SETTINGS)
def post_restore(
    db: DatabaseDep, visitor: VisitorDep, name: str, version: int, order: Restoration
) -> TemplateAnswer:
    """Save an earlier version's text as the newest."""
    return _answer(
        template_editing.restore_version(
            db, name, version, seen_version=order.seen_version, actor=visitor.actor
        )
    )


def _answer(version: TemplateVersion) -> TemplateAnswer:
    return TemplateAnswer(
        name=version.template.name,
        version=version.template.version,
        actor=version.actor,
        created_at=version.created_at,
        parts=dict(version.template.parts),
    )
