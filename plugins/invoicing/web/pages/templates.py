"""Templates: the list of them, and the versions of one: compared, brought back."""

from collections.abc import Sequence

from fastapi import APIRouter, Request
from starlette.responses import Response

from invoicing.domain.errors import StaleEditError
from invoicing.rendering.templates import PARTS
from invoicing.services.agency import template_editing, templates
from invoicing.services.agency.template_editing import TemplateNameError, TemplateRefusedError
from invoicing.services.agency.templates import TemplateVersion
from invoicing.services.views.templates import compare, field_lines, list_templates, versions_of
from invoicing.web.database import DatabaseDep, PoolDep
from invoicing.web.door.duties import Duty, needs
from invoicing.web.door.turns import EXPENSIVE
from invoicing.web.door.visitor import VisitorDep
from invoicing.web.html.forms import SubmittedDep, see_other
from invoicing.web.html.template_problems import Complaint, in_words
from invoicing.web.html.templating import PagesDep
from invoicing.web.pages.template_editor import LABELS
from invoicing.words import Text

router = APIRouter(prefix="/templates")

_OWN_NAME: Text = (
    "Use letras minúsculas sin tilde, cifras, «-» o «_»; máximo 40, y que no exista ya.",
    "Use small letters, digits, “-” or “_”; at most 40, and a name that is not taken.",
)


@router.get("")
@needs(Duty.READ_AMOUNTS)
def show_list(request: Request, db: DatabaseDep, pages: PagesDep) -> Response:
    """Every template, and the form that makes another."""
    return _list(request, db, pages)


@router.post("")
@needs(Duty.CHANGE_SETTINGS)
def create(
    request: Request, db: DatabaseDep, pages: PagesDep, visitor: VisitorDep, submitted: SubmittedDep
) -> Response:
    """Make a template out of another one."""
    name = submitted["name"].strip()
    try:
        template_editing.create_template(db, name, submitted["source"], actor=visitor.actor)
    except TemplateNameError:
        return _list(request, db, pages, 422, name=name, source=submitted["source"], problem=_OWN_NAME)
    return see_other(request, f"/templates/{name}?created=yes")


@router.get("/{name}/versions")
@needs(Duty.READ_AMOUNTS)
def show_versions(request: Request, db: DatabaseDep, pages: PagesDep, name: str) -> Response:
    """Who saved which version, and when."""
    current = templates.show_template(db, name)
    return pages.respond(
        request,
        "template_versions.html",
        template_name=name,
        current=current,
        versions=versions_of(db, name),
    )


@router.get("/{name}/versions/{version}")
@needs(Duty.READ_AMOUNTS)
def show_version(request: Request, db: DatabaseDep, pages: PagesDep, name: str, version: int) -> Response:
    """One version: how it differs from the one before and from the one in force, and its text."""
    current = templates.show_template(db, name)
    kept = templates.show_version(db, name, version)
    return _version_page(request, db, pages, current, kept)


@router.post("/{name}/versions/{version}/restore", dependencies=[EXPENSIVE])
@needs(Duty.CHANGE_SETTINGS)
def restore(
    request: Request,
    pool: PoolDep,
    pages: PagesDep,
    visitor: VisitorDep,
    submitted: SubmittedDep,
    name: str,
    version: int,
) -> Response:
    """Save an earlier version's text as the newest."""
    seen = submitted.number("seen_version") or 0
    complaints: Sequence[Complaint] = ()
    try:
        saved = template_editing.restore_version(
            pool.connection, name, version, seen_version=seen, actor=visitor.actor
        )
    except StaleEditError:
        status = 409
    except TemplateRefusedError as error:
        status, complaints = 422, in_words(error.problems)
    else:
        return see_other(request, f"/templates/{name}?saved={saved.template.version}")
    with pool.connection() as db:
        current = templates.show_template(db, name)
        kept = templates.show_version(db, name, version)
        return _version_page(request, db, pages, current, kept, status, complaints)


def _list(
    request: Request,
    db: DatabaseDep,
    pages: PagesDep,
    status: int = 200,
    *,
    name: str = "",
    source: str = "",
    problem: Text | None = None,
) -> Response:
    return pages.respond(
        request,
        "templates.html",
        status,
        templates=list_templates(db),
        new_name=name,
        source=source,
        problem=problem,
    )


def _version_page(
    request: Request,
    db: DatabaseDep,
    pages: PagesDep,
    current: TemplateVersion,
    kept: TemplateVersion,
    status: int = 200,
    complaints: Sequence[Complaint] = (),
) -> Response:
    name, number = kept.template.name, kept.template.version
    before = templates.show_version(db, name, number - 1) if number > 1 else None
    return pages.respond(
        request,
        "template_version.html",
        status,
        template_name=name,
        version=kept,
        current=current,
        from_before=compare(before.template, kept.template) if before else [],
        to_current=compare(kept.template, current.template),
        field_lines=field_lines(kept.template.fields),
        part_names=PARTS,
        part_labels=LABELS,
        complaints=complaints,
        is_overtaken=status == 409,
    )
