"""The JSON API: thin, over the services that the pages and the command line use."""

import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Body, Query, Request
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import JSONResponse, Response

from invoicing.domain.errors import InputError, NotFoundError
from invoicing.domain.period import Period
from invoicing.services.agency import settings, tenants
from invoicing.services.agency.settings import SettingsVersion
from invoicing.services.agency.tenants import TenantFilter
from invoicing.services.views import report
from invoicing.web.api.subject import SubjectReport, check_subject
from invoicing.web.database import DatabaseDep
from invoicing.web.door.visitor import VisitorDep
from invoicing.web.html.settings_form import find_problems
from invoicing.words.failures import Fault

router = APIRouter()

_MOST_ROWS = 500


class SettingsAnswer(BaseModel):
    """A version of the settings."""

    version: int
    actor: str
    created_at: datetime.datetime
    settings: dict[str, Any]


class TenantPatch(BaseModel):
    """What can be changed of a tenant; what is left out stays."""

    model_config = ConfigDict(extra="forbid")

    auto_send: bool | None = None
    only_multiple: bool | None = None
    emails: list[str] | None = None
    cc_emails: list[str] | None = None
    language: Literal["es", "en"] | None = None
    seen_at: datetime.datetime | None = Field(
        None, description="The tenant's updated_at as it was read; a change made since is not overwritten"
    )


class SubjectDraft(BaseModel):
    """A subject line as it is being typed."""

    subject: str = Field(max_length=20_000)
    template: str = "default"


@router.get("/settings")
def get_settings(db: DatabaseDep) -> SettingsAnswer:
    """The settings in force."""
    return _settings_answer(settings.current_settings(db))


@router.patch("/settings")
def patch_settings(
    db: DatabaseDep,
    visitor: VisitorDep,
    changes: Annotated[dict[str, Any], Body()],
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
    return _settings_answer(
        settings.change_settings(db, changes, actor=visitor.actor, seen_version=seen_version)
    )


@router.post("/settings/subject-check")
def post_subject(db: DatabaseDep, draft: SubjectDraft) -> SubjectReport:
    """The problems of a subject line, and how it would read. Changes nothing."""
    return check_subject(db, draft.subject, draft.template)


@router.get("/tenants")
def get_tenants(
    db: DatabaseDep,
    q: str = "",
    auto_send: bool | None = None,
    only_multiple: bool | None = None,
    problem: Literal["no_email", "invalid_email"] | None = None,
    sort: Literal["code", "name", "updated"] = "code",
    limit: Annotated[int, Query(ge=1, le=_MOST_ROWS)] = 100,
    offset: Annotated[int, Query(ge=0, le=10_000_000)] = 0,
) -> dict[str, Any]:
    """Tenants that fit, and how many they are in all."""
    which = TenantFilter(q.replace("\0", " ")[:200], auto_send, only_multiple, problem)
    rows, total = tenants.find_tenants(db, which, sort=sort, limit=limit, offset=offset)
    return {"total": total, "tenants": [_tenant(row) for row in rows]}


@router.get("/tenants/{code}")
def get_tenant(db: DatabaseDep, code: str) -> dict[str, Any]:
    """A tenant with its leases, invoices, decisions, deliveries and changes."""
    shown = tenants.show_tenant(db, _text(code))
    return _tenant(shown) | {
        "withholding_agent": shown["withholding_agent"],
        **{
            key: [_plain(row) for row in shown[key]]
            for key in ("leases", "invoices", "decisions", "deliveries", "changes")
        },
    }


@router.patch("/tenants/{code}")
def patch_tenant(db: DatabaseDep, visitor: VisitorDep, code: str, patch: TenantPatch) -> dict[str, Any]:
    """Change a tenant's switches, addresses or language."""
    changes = patch.model_dump(exclude={"seen_at"}, exclude_none=True)
    tenants.change_tenant(db, _text(code), changes, actor=visitor.actor, seen_at=patch.seen_at)
    return get_tenant(db, code)


@router.get("/cycles/{period}")
def get_cycle(db: DatabaseDep, period: str) -> dict[str, Any]:
    """Counts and sums, as ``cycle show --json`` prints them."""
    return report.show_cycle(db, Period.parse(period))


@router.get("/cycles/{period}/tenants")
def get_cycle_tenants(db: DatabaseDep, period: str) -> list[dict[str, Any]]:
    """One row a tenant, as ``cycle tenants --json`` prints them."""
    return report.cycle_tenants(db, Period.parse(period))


@router.get("/cycles/{period}/invoices")
def get_cycle_invoices(db: DatabaseDep, period: str) -> list[dict[str, Any]]:
    """One row an invoice, as ``cycle invoices --json`` prints them."""
    return report.cycle_invoices(db, Period.parse(period))


@router.get("/deliveries")
def get_deliveries(
    db: DatabaseDep, period: str | None = None, state: str | None = None
) -> list[dict[str, Any]]:
    """One row a delivery, as ``deliveries list --json`` prints them."""
    return report.list_deliveries(db, period=None if period is None else Period.parse(period), state=state)


@router.get("/openapi.json", include_in_schema=False)
def get_openapi_document(request: Request) -> Response:
    """This API's description, for those who are logged in."""
    app = request.app
    return JSONResponse(
        get_openapi(
            title=app.title,
            version=app.version,
            description=app.description,
            routes=app.routes,
            servers=[{"url": request.scope.get("root_path", "") or "/"}],
        )
    )


def _settings_answer(version: SettingsVersion) -> SettingsAnswer:
    return SettingsAnswer(
        version=version.id,
        actor=version.actor,
        created_at=version.created_at,
        settings=version.settings.model_dump(),
    )


def _tenant(row: dict[str, Any]) -> dict[str, Any]:
    keys = (
        "code",
        "name",
        "document_type",
        "document_number",
        "emails",
        "cc_emails",
        "language",
        "city",
        "auto_send",
        "only_multiple",
        "updated_at",
    )
    invalid = [{"address": problem.address, "reason": problem.reason} for problem in row["invalid"]]
    return {key: row[key] for key in keys} | {"invalid_emails": invalid}


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    """A row for JSON: amounts as decimal strings."""
    return {key: report.money(value) if key in ("rent", "total") else value for key, value in row.items()}


def _text(code: str) -> str:
    """A code from an address; NUL is in none, and the database takes none."""
    if "\0" in code:
        raise NotFoundError("there is no tenant with a NUL in its code")
    return code
