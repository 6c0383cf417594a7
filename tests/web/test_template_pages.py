"""The templates' pages: what is saved and what is not, what is told, and what a preview and a test show."""

import base64
import email
import email.policy
import html
import re
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote

import pytest

from invoicing.db.connection import Database
from invoicing.domain.errors import InputError
from invoicing.rendering.templates import PARTS, load_shipped, shipped_names
from invoicing.services.agency.settings import change_settings
from invoicing.services.agency.templates import current_template
from invoicing.services.views.templates import compare_parts, list_templates
from invoicing.web.html.template_problems import field_of
from support.month import Inbox, open_inbox
from support.visiting import App, Browser, open_app

HERE = "/templates/default"
BOMB = (
    '<?xml version="1.0"?><!DOCTYPE svg [<!ENTITY a "aaaaaaaaaa">'
    + "".join(f'<!ENTITY {b} "{f"&{a};" * 10}">' for a, b in zip("abcdefgh", "bcdefghi", strict=True))
    + ']><svg xmlns="http://www.w3.org/2000/svg"><text>&i;</text></svg>'
)


def form(**changes: str) -> dict[str, str]:
    """The editor's fields as they are shown, with what somebody types: ``mail_html="…"``."""
    shipped = load_shipped()
    return {field_of(part): shipped.parts[part] for part in PARTS} | {"seen_version": "1", **changes}


def with_html(addition: str) -> str:
    return load_shipped().parts["mail.html"].replace("</body>", f"{addition}\n</body>")


def with_invoice(addition: str) -> str:
    return load_shipped().parts["invoice.html"].replace("</body>", f"{addition}\n</body>")


def version(db: Database, name: str = "default") -> int:
    return current_template(db, name).template.version


@pytest.fixture
def english(app: App, db: Database) -> Browser:
    current_template(db, "default")
    return app.as_editor("en")


def test_a_save_makes_a_version_with_who_made_it(english: Browser, db: Database):
    text = with_html("<p>Un saludo 🏠 شكرا</p>")

    answer = english.submit(HERE, form(mail_html=text))

    assert "Saved as version 2" in answer.text
    saved = current_template(db, "default")
    assert (saved.template.version, saved.actor) == (2, "ana")
    assert saved.template.parts["mail.html"] == text
    audit = db.execute(
        "SELECT details FROM invoicing.audit_event WHERE action = 'template_changed'"
    ).fetchone()
    assert audit is not None
    assert audit["details"]["parts"] == ["mail.html"]


def test_no_change_makes_no_version(english: Browser, db: Database):
    assert "There were no changes" in english.submit(HERE, form()).text
    assert version(db) == 1


@pytest.mark.parametrize(
    ("field", "text", "said"),
    [
        ("mail_html", with_html("{% for x in y %}"), "endfor"),
        ("mail_html", with_html("{{ tenant.nmae }}"), "nmae"),
        ("mail_html", with_html("{{ nobody }}"), "unknown variable 'nobody'"),
        ("mail_html", with_html("{{ ''.__class__ }}"), "not allowed|undefined"),
        ("mail_html", with_html('<img src="https://evil.example/x.png" alt="">'), "is blocked"),
        ("mail_html", with_html('<img src="file:///etc/passwd" alt="">'), "is blocked"),
        ("mail_html", with_html("<script>alert(1)</script>"), "has no place in a message"),
        ("mail_html", with_html('<a href="javascript:alert(1)">x</a>'), "starts with none of"),
        ("mail_txt", "{{ period|nothing }}", "No filter named"),
        ("mail_txt", "{% include 'mail.html' %}", "cannot include"),
        (
            "mail_txt",
            "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
            "longer than 5 s",
        ),
        ("mail_txt", "{% for a in range(99999) %}{{ 'x' * 1000 }}{% endfor %}", "prints more than"),
        pytest.param(
            "mail_txt",
            "{{ 'x' * 100000000 }}",
            "prints more than|memory|longer than 5 s",
            marks=pytest.mark.long,
        ),
        ("invoice_html", with_invoice('<img src="file:///etc/passwd" alt="">'), "is blocked"),
        ("invoice_html", with_invoice("{{ ''.__class__.__mro__ }}"), "not allowed|undefined"),
        ("invoice_html", "<p>{{ invoice.numbr }}</p>", "numbr"),
        ("invoice_css", "@import 'https://evil.example/x.css';", "blocked"),
        ("invoice_css", "x" * 500_001, "at most 500000"),
    ],
    ids=lambda value: str(value)[-40:],
)
@pytest.mark.one_in(3)
def test_what_would_not_work_is_not_saved_and_kept_as_typed(
    english: Browser, db: Database, field: str, text: str, said: str
):
    answer = english.submit(HERE, form(**{field: text}))

    assert answer.status_code == 422
    problems = html.unescape(
        re.sub(
            r"<[^>]+>", " ", answer.text[answer.text.index(f'data-problems="{field}"') :].split("</ul>")[0]
        )
    )
    assert re.search(said, problems), problems
    typed = re.search(rf'<textarea id="{field}"[^>]*>\n(.*?)</textarea>', answer.text, re.DOTALL)
    assert typed
    assert html.unescape(typed[1]) == text
    assert version(db) == 1


@pytest.mark.one_in(2)
@pytest.mark.parametrize("encoded", [True, False])
@pytest.mark.parametrize(("field", "place"), [("invoice_html", with_invoice), ("mail_html", with_html)])
def test_an_svg_bomb_is_told_and_not_saved(
    english: Browser, db: Database, field: str, place: Callable[[str], str], encoded: bool
):
    picture = f";base64,{base64.b64encode(BOMB.encode()).decode()}" if encoded else f",{quote(BOMB)}"

    answer = english.submit(HERE, form(**{field: place(f'<img src="data:image/svg+xml{picture}" alt="">')}))

    assert answer.status_code == 422
    assert "SVG" in answer.text
    assert version(db) == 1


@pytest.mark.long
def test_an_svg_that_unfolds_is_stopped(english: Browser, db: Database):
    folds = "".join(
        f'<g id="{name}">{f"""<use href="#{inner}"/>""" * 10}</g>'
        for name, inner in zip("bcdefghij", "abcdefghi", strict=True)
    )

    answer = english.submit(
        HERE,
        form(
            invoice_html=with_invoice(
                f'<svg><rect id="a" width="1" height="1"/>{folds}<use href="#j"/></svg>'
            )
        ),
    )

    assert answer.status_code == 422
    assert version(db) == 1


def test_the_line_is_named_beside_the_text(english: Browser, db: Database):
    answer = english.submit(HERE, form(mail_txt="uno\ndos\n{{ nobody }}\n"))

    assert 'data-part="mail_txt" data-line="3"' in answer.text
    assert re.search(r"line\s+3", answer.text)
    spanish = english.ask(
        "POST",
        "/templates/default/check",
        {"parts": {**load_shipped().parts, "mail.txt": "uno\n{{ nobody }}"}, "language": "es"},
    )
    assert spanish.json()["problems"][0]["line"] == 2
    assert spanish.json()["problems"][0]["message"].startswith("no existe la variable «nobody»")


def test_two_people_saving_lose_nothing(app: App, english: Browser, db: Database):
    english.submit(HERE, form(mail_txt="Hola {{ tenant.name }}\n"))
    mine = "Buenos días {{ tenant.name }}\n"

    answer = english.submit(HERE, form(mail_txt=mine))

    assert answer.status_code == 409
    assert "ana saved version 2 while you were typing" in answer.text
    assert html.escape(mine).strip() in answer.text
    assert "Hola" in answer.text
    assert 'name="seen_version" value="2"' in answer.text
    assert version(db) == 2

    assert "Saved as version 3" in english.submit(HERE, form(mail_txt=mine, seen_version="2")).text
    assert current_template(db, "default").template.parts["mail.txt"] == mine


def test_versions_are_compared_and_brought_back(english: Browser, db: Database):
    english.submit(HERE, form(mail_txt="Hola {{ tenant.name }}\n"))

    listed = english.see(f"{HERE}/versions").text
    shown = english.see(f"{HERE}/versions/1").text
    assert listed.index("Version 2") < listed.index("Version 1")
    assert "Since then, until the one in force (2)" in shown
    assert "Hola {{ tenant.name }}" in shown

    overtaken = english.submit(f"{HERE}/versions/1/restore", {"seen_version": "1"})
    assert (overtaken.status_code, version(db)) == (409, 2)

    answer = english.submit(f"{HERE}/versions/1/restore", {"seen_version": "2"})
    assert "Saved as version 3" in answer.text
    assert dict(current_template(db, "default").template.parts) == dict(load_shipped().parts)


def test_a_comparison_shows_lines_with_their_numbers():
    before = dict.fromkeys(PARTS, "a\nb\nc\nd\ne\nf\ng\nh\n")
    after = {**before, "mail.txt": "a\nb\nc\nd\ne\nf\nX\nh\n"}

    (diff,) = compare_parts(before, after)

    assert (diff.part, diff.gone, diff.new) == ("mail.txt", 1, 1)
    assert diff.lines is not None
    assert [(line.kind, line.before, line.after, line.text) for line in diff.lines] == [
        ("gap", None, None, ""),
        ("same", 4, 4, "d"),
        ("same", 5, 5, "e"),
        ("same", 6, 6, "f"),
        ("gone", 7, None, "g"),
        ("new", None, 7, "X"),
        ("same", 8, 8, "h"),
    ]
    (long,) = compare_parts(before, {**before, "mail.txt": "\n" * 7000})
    assert long.lines is None


def test_a_template_is_made_from_another_and_used(english: Browser, db: Database):
    answer = english.submit("/templates", {"name": "formal", "source": "default"})

    assert answer.url.path.endswith("/templates/formal")
    change_settings(db, {"template": "formal"}, actor="test")
    row = re.search(r">formal</a>.*?</tr>", english.see("/templates").text, re.DOTALL)
    assert row
    assert "In use" in row[0]


@pytest.mark.parametrize("name", ["", "Formal", "a b", "../x", "ñ", "-x", "x" * 41, "default", "<b>", "a\0b"])
def test_a_name_that_cannot_be_is_told_and_kept(english: Browser, db: Database, name: str):
    answer = english.submit("/templates", {"name": name, "source": "default"})

    assert answer.status_code == 422
    assert "Use small letters" in answer.text
    assert list_templates(db) == list_templates(db)
    assert [each.name for each in list_templates(db)] == shipped_names()


def test_the_preview_shows_what_is_typed_and_trusts_nothing(english: Browser, db: Database):
    typed = form(mail_html=with_html("<p>BORRADOR</p>"), language="en")

    mail = english.submit(f"{HERE}/preview?view=mail", typed)
    text = english.submit(f"{HERE}/preview?view=text", typed)
    invoice = english.submit(f"{HERE}/preview?view=invoice", typed)
    pdf = english.submit(f"{HERE}/preview?view=pdf", typed)

    assert "BORRADOR" in mail.text
    assert "Please find attached" in mail.text
    assert "Subject: Rent invoice, November 2026" in text.text
    assert "data:image/png;base64," in invoice.text
    assert pdf.content.startswith(b"%PDF")
    assert "attachment" in pdf.headers["content-disposition"]
    for answer in (mail, text, invoice):
        policy = answer.headers["content-security-policy"]
        assert policy.startswith("sandbox; default-src 'none'")
        assert "script-src" not in policy
    assert version(db) == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{{ nobody }}", "no existe"),
        pytest.param(
            "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
            "tarda más de 5 s",
            marks=pytest.mark.long,
        ),
        ("{% for a in range(99999) %}{{ 'x' * 1000 }}{% endfor %}", "imprime más de 1 MB"),
    ],
)
def test_a_preview_that_cannot_be_made_says_why(app: App, english: Browser, text: str, said: str):
    answer = app.as_editor("es").submit(f"{HERE}/preview?view=text", form(mail_txt=text))

    assert said in html.unescape(answer.text)


def test_the_preview_is_of_the_tenant_and_the_month_that_are_chosen(agency: Database, app: App):
    english = app.as_editor("en")
    name = agency.execute("SELECT name FROM invoicing.tenant WHERE code = 'T00001'").fetchone()
    assert name is not None

    simulated = english.see(f"{HERE}/preview?view=text&tenant=T00001&period=2026-11").text
    spoken_to = english.see(
        f"{HERE}/preview?view=text&tenant=T00001%20%C2%B7%20Name&period=2026-11&language=en"
    ).text

    assert html.escape(name["name"], quote=False) in simulated
    assert "Simulation" in simulated
    assert "Dear" in spoken_to
    assert "no tenant NADIE" in english.see(f"{HERE}/preview?tenant=NADIE").text
    assert "no invoice in that period" in english.see(f"{HERE}/preview?tenant=T00001&period=2001-01").text
    assert "YYYY-MM" in english.see(f"{HERE}/preview?tenant=T00001&period=nov").text
    assert agency.execute("SELECT count(*) AS n FROM invoicing.invoice").fetchone() == {"n": 0}


@pytest.fixture
def posted(dsn: str, db: Database, tmp_path: Any) -> Iterator[tuple[Inbox, Browser]]:
    settings = {"from_email": "facturas@agencia.example", "agency_name": "Agencia"}
    change_settings(db, {**settings, "test_domains": "agencia.example correo.example"}, actor="test")
    current_template(db, "default")
    with open_inbox() as (inbox, connect), open_app(dsn, tmp_path, open_relay=connect) as app:
        yield inbox, app.as_editor("en")


def test_a_test_goes_to_one_address_marked_and_outside_of_the_ledger(
    posted: tuple[Inbox, Browser], db: Database
):
    inbox, browser = posted

    answer = browser.submit(
        f"{HERE}/test", form(mail_txt="BORRADOR {{ tenant.name }}\n", to="yo@agencia.example")
    )

    assert "Test sent to yo@agencia.example" in answer.text
    assert "BORRADOR" in answer.text
    (content,) = inbox.messages
    message = email.message_from_bytes(content, policy=email.policy.default)
    assert str(message["Subject"]).startswith("[PRUEBA] Factura de arriendo")
    assert str(message["To"]) == "yo@agencia.example"
    assert str(message["X-Invoice-Delivery"]).startswith("test-")
    body = message.get_body(("plain",))  # type: ignore[attr-defined]
    assert body.get_content().startswith("BORRADOR")
    assert [part.get_filename() for part in message.iter_attachments()] == ["FV-1042.pdf"]  # type: ignore[attr-defined]
    assert version(db) == 1
    counts = db.execute(
        "SELECT (SELECT count(*) FROM invoicing.delivery) AS deliveries,"
        " (SELECT count(*) FROM invoicing.invoice) AS invoices"
    ).fetchone()
    assert counts == {"deliveries": 0, "invoices": 0}
    audit = db.execute(
        "SELECT actor, details FROM invoicing.audit_event WHERE action = 'template_test_sent'"
    ).fetchone()
    assert audit is not None
    assert (audit["actor"], audit["details"]["to"]) == ("ana", "yo@agencia.example")


@pytest.mark.parametrize(
    "address",
    [
        "",
        "yo",
        "a@b.co, c@d.co",
        "a@b.co\nBcc: c@d.co",
        "a@b.co;c@d.co",
        "=?utf-8?q?x?= <a@b.co>",
        "x" * 300 + "@b.co",
    ],
)
def test_an_address_that_is_none_gets_no_test(posted: tuple[Inbox, Browser], address: str):
    inbox, browser = posted

    answer = browser.submit(f"{HERE}/test", form(to=address, mail_txt="BORRADOR"))

    assert answer.status_code == 422
    assert 'id="to-error"' in answer.text
    assert "BORRADOR" in answer.text
    assert inbox.messages == []


def test_a_test_that_is_refused_or_cannot_be_made_says_why(posted: tuple[Inbox, Browser]):
    inbox, browser = posted

    refused = browser.submit(f"{HERE}/test", form(to="rechazo@correo.example"))
    faulty = browser.submit(f"{HERE}/test", form(to="yo@agencia.example", mail_txt="{{ nobody }}"))

    assert "The test was not sent: 550 5.1.1 User unknown" in refused.text
    assert "The test was not sent" in faulty.text
    assert "nobody" in faulty.text
    assert inbox.messages == []


def test_a_viewer_reads_and_previews_and_is_offered_nothing(app: App, english: Browser, db: Database):
    viewer = app.as_viewer("en")

    for path in ("/templates", HERE, f"{HERE}/versions", f"{HERE}/versions/1", f"{HERE}/preview?view=text"):
        answer = viewer.see(path)
        assert answer.status_code == 200, path
        assert 'method="post"' not in answer.text, path
    assert "readonly" in viewer.see(HERE).text
    for path in (HERE, f"{HERE}/test", f"{HERE}/preview", "/templates", f"{HERE}/versions/1/restore"):
        assert viewer.submit(path, form(to="yo@agencia.example")).status_code == 403, path
    assert version(db) == 1


def test_the_api_does_what_the_pages_do(english: Browser, db: Database):
    parts = dict(load_shipped().parts)

    made = english.ask("POST", "/templates", {"name": "formal"})
    taken = english.ask("POST", "/templates", {"name": "formal"})
    faulty = english.ask(
        "PUT", "/templates/formal", {"parts": {**parts, "mail.txt": "{{ x }}"}, "seen_version": 1}
    )
    saved = english.ask(
        "PUT", "/templates/formal", {"parts": {**parts, "mail.txt": "Hola"}, "seen_version": 1}
    )
    late = english.ask("PUT", "/templates/formal", {"parts": {**parts, "mail.txt": "Ay"}, "seen_version": 1})
    restored = english.ask("POST", "/templates/formal/versions/1/restore", {"seen_version": 2})

    assert (made.status_code, made.json()["version"]) == (201, 1)
    assert (taken.status_code, taken.json()["errors"][0]["field"]) == (422, "name")
    assert (faulty.status_code, faulty.json()["errors"][0]["field"]) == (422, "mail.txt")
    assert (saved.status_code, saved.json()["version"]) == (200, 2)
    assert late.status_code == 409
    assert restored.json()["version"] == 3
    assert [each["version"] for each in english.ask("GET", "/templates/formal/versions").json()] == [3, 2, 1]
    assert english.ask("GET", "/templates/formal/versions/2").json()["parts"]["mail.txt"] == "Hola"
    assert {each["name"] for each in english.ask("GET", "/templates").json()} == {
        "banner",
        "default",
        "formal",
    }


@pytest.mark.parametrize(
    "path", ["/templates/nadie", "/templates/Ñ", "/templates/default/versions/99", "/templates/x%00"]
)
def test_what_does_not_exist_is_said_to_not_exist(english: Browser, path: str):
    assert english.see(path).status_code == 404


def test_names_in_the_list_are_known_to_the_settings(db: Database):
    with pytest.raises(InputError):
        change_settings(db, {"template": "nadie"}, actor="test")
