"""What goes wrong, as an answer: a page for people, JSON for programs."""

import logging
from typing import Any

import psycopg
from fastapi import FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.responses import JSONResponse, Response

from invoicing.domain.errors import InputError, InvoicingError, NotFoundError, StaleEditError
from invoicing.services.agency.template_editing import TemplateRefusedError
from invoicing.web.door.doorkeeper import BodyTooLargeError, FormTokenError
from invoicing.web.html.i18n import Translator, chosen_language
from invoicing.web.html.templating import Pages

log = logging.getLogger(__name__)

API = "/api/"


def wants_json(request: Request) -> bool:
    """Whether a program is asking."""
    root: str = request.scope.get("root_path", "")
    return request.url.path.removeprefix(root).startswith(API)


def refuse(request: Request, status: int, es: str, en: str) -> Response:
    """An answer that says no, and why. Programs are answered in English."""
    if wants_json(request):
        return JSONResponse({"detail": en}, status_code=status)
    pages: Pages = request.app.state.pages
    message = Translator(chosen_language(request))(es, en)
    return pages.respond(request, "error.html", status, figure=status, message=message)


def _status(error: InvoicingError) -> int:
    if isinstance(error, NotFoundError):
        return 404
    if isinstance(error, StaleEditError):
        return 409
    return 422 if isinstance(error, InputError) else 503


def _errors(error: InvoicingError) -> list[dict[str, Any]]:
    """What is wrong, field by field, where the error knows."""
    if isinstance(error, TemplateRefusedError):
        return [{"field": each.part, "line": each.line, "message": each.message} for each in error.problems]
    return [{"field": error.field, "message": str(error)}]


def install_handlers(app: FastAPI) -> None:
    """Turn every exception into an answer."""

    @app.exception_handler(InvoicingError)
    def _(request: Request, error: InvoicingError) -> Response:
        status = _status(error)
        if wants_json(request) and status in (409, 422):
            return JSONResponse({"detail": str(error), "errors": _errors(error)}, status_code=status)
        return refuse(request, status, str(error), str(error))

    @app.exception_handler(FormTokenError)
    def _(request: Request, _error: FormTokenError) -> Response:
        return refuse(
            request,
            403,
            "El formulario ya no es válido: vuelva a la página, cárguela de nuevo y repita. No se cambió nada.",
            "The form is no longer valid: go back, reload the page and repeat. Nothing was changed.",
        )

    @app.exception_handler(BodyTooLargeError)
    def _(request: Request, _error: BodyTooLargeError) -> Response:
        return refuse(request, 413, "Lo enviado es demasiado grande.", "What was sent is too large.")

    @app.exception_handler(RequestValidationError)
    def _(request: Request, error: RequestValidationError) -> Response:
        errors = [
            # The first part of the place says whether it was the body, the path or the query.
            {"field": ".".join(str(part) for part in each["loc"][1:]) or None, "message": str(each["msg"])}
            for each in error.errors()
        ]
        listing = "; ".join(f"{each['field']}: {each['message']}" for each in errors)
        if wants_json(request):
            return JSONResponse({"detail": listing, "errors": errors}, status_code=422)
        return refuse(
            request, 422, f"La dirección no es válida: {listing}", f"The address is not valid: {listing}"
        )

    @app.exception_handler(StarletteHTTPException)
    def _(request: Request, error: HTTPException) -> Response:
        texts = {
            404: ("Esta página no existe.", "There is no such page."),
            405: ("Esta página no acepta eso.", "This page does not take that."),
        }
        es, en = texts.get(error.status_code, (str(error.detail), str(error.detail)))
        answer = refuse(request, error.status_code, es, en)
        answer.headers.update(error.headers or {})
        return answer

    @app.exception_handler(psycopg.OperationalError)
    def _(request: Request, error: psycopg.OperationalError) -> Response:
        log.error("%s %s: %s", request.method, request.url.path, error)
        return refuse(
            request,
            503,
            "La base de datos no responde; intente de nuevo en un momento.",
            "The database does not answer; try again in a moment.",
        )

    @app.exception_handler(psycopg.DataError)
    def _(request: Request, error: psycopg.DataError) -> Response:
        reason = str(error).partition("\n")[0]
        return refuse(
            request, 422, f"Un valor no se puede guardar: {reason}", f"A value cannot be kept: {reason}"
        )
