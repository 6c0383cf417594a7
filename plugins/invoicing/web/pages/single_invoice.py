"""A single invoice by form: seen before it is made, and made once."""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from invoicing.db.connection import Database
from invoicing.domain.errors import FieldsRefusedError
from invoicing.rendering.errors import RenderFailedError
from invoicing.rendering.pictures import draw_pages
from invoicing.services.agency import clock
from invoicing.services.billing import single_invoices
from invoicing.services.billing.single_invoice_request import (
    LINE_FIELDS,
    MOST_LINES,
    SingleInvoiceRequest,
    checked_request,
)
from invoicing.services.views import preview
from invoicing.services.views.preview import SinglePreview
from invoicing.services.views.tenant_choice import TenantChoice, choose_tenant
from invoicing.web.announcement import announce
from invoicing.web.database import DatabaseDep, PoolDep
from invoicing.web.door.duties import Duty, needs
from invoicing.web.door.turns import EXPENSIVE, IN_FRAME
from invoicing.web.door.visitor import VisitorDep
from invoicing.web.html import rows
from invoicing.web.html.forms import Submitted, SubmittedDep, see_other
from invoicing.web.html.frames import html_frame, pictures_frame, problem_frame, text_frame
from invoicing.web.html.i18n import TranslatorDep
from invoicing.web.html.templating import Pages, PagesDep
from invoicing.words import Text
from invoicing.words.failures import Failure, Fault

router = APIRouter(prefix="/new/invoice")

LABELS: Mapping[str, Text] = {
    "tenant": ("Tercero", "Tenant"),
    "lease": ("Contrato", "Lease"),
    "reference": ("Referencia", "Reference"),
    "lines": ("Líneas", "Lines"),
    "description": ("Descripción", "Description"),
    "amount": ("Valor", "Amount"),
    "tax": ("Impuesto", "Tax"),
}
label_of = rows.labeller(LABELS, ("Línea", "Line"))

_EMPTY_LINE = {"description": "", "amount": "", "tax": "iva"}
_PAGES_SHOWN = 4


@dataclass(frozen=True, slots=True)
class Typed:
    """The form as typed.

    Args:
        chosen: The tenants that may be meant; with exactly one, ``tenant`` is its code.
        lines: `LINE_FIELDS` of each.
    """

    reference: str
    tenant: str
    lease: str
    lines: Sequence[Mapping[str, str]]
    chosen: Sequence[TenantChoice] = field(default=())

    @classmethod
    def of(cls, submitted: Submitted) -> "Typed":
        """Read it; the button of a tenant's name stands for its code."""
        what, _, code = submitted["action"].partition(":")
        typed = rows.typed_rows(submitted, "lines", LINE_FIELDS)
        lines = rows.changed_rows(typed, submitted["action"], _EMPTY_LINE, most=MOST_LINES)
        tenant = code if what == "tenant" else submitted["tenant"]
        return cls(submitted["reference"], tenant, submitted["lease"], lines)

    def looked_up(self, db: Database) -> "Typed":
        """With the tenants that may be meant."""
        chosen = choose_tenant(db, self.tenant)
        return replace(self, tenant=chosen[0].code if len(chosen) == 1 else self.tenant, chosen=chosen)

    def request(self) -> SingleInvoiceRequest:
        """What is asked for; lines in which nothing was typed are none.

        Raises:
            FieldsRefusedError: A value cannot be, or it is not clear who is meant.
        """
        lines = rows.filled(self.lines, ("description", "amount"))
        amounts = {f"lines.{at}.amount": line["amount"] for at, line in enumerate(lines)}
        faults: dict[str, Failure] = dict(rows.thousands(amounts))
        if self.tenant.strip() and len(self.chosen) != 1:
            typed = self.tenant.strip()
            several, nobody = Fault("tenant_not_one", typed=typed), Fault("tenant_not_found", typed=typed)
            faults["tenant"] = several if self.chosen else nobody
        try:
            request = checked_request(self.reference, self.tenant, self.lease, lines)
        except FieldsRefusedError as error:
            raise FieldsRefusedError({**error.faults, **faults}) from None
        if faults:
            raise FieldsRefusedError(faults)
        return request


@router.get("")
@needs(Duty.ACT_ON_DELIVERIES, Duty.READ_PERSONAL)
def show(request: Request, db: DatabaseDep, pages: PagesDep) -> Response:
    """An empty form; ``tenant`` and ``lease`` of the address are filled in."""
    asked = request.query_params
    typed = Typed(_new_reference(), asked.get("tenant", ""), asked.get("lease", ""), [_EMPTY_LINE])
    return _page(request, pages, typed.looked_up(db))


@router.post("")
@needs(Duty.ACT_ON_DELIVERIES, Duty.READ_PERSONAL)
def submit(
    request: Request, db: DatabaseDep, pages: PagesDep, visitor: VisitorDep, submitted: SubmittedDep
) -> Response:
    """Create the invoice and have it sent; add or take away a line, or work it out, and show the form again."""
    typed, action = Typed.of(submitted).looked_up(db), submitted["action"]
    if action not in ("check", "create"):
        return _page(request, pages, typed, shown=_shown_if_fit(db, typed))
    typed = replace(typed, lines=rows.filled(typed.lines, ("description", "amount")) or [_EMPTY_LINE])
    try:
        asked = typed.request()
        shown = preview.single_invoice(db, asked)
        # What would not be sent is not made unasked; a form that was sent already is answered by what it made.
        accepts = shown.reason is None or submitted["unsent"] == shown.reason
        if action == "check" or not (accepts or single_invoices.is_known(db, asked.reference)):
            return _page(request, pages, typed, shown=shown, unsent=action == "create")
        created = single_invoices.create(db, asked, source="form", actor=visitor.actor)
    except FieldsRefusedError as error:
        return _page(request, pages, typed, faults=error.faults, status=422)
    told = not created.is_new or announce(request)
    done = "untold" if not told else "unsent" if shown.reason else "yes"
    place = f"/invoices/{quote(created.number, safe='')}"
    return see_other(request, f"{place}?created={done if created.is_new else 'before'}")


@router.post("/preview", dependencies=[IN_FRAME, EXPENSIVE])
@needs(Duty.ACT_ON_DELIVERIES, Duty.READ_PERSONAL)
def preview_typed(
    request: Request,
    pool: PoolDep,
    pages: PagesDep,
    t: TranslatorDep,
    submitted: SubmittedDep,
    view: Annotated[str, Query()] = "pages",
) -> Response:
    """The document or the message that would be; no number is taken, nothing is written."""
    try:
        with pool.connection() as db:
            shown = preview.single_invoice(db, Typed.of(submitted).looked_up(db).request())
            template = preview.current_look(db)
        if view in ("mail", "text"):
            content = preview.render_mail(template, shown.documents)
            if view == "mail":
                return html_frame(content.html)
            lead = f"{t('Para', 'To')}: {', '.join(shown.to) or '–'}"
            subject = f"{t('Asunto', 'Subject')}: {content.subject}\n\n"
            return text_frame(pages, request, subject + content.text, lead)
        (pdf,) = preview.render_invoices(template, shown.documents.invoices)
        drawn = draw_pages(pdf, "preview", most=_PAGES_SHOWN)
    except FieldsRefusedError as error:
        wrong = [f"{label_of(t, name)}: {t.failure(fault)}" for name, fault in error.faults.items()]
        return problem_frame(
            pages, request, f"{t('Falta por corregir', 'Still to mend')}: {'; '.join(wrong)}"
        )
    except RenderFailedError as error:
        return problem_frame(pages, request, t.failure(error.failure))
    pictures = [
        (t("Página {} de {}", "Page {} of {}").format(number, drawn.pages), picture)
        for number, picture in enumerate(drawn.pictures, start=1)
    ]
    lead = t("Vista previa: sin número, no se ha emitido.", "Preview: without a number, not issued.")
    return pictures_frame(pages, request, pictures, lead)


def _new_reference() -> str:
    """Another one for each form: what makes a form that is sent twice one invoice."""
    return f"F-{clock.today():%Y%m%d}-{secrets.token_hex(4)}"


def _shown_if_fit(db: Database, typed: Typed) -> SinglePreview | None:
    try:
        return preview.single_invoice(db, typed.request())
    except FieldsRefusedError:
        return None


def _page(
    request: Request,
    pages: Pages,
    typed: Typed,
    *,
    faults: Mapping[str, Failure] | None = None,
    shown: SinglePreview | None = None,
    unsent: bool = False,
    status: int = 200,
) -> Response:
    return pages.respond(
        request,
        "new_invoice.html",
        status,
        typed=typed,
        tenant=typed.chosen[0] if len(typed.chosen) == 1 else None,
        faults=rows.in_form_order(faults or {}, [*LABELS]),
        label_of=label_of,
        shown=shown,
        unsent=unsent,
        labels=LABELS,
        most_lines=MOST_LINES,
    )
