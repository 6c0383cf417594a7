"""A test message of what is typed in a template's editor, to look at in a mail reader."""

from fastapi import APIRouter, Request
from starlette.responses import Response

from invoicing.domain.errors import InputError, LimitReachedError
from invoicing.mail.message import UnsafeMessageError
from invoicing.mail.transmission import Outcome, RelayUnavailableError, Verdict
from invoicing.rendering.errors import RenderFailedError
from invoicing.services.agency import template_editing, templates
from invoicing.services.agency.templates import TemplateVersion
from invoicing.services.delivery.trial import TrialAddressError
from invoicing.web.database import PoolDep
from invoicing.web.door.duties import Duty, needs
from invoicing.web.door.turns import EXPENSIVE
from invoicing.web.door.visitor import VisitorDep
from invoicing.web.html.forms import Submitted, SubmittedDep
from invoicing.web.html.templating import PagesDep
from invoicing.web.pages.template_editor import Editor, TestResult
from invoicing.web.pages.template_preview import Choice, typed_template, with_typed_logo
from invoicing.web.trial import send_trial
from invoicing.words import Text
from invoicing.words.failures import Failure, tell_both

router = APIRouter(prefix="/templates")

_TRANSIENT = 503


@router.post("/{name}/test", dependencies=[EXPENSIVE])
@needs(Duty.CHANGE_SETTINGS)
def send_test(
    request: Request,
    pool: PoolDep,
    pages: PagesDep,
    visitor: VisitorDep,
    submitted: SubmittedDep,
    name: str,
) -> Response:
    """Send the message with its invoices, as typed, to one address; the ledger is not touched."""
    with pool.connection() as db:
        current = templates.show_template(db, name)
    result = _try(request, pool, visitor, submitted, current)
    with pool.connection() as db:
        answer = Editor(request, db, pages, visitor, current, Choice.of(submitted)).page(
            typed_template(submitted, current.template),
            result.status,
            seen=submitted.number("seen_version") or 0,
            test=result,
            to=_address(submitted),
        )
    if result.retry_after_seconds is not None:
        answer.headers["Retry-After"] = str(result.retry_after_seconds)
    return answer


def _try(
    request: Request, pool: PoolDep, visitor: VisitorDep, submitted: Submitted, current: TemplateVersion
) -> TestResult:
    typed = typed_template(submitted, current.template)
    choice, to = Choice.of(submitted), _address(submitted)
    try:
        draft = template_editing.fit(with_typed_logo(submitted, typed), current.template)
        outcome = send_trial(
            request, pool.connection, visitor, draft, current.id, choice.tenant, choice.gather, to
        )
    except RelayUnavailableError as error:
        return _refused(error, _TRANSIENT)
    except LimitReachedError as error:
        return _refused(error, 429, retry_after_seconds=int(str(error.values["seconds"])))
    except TrialAddressError as error:
        return TestResult("address", tell_both(error), 422)
    except (InputError, UnsafeMessageError, RenderFailedError) as error:
        return _refused(error.failure if isinstance(error, RenderFailedError) else error, 422)
    return _told(outcome, to)


def _told(outcome: Outcome, to: str) -> TestResult:
    reply = f"{outcome.code or ''} {outcome.reply}".strip()
    if outcome.verdict is Verdict.ACCEPTED:
        return TestResult("ok", (f"Prueba enviada a {to}: {reply}", f"Test sent to {to}: {reply}"), 200)
    if outcome.verdict is Verdict.IN_DOUBT:
        unknown = "No se sabe si la prueba llegó", "Nobody knows whether the test arrived"
        return TestResult("error", (f"{unknown[0]}: {reply}", f"{unknown[1]}: {reply}"), _TRANSIENT)
    return TestResult("error", _not_sent((reply, reply)), _TRANSIENT)


def _refused(why: Failure, status: int, *, retry_after_seconds: int | None = None) -> TestResult:
    return TestResult("error", _not_sent(tell_both(why)), status, retry_after_seconds)


def _address(submitted: Submitted) -> str:
    return submitted["to"].strip()[:400]


def _not_sent(why: Text) -> Text:
    return f"La prueba no se envió: {why[0]}", f"The test was not sent: {why[1]}"
