"""What a template makes of a tenant's documents, saved or as it is typed."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from invoicing.domain.errors import InputError, NotFoundError
from invoicing.domain.period import Period
from invoicing.rendering.errors import RenderFailedError
from invoicing.rendering.fields import COLOUR, LOGO, SENTENCES, Sentence, TemplateFields
from invoicing.rendering.pictures import draw_pages
from invoicing.rendering.templates import PARTS, Template
from invoicing.rendering.validation import TemplateProblem
from invoicing.services.agency import template_editing, templates
from invoicing.services.agency.logo import LogoError, logo_uri
from invoicing.services.agency.template_editing import TemplateRefusedError
from invoicing.services.delivery import documents
from invoicing.services.views import preview
from invoicing.web.database import DatabaseDep, PoolDep
from invoicing.web.door.duties import Duty, needs, objection
from invoicing.web.door.turns import EXPENSIVE, IN_FRAME
from invoicing.web.door.visitor import current_visitor
from invoicing.web.html.forms import Submitted, SubmittedDep
from invoicing.web.html.frames import html_frame, pdf_response, pictures_frame, problem_frame, text_frame
from invoicing.web.html.i18n import Translator, TranslatorDep
from invoicing.web.html.template_problems import field_of
from invoicing.web.html.templating import PagesDep
from invoicing.words import Text
from invoicing.words.failures import Failure, tell_both

router = APIRouter(prefix="/templates")

_PAGES_SHOWN = 4


@dataclass(frozen=True, slots=True)
class Choice:
    """Whose documents a preview shows, as typed."""

    tenant: str = ""
    period: str = ""
    language: str = ""

    @classmethod
    def of(cls, given: Mapping[str, str] | Submitted) -> "Choice":
        """Read it from a form or an address."""

        def text(name: str) -> str:
            return str(given[name]).strip()[:100] if name in given else ""

        # "T00001 · Name", as the list of suggestions writes it.
        tenant = text("tenant").partition(" · ")[0].strip()
        return cls(tenant, text("period"), text("language") if text("language") in ("es", "en") else "")

    def gather(self, db: DatabaseDep) -> preview.Documents:
        """The documents; raises `InputError` with what is wrong with the choice."""
        return preview.gather(
            db, self.tenant, Period.parse(self.period) if self.period else None, self.language
        )


@router.get("/{name}/preview", dependencies=[IN_FRAME, EXPENSIVE])
@needs(Duty.READ_AMOUNTS)
def preview_saved(
    request: Request,
    pool: PoolDep,
    pages: PagesDep,
    t: TranslatorDep,
    name: str,
    view: str = "mail",
    version: int | None = None,
) -> Response:
    """What a saved version makes of a tenant's documents; changes nothing."""
    with pool.connection() as db:
        kept = (
            templates.show_template(db, name)
            if version is None
            else templates.show_version(db, name, version)
        )
    return _preview(request, pool, pages, t, kept.template, Choice.of(request.query_params), view)


@router.post("/{name}/preview", dependencies=[IN_FRAME, EXPENSIVE])
@needs(Duty.CHANGE_SETTINGS)
def preview_typed(
    request: Request,
    pool: PoolDep,
    pages: PagesDep,
    t: TranslatorDep,
    submitted: SubmittedDep,
    name: str,
    view: Annotated[str, Query()] = "mail",
) -> Response:
    """What a text that is not saved yet makes of a tenant's documents; changes nothing."""
    with pool.connection() as db:
        current = templates.show_template(db, name)
    typed = typed_template(submitted, current.template)
    try:
        draft = template_editing.fit(with_typed_logo(submitted, typed), current.template)
    except TemplateRefusedError as error:
        return problem_frame(pages, request, t.text(tell_both(error.problems[0])))
    return _preview(request, pool, pages, t, draft, Choice.of(submitted), view)


def typed_template(submitted: Submitted, current: Template) -> Template:
    """The template with its parts and fields as typed; what was not sent is as it was, the logo always.

    `with_typed_logo` has the logo: one that cannot be read does not take along what was typed beside it.
    """
    parts = {
        part: submitted[field_of(part)] if field_of(part) in submitted else current.parts[part]
        for part in PARTS
    }
    return template_editing.draft_of(current, parts, _typed_fields(submitted, current.fields))


def with_typed_logo(submitted: Submitted, typed: Template) -> Template:
    """``typed`` with the logo that was chosen, which nobody has tried yet.

    Raises:
        TemplateRefusedError: It is no picture, or too heavy.
    """
    content = submitted.file("logo_file")
    logo = typed.fields.logo
    if submitted.flag("remove_logo"):
        logo = ""
    elif content:
        try:
            logo = logo_uri(content)
        except LogoError as error:
            raise TemplateRefusedError([TemplateProblem(LOGO, None, error.code, error.values)]) from None
    elif LOGO in submitted:
        # Uploaded with a form that was shown again for another field's sake.
        logo = submitted[LOGO]
    return replace(typed, fields=replace(typed.fields, logo=logo))


def _typed_fields(submitted: Submitted, kept: TemplateFields) -> TemplateFields:
    def text(name: str, language: str) -> str:
        field = field_of(f"{name}.{language}")
        return submitted[field].strip() if field in submitted else kept.sentence(name).in_language(language)

    sentences = {name: Sentence(text(name, "es"), text(name, "en")) for name in SENTENCES}
    colour = submitted[COLOUR].strip().lower() if COLOUR in submitted else kept.colour
    return TemplateFields(**sentences, colour=colour, logo=kept.logo)


def _preview(
    request: Request,
    pool: PoolDep,
    pages: PagesDep,
    t: Translator,
    template: Template,
    choice: Choice,
    view: str,
) -> Response:
    problem: Text
    missing = _missing_duty(request, choice)
    if missing is not None:
        return problem_frame(pages, request, t.failure(missing), 403)
    try:
        with pool.connection() as db:
            shown = choice.gather(db)
        return _view(request, pages, t, template, shown, view)
    except NotFoundError:
        problem = (f"No existe el tercero {choice.tenant}.", f"There is no tenant {choice.tenant}.")
    except preview.AmbiguousTenantError as error:
        problem = tell_both(error)
    except preview.NoInvoiceError:
        problem = (
            "Ese tercero no tiene facturas en ese período, ni se le generarían.",
            "That tenant has no invoice in that period, and would have none.",
        )
    except InputError:
        problem = ("Escriba el período como AAAA-MM.", "Type the period as YYYY-MM.")
    except RenderFailedError as error:
        problem = tell_both(error.failure)
    return problem_frame(pages, request, t.text(problem))


def _missing_duty(request: Request, choice: Choice) -> Failure | None:
    """Why the visitor may not see these documents: a real tenant's are personal data, the sample's are not."""
    is_real = bool(choice.tenant)
    return objection({Duty.READ_PERSONAL}, current_visitor(request).duties) if is_real else None


def _view(
    request: Request, pages: PagesDep, t: Translator, template: Template, shown: preview.Documents, view: str
) -> Response:
    if view in ("mail", "text"):
        content = preview.render_mail(template, shown)
        if view == "mail":
            return html_frame(content.html)
        subject = f"{t('Asunto', 'Subject')}: {content.subject}\n\n"
        return text_frame(pages, request, subject + content.text, _source(t, shown))
    first = shown.invoices[0]
    (pdf,) = preview.render_invoices(template, [first])
    if view == "pdf":
        return pdf_response(pdf, documents.filename(first.number), download=True)
    drawn = draw_pages(pdf, first.label, most=_PAGES_SHOWN)
    pictures = [
        (t("Página {} de {}", "Page {} of {}").format(number, drawn.pages), picture)
        for number, picture in enumerate(drawn.pictures, start=1)
    ]
    return pictures_frame(pages, request, pictures, _source(t, shown))


def _source(t: Translator, shown: preview.Documents) -> str:
    texts: Mapping[str, Text] = {
        "issued": ("Con las facturas emitidas.", "With the invoices as issued."),
        "simulated": (
            "Simulación: aún no hay facturas de ese período.",
            "Simulation: there are no invoices of that period yet.",
        ),
        "sample": ("Con datos de muestra.", "With sample data."),
    }
    return t.text(texts[shown.source])
