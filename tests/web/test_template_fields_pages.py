"""A template's fields on its page and by the JSON API: saved as versions, refused at the field, shown as typed."""

import base64
import html
import io
import re

import pytest
from PIL import Image
from psycopg.types.json import Jsonb

from invoicing.db.connection import Database
from invoicing.rendering.fields import Sentence, TemplateFields
from invoicing.rendering.templates import Template, load_shipped
from invoicing.services.agency.settings import change_settings
from invoicing.services.agency.templates import current_template, show_version
from support.project import ROOT
from support.visiting import App, Browser

HERE = "/templates/default"
POLITE = {"greeting_es": "Apreciado {tenant}:", "greeting_en": "Dear {tenant}:"}


def kept(db: Database, name: str = "default") -> Template:
    return current_template(db, name).template


def picture(colour: str = "red") -> bytes:
    written = io.BytesIO()
    Image.new("RGB", (40, 20), colour).save(written, "PNG")
    return written.getvalue()


def error_at(page: str, field: str) -> str:
    found = re.search(
        rf'<p class="field__error" id="{field}-error"[^>]*?(hidden)?>(.*?)</p>', page, re.DOTALL
    )
    assert found
    return "" if found[1] else html.unescape(re.sub(r"<[^>]+>", "", found[2])).strip()


def typed_in(page: str, field: str) -> str:
    found = re.search(rf'<textarea id="{field}"[^>]*>\n(.*?)</textarea>', page, re.DOTALL)
    assert found
    return html.unescape(found[1])


@pytest.fixture
def english(app: App, db: Database) -> Browser:
    current_template(db, "default")
    return app.as_editor("en")


def test_a_changed_sentence_is_a_version_and_the_code_stays(english: Browser, db: Database):
    answer = english.submit(HERE, {"seen_version": "1", **POLITE})

    assert "Saved as version 2" in answer.text
    assert kept(db).fields.greeting == Sentence("Apreciado {tenant}:", "Dear {tenant}:")
    assert kept(db).fields.opening == load_shipped().fields.opening
    assert kept(db).parts == load_shipped().parts
    audit = db.execute(
        "SELECT details FROM invoicing.audit_event WHERE action = 'template_changed'"
    ).fetchone()
    assert audit is not None
    assert (audit["details"]["parts"], audit["details"]["fields"]) == ([], ["greeting"])
    shown = english.see(f"{HERE}/versions/2").text
    assert "greeting.es: Apreciado {tenant}:" in html.unescape(shown)
    assert "Dear Ferreter" in html.unescape(english.see(f"{HERE}/preview?view=text&language=en").text)


def test_an_upgrade_keeps_what_an_agency_wrote_and_gives_the_others_the_fields(app: App, db: Database):
    """Rows of before the migration: one that nobody touched, one of the agency's own."""
    before = {
        part: (ROOT / "tests" / "data" / "before_fields" / part).read_text(encoding="utf-8")
        for part in load_shipped().parts
    }
    for name, actor in (("default", "installation"), ("formal", "ana")):
        db.execute(
            "INSERT INTO invoicing.template_version (name, version, parts, actor) VALUES (%s, 1, %s, %s)",
            (name, Jsonb(before), actor),
        )

    assert (kept(db).version, kept(db).fields) == (2, load_shipped().fields)
    formal = kept(db, "formal")
    assert (formal.version, formal.parts, formal.fields) == (1, before, TemplateFields())
    page = app.as_editor("en").see("/templates/formal").text
    assert "older than the texts" in page
    assert 'id="greeting_es"' not in page
    assert re.search(r'<details class="editor__code" id="code" open>', page)


@pytest.mark.parametrize(
    ("field", "text", "said"),
    [
        ("greeting_en", "Dear {{ tenant.name }}", "braces stand around a name only"),
        ("opening_es", "Factura de {month}", "is not always there"),
        ("closing_en", "", "missing in this language"),
        ("colour", "#ffee00", "not read well on white"),
        ("colour", "javascript:x", "is no colour"),
    ],
)
@pytest.mark.one_in(2)
def test_what_a_field_cannot_say_is_told_at_the_field_and_kept_as_typed(
    english: Browser, db: Database, field: str, text: str, said: str
):
    typed = {**POLITE, "closing_es": "Adiós", "closing_en": "Bye", field: text}

    answer = english.submit(HERE, {"seen_version": "1", **typed})

    assert answer.status_code == 422
    assert said in error_at(answer.text, field)
    assert f'href="#{field}"' in answer.text
    assert typed_in(answer.text, "closing_es") == "Adiós"
    if field != "colour":
        assert typed_in(answer.text, field) == text
    assert kept(db).version == 1


def test_markup_and_a_tenants_name_with_braces_are_words(english: Browser, db: Database):
    answer = english.submit(
        f"{HERE}/preview?view=mail", {"seen_version": "1", "greeting_es": "<b onclick=x>{tenant}</b> & [a]"}
    )

    assert "&lt;b onclick=x&gt;Ferretería Núñez &amp; Hijos Ltda.&lt;/b&gt; &amp; [a]" in answer.text
    assert "<b onclick" not in answer.text


def test_a_logo_is_tried_kept_and_taken_away_again(english: Browser, db: Database):
    file = {"logo_file": ("logo.png", picture(), "image/png")}
    english.submit(HERE, {"seen_version": "1"}, file)
    uri = f"data:image/png;base64,{base64.b64encode(picture()).decode()}"
    assert kept(db).fields.logo == uri
    assert uri in english.see(HERE).text

    english.submit(HERE, {"seen_version": "2", **POLITE})
    assert kept(db).fields.logo == uri

    english.submit(HERE, {"seen_version": "3", "remove_logo": "yes"})
    assert (kept(db).version, kept(db).fields.logo) == (4, "")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"GIF89a", "PNG, JPEG or SVG"),
        (picture()[:60], "decode|read|complete|damaged"),
        (b"x" * 400_000, "kB"),
        (b'<svg xmlns="http://www.w3.org/2000/svg"><script/></svg>', "script"),
    ],
)
def test_what_is_no_logo_is_told_beside_it_and_loses_nothing(
    english: Browser, db: Database, content: bytes, said: str
):
    answer = english.submit(
        HERE, {"seen_version": "1", **POLITE}, {"logo_file": ("l.png", content, "image/png")}
    )

    assert answer.status_code == 422
    assert re.search(said, error_at(answer.text, "logo"))
    assert typed_in(answer.text, "greeting_es") == POLITE["greeting_es"]
    assert kept(db).version == 1


def test_a_chosen_logo_is_kept_while_another_field_is_mended(english: Browser, db: Database):
    refused = english.submit(
        HERE,
        {"seen_version": "1", **POLITE, "greeting_es": "{x}"},
        {"logo_file": ("l.png", picture(), "image/png")},
    )
    carried = re.search(r'name="logo" value="([^"]+)"', refused.text)
    assert carried

    english.submit(HERE, {"seen_version": "1", **POLITE, "logo": html.unescape(carried[1])})

    assert kept(db).fields.logo == carried[1]


def test_fields_are_compared_and_brought_back_with_their_version(english: Browser, db: Database):
    english.submit(HERE, {"seen_version": "1", **POLITE, "colour": "#6A1B9A"})
    assert kept(db).fields.colour == "#6a1b9a"

    shown = html.unescape(english.see(f"{HERE}/versions/1").text)
    english.submit(f"{HERE}/versions/1/restore", {"seen_version": "2"})

    assert "greeting.es: Apreciado {tenant}:" in shown
    assert "colour: #6a1b9a" in shown
    assert kept(db).fields == show_version(db, "default", 1).template.fields == load_shipped().fields
    assert kept(db).version == 3


def test_two_people_changing_sentences_lose_nothing(english: Browser, db: Database):
    english.submit(HERE, {"seen_version": "1", **POLITE})

    answer = english.submit(HERE, {"seen_version": "1", "closing_es": "Adiós", "closing_en": "Bye"})

    assert answer.status_code == 409
    assert "Apreciado {tenant}" in html.unescape(answer.text)
    assert typed_in(answer.text, "closing_es") == "Adiós"
    assert kept(db).version == 2


def test_a_copy_has_the_fields_of_its_source(english: Browser, db: Database):
    english.submit(HERE, {"seen_version": "1", **POLITE})
    english.submit("/templates", {"name": "formal", "source": "default"})
    english.submit("/templates", {"name": "wide", "source": "banner"})

    assert kept(db, "formal").fields == kept(db).fields
    assert kept(db, "wide").fields == load_shipped("banner").fields


def test_a_viewer_reads_the_fields_and_sends_none(app: App, english: Browser, db: Database):
    page = app.as_viewer("en").see(HERE).text

    assert typed_in(page, "greeting_en") == "Dear {tenant},"
    assert 'name="greeting_en"' not in page
    assert 'name="colour"' not in page
    assert "logo_file" not in page
    assert app.as_viewer().submit(HERE, {"seen_version": "1", **POLITE}).status_code == 403


def test_the_api_changes_a_sentence_without_the_code(english: Browser, db: Database):
    polite = {"greeting": {"es": "Apreciado {tenant}:", "en": "Dear {tenant}:"}}

    shown = english.ask("GET", "/templates/default").json()
    saved = english.ask("PUT", "/templates/default", {"fields": polite, "seen_version": 1})
    same = english.ask("PUT", "/templates/default", {"fields": polite, "seen_version": 2})
    faulty = english.ask(
        "PUT", "/templates/default", {"fields": {"greeting": {"es": "{{ x }}", "en": "x"}}, "seen_version": 2}
    )
    unknown = english.ask("PUT", "/templates/default", {"fields": {"footer": "x"}, "seen_version": 2})
    pale = english.ask("PUT", "/templates/default", {"fields": {"colour": "#eeeeee"}, "seen_version": 2})
    logo = english.ask(
        "PUT", "/templates/default", {"fields": {"logo": "https://x/y.png"}, "seen_version": 2}
    )

    assert shown["fields"] == load_shipped().fields.to_json()
    assert "greeting" in shown["fields_in_use"]
    assert (saved.status_code, saved.json()["version"]) == (200, 2)
    assert saved.json()["fields"]["greeting"] == polite["greeting"]
    assert saved.json()["parts"] == shown["parts"]
    assert same.json()["version"] == 2
    assert [each.status_code for each in (faulty, unknown, pale, logo)] == [422] * 4
    assert [each.json()["errors"][0]["field"] for each in (faulty, pale, logo)] == [
        "greeting.es",
        "colour",
        "logo",
    ]
    assert kept(db).version == 2


def test_a_draft_is_checked_with_its_fields(english: Browser, db: Database):
    draft = {"parts": dict(load_shipped().parts), "fields": {"greeting": {"es": "{x}", "en": "a\u202eb"}}}

    found = english.ask("POST", "/templates/default/check", {**draft, "language": "es"}).json()["problems"]

    assert [each["part"] for each in found] == ["greeting.es", "greeting.en"]
    assert found[0]["message"].startswith("«{x}» no representa nada aquí")


def test_a_tenant_is_found_by_name_for_a_preview(agency: Database, app: App):
    english = app.as_editor("en")
    agency.execute("UPDATE invoicing.tenant SET name = 'Ana Única Peña' WHERE code = 'T00001'")
    agency.execute("UPDATE invoicing.tenant SET name = 'Beto Doble' WHERE code IN ('T00002', 'T00003')")

    def preview(tenant: str) -> str:
        return html.unescape(
            english.get(
                f"/invoicing{HERE}/preview",
                params={"view": "text", "tenant": tenant, "period": "2026-11"},
            ).text
        )

    for sought in ("T00001", "ANA ÚNICA PEÑA", "unica pena", "T00001 · whatever"):
        assert "Ana Única Peña" in preview(sought), sought
    assert "several tenants match 'doble': T00002 Beto Doble, T00003 Beto Doble" in preview("doble")
    assert "no tenant Nadie Así" in preview("Nadie Así")
    assert "no tenant %" in preview("%")


def test_the_subjects_sample_is_of_the_agency_itself(english: Browser, db: Database):
    ask = {"subject": "{{ agency.name }}"}
    assert english.ask("POST", "/settings/subject-check", ask).json()["previews"]["es"].startswith("Inmobil")

    change_settings(db, {"agency_name": "Inmuebles Núñez"}, actor="test")

    assert english.ask("POST", "/settings/subject-check", ask).json()["previews"] == {
        "es": "Inmuebles Núñez",
        "en": "Inmuebles Núñez",
    }
