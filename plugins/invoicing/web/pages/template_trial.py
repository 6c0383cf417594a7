"""A test message of what is typed in a template's editor, to look at in a mail reader."""

from fastapi import APIRouter, Request
from starlette.responses import Response

from invoicing.domain.errors import InputError
from invoicing.mail.message import UnsafeMessageError
from invoicing.mail.transmission import Outcome, RelayUnavailableError, Verdict
from invoicing.rendering.errors import RenderFailedError
from invoicing.rendering.templates import Template
from invoicing.services.agency import settings as settings_service
from invoicing.services.agency import templates
from invoicing.services.delivery import documents, trial
from invoicing.services.views import preview
from invoicing.web.door.duties import Duty, needs
from invoicing.web.door.visitor import VisitorDep
from invoicing.web.html.forms import SubmittedDep
from invoicing.web.html.templating import PagesDep
from invoicing.web.pages.template_editor import Editor, TestResult
from invoicing.web.pages.template_preview import Choice, draft_of, typed_parts
from invoicing.words import Text
from invoicing.words.failures import tell_both

router = APIRouter(prefix="/templates")


@router.post("/{name}/test")
@needs(Duty.CHANGE_SETTINGS)
def send_test(
    request: Request, pages: PagesDep, visitor: VisitorDep, submitted: SubmittedDep, name: str
) -> Response:
    """Send the message with its invoices, as typed, to one address; the ledger is not touched."""
    choice = Choice.of(submitted)
    if choice.tenant:
        visitor.require(Duty.READ_PERSONAL)
    to = submitted["to"].strip()[:400]
    with request.app.state.pool.connection() as db:
        current = templates.show_template(db, name)
    typed = typed_parts(submitted, current)
    # No connection is held while the message is rendered and sent.
    outcome, result = _try(request, draft_of(current, typed), choice, to)
    with request.app.state.pool.connection() as db:
        if outcome is not None:
            trial.record_test(db, name, to, outcome, actor=visitor.actor)
        return Editor(request, db, pages, current, choice).page(
            typed, result.status, seen=submitted.number("seen_version") or 0, test=result, to=to
        )


def _try(request: Request, draft: Template, choice: Choice, to: str) -> tuple[Outcome | None, TestResult]:
    try:
        trial.check_recipient(to)
    except InputError as error:
        es, en = "Escriba una sola dirección de correo válida.", f"Type one valid e-mail address. {error}"
        return None, TestResult("address", (es, en), 422)
    try:
        outcome = _send(request, draft, choice, to)
    except RenderFailedError as error:
        return None, TestResult("error", _not_sent(tell_both(error.failure)), 422)
    except RelayUnavailableError as error:
        return None, TestResult("error", _not_sent(tell_both(error)), 503)
    except (InputError, UnsafeMessageError) as error:
        return None, TestResult("error", _not_sent(tell_both(error)), 422)
    reply = f"{outcome.code or ''} {outcome.reply}".strip()
    if outcome.verdict is Verdict.ACCEPTED:
        return outcome, TestResult(
            "ok", (f"Prueba enviada a {to}: {reply}", f"Test sent to {to}: {reply}"), 200
        )
    return outcome, TestResult("error", _not_sent((reply, reply)), 503)


def _send(request: Request, draft: Template, choice: Choice, to: str) -> Outcome:
    with request.app.state.pool.connection() as db:
        settings = settings_service.current_settings(db).settings
        shown = choice.gather(db)
    content = preview.render_mail(draft, shown)
    pdfs = preview.render_invoices(draft, shown.invoices)
    names = [documents.filename(each.number) for each in shown.invoices]
    outside = request.app.state.outside
    with outside.open_relay() as relay:
        return trial.send_test(
            relay,
            content,
            dict(zip(names, pdfs, strict=True)),
            to=to,
            settings=settings,
            sender=outside.relay_sender(),
        )


def _not_sent(why: Text) -> Text:
    return f"La prueba no se envió: {why[0]}", f"The test was not sent: {why[1]}"
