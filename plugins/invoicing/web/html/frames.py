"""What is shown in a frame that trusts nothing: messages and documents made from somebody's template and data."""

import base64
from collections.abc import Sequence

from fastapi import Request
from starlette.responses import HTMLResponse, Response

from invoicing.web.html.templating import Pages

POLICY = (
    "sandbox; default-src 'none'; img-src data:; style-src 'unsafe-inline'; font-src data:; frame-ancestors 'self'; "
    "form-action 'none'; base-uri 'none'"
)
"""Of a frame's document: no script, nothing loaded from anywhere, an origin of its own that owns nothing."""


def html_frame(html: str) -> Response:
    """A message's HTML as it is."""
    return HTMLResponse(html.encode(errors="replace"), headers={"Content-Security-Policy": POLICY})


def text_frame(
    pages: Pages, request: Request, text: str, lead: str = "", *, themed: bool = False
) -> Response:
    """Plain text; ``themed``: as dark as the page around it."""
    return _frame(pages, request, text=text, lead=lead, themed=themed)


def pictures_frame(
    pages: Pages, request: Request, pictures: Sequence[tuple[str, bytes]], more: str = ""
) -> Response:
    """Pages of a document: a description and a PNG each."""
    drawn = [(name, f"data:image/png;base64,{base64.b64encode(png).decode()}") for name, png in pictures]
    return _frame(pages, request, pictures=drawn, lead=more)


def problem_frame(
    pages: Pages, request: Request, problem: str, status: int = 200, *, themed: bool = False
) -> Response:
    """Why there is nothing to show. A frame's status is nobody's to see: 200 keeps the browser's own page away."""
    return _frame(pages, request, problem=problem, status=status, themed=themed)


def pdf_response(pdf: bytes, filename: str, *, download: bool) -> Response:
    """A PDF, to be shown where the browser can, or saved."""
    disposition = "attachment" if download else "inline"
    return Response(
        pdf,
        media_type="application/pdf",
        headers={
            "Content-Disposition": f'{disposition}; filename="{filename}"',
            "Content-Security-Policy": "default-src 'none'; "
            "style-src 'unsafe-inline'; object-src 'self'; frame-ancestors 'self'",
        },
    )


def _frame(
    pages: Pages,
    request: Request,
    *,
    text: str | None = None,
    lead: str = "",
    pictures: Sequence[tuple[str, str]] = (),
    problem: str = "",
    status: int = 200,
    themed: bool = False,
) -> Response:
    answer = pages.respond(
        request,
        "frame.html",
        status,
        text=text,
        lead=lead,
        pictures=pictures,
        problem=problem,
        themed=themed,
    )
    answer.headers["Content-Security-Policy"] = POLICY
    return answer
