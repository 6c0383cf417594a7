"""A lease with its charges, by form."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import quote

from fastapi import APIRouter, Request
from starlette.responses import Response

from invoicing.domain.errors import FieldsRefusedError, StaleEditError
from invoicing.domain.taxes import CURRENCIES
from invoicing.services.agency import lease_editing
from invoicing.services.agency.lease_editing import (
    CHARGE_FIELDS,
    LEASE_FIELDS,
    MOST_CHARGES,
    LeaseKept,
    as_typed,
    lease_as_typed,
    show_lease,
)
from invoicing.services.billing import agency_changes
from invoicing.services.views.tenants import show_tenant
from invoicing.web.database import DatabaseDep
from invoicing.web.door.duties import Duty, needs
from invoicing.web.door.visitor import VisitorDep
from invoicing.web.html import rows
from invoicing.web.html.forms import Submitted, SubmittedDep, see_other
from invoicing.web.html.templating import Pages, PagesDep
from invoicing.words import Text
from invoicing.words.failures import Failure

router = APIRouter()

LABELS: Mapping[str, Text] = {
    "code": ("Código", "Code"),
    "tenant_code": ("Tercero (código)", "Tenant (code)"),
    "property": ("Inmueble", "Property"),
    "city": ("Ciudad", "City"),
    "use": ("Uso", "Use"),
    "start_date": ("Desde", "From"),
    "end_date": ("Hasta", "Until"),
    "rent": ("Canon", "Rent"),
    "currency": ("Moneda", "Currency"),
    "charges": ("Cargos", "Charges"),
    "concept": ("Concepto", "Concept"),
    "description": ("Descripción", "Description"),
    "amount": ("Valor", "Amount"),
    "tax": ("Impuesto", "Tax"),
    "prorated": ("Proporcional a los días", "In proportion to the days"),
    "from_period": ("Primer mes", "First month"),
    "to_period": ("Último mes", "Last month"),
}
label_of = rows.labeller(LABELS, ("Cargo", "Charge"))

_EMPTY_CHARGE = {**dict.fromkeys(CHARGE_FIELDS, ""), "tax": "none", "prorated": "no"}
_TOLD = ("concept", "description", "amount", "from_period", "to_period")


@dataclass(frozen=True, slots=True)
class Typed:
    """The form as typed."""

    code: str
    values: Mapping[str, str]
    charges: Sequence[Mapping[str, str]]

    @classmethod
    def of(cls, submitted: Submitted) -> "Typed":
        """Read it, with one charge more or less where that was asked for; else without those left empty."""
        charges = rows.typed_rows(submitted, "charges", CHARGE_FIELDS)
        if rows.is_about_rows(submitted["action"]):
            charges = rows.changed_rows(charges, submitted["action"], _EMPTY_CHARGE, most=MOST_CHARGES)
        else:
            charges = rows.filled(charges, _TOLD)
        return cls(submitted["code"], {name: submitted[name] for name in LEASE_FIELDS}, charges)

    def check(self, kept: "Typed | None" = None) -> None:
        """Refuse amounts that may be meant as thousands; raises `FieldsRefusedError`."""
        amounts = {"rent": self.values["rent"]} | {
            f"charges.{at}.amount": charge["amount"] for at, charge in enumerate(self.charges)
        }
        known = [kept.values["rent"], *(charge["amount"] for charge in kept.charges)] if kept else []
        if faults := rows.thousands(amounts, known):
            raise FieldsRefusedError(faults)


@router.get("/new/lease")
@needs(Duty.CHANGE_TENANTS, Duty.READ_PERSONAL)
def show_empty(request: Request, db: DatabaseDep, pages: PagesDep, tenant: str = "") -> Response:
    """An empty form for a lease of ``tenant``."""
    owner = show_tenant(db, tenant.replace("\0", ""))
    values = dict.fromkeys(LEASE_FIELDS, "") | {
        "tenant_code": owner.code,
        "city": owner.city,
        "use": "residential",
        "currency": "COP",
    }
    return _page(request, pages, Typed("", values, []))


@router.post("/new/lease")
@needs(Duty.CHANGE_TENANTS, Duty.READ_PERSONAL)
def create(
    request: Request, db: DatabaseDep, pages: PagesDep, visitor: VisitorDep, submitted: SubmittedDep
) -> Response:
    """Add the lease, or a row for a charge, or show what is wrong."""
    typed = Typed.of(submitted)
    if rows.is_about_rows(submitted["action"]):
        return _page(request, pages, typed)
    try:
        typed.check()
        code = lease_editing.create_lease(db, typed.code, typed.values, typed.charges, actor=visitor.actor)
    except FieldsRefusedError as error:
        return _page(request, pages, typed, faults=error.faults, status=422)
    return see_other(request, f"/leases/{quote(code, safe='')}?saved=created")


@router.get("/leases/{code}")
@needs(Duty.READ_AMOUNTS)
def show(request: Request, db: DatabaseDep, pages: PagesDep, visitor: VisitorDep, code: str) -> Response:
    """A lease with its charges."""
    lease = visitor.sees(show_lease(db, code))
    return _page(request, pages, _as_typed(lease), lease, seen=lease.version)


@router.post("/leases/{code}")
@needs(Duty.CHANGE_TENANTS, Duty.READ_PERSONAL)
def save(
    request: Request,
    db: DatabaseDep,
    pages: PagesDep,
    visitor: VisitorDep,
    submitted: SubmittedDep,
    code: str,
) -> Response:
    """Save the lease and its charges, add a row for a charge, or show what is wrong."""
    lease, typed, seen = show_lease(db, code), Typed.of(submitted), submitted["seen"]
    if rows.is_about_rows(submitted["action"]):
        return _page(request, pages, typed, lease, seen=seen)
    try:
        typed.check(_as_typed(lease))
        saved = agency_changes.change_lease(
            db, code, typed.values, typed.charges, actor=visitor.actor, seen=seen
        )
    except StaleEditError:
        now = show_lease(db, code)
        return _page(request, pages, typed, now, seen=now.version, status=409)
    except FieldsRefusedError as error:
        return _page(request, pages, typed, lease, seen=seen, faults=error.faults, status=422)
    outcome = "drifted" if saved.drifted else "yes" if saved.changed else "same"
    return see_other(request, f"/leases/{quote(code, safe='')}?saved={outcome}")


def _as_typed(lease: LeaseKept) -> Typed:
    return Typed(lease.code, lease_as_typed(lease), [as_typed(each) for each in lease.charges])


def _page(
    request: Request,
    pages: Pages,
    typed: Typed,
    lease: LeaseKept | None = None,
    *,
    seen: str = "",
    faults: Mapping[str, Failure] | None = None,
    status: int = 200,
) -> Response:
    return pages.respond(
        request,
        "lease.html",
        status,
        typed=typed,
        lease=lease,
        now=_as_typed(lease) if lease else None,
        seen=seen,
        faults=rows.in_form_order(faults or {}, [*LABELS]),
        is_overtaken=status == 409,
        saved=request.query_params.get("saved", ""),
        labels=LABELS,
        label_of=label_of,
        currencies=[(each, each) for each in sorted({*CURRENCIES, typed.values["currency"]} - {""})],
        most_charges=MOST_CHARGES,
    )
