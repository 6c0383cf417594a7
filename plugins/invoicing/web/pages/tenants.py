"""Tenants: who gets mail, at which addresses, and what became of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from fastapi import APIRouter, Request
from starlette.responses import Response

from invoicing.domain.errors import FieldsRefusedError, InputError, NotFoundError, StaleEditError
from invoicing.services.agency import tenants
from invoicing.services.agency.addresses import split_addresses
from invoicing.services.agency.tenant_filter import PROBLEMS, TenantFilter
from invoicing.services.agency.tenants import (
    SWITCHES,
    AddressRefusedError,
    Switch,
    TooManyAddressesError,
)
from invoicing.services.billing import agency_changes
from invoicing.services.views.remembering import Remembered
from invoicing.services.views.tenants import (
    SORTS,
    TenantShown,
    count_tenants,
    page_of_tenants,
    show_tenant,
    tenant_counts,
)
from invoicing.services.views.unsent import UnsentMonth, unsent_of_tenant
from invoicing.web.database import DatabaseDep
from invoicing.web.door.duties import Duty, needs
from invoicing.web.door.visitor import VisitorDep
from invoicing.web.html.forms import Submitted, SubmittedDep, see_other
from invoicing.web.html.table import TablePage, TableQuery
from invoicing.web.html.templating import PagesDep
from invoicing.words import Text
from invoicing.words.failures import Failure

router = APIRouter(prefix="/tenants")

LABELS: Mapping[str, Text] = {
    "auto_send": ("¿Envío automático habilitado?", "Send automatically?"),
    "only_multiple": ("¿Solo múltiples facturas?", "Only multiple invoices?"),
    "emails": ("Direcciones de correo", "E-mail addresses"),
    "cc_emails": ("Con copia a", "In copy"),
    "language": ("Idioma", "Language"),
    "name": ("Nombre o razón social", "Name"),
    "document_type": ("Tipo de documento", "Document type"),
    "document_number": ("Número de documento", "Document number"),
    "city": ("Ciudad", "City"),
    "withholding_agent": ("Agente retenedor", "Withholding agent"),
}

_FILTERS: Mapping[str, tuple[str, ...]] = {
    "auto_send": ("yes", "no"),
    "only_multiple": ("yes", "no"),
    "problem": PROBLEMS,
}
_NAMES_SHOWN = 50


@router.get("")
@needs(Duty.READ_AMOUNTS)
def show_list(request: Request, db: DatabaseDep, pages: PagesDep) -> Response:
    """The tenants that fit, a page of them."""
    query = TableQuery.of(request, sorts=SORTS, filters=_FILTERS)
    which = _filter(query.search, query.filters)
    found = page_of_tenants(
        db,
        which,
        sort=query.sort,
        descending=query.descending,
        limit=query.size,
        offset=query.offset,
        near=query.beside,
    )
    remembered: Remembered = request.app.state.remembered_of_tenants
    counts = remembered.read(db, "counts", lambda: tenant_counts(db))
    total = counts.of(which)
    if total is None:
        total = count_tenants(db, which)
    switched = request.query_params.get("switched", "")
    return pages.respond(
        request,
        "tenants.html",
        table=TablePage(query, found, total, key="code"),
        counts=counts,
        labels=LABELS,
        switched=int(switched) if switched.isascii() and switched.isdecimal() and len(switched) < 9 else None,
    )


@router.post("/switch")
@needs(Duty.CHANGE_TENANTS)
def switch_many(
    request: Request, db: DatabaseDep, pages: PagesDep, visitor: VisitorDep, submitted: SubmittedDep
) -> Response:
    """Show how many tenants a switch would change; asked again with that page's fingerprint, change them."""
    order = _BulkOrder.of(submitted)
    if order is None:
        raise InputError("switch_incomplete")
    if order.which.search:
        visitor.require(Duty.READ_PERSONAL)  # names, documents and addresses are searched
    overtaken = False
    if submitted["fingerprint"]:
        try:
            changed = tenants.apply_switch(
                db,
                order.which,
                order.codes,
                order.switch,
                value=order.value,
                fingerprint=submitted["fingerprint"],
                actor=visitor.actor,
            )
        except StaleEditError:
            overtaken = True
        else:
            return see_other(request, f"/tenants?switched={changed}")
    preview = tenants.preview_switch(db, order.which, order.codes, order.switch, value=order.value)
    meant = count_tenants(db, order.which)
    return pages.respond(
        request,
        "tenants_switch.html",
        409 if overtaken else 200,
        order=order,
        submitted=submitted,
        preview=preview,
        shown=preview.tenants[:_NAMES_SHOWN],
        meant=meant if order.codes is None else len(order.codes),
        overtaken=overtaken,
        labels=LABELS,
    )


@router.get("/{code}")
@needs(Duty.READ_AMOUNTS)
def show(request: Request, db: DatabaseDep, pages: PagesDep, visitor: VisitorDep, code: str) -> Response:
    """One tenant."""
    tenant = visitor.sees(_tenant(db, code))
    values = {key: getattr(tenant, key) for key in LABELS}
    return _page(request, pages, tenant, values, unsent=unsent_of_tenant(db, tenant.id))


@router.post("/{code}")
@needs(Duty.CHANGE_TENANTS, Duty.READ_PERSONAL)
def save(
    request: Request,
    db: DatabaseDep,
    pages: PagesDep,
    visitor: VisitorDep,
    submitted: SubmittedDep,
    code: str,
) -> Response:
    """Save the tenant, or show what is wrong."""
    before = _tenant(db, code)
    changes = typed_fields(submitted)
    typed = {key: getattr(before, key) for key in LABELS} | changes
    try:
        saved = agency_changes.change_tenant(
            db, code, changes, actor=visitor.actor, seen_at=submitted.instant("seen_at")
        )
    except StaleEditError:
        return _page(request, pages, _tenant(db, code), typed, status=409)
    except (AddressRefusedError, TooManyAddressesError) as error:
        faults = {str(error.field): error.fault}
        return _page(request, pages, before, typed, status=422, faults=faults)
    except FieldsRefusedError as error:
        return _page(request, pages, before, typed, status=422, faults=error.faults)
    outcome = "drifted" if saved.drifted else "yes" if saved.changed else "same"
    return see_other(request, f"/tenants/{quote(code, safe='')}?saved={outcome}")


def typed_fields(submitted: Submitted) -> dict[str, Any]:
    """A tenant's fields as typed; texts that the form did not have are left out, as is its box."""
    texts = ("language", "name", "document_type", "document_number", "city")
    boxes = ("auto_send", "only_multiple", "withholding_agent")
    return {
        "emails": split_addresses(submitted["emails"]),
        "cc_emails": split_addresses(submitted["cc_emails"]),
        **{name: submitted[name] for name in texts if name in submitted},
        # A box that is not ticked is not sent: whether it was there, the field beside it says.
        **{name: submitted.flag(name) for name in boxes if name in SWITCHES or "name" in submitted},
    }


@dataclass(frozen=True, slots=True)
class _BulkOrder:
    """What a bulk form asks for: all tenants that fit its filter, or those ticked."""

    which: TenantFilter
    codes: list[str] | None
    switch: Switch
    value: bool
    filters: Mapping[str, str]

    @classmethod
    def of(cls, submitted: Submitted) -> "_BulkOrder | None":
        switch, _, value = submitted["action"].partition(":")
        codes = None if submitted["scope"] == "all" else submitted.all("code")
        if switch not in tenants.SWITCHES or value not in ("yes", "no") or codes == []:
            return None
        filters = {name: submitted[name] for name, values in _FILTERS.items() if submitted[name] in values}
        which = _filter(submitted["q"][:200], filters) if codes is None else TenantFilter()
        return cls(which, codes, switch, value == "yes", filters)


def _filter(search: str, filters: Mapping[str, str]) -> TenantFilter:
    def switch(name: str) -> bool | None:
        return None if name not in filters else filters[name] == "yes"

    return TenantFilter(search, switch("auto_send"), switch("only_multiple"), filters.get("problem"))


def _page(
    request: Request,
    pages: PagesDep,
    tenant: TenantShown,
    values: Mapping[str, Any],
    *,
    status: int = 200,
    faults: Mapping[str, Failure] | None = None,
    unsent: Sequence[UnsentMonth] = (),
) -> Response:
    return pages.respond(
        request,
        "tenant.html",
        status,
        tenant=tenant,
        values=values,
        faults=faults or {},
        is_overtaken=status == 409,
        labels=LABELS,
        saved=request.query_params.get("saved", ""),
        unsent=unsent,
    )


def _tenant(db: DatabaseDep, code: str) -> TenantShown:
    if "\0" in code:
        raise NotFoundError("tenant_code_with_nul")
    return show_tenant(db, code)
