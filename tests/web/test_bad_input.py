"""What programs and people of bad manners send: refused for what it is, and at little cost."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from httpx import Response

from invoicing.db.connection import Database
from invoicing.services.agency.templates import current_template
from support.month import Month, November
from support.visiting import App, Browser


@pytest.fixture
def month(november: November, tmp_path: Path) -> Iterator[Month]:
    with november.copy(tmp_path) as copied:
        yield copied


def send(browser: Browser, path: str, body: bytes, kind: str) -> Response:
    """A body as it is, with the token of a form in a header."""
    headers = {"x-csrf-token": browser.token(), "content-type": kind, "origin": "http://airflow.test"}
    return browser.post(f"/invoicing{path}", content=body, headers=headers)


def part(value: bytes) -> bytes:
    return b'--b\r\nContent-Disposition: form-data; name="agency_name"\r\n\r\n' + value + b"\r\n--b--\r\n"


@pytest.mark.parametrize("charset", ["punycode", "unicode_escape", "utf-7", "idna", "zlib", "utf-16"])
def test_a_form_is_in_utf_8(editor: Browser, charset: str):
    """Punycode costs the square of its length: half a megabyte of it stopped the server for half a minute."""
    begun = time.monotonic()
    answer = send(
        editor,
        "/automation",
        part(b"a" * 300_000 + b"-" + b"b" * 300_000),
        f"multipart/form-data; boundary=b; charset={charset}",
    )

    assert answer.status_code == 422
    assert f"«{charset}»" in answer.text
    assert time.monotonic() - begun < 5


@pytest.mark.parametrize("charset", ["", "; charset=utf-8", '; charset="UTF-8"'])
def test_a_form_that_says_so_is_read(editor: Browser, charset: str):
    answer = send(editor, "/automation", part("Peñón".encode()), f"multipart/form-data; boundary=b{charset}")

    assert answer.status_code == 409  # it does not say which version was seen
    assert 'value="Peñón"' in answer.text


def test_the_token_of_a_form_in_an_odd_encoding_is_not_looked_for(editor: Browser):
    """It is asked for before anything else: no other part of a form is read earlier."""
    answer = editor.post(
        "/invoicing/automation",
        content=part(b"a" * 300_000 + b"-" + b"b" * 300_000),
        headers={"content-type": "multipart/form-data; boundary=b; charset=punycode"},
    )

    assert answer.status_code == 422


def test_a_form_has_few_fields(editor: Browser):
    """Four million separators took most of a second, on the event loop that Airflow has."""
    answer = send(editor, "/automation", b"&" * 4_000_000, "application/x-www-form-urlencoded")

    assert answer.status_code == 422
    assert "demasiados campos" in answer.text


def test_a_form_without_its_fields_shows_what_is_in_force(editor: Browser):
    answer = send(editor, "/automation", b"", "application/x-www-form-urlencoded")

    assert answer.status_code == 409
    assert 'name="due_days"' in answer.text


def test_a_name_that_is_no_text_is_refused_in_words(editor: Browser):
    answer = editor.patch(
        "/invoicing/api/v1/settings",
        content=b'{"\\ud800": 1}',
        headers={"x-csrf-token": editor.token(), "content-type": "application/json"},
    )
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["code"] == "value_refused"


@pytest.mark.parametrize("path", ["/tenants/T1", "/settings"])
def test_a_field_is_named_shortly(editor: Browser, path: str):
    answer = editor.ask("PATCH", path, {"k" * 100_000: 1})

    assert answer.status_code == 422
    assert len(answer.content) < 2_000


def test_half_a_character_is_printed_nowhere(editor: Browser, db: Database):
    current_template(db, "default")
    answer = editor.submit("/templates/default/preview?view=text", {"mail_txt": "a{{ '\\ud800' }}b"})

    assert answer.status_code == 200
    assert "ab" in answer.text


def test_half_a_character_in_a_complaint_is_shown_as_a_question_mark(editor: Browser, db: Database):
    current_template(db, "default")
    answer = editor.submit("/templates/default/preview?view=text", {"mail_txt": "{{ tenant['a\\ud800b'] }}"})

    assert answer.status_code == 200
    assert "a?b" in answer.text


@pytest.mark.parametrize(
    "act", ["/deliveries/{}/resend", "/cycles/2026-11/tenants/ANA/hold", "/cycles/2026-11/stop"]
)
def test_a_reason_is_short(month: Month, act: str):
    delivery = month.delivery("ANA")
    answer = month.app.as_editor().submit(act.format(delivery), {"reason": "x" * 501})

    assert answer.status_code == 422
    assert "máximo 500 caracteres" in answer.text
    assert month.state(delivery) == "sent"


def test_the_description_is_made_once(app: App):
    viewer = app.as_viewer()

    def seconds() -> float:
        begun = time.perf_counter()
        assert viewer.get("/invoicing/api/v1/openapi.json").status_code == 200
        return time.perf_counter() - begun

    first = seconds()
    assert min(seconds() for _ in range(5)) < first / 5


def test_an_address_with_a_line_break_is_answered_as_the_others_are(viewer: Browser):
    answer = viewer.get("/invoicing/api/v1/cycles/2026-11%0a")

    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
