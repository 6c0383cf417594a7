"""What goes wrong, as an answer: a page for people, problem details (RFC 9457) for programs.

Programs get ``application/problem+json``, its words in English: ``type`` (an address below which the API tells all
its codes, and behind ``#`` the code), ``title`` (of the status), ``status``, ``detail``, ``code``, and ``errors``,
one a field, where it is known which field is wrong: ``field``, ``message``, ``code``.
"""

import json
import logging
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import psycopg
from fastapi import FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.responses import JSONResponse, Response

from invoicing.domain.errors import (
    InputError,
    InvoicingError,
    LimitReachedError,
    NotFoundError,
    StaleEditError,
)
from invoicing.domain.typed import fault_of
from invoicing.rendering.validation import TemplateProblem
from invoicing.web.door.duties import MissingDutyError, missing_duty
from invoicing.web.door.form_tokens import FormTokenError
from invoicing.web.html.frames import problem_frame
from invoicing.web.html.i18n import chosen_language, tell_visitor
from invoicing.web.html.templating import Pages
from invoicing.web.refusals import PROBLEM_DETAILS
from invoicing.words.failures import Failure, Fault

log = logging.getLogger(__name__)

TOO_MANY = 429
API = "/api/"
_LONGEST_PLACE = 200
PROBLEMS = "/api/v1/problems"

MOST_LISTED = 100
"""Wrong fields in one answer: a body of 4 MB may have a million."""


def wants_json(request: Request) -> bool:
    """Whether a program is asking."""
    root: str = request.scope.get("root_path", "")
    # A line break in the address moves the slash from one to the other.
    return request.url.path.removeprefix(root.removesuffix("/")).startswith(API)


def refuse(
    request: Request, status: int, failure: Failure, errors: Sequence[Mapping[str, Any]] = ()
) -> Response:
    """An answer that says no, and why. Programs are answered in English; what is shown in a frame, in one.

    Args:
        errors: For programs: what is wrong field by field.
    """
    answer = _refusal(request, status, failure, errors)
    if status == TOO_MANY:
        answer.headers["Retry-After"] = str(failure.values["seconds"])
    return answer


def _refusal(
    request: Request, status: int, failure: Failure, errors: Sequence[Mapping[str, Any]]
) -> Response:
    if wants_json(request):
        details = {
            "type": f"{request.scope.get('root_path', '')}{PROBLEMS}#{failure.code}",
            "title": HTTPStatus(status).phrase,
            "status": status,
            "detail": tell_visitor(failure, "en"),
            "code": failure.code,
        }
        if errors:
            details["errors"] = list(errors)
        return _ProblemDetails(details, status)
    pages: Pages = request.app.state.pages
    message = tell_visitor(failure, chosen_language(request))
    if getattr(request.state, "is_frame", False):
        return problem_frame(pages, request, message, status)
    return pages.respond(request, "error.html", status, figure=status, message=message)


class _ProblemDetails(JSONResponse):
    """In ASCII: what is quoted from a request may be half a character, which UTF-8 has no way to write."""

    media_type = PROBLEM_DETAILS

    def render(self, content: Any) -> bytes:
        return json.dumps(content, separators=(",", ":")).encode("ascii")


def install_handlers(app: FastAPI) -> None:
    """Turn every exception into an answer."""
    handlers: Mapping[type[Exception], Any] = {
        InvoicingError: _of_ours,
        FormTokenError: _form_expired,
        MissingDutyError: _duty_missing,
        RequestValidationError: _request_invalid,
        StarletteHTTPException: _http_error,
        psycopg.OperationalError: _database_silent,
        psycopg.DataError: _value_not_kept,
    }
    for kind, handler in handlers.items():
        app.add_exception_handler(kind, handler)


def _of_ours(request: Request, error: InvoicingError) -> Response:
    match error:
        case NotFoundError():
            return refuse(request, 404, error)
        case StaleEditError():
            return refuse(request, 409, error, _wrong_fields(error))
        case InputError():
            return refuse(request, 422, error, _wrong_fields(error))
        case LimitReachedError():
            return refuse(request, TOO_MANY, error)
    return refuse(request, 503, error)


def _form_expired(request: Request, _: FormTokenError) -> Response:
    return refuse(request, 403, Fault("form_expired"))


def _duty_missing(request: Request, error: MissingDutyError) -> Response:
    return refuse(request, 403, missing_duty(error.duty))


def _request_invalid(request: Request, error: RequestValidationError) -> Response:
    problems = [
        Fault("field_refused", field=_place(each["loc"]), problem=fault_of(each), message=each["msg"])
        for each in error.errors()[:MOST_LISTED]
    ]
    if wants_json(request):
        failure = Fault("fields_wrong", problems=problems)
        return refuse(request, 422, failure, _wrong_fields(failure))
    return refuse(request, 422, Fault("address_of_page_invalid", problems=problems))


def _http_error(request: Request, error: HTTPException) -> Response:
    match error.status_code:
        case 404:
            failure = Fault("page_not_found")
        case 405:
            failure = Fault("method_not_allowed")
        case _:
            failure = Fault("request_refused", detail=error.detail)
    answer = refuse(request, error.status_code, failure)
    answer.headers.update(error.headers or {})
    return answer


def _database_silent(request: Request, error: psycopg.OperationalError) -> Response:
    log.error("%s %s: %s", request.method, request.url.path, error)
    return refuse(request, 503, Fault("database_silent"))


def _value_not_kept(request: Request, error: psycopg.DataError) -> Response:
    return refuse(request, 422, Fault("value_not_kept", reason=str(error).partition("\n")[0]))


def _place(location: Sequence[str | int]) -> str:
    """A field's place: the first part of ``location`` says whether it was the body, the path or the query."""
    place = ".".join(map(str, location[1:] or location))
    return place if len(place) <= _LONGEST_PLACE else place[: _LONGEST_PLACE - 1] + "…"


def _wrong_fields(failure: Failure) -> list[dict[str, Any]]:
    """What is wrong field by field, of a failure that lists problems; else the failure itself."""
    problems = getattr(failure, "problems", None) or failure.values.get("problems")
    if not isinstance(problems, Sequence) or not problems:
        problems = [failure]
    return [_wrong_field(each) for each in problems[:MOST_LISTED] if isinstance(each, Failure)]


def _wrong_field(problem: Failure) -> dict[str, Any]:
    if isinstance(problem, TemplateProblem):
        return {
            "field": problem.part,
            "line": problem.line,
            "message": problem.message,
            "code": problem.code,
        }
    inner = problem.values.get("problem")
    told = inner if isinstance(inner, Failure) else problem
    return {
        "field": getattr(problem, "field", None) or problem.values.get("field"),
        "message": problem.values.get("message") or tell_visitor(told, "en"),
        "code": told.code,
    }
