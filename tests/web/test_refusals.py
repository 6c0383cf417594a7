"""What is refused, and how: problem details (RFC 9457) for programs, the reader's language for people."""

from collections.abc import Callable

import pytest
from httpx import Response

from support.visiting import App, Browser

TEMPLATE = {
    "mail.html": "<p>x</p>",
    "mail.txt": "{{ nobody }}",
    "invoice.html": "<p>x</p>",
    "invoice.css": "",
}
Ask = Callable[[App], Response]


def anonymous(app: App) -> Response:
    browser = app.as_editor()
    browser.cookies.clear()
    return browser.get("/invoicing/api/v1/settings")


def without_token(app: App) -> Response:
    return app.as_editor().patch("/invoicing/api/v1/settings", json={"due_days": 5})


def from_elsewhere(app: App) -> Response:
    headers = {"origin": "https://evil.example"}
    return app.as_editor().patch("/invoicing/api/v1/settings", json={}, headers=headers)


def too_much(app: App) -> Response:
    return app.as_editor().patch("/invoicing/api/v1/settings", content=b"x" * 5_000_000)


REFUSALS: dict[str, tuple[Ask, int]] = {
    "not_logged_in": (anonymous, 401),
    "may_not_change": (lambda app: app.as_viewer().ask("PATCH", "/settings", {"due_days": 5}), 403),
    "form_expired": (without_token, 403),
    "foreign_request": (from_elsewhere, 403),
    "body_too_large": (too_much, 413),
    "page_not_found": (lambda app: app.as_viewer().ask("GET", "/nothing"), 404),
    "method_not_allowed": (lambda app: app.as_editor().ask("DELETE", "/settings"), 405),
    "period_malformed": (lambda app: app.as_viewer().ask("GET", "/cycles/noviembre"), 422),
    "fields_wrong": (lambda app: app.as_viewer().ask("GET", "/tenants?limit=many&sort=size"), 422),
}


@pytest.mark.parametrize("code", REFUSALS)
def test_a_program_is_told_by_a_code(app: App, code: str):
    ask, status = REFUSALS[code]
    answer = ask(app)

    details = answer.json()
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    assert (details["status"], details["code"]) == (status, code)
    assert details["type"] == f"/invoicing/api/v1/problems#{code}"
    assert details["title"]
    assert details["detail"]


def test_the_type_of_a_problem_leads_to_its_words(viewer: Browser):
    details = viewer.ask("GET", "/nothing").json()
    path, _, code = details["type"].partition("#")

    assert viewer.get(path).json()[code] == {"es": "Esta página no existe.", "en": "There is no such page."}


def test_wrong_fields_are_named_each_with_its_code(editor: Browser):
    typed = editor.ask("PATCH", "/settings", {"due_days": 100, "colour": "blue", "from_email": "a@@b"}).json()
    asked = editor.ask("GET", "/tenants?limit=many&sort=size").json()
    saved = editor.ask("PUT", "/templates/default", {"parts": TEMPLATE, "seen_version": 1}).json()

    assert [(each["field"], each["code"]) for each in typed["errors"]] == [
        ("due_days", "value_too_large"),
        ("from_email", "value_not_an_address"),
        ("colour", "setting_unknown"),
    ]
    assert typed["errors"][0]["message"] == "It must be 90 or less."
    assert typed["detail"].startswith(
        "due_days: It must be 90 or less.; from_email: The part after the @-sign"
    )
    assert [(each["field"], each["code"]) for each in asked["errors"]] == [
        ("sort", "value_not_a_choice"),
        ("limit", "value_not_whole"),
    ]
    assert saved["errors"] == [
        {
            "field": "mail.txt",
            "line": 1,
            "message": "unknown variable 'nobody'; known are agency, tenant, period, invoices, totals, "
            "first_due_on, language, texts, look",
            "code": "template_variable_unknown",
        }
    ]


@pytest.mark.parametrize(
    ("path", "status", "es", "en"),
    [
        ("/nothing", 404, "Esta página no existe.", "There is no such page."),
        (
            "/cycles/2026-13",
            422,
            "no es un mes entre 2000-01 y 2199-12",
            "is not a month between 2000-01 and",
        ),
        ("/automation/history?newest=x", 422, "newest: Escriba un número entero.", "newest: Input should be"),
    ],
)
def test_a_person_is_told_in_their_language(app: App, path: str, status: int, es: str, en: str):
    spanish, english = app.as_viewer("es").see(path), app.as_viewer("en").see(path)

    assert (spanish.status_code, english.status_code) == (status, status)
    assert es in spanish.text
    assert en in english.text
