"""The tenants' pages: finding them, changing them one by one and together, and what became of their mail."""

import html
import re
from dataclasses import asdict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from invoicing.db.connection import Database
from invoicing.domain import address
from invoicing.domain.errors import InputError, NotFoundError
from invoicing.services.agency import tenants
from invoicing.services.agency.tenant_filter import PROBLEMS, TenantFilter
from invoicing.services.views.tenants import TenantShown, find_tenants, show_tenant, tenant_counts
from support.visiting import App, Browser


def codes_on(page: str) -> list[str]:
    return re.findall(r'<span class="mono">(T\d+)</span>', page)


def tenant(db: Database, code: str = "T00001") -> TenantShown:
    return show_tenant(db, code)


def fields(db: Database, code: str = "T00001", **changes: str) -> dict[str, str]:
    row = tenant(db, code)
    shown = {
        "emails": "\n".join(row.emails),
        "cc_emails": "\n".join(row.cc_emails),
        "language": row.language,
        "seen_at": row.updated_at.isoformat(),
    }
    return {**shown, **{key: "yes" for key in tenants.SWITCHES if getattr(row, key)}, **changes}


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ("ferreteria nunez", ["T00001", "T00012"]),
        ("NÚÑEZ ferretería t00001", ["T00001"]),
        ("10100002", ["T00002"]),
        ("t1-00003@correo", ["T00003"]),
        ("t00005", ["T00005"]),
        ("%", []),
        ("_____", []),
        ("'; drop table invoicing.tenant; --", []),
    ],
)
def test_tenants_are_found_by_any_of_their_words(
    editor: Browser, agency: Database, asked: str, found: list[str]
):
    shown = codes_on(editor.get("/invoicing/tenants", params={"q": asked, "size": "25"}).text)

    assert [code for code in shown if code <= "T00012"] == found


def test_filters_and_their_figures_agree(editor: Browser, agency: Database):
    counts = asdict(tenant_counts(agency))
    rows = agency.execute(
        "SELECT emails, cc_emails, auto_send, only_multiple FROM invoicing.tenant"
    ).fetchall()

    assert counts == {
        "tenants": len(rows),
        "auto_send": sum(row["auto_send"] for row in rows),
        "only_multiple": sum(row["only_multiple"] for row in rows),
        "no_email": sum(not row["emails"] for row in rows),
        "invalid_email": sum(
            bool(address.invalid_addresses([*row["emails"], *row["cc_emails"]])) for row in rows
        ),
    }
    assert counts["invalid_email"] > 0
    for problem in PROBLEMS:
        _, total = find_tenants(agency, TenantFilter(problem=problem))
        assert total == counts[problem]
    _, off = find_tenants(agency, TenantFilter(auto_send=False))
    assert off == counts["tenants"] - counts["auto_send"]
    assert "Dirección no válida" in editor.see("/tenants?problem=invalid_email").text


def test_pages_hold_every_tenant_once_in_either_order(editor: Browser, agency: Database):
    for sort in ("code", "-code", "name", "-name", "updated", "-updated"):
        seen: list[str] = []
        for page in range(1, 6):
            seen += codes_on(editor.see(f"/tenants?sort={sort}&page={page}").text)
        assert len(seen) == len(set(seen)) == 120, sort


@pytest.mark.parametrize("sort", ["code", "-name", "updated"])
def test_the_next_page_begins_behind_the_last_row_and_the_one_before_ends_before_the_first(
    editor: Browser, agency: Database, sort: str
):
    """By key: whoever is added in between moves no row to another page."""
    found, _ = find_tenants(
        agency, TenantFilter(), sort=sort.removeprefix("-"), descending=sort.startswith("-"), limit=500
    )
    pages: list[list[str]] = []
    address = f"/tenants?sort={sort}"
    while address:
        shown = editor.see(address).text
        pages.append(codes_on(shown))
        address = link(shown, "next")
    assert [code for page in pages for code in page] == [each.code for each in found]

    for before in reversed(pages[:-1]):
        shown = editor.see(link(shown, "prev")).text
        assert codes_on(shown) == before
    assert link(shown, "prev") == ""
    # A key that nobody has: the page counts.
    assert codes_on(editor.see(f"/tenants?sort={sort}&page=2&after=NOBODY").text) == pages[1]


def link(page: str, rel: str) -> str:
    """Where the pager leads; empty where it does not."""
    found = re.search(rf'rel="{rel}" href="([^"]+)"', page)
    return f"/tenants{html.unescape(found[1])}" if found else ""


def test_an_address_that_asks_for_nonsense_shows_a_page(editor: Browser, agency: Database):
    for query in ("page=0", "page=99999999999999999999", "page=²", "sort=rent", "size=7", "auto_send=maybe"):
        assert editor.see(f"/tenants?{query}").status_code == 200, query
    assert editor.see("/tenants/nobody").status_code == 404
    assert editor.see("/tenants/%00").status_code == 404


def test_the_switches_addresses_and_language_are_saved_and_audited(editor: Browser, agency: Database):
    page = editor.submit(
        "/tenants/T00001",
        {
            **fields(agency, emails="uno@nogal.co\r\ndos@nogal.co; uno@nogal.co", language="en"),
            "auto_send": "",
            "only_multiple": "yes",
        },
    )

    assert "Guardado" in page.text
    after = tenant(agency)
    assert after.emails == ["uno@nogal.co", "dos@nogal.co"]
    assert (after.auto_send, after.only_multiple, after.language) == (False, True, "en")
    change = after.changes[0]
    assert change.actor == "ana"
    assert change.details["auto_send"] == {"before": True, "after": False}
    assert "<del>Sí</del> <ins>No</ins>" in page.text


@pytest.mark.parametrize(
    "typed",
    [
        "uno@@nogal.co",
        "uno@nogal.co\r\nBcc: dos@evil.example",
        "Ana <ana@nogal.co>",
        "a@x.co)b@y.co",
        "=?utf-8?q?a?=@nogal.co",
        "uno\0@nogal.co",
        "local",
        "a@[127.0.0.1]",
        "x" * 300 + "@nogal.co",
    ],
)
@pytest.mark.parametrize("field", ["emails", "cc_emails"])
@pytest.mark.one_in(5)
def test_a_malformed_address_is_refused_with_its_field(
    editor: Browser, agency: Database, field: str, typed: str
):
    before = tenant(agency)

    page = editor.submit("/tenants/T00001", fields(agency, **{field: f"bien@nogal.co\n{typed}"}))

    assert page.status_code == 422
    assert f'id="{field}-error"' in page.text
    assert "bien@nogal.co" in page.text
    assert tenant(agency).emails == before.emails
    assert tenant(agency).changes == []


def test_a_tenant_with_a_malformed_address_can_be_switched_all_the_same(editor: Browser, agency: Database):
    code = next(each.code for each in find_tenants(agency, TenantFilter(problem="invalid_email"))[0])

    page = editor.submit(f"/tenants/{code}", {**fields(agency, code), "auto_send": "", "only_multiple": ""})

    assert page.status_code == 200
    assert tenant(agency, code).auto_send is False


def test_whoever_saves_second_is_told(editor: Browser, agency: Database):
    opened = fields(agency, emails="mia@nogal.co")
    tenants.change_tenant(agency, "T00001", {"language": "en"}, actor="beto")

    page = editor.submit("/tenants/T00001", opened)

    assert page.status_code == 409
    assert "mientras usted escribía" in page.text
    assert "mia@nogal.co" in page.text
    assert tenant(agency).emails != ["mia@nogal.co"]


def test_a_bulk_switch_shows_first_how_many_change(editor: Browser, agency: Database):
    on = tenant_counts(agency).auto_send

    preview = editor.submit("/tenants/switch", {"scope": "all", "action": "auto_send:no", "auto_send": ""})

    assert f'<p class="figure__number">{on}</p>' in preview.text
    assert tenant_counts(agency).auto_send == on

    hidden = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', preview.text))
    done = editor.submit("/tenants/switch", {key: hidden[key] for key in hidden if key != "csrf_token"})

    assert f"{on} terceros cambiados" in done.text
    assert tenant_counts(agency).auto_send == 0
    assert tenant(agency).changes[0].details == {
        "auto_send": {"before": True, "after": False},
        "together": on,
    }


def test_a_bulk_switch_reaches_the_search_or_the_ticked_only(editor: Browser, agency: Database):
    by_search = TenantFilter(search="ferreteria")
    ticked = ["T00003", "T00004"]

    preview = tenants.preview_switch(agency, by_search, None, "only_multiple", value=True)
    tenants.apply_switch(
        agency, by_search, None, "only_multiple", value=True, fingerprint=preview.fingerprint, actor="ana"
    )
    page = editor.submit("/tenants/switch", {"scope": "ticked", "code": ticked, "action": "auto_send:no"})

    assert all("Ferretería" in each.name for each in preview.tenants)
    assert tenant(agency, "T00001").only_multiple
    assert not tenant(agency, "T00002").only_multiple
    assert re.findall(r'name="code" value="(\w+)"', page.text) == ticked


def test_a_bulk_switch_that_would_be_another_by_now_is_shown_again(editor: Browser, agency: Database):
    preview = editor.submit("/tenants/switch", {"scope": "all", "action": "auto_send:no"})
    hidden = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', preview.text))
    tenants.change_tenant(agency, "T00001", {"auto_send": False}, actor="beto")
    before = tenant_counts(agency).auto_send

    again = editor.submit("/tenants/switch", {key: hidden[key] for key in hidden if key != "csrf_token"})

    assert again.status_code == 409
    assert "No se cambió nada" in again.text
    assert tenant_counts(agency).auto_send == before


@pytest.mark.parametrize(
    "order",
    [{}, {"scope": "ticked", "action": "auto_send:no"}, {"scope": "all", "action": "rent:no"}],
    ids=str,
)
def test_a_bulk_switch_of_nothing_is_refused(editor: Browser, agency: Database, order: dict[str, str]):
    assert editor.submit("/tenants/switch", order).status_code == 422


def test_a_tenants_name_is_text_wherever_it_stands(app: App, editor: Browser, agency: Database):
    evil = """<img src=x onerror=alert(1)>"'{{ 7*7 }}"""
    agency.execute(
        "UPDATE invoicing.tenant SET name = %(name)s, city = %(name)s, emails = %(emails)s WHERE code = 'T00001'",
        {"name": evil, "emails": [evil]},
    )

    for page in ("/tenants", "/tenants/T00001", "/tenants?problem=invalid_email"):
        text = editor.see(page).text
        assert "<img src=x" not in text
        assert evil in html.unescape(text)
    preview = editor.submit("/tenants/switch", {"scope": "all", "action": "auto_send:no"})
    assert "<img src=x" not in preview.text


def test_a_viewer_may_look_and_sees_no_way_to_change(viewer: Browser, agency: Database):
    for page in ("/tenants", "/tenants/T00001", "/automation"):
        shown = viewer.see(page)
        assert shown.status_code == 200
        assert 'method="post"' not in shown.text
    assert viewer.submit("/tenants/T00001", {"emails": ""}).status_code == 403


def test_the_api_lists_shows_and_changes_tenants(editor: Browser, agency: Database):
    listed = editor.ask("GET", "/tenants?q=ferreteria&limit=2").json()
    changed = editor.ask("PATCH", "/tenants/T00001", {"auto_send": False})
    wrong = editor.ask("PATCH", "/tenants/T00001", {"emails": ["a@@b"]})
    unknown = editor.ask("PATCH", "/tenants/T00001", {"rent": 1})
    stale = editor.ask("PATCH", "/tenants/T00001", {"auto_send": True, "seen_at": "2020-01-01T00:00:00Z"})

    assert listed["total"] >= 2
    assert len(listed["tenants"]) == 2
    assert changed.json()["auto_send"] is False
    assert changed.json()["leases"][0]["rent"].isdecimal()
    assert wrong.status_code == 422
    assert wrong.json()["errors"][0]["field"] == "emails"
    assert unknown.status_code == 422
    assert stale.status_code == 409
    assert "in the meantime" in stale.json()["detail"]
    assert editor.ask("GET", "/tenants/nobody").status_code == 404
    assert editor.ask("GET", "/cycles/2026-11").status_code == 404
    assert editor.ask("GET", "/cycles/2026-13").status_code == 422


def test_the_service_refuses_what_it_does_not_know(agency: Database):
    with pytest.raises(NotFoundError):
        tenants.change_tenant(agency, "nobody", {"language": "en"}, actor="ana")
    with pytest.raises(InputError, match="rent cannot be changed"):
        tenants.change_tenant(agency, "T00001", {"rent": 1}, actor="ana")
    many = [f"a{n}@nogal.co" for n in range(21)]
    with pytest.raises(InputError, match="at most 20"):
        tenants.change_tenant(agency, "T00001", {"emails": many}, actor="ana")


_PARTS = st.sampled_from([*"aZ09.-_+@@ éñ'\"<", "..", "xn--", ".test", ".local", ".co", "a" * 62, "correo"])


@settings(max_examples=300, deadline=None)
@given(local=st.lists(_PARTS, max_size=6).map("".join), host=st.lists(_PARTS, max_size=6).map("".join))
def test_what_the_database_calls_plain_is_valid(db_session: Database, local: str, host: str):
    """The filter by invalid address asks `domain.address` about the doubtful ones only."""
    written = f"{local}@{host}"
    row = db_session.execute(
        "SELECT invoicing.has_doubtful_address(%(addresses)s) AS doubtful", {"addresses": [written]}
    ).fetchone()

    assert row is not None
    assert row["doubtful"] or address.problem(written) is None
