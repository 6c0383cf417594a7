"""The editor of a template: what is typed is previewed beside it, and saved as a version."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fastapi import APIRouter, Request
from starlette.responses import Response

from invoicing.domain.errors import StaleEditError
from invoicing.rendering.sample import variables
from invoicing.rendering.templates import INVOICE_CSS, INVOICE_HTML, MAIL_HTML, MAIL_TEXT, PARTS
from invoicing.services.agency import settings as settings_service
from invoicing.services.agency import template_editing, templates
from invoicing.services.agency.template_editing import TemplateRefusedError
from invoicing.services.agency.templates import TemplateVersion
from invoicing.services.delivery import trial
from invoicing.services.views.templates import PartDiff, compare_parts, versions_of
from invoicing.services.views.trials import show_trials
from invoicing.web.database import DatabaseDep, PoolDep
from invoicing.web.door.duties import Duty, needs
from invoicing.web.door.turns import EXPENSIVE
from invoicing.web.door.visitor import VisitorDep
from invoicing.web.html.forms import SubmittedDep, see_other
from invoicing.web.html.template_problems import Complaint, field_of, in_words
from invoicing.web.html.templating import PagesDep
from invoicing.web.pages.template_preview import Choice, typed_parts
from invoicing.words import Text

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


@dataclass(frozen=True, slots=True)
class TestResult:
    """What became of a test message.

    Args:
        kind: ``ok``, ``error``, or ``address`` where that is what is wrong.
        status: Of the page that says so.
        retry_after_seconds: Where it was one too many.
    """

    kind: str
    text: Text
    status: int
    retry_after_seconds: int | None = None


@dataclass(slots=True)
class Editor:
    """The editor's page."""

    request: Request
    db: DatabaseDep
    pages: PagesDep
    visitor: VisitorDep
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
        theirs: list[PartDiff] = []
        if overtaken_since:
            earlier = templates.show_version(self.db, name, overtaken_since)
            theirs = compare_parts(earlier.template.parts, self.current.template.parts)
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
            versions=versions_of(self.db, name)[:5],
            trials=show_trials(self.db, name, user_id=self.visitor.id),
            most_trials=trial.MOST_AN_HOUR,
            allowed=trial.allowed_recipients(self.visitor.email, settings),
            saved=self.request.query_params.get("saved", ""),
            created="created" in self.request.query_params,
            longest=template_editing.MOST_CHARACTERS,
        )


@router.get("/{name}")
@needs(Duty.READ_AMOUNTS)
def show(request: Request, db: DatabaseDep, pages: PagesDep, visitor: VisitorDep, name: str) -> Response:
    """The editor, with the version in force."""
    current = templates.show_template(db, name)
    editor = Editor(request, db, pages, visitor, current, Choice.of(request.query_params))
    return editor.page(current.template.parts)


@router.post("/{name}", dependencies=[EXPENSIVE])
@needs(Duty.CHANGE_SETTINGS)
def save(
    request: Request,
    pool: PoolDep,
    pages: PagesDep,
    visitor: VisitorDep,
    submitted: SubmittedDep,
    name: str,
) -> Response:
    """Save a new version, or show the editor again with what was typed and what is wrong with it."""
    with pool.connection() as db:
        current = templates.show_template(db, name)
    typed = typed_parts(submitted, current)
    seen = submitted.number("seen_version") or 0
    choice = Choice.of(submitted)
    try:
        saved = template_editing.save_template(
            pool.connection, name, typed, seen_version=seen, actor=visitor.actor
        )
    except TemplateRefusedError as error:
        with pool.connection() as db:
            return Editor(request, db, pages, visitor, current, choice).page(
                typed, 422, seen=seen, complaints=in_words(error.problems)
            )
    except StaleEditError:
        with pool.connection() as db:
            newer = templates.show_template(db, name)
            return Editor(request, db, pages, visitor, newer, choice).page(
                typed, 409, seen=newer.template.version, overtaken_since=seen
            )
    what = "same" if saved.id == current.id else saved.template.version
    return see_other(request, f"/templates/{name}?saved={what}")
