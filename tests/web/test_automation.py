"""The settings' page: what is saved, what is refused, and what a person is told."""

import base64
import html
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from invoicing.db.connection import Database
from invoicing.services.agency.logo import LogoError, logo_uri
from invoicing.services.agency.settings import change_settings, current_settings
from invoicing.services.views.settings_history import settings_changes
from invoicing.web.door.duties import Duty, needs
from invoicing.words.settings import LABELS
from support.logos import HOSTILE, svg
from support.visiting import App, Browser, open_app

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)

# Text and choices; the logo is a file.
SHOWN = {
    *("auto_send", "subject", "template", "recipients", "grouping", "due_days", "invoice_prefix"),
    *("agency_name", "agency_nit", "agency_address", "agency_city", "agency_phone", "agency_email"),
    *("payment_instructions", "from_email", "from_name", "reply_to"),
    *(
        "per_minute_limit",
        "messages_per_connection",
        "largest_batch",
        "unmailed_documents",
        "doubt_policy",
        "doubt_minutes",
        "operator_email",
    ),
}


def form(browser: Browser, **changes: str) -> dict[str, str]:
    """The form as it is shown, with what somebody types into it."""
    page = browser.see("/automation").text
    fields = {
        name: html.unescape(value)
        for name, value in re.findall(r'<input[^>]*name="(\w+)"[^>]*value="([^"]*)"', page)
        if name not in ("auto_send", "recipients", "grouping", "doubt_policy", "remove_logo")
    }
    fields |= {
        name: html.unescape(value)
        for name, value in re.findall(r'<textarea[^>]*name="(\w+)"[^>]*>\n([^<]*)</textarea>', page)
    }
    fields |= dict(re.findall(r'<input type="radio" name="(\w+)" value="(\w+)" checked>', page))
    fields |= {"template": "default"}
    return {**fields, **changes}


def test_a_save_makes_a_version_of_its_own_with_who_made_it(editor: Browser, db: Database):
    switched_off = form(editor)
    assert switched_off.pop("unmailed_documents") == "yes"
    page = editor.submit(
        "/automation",
        dict(
            switched_off,
            auto_send="yes",
            subject="Facturas de {{ period|month_name }}",
            recipients="multiple_only",
            grouping="per_invoice",
            from_name="Cartera",
            from_email="cartera@nogal.co",
            reply_to="respuestas@nogal.co",
            due_days="8",
            per_minute_limit="30",
            messages_per_connection="20",
            largest_batch="40",
            agency_name="El Nogal",
            agency_nit="900.1",
            payment_instructions="Línea 1\r\nLínea 2",
            invoice_prefix="EN-",
            doubt_policy="resend_after",
            doubt_minutes="30",
            operator_email="turno@nogal.co",
        ),
    )

    assert page.status_code == 200
    assert "Guardado: la versión 2" in page.text
    version = current_settings(db)
    assert version.actor == "ana"
    assert version.settings.model_dump(include=SHOWN) == {
        "auto_send": True,
        "subject": "Facturas de {{ period|month_name }}",
        "template": "default",
        "recipients": "multiple_only",
        "grouping": "per_invoice",
        "due_days": 8,
        "invoice_prefix": "EN-",
        "agency_name": "El Nogal",
        "agency_nit": "900.1",
        "agency_address": "",
        "agency_city": "",
        "agency_phone": "",
        "agency_email": "",
        "payment_instructions": "Línea 1\nLínea 2",
        "from_email": "cartera@nogal.co",
        "from_name": "Cartera",
        "reply_to": "respuestas@nogal.co",
        "per_minute_limit": 30,
        "messages_per_connection": 20,
        "largest_batch": 40,
        "unmailed_documents": False,
        "doubt_policy": "resend_after",
        "doubt_minutes": 30,
        "operator_email": "turno@nogal.co",
    }


def test_saving_what_is_there_already_makes_no_version(editor: Browser, db: Database):
    page = editor.submit("/automation", form(editor))

    assert "No había cambios" in page.text
    assert len(settings_changes(db)) == 1


@pytest.mark.parametrize(
    ("field", "typed", "said"),
    [
        ("subject", "", "no puede quedar vacío"),
        ("subject", "x" * 10_000, "máximo 500"),
        ("subject", "Hola\nBcc: otro@evil.example", "saltos de línea"),
        ("subject", "{{ nombre }}", "nombre"),
        ("subject", "{{ ''.__class__ }}", "No se puede usar"),
        ("subject", "{% for i in range(10**9) %}x{% endfor %}", "No se puede usar"),
        ("subject", "{{ agency.name", "No se puede usar"),
        ("template", "nadie", "No existe la plantilla"),
        ("recipients", "some", "Elija una de las opciones"),
        ("due_days", "91", "90 o menos"),
        ("due_days", "pronto", "número entero"),
        ("per_minute_limit", "-1", "0 o más"),
        ("messages_per_connection", "0", "1 o más"),
        ("largest_batch", "10000000", "10000 o menos"),
        ("largest_batch", "0", "1 o más"),
        ("invoice_prefix", "FV 2026", "no se admiten"),
        ("invoice_prefix", "FV-2027", "termina en cifra"),
        ("from_email", "cartera@@nogal", "No es una dirección"),
        ("from_email", "a@nogal.co, b@nogal.co", "No es una dirección"),
        ("reply_to", "cartera@nogal.co\r\nBcc: x@evil.example", "saltos de línea"),
        ("agency_name", "x" * 201, "máximo 200"),
        ("agency_name", "Nogal\0", "no es texto"),
        ("payment_instructions", "Cuenta\0", "no es texto"),
    ],
)
@pytest.mark.one_in(4)
def test_what_is_wrong_is_named_and_nothing_is_saved(
    editor: Browser, db: Database, field: str, typed: str, said: str
):
    change_settings(db, {"agency_name": "El Nogal"}, actor="test")
    history = settings_changes(db)

    page = editor.submit("/automation", form(editor, auto_send="yes", agency_city="Tunja", **{field: typed}))

    assert page.status_code == 422
    assert len(settings_changes(db)) == len(history)
    text = html.unescape(page.text)
    assert said in text
    assert f'id="{field}-error"' in text
    # What was typed is still there, the other fields too.
    assert 'value="Tunja"' in text
    # (A choice that is none cannot be shown as one.)
    assert field == "recipients" or typed.replace("\r\n", "\n").replace("\0", "") in text.replace("\0", "")


def test_a_subject_may_be_empty_while_nothing_is_sent(editor: Browser, db: Database):
    assert editor.submit("/automation", form(editor, subject="")).status_code == 200
    assert current_settings(db).settings.subject == ""


@pytest.mark.parametrize(
    "subject", ["🏠 Factura {{ period|month_name }} ✉️", "فاتورة {{ tenant.name }} – Ñandú"]
)
def test_emoji_and_right_to_left_text_are_text(editor: Browser, db: Database, subject: str):
    assert editor.submit("/automation", form(editor, subject=subject)).status_code == 200
    assert current_settings(db).settings.subject == subject


def test_every_setting_has_a_field_and_a_name(editor: Browser, db: Database):
    page = editor.see("/automation").text

    for key in type(current_settings(db).settings).model_fields:
        assert key in LABELS, key
        assert f'name="{key}"' in page, key


def test_all_that_is_wrong_is_told_at_once(editor: Browser):
    page = editor.submit("/automation", form(editor, subject="{{ nadie }}", due_days="x", from_email="y"))

    assert all(f'id="{field}-error"' in page.text for field in ("subject", "due_days", "from_email"))


def test_the_second_of_two_people_is_told_and_nothing_is_overwritten(app: App, db: Database):
    first, second = app.as_editor(), app.as_editor()
    opened = form(second, due_days="9")
    first.submit("/automation", form(first, agency_city="Tunja"))

    told = second.submit("/automation", opened)

    assert told.status_code == 409
    assert "guardó la versión 2 mientras usted escribía" in told.text
    assert "Tunja" in told.text
    assert 'value="9"' in told.text
    assert current_settings(db).settings.due_days == 5

    again = second.submit("/automation", {**opened, "seen_version": "2", "agency_city": "Tunja"})

    assert again.status_code == 200
    assert current_settings(db).settings.due_days == 9
    assert current_settings(db).settings.agency_city == "Tunja"


def test_a_logo_is_kept_as_a_data_uri_and_can_be_taken_away(editor: Browser, db: Database):
    editor.submit("/automation", form(editor), files={"logo_file": ("logo.png", PNG, "image/png")})

    assert (
        current_settings(db).settings.agency_logo == f"data:image/png;base64,{base64.b64encode(PNG).decode()}"
    )
    assert "data:image/png" in editor.see("/automation").text

    editor.submit("/automation", form(editor, remove_logo="yes"))

    assert current_settings(db).settings.agency_logo == ""


def test_a_logo_survives_another_fields_mistake(editor: Browser, db: Database):
    page = editor.submit(
        "/automation", form(editor, due_days="x"), files={"logo_file": ("logo.png", PNG, "image/png")}
    )

    assert page.status_code == 422
    assert base64.b64encode(PNG).decode() in page.text


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"GIF89a", "PNG, JPEG o SVG"),
        (b"%PDF-1.7", "PNG, JPEG o SVG"),
        (b"\x89PNG\r\n\x1a\n" + b"x" * 300_000, "290 kB"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\1\0\0\0\1\0\0rest", "4000"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>", "<script>"),
        (b"<svg xmlns='http://www.w3.org/2000/svg' onload='x()'/>", "onload"),
        (
            b"<svg xmlns='http://www.w3.org/2000/svg'><image href='file:///etc/passwd'/></svg>",
            "file:///etc/passwd",
        ),
        (
            b"<!DOCTYPE svg [<!ENTITY a 'ha'><!ENTITY b '&a;&a;&a;'>]><svg xmlns='x'>&b;</svg>",
            "<!DOCTYPE>",
        ),
        (b"<svg><g></svg>", "XML"),
    ],
    ids=["gif", "pdf", "large", "wide", "script", "handler", "file", "bomb", "broken"],
)
def test_what_is_no_logo_is_refused(editor: Browser, db: Database, content: bytes, said: str):
    page = editor.submit("/automation", form(editor), files={"logo_file": ("logo", content, "image/png")})

    assert page.status_code == 422
    assert said in html.unescape(page.text)
    assert current_settings(db).settings.agency_logo == ""


def test_the_history_says_who_changed_what(editor: Browser, db: Database):
    change_settings(db, {"agency_name": "<b>Nogal</b>", "due_days": 7}, actor="beto")
    change_settings(db, {"recipients": "multiple_only"}, actor="ana")

    history = html.unescape(editor.see("/automation/history").text)
    version = editor.see("/automation/versions/2")

    assert "beto" in history
    assert "<del>5</del>" in history
    assert "<ins>7</ins>" in history
    assert "<ins>Solo los que tienen más de una factura</ins>" in history
    assert "&lt;b&gt;Nogal&lt;/b&gt;" in version.text
    assert "<b>Nogal" not in version.text
    assert editor.see("/automation/versions/99").status_code == 404


def test_a_long_history_has_pages(editor: Browser, db: Database):
    for days in range(45):
        change_settings(db, {"due_days": days + 6}, actor="ana")

    first = editor.see("/automation/history").text
    older = re.search(r'href="(\?newest=\d+)"', first)

    assert older
    assert first.count("<article") == 20
    assert "Versión 26<" in editor.see(f"/automation/history{older[1]}").text


def test_the_subject_is_checked_while_it_is_typed(editor: Browser):
    fine = editor.ask(
        "POST", "/settings/subject-check", {"subject": "{{ t('Hola', 'Hi') }} {{ agency.name }}"}
    )
    wrong = editor.ask("POST", "/settings/subject-check", {"subject": "{{ agencia }}"})

    assert fine.json() == {
        "problems": [],
        "previews": {
            "es": "Hola Inmobiliaria de Muestra S.A.S.",
            "en": "Hi Inmobiliaria de Muestra S.A.S.",
        },
    }
    assert "agencia" in wrong.json()["problems"][0]["message"]


def test_the_api_changes_settings_as_the_form_does(editor: Browser, db: Database):
    read = editor.ask("GET", "/settings").json()
    changed = editor.ask("PATCH", f"/settings?seen_version={read['version']}", {"due_days": 10})
    stale = editor.ask("PATCH", f"/settings?seen_version={read['version']}", {"due_days": 11})
    wrong = editor.ask("PATCH", "/settings", {"due_days": 100, "colour": "blue"})

    assert changed.json()["settings"]["due_days"] == 10
    assert stale.status_code == 409
    assert "in the meantime" in stale.json()["detail"]
    assert wrong.status_code == 422
    assert {each["field"] for each in wrong.json()["errors"]} == {"due_days", "colour"}
    assert current_settings(db).settings.due_days == 10


@pytest.mark.parametrize(
    "name",
    # One that takes all the time there is takes it three times.
    [pytest.param("svg that unfolds", marks=pytest.mark.long), "png and an archive", "svg with a script"],
)
def test_no_way_in_takes_what_is_no_logo(editor: Browser, db: Database, name: str):
    make, code = HOSTILE[name]
    given = logo_uri(make())

    by_json = editor.ask("PATCH", "/settings", {"agency_logo": given})
    hidden = editor.submit("/automation", form(editor, agency_logo=given))
    with pytest.raises(LogoError) as by_command:
        change_settings(db, {"agency_logo": given}, actor="test")

    assert by_json.status_code == 422
    assert [each["field"] for each in by_json.json()["errors"]] == ["agency_logo"]
    assert hidden.status_code == 422
    assert given not in hidden.text
    assert by_command.value.code == code
    assert current_settings(db).settings.agency_logo == ""


def test_a_drawing_is_kept_as_a_bitmap_by_every_way_in(editor: Browser, db: Database):
    drawing = logo_uri(svg())
    editor.submit("/automation", form(editor), files={"logo_file": ("a.svg", svg(), "image/svg+xml")})
    kept = current_settings(db)

    by_json = editor.ask("PATCH", "/settings", {"agency_logo": drawing})
    by_command = change_settings(db, {"agency_logo": drawing}, actor="test")

    assert kept.settings.agency_logo.startswith("data:image/png;base64,")
    # The same drawing gives the same bitmap: no new version.
    assert by_json.json()["version"] == by_command.id == kept.id


def test_both_languages(app: App):
    spanish, english = app.as_editor("es-CO,es;q=0.9"), app.as_editor("en-US,en;q=0.9")

    assert "Habilitar envío automático" in spanish.see("/automation").text
    assert "Enable automatic sending" in english.see("/automation").text
    assert '<html lang="en"' in spanish.see("/automation?lang=en").text
    # The choice stays.
    assert "Enable automatic sending" in spanish.see("/automation").text


def test_a_fault_of_ours_is_a_page_that_says_so(app: App, caplog: pytest.LogCaptureFixture):
    @app.app.get("/broken")
    @needs(Duty.READ_AMOUNTS)
    def broken() -> None:
        raise RuntimeError("a fault")

    page = app.as_editor().see("/broken")

    assert page.status_code == 500
    assert "Algo falló" in page.text
    assert "a fault" not in page.text
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert "RuntimeError: a fault" in caplog.text


def test_a_database_that_is_away_is_told(tmp_path: Path):
    with open_app("host=127.0.0.1 port=1 dbname=nowhere connect_timeout=1", tmp_path) as app:
        page = app.as_editor().see("/automation")

    assert page.status_code == 503
    assert "invoicing_db" in page.text


def test_a_body_without_a_length_is_cut_off_all_the_same(editor: Browser):
    def endless() -> Iterator[bytes]:
        for _ in range(100):
            yield b"x" * 100_000

    answer = editor.post(
        "/invoicing/api/v1/settings/subject-check",
        content=endless(),
        headers={"x-csrf-token": editor.token(), "content-type": "application/json"},
    )

    assert answer.status_code in (400, 413)


def test_a_form_that_is_too_large_is_refused(editor: Browser, db: Database):
    page = editor.submit("/automation", form(editor, payment_instructions="x" * 5_000_000))

    assert page.status_code == 413
    assert len(settings_changes(db)) == 1


@pytest.mark.parametrize("page", ["/automation", "/cycles"])
def test_sending_with_nobody_to_hear_of_it_is_nagged_about(
    dsn: str, tmp_path: Path, db: Database, page: str
) -> None:
    nag = "Nobody hears of it when sending fails."

    def shown(**outside: Any) -> str:
        with open_app(dsn, tmp_path, **outside) as app:
            return app.as_viewer("en").see(page).text

    assert nag not in shown()
    change_settings(db, {"auto_send": True}, actor="test")
    assert nag in shown()
    assert nag not in shown(has_notifier=lambda: True)
    change_settings(db, {"operator_email": "ops@agencia.example"}, actor="test")
    assert nag not in shown()
