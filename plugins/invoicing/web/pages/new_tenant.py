"""A new tenant by form."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from fastapi import APIRouter, Request
from starlette.responses import Response

from invoicing.domain.errors import FieldsRefusedError
from invoicing.services.agency import tenants
from invoicing.web.database import DatabaseDep
from invoicing.web.door.duties import Duty, needs
from invoicing.web.door.visitor import VisitorDep
from invoicing.web.html import rows
from invoicing.web.html.forms import SubmittedDep, see_other
from invoicing.web.html.templating import Pages, PagesDep
from invoicing.web.pages.tenants import LABELS, typed_fields
from invoicing.words.failures import Failure

router = APIRouter(prefix="/new/tenant")

_EMPTY: Mapping[str, Any] = {
    **dict.fromkeys(LABELS, ""),
    **dict.fromkeys(("auto_send", "only_multiple", "withholding_agent"), False),
    **dict.fromkeys(("emails", "cc_emails"), ()),
    "language": "es",
}


@router.get("")
@needs(Duty.CHANGE_TENANTS, Duty.READ_PERSONAL)
def show(request: Request, pages: PagesDep) -> Response:
    """An empty form."""
    return _page(request, pages, "", _EMPTY)


@router.post("")
@needs(Duty.CHANGE_TENANTS, Duty.READ_PERSONAL)
def create(
    request: Request, db: DatabaseDep, pages: PagesDep, visitor: VisitorDep, submitted: SubmittedDep
) -> Response:
    """Add the tenant, or show what is wrong."""
    typed = {**_EMPTY, **typed_fields(submitted)}
    try:
        code = tenants.create_tenant(db, submitted["code"], typed, actor=visitor.actor)
    except FieldsRefusedError as error:
        return _page(request, pages, submitted["code"], typed, error.faults)
    return see_other(request, f"/tenants/{quote(code, safe='')}?saved=created")


def _page(
    request: Request,
    pages: Pages,
    code: str,
    values: Mapping[str, Any],
    faults: Mapping[str, Failure] | None = None,
) -> Response:
    return pages.respond(
        request,
        "new_tenant.html",
        422 if faults else 200,
        code=code,
        values=values,
        faults=rows.in_form_order(faults or {}, ["code", "name", *LABELS]),
        labels=LABELS,
    )
