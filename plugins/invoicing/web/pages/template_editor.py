"""The editor of a template: what is typed is previewed beside it, and saved as a version."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fastapi import APIRouter, Request
from starlette.responses import Response

from invoicing.domain.errors import StaleEditError
from invoicing.rendering.field_rules import LONGEST_SENTENCE
from invoicing.rendering.fields import (
    DEFAULT_COLOUR,
    INVOICE_SENTENCES,
    LOGO,
    OPTIONAL,
    PLACEHOLDERS,
    SENTENCES,
)
from invoicing.rendering.sample import variables
from invoicing.rendering.templates import INVOICE_CSS, INVOICE_HTML, MAIL_HTML, MAIL_TEXT, PARTS, Template
from invoicing.services.agency import settings as settings_service
from invoicing.services.agency import template_editing, templates
from invoicing.services.agency.template_editing import TemplateRefusedError
from invoicing.services.agency.templates import TemplateVersion
from invoicing.services.delivery import trial
from invoicing.services.views.templates import FIELDS_PART, PartDiff, compare, versions_of
from invoicing.services.views.trials import show_trials
from invoicing.web.database import DatabaseDep, PoolDep
from invoicing.web.door.duties import Duty, needs
from invoicing.web.door.turns import EXPENSIVE
from invoicing.web.door.visitor import VisitorDep
from invoicing.web.html.forms import SubmittedDep, see_other
from invoicing.web.html.template_problems import Complaint, field_of, in_words
from invoicing.web.html.templating import PagesDep
from invoicing.web.pages.template_preview import Choice, typed_template, with_typed_logo
from invoicing.words import Text, template_fields

router = APIRouter(prefix="/templates")

LABELS: Mapping[str, Text] = {
    MAIL_HTML: ("Correo", "Message"),
    MAIL_TEXT: ("Correo sin formato", "Message as text"),
    INVOICE_HTML: ("Factura", "Invoice"),
    INVOICE_CSS: ("Estilo de la factura", "Invoice’s style"),
    FIELDS_PART: ("Textos y aspecto", "Texts and look"),
    **template_fields.problem_labels(),
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
        typed: Template,
        status: int = 200,
        *,
        seen: int | None = None,
        complaints: Sequence[Complaint] = (),
        overtaken_since: int | None = None,
        test: TestResult | None = None,
        to: str = "",
    ) -> Response:
        """The page with parts and fields as they are typed."""
        name = self.current.template.name
        theirs: list[PartDiff] = []
        if overtaken_since:
            earlier = templates.show_version(self.db, name, overtaken_since)
            theirs = compare(earlier.template, self.current.template)
        settings = settings_service.current_settings(self.db).settings
        return self.pages.respond(
            self.request,
            "template.html",
            status,
            template_name=name,
            current=self.current,
            seen=seen or self.current.template.version,
            parts=typed.parts,
            fields=typed.fields,
            fields_in_use=typed.fields_in_use,
            has_texts=bool(typed.fields_in_use - {LOGO}),
            sentences=SENTENCES,
            sentence_view={name: "invoice" if name in INVOICE_SENTENCES else "mail" for name in SENTENCES},
            languages=template_fields.LANGUAGES,
            field_labels=template_fields.LABELS,
            placeholders=_placeholders(typed),
            default_colour=DEFAULT_COLOUR,
            longest_sentence=LONGEST_SENTENCE,
            is_code_wrong=any(each.part in PARTS for each in complaints),
            part_names=PARTS,
            part_labels=LABELS,
            field_of=field_of,
            views=VIEWS,
            view_of=VIEW_OF,
            variables={
                part: variables(part, self.current.template.fields) for part in (MAIL_HTML, INVOICE_HTML)
            },
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
    return editor.page(current.template)


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
    typed = typed_template(submitted, current.template)
    seen = submitted.number("seen_version") or 0
    choice = Choice.of(submitted)
    try:
        chosen = with_typed_logo(submitted, typed)
        saved = template_editing.save_template(
            pool.connection, name, chosen.parts, chosen.fields, seen_version=seen, actor=visitor.actor
        )
    except TemplateRefusedError as error:
        if not any(problem.part == LOGO for problem in error.problems):
            # Nobody's browser has to draw what our own printer could not.
            typed = chosen
        with pool.connection() as db:
            return Editor(request, db, pages, visitor, current, choice).page(
                typed, 422, seen=seen, complaints=in_words(error.problems)
            )
    except StaleEditError:
        with pool.connection() as db:
            newer = templates.show_template(db, name)
            return Editor(request, db, pages, visitor, newer, choice).page(
                chosen, 409, seen=newer.template.version, overtaken_since=seen
            )
    what = "same" if saved.id == current.id else saved.template.version
    return see_other(request, f"/templates/{name}?saved={what}")


def _placeholders(typed: Template) -> list[tuple[str, Text]]:
    """What can be put into the sentences in use: as it is written there, and what it stands for."""
    named = {
        name for sentence in SENTENCES if sentence in typed.fields_in_use for name in PLACEHOLDERS[sentence]
    }
    return [
        (f"[{{{name}}}]" if name in OPTIONAL else f"{{{name}}}", words)
        for name, words in template_fields.PLACEHOLDERS.items()
        if name in named
    ]
