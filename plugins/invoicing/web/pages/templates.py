"""Templates: edited with a preview beside, saved as versions, compared, brought back, tried out by mail."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from invoicing.domain.errors import InputError, NotFoundError
from invoicing.domain.period import Period
from invoicing.mail.message import UnsafeMessageError
from invoicing.mail.transmission import RelayUnavailableError, Verdict
from invoicing.rendering.errors import RenderFailedError
from invoicing.rendering.pictures import draw_pages
from invoicing.rendering.sample import variables
from invoicing.rendering.templates import INVOICE_CSS, INVOICE_HTML, MAIL_HTML, MAIL_TEXT, PARTS, Template
from invoicing.services.agency import settings as settings_service
from invoicing.services.agency import templates
from invoicing.services.agency.settings import TemplateVersion
from invoicing.services.agency.templates import (
    TemplateFaultyError,
    TemplateNameError,
    TemplateOvertakenError,
)
from invoicing.services.delivery import documents
from invoicing.services.views import preview
from invoicing.web.database import DatabaseDep
from invoicing.web.door.visitor import VisitorDep
from invoicing.web.html.forms import Submitted, SubmittedDep, see_other
from invoicing.web.html.frames import html_frame, pdf_response, pictures_frame, problem_frame, text_frame
from invoicing.web.html.i18n import Translator, TranslatorDep
from invoicing.web.html.template_problems import Complaint, field_of, in_words
from invoicing.web.html.templating import PagesDep
from invoicing.words import Text
from invoicing.words.failures import Failure, tell_both

router = APIRouter(prefix="/templates")

LABELS: Mapping[str, Text] = {
    MAIL_HTML: ("Correo", "Message"),
    MAIL_TEXT: ("Correo sin formato", "Message as text"),
    INVOICE_HTML: ("Factura", "Invoice"),
    INVOICE_CSS: ("Estilo de la factura", "Invoice’s style"),
}
VIEWS: Mapping[str, Text] = {
    "mail": ("Correo", "Message"),
    "text": ("Sin formato", "As text"),
    "invoice": ("Factura", "Invoice"),
}
# Which view shows what a part makes.
VIEW_OF = {MAIL_HTML: "mail", MAIL_TEXT: "text", INVOICE_HTML: "invoice", INVOICE_CSS: "invoice"}
FILTERS: Sequence[tuple[str, Text]] = (
    ("t('español', 'English')", ("según el idioma", "by language")),
    ("|money(invoice.currency)", ("valor con moneda", "amount with currency")),
    ("|date", ("1 de noviembre de 2026", "November 1, 2026")),
    ("|short_date", ("1 nov 2026", "Nov 1, 2026")),
    ("|month_name", ("noviembre de 2026", "November 2026")),
    ("|percent", ("19 %", "19%")),
    ("|grouped", ("43.123.456", "43.123.456")),
    ("|in_words(invoice.currency)", ("valor en letras", "amount in words")),
)
_PAGES_SHOWN = 4
_OWN_NAME: Text = (
    "Use letras minúsculas sin tilde, cifras, «-» o «_»; máximo 40, y que no exista ya.",
    "Use small letters, digits, “-” or “_”; at most 40, and a name that is not taken.",
)


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


@dataclass(frozen=True, slots=True)
class TestResult:
    """What became of a test message."""

    kind: str
    text: Text


@router.get("")
def show_list(request: Request, db: DatabaseDep, pages: PagesDep) -> Response:
    """Every template, and the form that makes another."""
    return _list(request, db, pages)


@router.post("")
def create(
    request: Request, db: DatabaseDep, pages: PagesDep, visitor: VisitorDep, submitted: SubmittedDep
) -> Response:
    """Make a template out of another one."""
    name = submitted["name"].strip()
    try:
        templates.create_template(db, name, submitted["source"], actor=visitor.actor)
    except TemplateNameError:
        return _list(request, db, pages, 422, name=name, source=submitted["source"], problem=_OWN_NAME)
    return see_other(request, f"/templates/{name}?created=yes")


@router.get("/{name}")
def show(request: Request, db: DatabaseDep, pages: PagesDep, name: str) -> Response:
    """The editor, with the version in force."""
    current = templates.show_template(db, name)
    return _Editor(request, db, pages, current, Choice.of(request.query_params)).page(current.template.parts)


@router.post("/{name}")
def save(
    request: Request,
    db: DatabaseDep,
    pages: PagesDep,
    visitor: VisitorDep,
    submitted: SubmittedDep,
    name: str,
) -> Response:
    """Save a new version, or show the editor again with what was typed and what is wrong with it."""
    current = templates.show_template(db, name)
    typed = _typed(submitted, current)
    seen = submitted.number("seen_version") or 0
    editor = _Editor(request, db, pages, current, Choice.of(submitted))
    try:
        saved = templates.save_template(db, name, typed, seen_version=seen, actor=visitor.actor)
    except TemplateFaultyError as error:
        return editor.page(typed, 422, seen=seen, complaints=in_words(error.problems))
    except TemplateOvertakenError as error:
        editor.current = error.current
        return editor.page(typed, 409, seen=error.current.template.version, overtaken_since=seen)
    what = "same" if saved.id == current.id else saved.template.version
    return see_other(request, f"/templates/{name}?saved={what}")


@router.get("/{name}/preview")
def preview_saved(
    request: Request,
    pages: PagesDep,
    t: TranslatorDep,
    name: str,
    view: str = "mail",
    version: int | None = None,
) -> Response:
    """What a saved version makes of a tenant's documents; changes nothing."""
    with request.app.state.pool.connection() as db:
        kept = (
            templates.show_template(db, name)
            if version is None
            else templates.show_version(db, name, version)
        )
    return _preview(request, pages, t, kept.template, Choice.of(request.query_params), view)


@router.post("/{name}/preview")
def preview_typed(
    request: Request,
    pages: PagesDep,
    t: TranslatorDep,
    submitted: SubmittedDep,
    name: str,
    view: Annotated[str, Query()] = "mail",
) -> Response:
    """What a text that is not saved yet makes of a tenant's documents; changes nothing."""
    with request.app.state.pool.connection() as db:
        current = templates.show_template(db, name)
    draft = _draft(current, _typed(submitted, current))
    return _preview(request, pages, t, draft, Choice.of(submitted), view)


@router.post("/{name}/test")
def send_test(
    request: Request, pages: PagesDep, visitor: VisitorDep, submitted: SubmittedDep, name: str
) -> Response:
    """Send the message with its invoices, as typed, to one address; the ledger is not touched."""
    choice = Choice.of(submitted)
    to = submitted["to"].strip()[:400]
    seen = submitted.number("seen_version") or 0
    pool = request.app.state.pool
    with pool.connection() as db:
        current = templates.show_template(db, name)
        typed = _typed(submitted, current)
        settings = settings_service.current_settings(db).settings
    outcome = None
    result: TestResult
    status = 422
    try:
        preview.check_recipient(to)
    except InputError as error:
        result = TestResult(
            "address",
            ("Escriba una sola dirección de correo válida.", f"Type one valid e-mail address. {error}"),
        )
    else:
        try:
            with pool.connection() as db:
                shown = choice.gather(db)
            draft = _draft(current, typed)
            content = preview.render_mail(draft, shown)
            pdfs = preview.render_invoices(draft, shown.invoices)
            outside = request.app.state.outside
            with outside.open_relay() as relay:
                outcome = preview.send_test(
                    relay,
                    content,
                    {
                        documents.filename(each.number): pdf
                        for each, pdf in zip(shown.invoices, pdfs, strict=True)
                    },
                    to=to,
                    settings=settings,
                    sender=outside.relay_sender(),
                )
        except RenderFailedError as error:
            result = TestResult("error", _not_sent(error.failure))
        except RelayUnavailableError as error:
            status = 503
            result = TestResult("error", _not_sent(error))
        except (InputError, UnsafeMessageError) as error:
            result = TestResult("error", _not_sent(error))
        else:
            reply = f"{outcome.code or ''} {outcome.reply}".strip()
            accepted = outcome.verdict is Verdict.ACCEPTED
            status = 200 if accepted else 503
            result = (
                TestResult(
                    "ok",
                    (f"Prueba enviada a {to}: {reply}", f"Test sent to {to}: {reply}"),
                )
                if accepted
                else TestResult(
                    "error", (f"La prueba no se envió: {reply}", f"The test was not sent: {reply}")
                )
            )
    with pool.connection() as db:
        if outcome is not None:
            preview.record_test(db, name, to, outcome, actor=visitor.actor)
        editor = _Editor(request, db, pages, current, choice)
        return editor.page(typed, status, seen=seen, test=result, to=to)


@router.get("/{name}/versions")
def show_versions(request: Request, db: DatabaseDep, pages: PagesDep, name: str) -> Response:
    """Who saved which version, and when."""
    current = templates.show_template(db, name)
    return pages.respond(
        request,
        "template_versions.html",
        template_name=name,
        current=current,
        versions=templates.versions_of(db, name),
    )


@router.get("/{name}/versions/{version}")
def show_version(request: Request, db: DatabaseDep, pages: PagesDep, name: str, version: int) -> Response:
    """One version: how it differs from the one before and from the one in force, and its text."""
    current = templates.show_template(db, name)
    kept = templates.show_version(db, name, version)
    return _version_page(request, db, pages, current, kept)


@router.post("/{name}/versions/{version}/restore")
def restore(
    request: Request,
    db: DatabaseDep,
    pages: PagesDep,
    visitor: VisitorDep,
    submitted: SubmittedDep,
    name: str,
    version: int,
) -> Response:
    """Save an earlier version's text as the newest."""
    current = templates.show_template(db, name)
    kept = templates.show_version(db, name, version)
    try:
        saved = templates.restore_version(
            db,
            name,
            version,
            seen_version=submitted.number("seen_version") or 0,
            actor=visitor.actor,
        )
    except TemplateOvertakenError as error:
        return _version_page(request, db, pages, error.current, kept, 409)
    except TemplateFaultyError as error:
        return _version_page(request, db, pages, current, kept, 422, in_words(error.problems))
    return see_other(request, f"/templates/{name}?saved={saved.template.version}")


@dataclass(slots=True)
class _Editor:
    """The editor's page."""

    request: Request
    db: DatabaseDep
    pages: PagesDep
    current: TemplateVersion
    choice: Choice

    def page(
        self,
        parts: Mapping[str, str],
        status: int = 200,
        *,
        seen: int | None = None,
        complaints: Sequence[Complaint] = (),
        overtaken_since: int | None = None,
        test: TestResult | None = None,
        to: str = "",
    ) -> Response:
        """The page with ``parts`` as they are typed."""
        name = self.current.template.name
        theirs: list[Any] = []
        if overtaken_since:
            earlier = templates.show_version(self.db, name, overtaken_since)
            theirs = templates.differences(earlier.template.parts, self.current.template.parts)
        settings = settings_service.current_settings(self.db).settings
        return self.pages.respond(
            self.request,
            "template.html",
            status,
            template_name=name,
            current=self.current,
            seen=seen or self.current.template.version,
            parts=parts,
            part_names=PARTS,
            part_labels=LABELS,
            field_of=field_of,
            views=VIEWS,
            view_of=VIEW_OF,
            variables={MAIL_HTML: variables(MAIL_HTML), INVOICE_HTML: variables(INVOICE_HTML)},
            filters=FILTERS,
            complaints=complaints,
            is_overtaken=status == 409,
            theirs=theirs,
            choice=self.choice,
            test=test,
            to=to,
            in_use=settings.template == name,
            versions=templates.versions_of(self.db, name)[:5],
            saved=self.request.query_params.get("saved", ""),
            created="created" in self.request.query_params,
            longest=templates.MOST_CHARACTERS,
        )


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
        templates=templates.list_templates(db),
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
        from_before=templates.differences(before.template.parts, kept.template.parts) if before else [],
        to_current=templates.differences(kept.template.parts, current.template.parts),
        part_names=PARTS,
        part_labels=LABELS,
        complaints=complaints,
        is_overtaken=status == 409,
    )


def _preview(
    request: Request, pages: PagesDep, t: Translator, template: Template, choice: Choice, view: str
) -> Response:
    problem: Text
    try:
        with request.app.state.pool.connection() as db:
            shown = choice.gather(db)
        return _view(request, pages, t, template, shown, view)
    except NotFoundError:
        problem = (f"No existe el tercero {choice.tenant}.", f"There is no tenant {choice.tenant}.")
    except preview.NoInvoiceError:
        problem = (
            "Ese tercero no tiene facturas en ese período, ni se le generarían.",
            "That tenant has no invoice in that period, and would have none.",
        )
    except InputError:
        problem = ("Escriba el período como AAAA-MM.", "Type the period as YYYY-MM.")
    except preview.PreviewsBusyError as error:
        problem = ("Se están haciendo otras vistas previas: intente en un momento.", str(error))
    except RenderFailedError as error:
        problem = tell_both(error.failure)
    return problem_frame(pages, request, t.text(problem))


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


def _not_sent(reason: Failure) -> Text:
    es, en = tell_both(reason)
    return f"La prueba no se envió: {es}", f"The test was not sent: {en}"


def _typed(submitted: Submitted, current: TemplateVersion) -> dict[str, str]:
    """The parts as typed; one that was not sent is as it was."""
    return {
        part: submitted[field_of(part)] if field_of(part) in submitted else current.template.parts[part]
        for part in PARTS
    }


def _draft(current: TemplateVersion, parts: Mapping[str, str]) -> Template:
    return Template(current.template.name, current.template.version, parts, current.template.folder)
