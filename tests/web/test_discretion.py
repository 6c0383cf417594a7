"""Who may read amounts alone sees nobody's name or address anywhere; nobody sees where the server keeps its files."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from httpx import Response

from invoicing.domain.discretion import ELSEWHERE, HIDDEN, hide_in_trace, without_places
from invoicing.services.views import report
from invoicing.web.door.duties import Duty, duties_of
from support.month import NOVEMBER, Month, November
from support.routes import filled_in, routes_of
from support.visiting import Browser

# Of the agency's tenants: names, documents, addresses, homes, what a relay and a colleague said of them.
PERSONAL = (
    "Ana Peña", "/c calc", "Camila", "Ñáñez", "Rincón", "Rechazada",
    "DOC-", "@correo.example", "@nuevo.example", "Calle 1", "User unknown", "su hermana llamó",
)  # fmt: skip


@pytest.fixture(scope="module")
def month(november: November, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Month]:
    """The month, with traces of people's work in it: a resend with its reason, a changed address."""
    with november.copy(tmp_path_factory.mktemp("month")) as copied:
        copied.db.execute("UPDATE invoicing.tenant SET document_number = 'DOC-' || code")
        editor = copied.app.as_editor()
        sent = copied.delivery("ANA")
        assert editor.submit(f"/deliveries/{sent}/resend", {"reason": "su hermana llamó"}).status_code == 200
        form = {"emails": "ana@nuevo.example", "cc_emails": "", "language": "es", "auto_send": "yes"}
        assert editor.submit("/tenants/ANA", form).status_code == 200
        yield copied


def addresses(month: Month) -> dict[str, frozenset[Duty]]:
    """The address of every route that is read, with what the month has in it, and what each needs."""
    invoice = report.cycle_invoices(month.db, NOVEMBER)[0]["number"]
    found: dict[str, frozenset[Duty]] = {}
    for code in ("ANA", "RITA"):
        samples = {
            "code": code,
            "period": "2026-11",
            "name": "default",
            "number": invoice,
            "delivery_id": str(month.delivery(code)),
            "dag_id": "monthly_invoicing",
            "task_id": "send_invoices",
        }
        for route in routes_of(month.app.app):
            if "GET" in route.methods:
                found[filled_in(route.path, samples)] = duties_of(route)
    return found


def answers(browser: Browser, month: Month) -> dict[str, Response]:
    return {path: browser.see(path) for path in addresses(month)}


def told(answer: Response) -> str:
    return answer.content.decode("utf-8", "replace")


def test_who_may_read_amounts_alone_sees_nobodys_personal_data(month: Month):
    seen = answers(month.app.as_accountant(), month)

    assert {
        (path, word) for path, answer in seen.items() for word in PERSONAL if word in told(answer)
    } == set()
    refused = {path for path, answer in seen.items() if answer.status_code == 403}
    assert refused == {path for path, needed in addresses(month).items() if Duty.READ_PERSONAL in needed}
    assert any("1.000.000" in told(answer) for path, answer in seen.items() if path.startswith("/invoices/"))
    assert HIDDEN in told(seen["/tenants"])


def test_who_may_read_personal_data_sees_all_of_it_somewhere(month: Month):
    everything = "".join(told(answer) for answer in answers(month.app.as_viewer(), month).values())

    assert [word for word in PERSONAL if word not in everything] == []


@pytest.mark.parametrize(
    "path",
    ["/tenants?q=camila", "/cycles/2026-11?q=camila", "/cycles/singles?q=camila", "/api/v1/tenants?q=camila",
     "/api/v1/single-invoices?q=camila", "/templates/default/preview?tenant=ANA"],
)  # fmt: skip
def test_what_is_hidden_cannot_be_searched_for_either(month: Month, path: str):
    assert month.app.as_viewer().see(path).status_code == 200
    answer = month.app.as_accountant().see(path)

    assert answer.status_code == 403
    assert "datos personales" in told(answer) or "personal data" in told(answer)


def test_the_pages_offer_what_the_visitor_may_do(month: Month):
    accountant, viewer = month.app.as_accountant("en"), month.app.as_viewer("en")
    offers = {
        "/tenants": 'role="search"',
        "/cycles/2026-11": "Export CSV",
        f"/deliveries/{month.delivery('RITA')}": "See the message",
        "/cycles/2026-11/tenants/ANA": "document.pdf",
        "/templates/default": "tenant-list",
    }

    assert {path for path, offer in offers.items() if offer in told(viewer.see(path))} == set(offers)
    assert {path for path, offer in offers.items() if offer in told(accountant.see(path))} == set()
    assert "No personal data" in told(accountant.see("/cycles"))


def test_an_address_that_is_none_is_hidden_in_the_trace():
    trace = [
        {"rule": "no_email", "inputs": {"emails": 1}, "objects": False},
        {"rule": "invalid_email", "inputs": {"invalid": ["ana@@x: two signs"]}, "objects": True},
    ]

    assert hide_in_trace(trace)[1]["inputs"] == {"invalid": [HIDDEN]}
    assert hide_in_trace(trace)[0] == trace[0]
    assert hide_in_trace(None) is None


def test_nobody_sees_where_documents_are_kept(november: November, tmp_path: Path):
    with november.copy(tmp_path / "secret-place") as month:
        editor = month.app.as_editor("en")
        assert (
            editor.submit(f"/deliveries/{month.delivery('ANA')}/resend", {"reason": "x"}).status_code == 200
        )
        for document in month.archive_folder.rglob("*.pdf"):
            document.write_bytes(b"another one")
        month.send_again()
        failed = next(
            each for each in report.list_deliveries(month.db) if "secret-place" in (each["last_reply"] or "")
        )
        seen = answers(editor, month) | {
            path: editor.see(path)
            for path in (
                f"/deliveries/{failed['id']}",
                f"/deliveries/{failed['id']}/message.html",
                f"/deliveries/{failed['id']}/message.eml",
                f"/api/v1/deliveries/{failed['id']}",
            )
        }

    assert [path for path, answer in seen.items() if "secret-place" in told(answer)] == []
    assert f"at {ELSEWHERE} is not the one that was kept" in told(seen["/api/v1/deliveries"])
    assert seen[f"/deliveries/{failed['id']}/message.eml"].status_code == 503


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("kept at file:///srv/a b/x.pdf.", f"kept at {ELSEWHERE} b/x.pdf."),
        ("in s3://bucket/key/FV-1.pdf (403): restore", f"in {ELSEWHERE} (403): restore"),
        ("'/opt/airflow/state/archive/2026-11/FV-1.pdf' is gone", f"'{ELSEWHERE}' is gone"),
        ("550 see https://relay.example/help/550", "550 see https://relay.example/help/550"),
        ("250 2.0.0 Ok: queued as 4F/2A and/or later", "250 2.0.0 Ok: queued as 4F/2A and/or later"),
        ("postgresql://invoicing:secret@db:5432/invoicing", ELSEWHERE),
    ],
)
def test_places_of_the_server_are_told_from_other_words(said: str, shown: str):
    assert without_places(said) == shown


def test_a_store_with_a_web_address_is_a_place_too():
    said = "cannot be read at s3://b/k (EndpointError: https://minio.internal:9000/b/k)"

    assert (
        without_places(said, of_the_web_too=True)
        == f"cannot be read at {ELSEWHERE} (EndpointError: {ELSEWHERE}"
    )


def test_words_of_any_length_are_cleaned_at_once():
    for hostile in ("/a" * 200_000, "a://." * 100_000, "-/" * 200_000, "a" * 500_000, "/" + "a" * 500_000):
        without_places(hostile, of_the_web_too=True)


def test_a_database_that_is_away_gives_nothing_of_its_address_away(tmp_path: Path):
    from support.visiting import open_app

    dsn = "host=127.0.0.1 port=1 user=billing_role password=not-for-pages dbname=billing_db"
    with open_app("", tmp_path, find_dsn=lambda: dsn) as app:
        viewer = app.as_viewer()
        answer, details = viewer.see("/cycles"), viewer.see("/api/v1/cycles")

    assert (answer.status_code, details.status_code) == (503, 503)
    for text in (answer.text, details.text):
        assert not re.search("not-for-pages|billing_role|billing_db|127", text)
