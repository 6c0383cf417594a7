"""The JSON API of templates."""

import datetime
from dataclasses import replace
from typing import Any, Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field

from invoicing.db.connection import Database
from invoicing.domain.errors import InputError, WorkFailedError
from invoicing.domain.period import Period
from invoicing.mail.message import UnsafeMessageError
from invoicing.mail.transmission import Verdict
from invoicing.rendering.errors import RenderFailedError
from invoicing.rendering.fields import SENTENCES, Sentence, TemplateFields
from invoicing.rendering.templates import PARTS, Template
from invoicing.services.agency import template_editing, templates
from invoicing.services.agency.templates import TemplateVersion
from invoicing.services.views import preview
from invoicing.services.views.templates import list_templates, versions_of
from invoicing.services.views.trials import show_trials
from invoicing.web.database import DatabaseDep, PoolDep
from invoicing.web.door.duties import Duty, needs
from invoicing.web.door.turns import EXPENSIVE
from invoicing.web.door.visitor import VisitorDep
from invoicing.web.html.i18n import Translator
from invoicing.web.html.template_problems import in_words
from invoicing.web.trial import send_trial

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


class SentenceBody(BaseModel):
    """A sentence in both languages."""

    model_config = ConfigDict(extra="forbid")

    es: str
    en: str

    def sentence(self) -> Sentence:
        """As a template keeps it."""
        return Sentence(_plain(self.es), _plain(self.en))


class Fields(BaseModel):
    """What stands beside the code; a field that is left out stays as it is."""

    model_config = ConfigDict(extra="forbid")

    greeting: SentenceBody | None = None
    opening: SentenceBody | None = Field(None, description="Of a message with one invoice")
    opening_several: SentenceBody | None = Field(None, description="Of one with more")
    payment_note: SentenceBody | None = None
    closing: SentenceBody | None = None
    invoice_note: SentenceBody | None = Field(None, description="On the PDF")
    colour: str | None = Field(None, description="#rrggbb, to be read on white")
    logo: str | None = Field(None, description="A data: URI (PNG, JPEG, SVG); empty: the agency's")

    def over(self, kept: TemplateFields) -> TemplateFields:
        """``kept`` with what was sent."""
        sentences = {name: body.sentence() for name in SENTENCES if (body := getattr(self, name)) is not None}
        colour = kept.colour if self.colour is None else self.colour.strip().lower()
        logo = kept.logo if self.logo is None else self.logo
        return replace(kept, **sentences, colour=colour, logo=logo)


def _plain(text: str) -> str:
    return text.replace("\r\n", "\n").strip()


class Draft(BaseModel):
    """A text that is not saved yet."""

    parts: Parts
    fields: Fields = Fields()
    language: Literal["es", "en"] = Field("en", description="Of the messages")


class NewTemplate(BaseModel):
    """A template to be made out of another one."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(max_length=200)
    source: str = Field("default", max_length=200)


class NewVersion(BaseModel):
    """A version to be saved."""

    model_config = ConfigDict(extra="forbid")

    parts: Parts | None = Field(None, description="The code; left out, it stays as it is")
    fields: Fields = Fields()
    seen_version: int = Field(description="The version that was read; a newer one is not overwritten")


class Restoration(BaseModel):
    """An earlier version to be brought back."""

    model_config = ConfigDict(extra="forbid")

    seen_version: int = Field(description="The version in force that was read")


class TrialOrder(BaseModel):
    """A test message to be sent."""

    model_config = ConfigDict(extra="forbid")

    to: str = Field(max_length=400, description="One's own address, or one of the setting test_domains")
    parts: Parts | None = Field(None, description="A text that is not saved yet; else the version in force")
    fields: Fields = Fields()
    tenant: str = Field("", max_length=100, description="Whose invoices; empty: sample data")
    period: str = Field("", max_length=10)
    language: Literal["", "es", "en"] = Field("", description="Of the message; empty: the tenant's")


class TrialAnswer(BaseModel):
    """What became of a test message: ``accepted``, or ``in_doubt``; what was refused is an error."""

    verdict: Verdict
    code: int | None
    reply: str


class TrialRow(BaseModel):
    """A test message as it was written down; ``unknown`` also where the server ended before it learnt."""

    asked_at: datetime.datetime
    actor: str
    to: str
    version: int
    outcome: Literal["accepted", "refused", "not_sent", "unknown"]
    code: int | None
    reply: str | None


class TemplateAnswer(BaseModel):
    """A version of a template."""

    name: str
    version: int
    actor: str
    created_at: datetime.datetime
    parts: dict[str, str]
    fields: dict[str, Any]
    fields_in_use: list[str] = Field(description="Those that the code prints")


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


@router.put("/templates/{name}", dependencies=[EXPENSIVE])
@needs(Duty.CHANGE_SETTINGS)
def put_template(pool: PoolDep, visitor: VisitorDep, name: str, new: NewVersion) -> TemplateAnswer:
    """Save a new version; no change makes none."""
    with pool.connection() as db:
        kept = templates.show_template(db, name).template.fields
    return _answer(
        template_editing.save_template(
            pool.connection,
            name,
            None if new.parts is None else new.parts.by_name(),
            new.fields.over(kept),
            seen_version=new.seen_version,
            actor=visitor.actor,
        )
    )


@router.post("/templates/{name}/check", dependencies=[EXPENSIVE])
@needs(Duty.CHANGE_SETTINGS)
def post_check(pool: PoolDep, name: str, draft: Draft) -> CheckAnswer:
    """What is wrong with a text, by part and line. Changes nothing; takes about a second."""
    t = Translator(draft.language)
    with pool.connection() as db:
        current = templates.show_template(db, name)
    typed = _draft(current.template, draft.parts, draft.fields)
    found = template_editing.check(typed)
    return CheckAnswer(
        problems=[
            ProblemAnswer(
                part=each.part, line=each.line, message=t.text(each.text), is_warning=each.is_warning
            )
            for each in in_words(found)
        ]
    )


@router.post("/templates/{name}/test", dependencies=[EXPENSIVE])
@needs(Duty.CHANGE_SETTINGS)
def post_test(
    request: Request, pool: PoolDep, visitor: VisitorDep, name: str, order: TrialOrder
) -> TrialAnswer:
    """Send a test message. It is written down before it leaves; 429 where the tests of the hour are used up."""
    with pool.connection() as db:
        current = templates.show_template(db, name)
    typed = _draft(current.template, order.parts, order.fields)
    draft = template_editing.fit(typed, current.template)
    month = Period.parse(order.period) if order.period else None

    def gather(db: Database) -> preview.Documents:
        return preview.gather(db, order.tenant, month, order.language)

    try:
        outcome = send_trial(
            request, pool.connection, visitor, draft, current.id, order.tenant, gather, order.to.strip()
        )
    except (RenderFailedError, UnsafeMessageError) as error:
        raise InputError("trial_not_sent", reason=error) from None
    said = f"{outcome.code or ''} {outcome.reply}".strip()
    if outcome.verdict in (Verdict.REFUSED_PERMANENTLY, Verdict.REFUSED_TEMPORARILY):
        raise InputError("trial_not_sent", reason=said)
    if outcome.verdict is Verdict.NOT_SENT:
        raise WorkFailedError("trial_not_sent", reason=said)
    return TrialAnswer(verdict=outcome.verdict, code=outcome.code, reply=outcome.reply)


@router.get("/templates/{name}/tests")
@needs(Duty.CHANGE_SETTINGS, Duty.READ_PERSONAL)
def get_tests(db: DatabaseDep, visitor: VisitorDep, name: str) -> list[TrialRow]:
    """The latest test messages, newest first."""
    templates.show_template(db, name)
    return [
        TrialRow(
            asked_at=each.asked_at,
            actor=each.actor,
            to=each.to_address,
            version=each.version,
            outcome=each.outcome,
            code=each.code,
            reply=each.reply,
        )
        for each in show_trials(db, name, user_id=visitor.id).latest
    ]


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


@router.post("/templates/{name}/versions/{version}/restore", dependencies=[EXPENSIVE])
@needs(Duty.CHANGE_SETTINGS)
def post_restore(
    pool: PoolDep, visitor: VisitorDep, name: str, version: int, order: Restoration
) -> TemplateAnswer:
    """Save an earlier version's text as the newest."""
    return _answer(
        template_editing.restore_version(
            pool.connection, name, version, seen_version=order.seen_version, actor=visitor.actor
        )
    )


def _draft(current: Template, parts: Parts | None, fields: Fields) -> Template:
    return template_editing.draft_of(
        current, None if parts is None else parts.by_name(), fields.over(current.fields)
    )


def _answer(version: TemplateVersion) -> TemplateAnswer:
    return TemplateAnswer(
        name=version.template.name,
        version=version.template.version,
        actor=version.actor,
        created_at=version.created_at,
        parts=dict(version.template.parts),
        fields=version.template.fields.to_json(),
        fields_in_use=sorted(version.template.fields_in_use),
    )
