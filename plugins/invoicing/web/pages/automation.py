"""Automation: the settings, as the agency's people know them, and their history."""

from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from invoicing.domain.errors import InputError, StaleEditError
from invoicing.domain.settings import Settings
from invoicing.rendering.sample import variables
from invoicing.rendering.templates import SUBJECT
from invoicing.services.agency.logo import LogoError, logo_uri
from invoicing.services.agency.settings import change_settings, current_settings, settings_version
from invoicing.services.agency.templates import template_names
from invoicing.services.views.health import is_unheard
from invoicing.services.views.settings_history import differences, settings_changes
from invoicing.web.database import DatabaseDep, PoolDep
from invoicing.web.door.duties import Duty, needs
from invoicing.web.door.turns import EXPENSIVE
from invoicing.web.door.visitor import VisitorDep
from invoicing.web.html.forms import Submitted, SubmittedDep, see_other
from invoicing.web.html.settings_form import examine
from invoicing.web.html.templating import PagesDep
from invoicing.words import Text
from invoicing.words.failures import tell_both
from invoicing.words.settings import LABELS, VALUES

router = APIRouter(prefix="/automation")

_HISTORY_ROWS = 20
# Inserted by a click: those that make sense in a subject.
_SUBJECT_VARIABLES = (
    ("{{ agency.name }}", ("Agencia", "Agency")),
    ("{{ tenant.name }}", ("Tercero", "Tenant")),
    ("{{ period|month_name }}", ("Mes", "Month")),
    ("{{ invoices|length }}", ("N.º de facturas", "Number of invoices")),
    ("{{ invoices[0].number }}", ("Primera factura", "First invoice")),
    ("{{ first_due_on|date }}", ("Vencimiento", "Due date")),
    ("{{ t('español', 'English') }}", ("Según idioma", "By language")),
)


@router.get("")
@needs(Duty.READ_AMOUNTS)
def show(request: Request, db: DatabaseDep, pages: PagesDep) -> Response:
    """The form with the settings in force."""
    current = current_settings(db)
    return _form(request, db, pages, current.settings.model_dump(), seen=current.id)


@router.post("", dependencies=[EXPENSIVE])
@needs(Duty.CHANGE_SETTINGS)
def save(
    request: Request, pool: PoolDep, pages: PagesDep, visitor: VisitorDep, submitted: SubmittedDep
) -> Response:
    """Save a new version, or show the form again with what was typed and what is wrong with it."""
    with pool.connection() as db:
        before = current_settings(db)
    typed = _typed(submitted)
    seen = submitted.number("seen_version")
    logo_problem: dict[str, Text] = {}
    try:
        typed["agency_logo"] = _logo(submitted, before.settings)
    except LogoError as error:
        logo_problem["agency_logo"] = tell_both(error)
        typed["agency_logo"] = submitted["agency_logo"]
    if seen != before.id:
        with pool.connection() as db:
            return _form(request, db, pages, typed, seen=before.id, status=409, overtaken_since=seen)
    found = examine(pool.connection, before.settings, typed)
    problems = {field: tell_both(fault) for field, fault in found.problems.items()} | logo_problem
    if "agency_logo" in problems:
        # Nobody's browser has to draw what our own printer could not.
        typed["agency_logo"] = before.settings.agency_logo
    with pool.connection() as db:
        if problems:
            return _form(request, db, pages, typed, seen=seen, status=422, problems=problems)
        try:
            after = change_settings(
                db, typed, actor=visitor.actor, seen_version=seen, proven_with=found.proven_with
            )
        except StaleEditError:
            now = current_settings(db)
            return _form(request, db, pages, typed, seen=now.id, status=409, overtaken_since=seen)
        except InputError as error:
            problems = {"": tell_both(error)}
            return _form(request, db, pages, typed, seen=seen, status=422, problems=problems)
    return see_other(request, f"/automation?saved={'same' if after.id == before.id else after.id}")


@router.get("/history")
@needs(Duty.READ_AMOUNTS)
def history(request: Request, db: DatabaseDep, pages: PagesDep, newest: int | None = None) -> Response:
    """Who changed what, and when."""
    # One more tells whether there are older ones.
    changes = settings_changes(
        db, limit=_HISTORY_ROWS + 1, newest=None if newest is None else min(newest, 2**62)
    )
    return pages.respond(
        request,
        "settings_history.html",
        changes=changes[:_HISTORY_ROWS],
        older=changes[_HISTORY_ROWS].id if len(changes) > _HISTORY_ROWS else None,
        from_start=newest is None,
        labels=LABELS,
        values=VALUES,
    )


@router.get("/versions/{version_id}")
@needs(Duty.READ_AMOUNTS)
def show_version(request: Request, db: DatabaseDep, pages: PagesDep, version_id: int) -> Response:
    """One version, whole, and how it differs from the one before and from the one in force."""
    version = settings_version(db, min(version_id, 2**62))
    current = current_settings(db)
    change = settings_changes(db, limit=1, newest=version.id)[0]
    return pages.respond(
        request,
        "settings_version.html",
        version=version,
        change=change,
        current_id=current.id,
        from_current=differences(version.settings.model_dump(), current.settings.model_dump()),
        labels=LABELS,
        values=VALUES,
    )


def _form(
    request: Request,
    db: DatabaseDep,
    pages: PagesDep,
    values: Mapping[str, Any],
    *,
    seen: int | None,
    status: int = 200,
    problems: Mapping[str, Text] | None = None,
    overtaken_since: int | None = None,
) -> Response:
    current = current_settings(db)
    # A field that was not sent, by whatever is no page of ours, is as it is.
    values = {**current.settings.model_dump(), **values}
    overtaken: list[Any] = []
    if overtaken_since is not None:
        earlier = settings_version(db, overtaken_since).settings.model_dump()
        overtaken = differences(earlier, current.settings.model_dump())
    return pages.respond(
        request,
        "automation.html",
        status,
        # A field that was not sent, as by a program, is shown as it is.
        values={**current.settings.model_dump(), **values},
        seen=seen,
        current=current,
        problems=problems or {},
        overtaken=overtaken,
        is_overtaken=status == 409,
        template_options=[(name, name) for name in template_names(db)],
        subject_variables=_SUBJECT_VARIABLES,
        all_variables=variables(SUBJECT),
        changes=settings_changes(db, limit=4),
        labels=LABELS,
        choices=VALUES,
        saved=request.query_params.get("saved", ""),
        is_unheard=is_unheard(current.settings, request.app.state.outside.has_notifier),
    )


def _typed(submitted: Submitted) -> dict[str, Any]:
    """The form's fields, as typed: those of `Settings` alone; a switch that is off is not sent."""
    typed: dict[str, Any] = {name: submitted[name] for name in Settings.model_fields if name in submitted}
    for switch in ("auto_send", "unmailed_documents"):
        typed[switch] = submitted.flag(switch)
    return typed


def _logo(submitted: Submitted, before: Settings) -> str:
    if submitted.flag("remove_logo"):
        return ""
    content = submitted.file("logo_file")
    if content:
        return logo_uri(content)
    if "agency_logo" not in submitted:
        return before.agency_logo
    # Uploaded with a form that was shown again for another field's sake.
    return submitted["agency_logo"]
