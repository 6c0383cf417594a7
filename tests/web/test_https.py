"""Behind HTTPS: whose page a change may come from, which cookies and headers the browser gets."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from support.browser import serve
from support.visiting import App, Browser, open_app

OPERATION = "/invoicing/api/v1/settings"


@pytest.fixture
def proxied(dsn: str, tmp_path: Path) -> Iterator[App]:
    """The app where Airflow knows that it is seen at an address of HTTPS."""
    with open_app(dsn, tmp_path, public_url="https://facturas.example/airflow") as app:
        yield app


def ask_from(browser: Browser, origin: str) -> int:
    headers = {"x-csrf-token": browser.token(), "origin": origin}
    return browser.patch(OPERATION, json={}, headers=headers).status_code


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("http://airflow.test", 200),
        ("http://airflow.test:80", 200),
        ("HTTP://AIRFLOW.TEST", 200),
        ("https://airflow.test", 403),
        ("http://airflow.test:8080", 403),
        ("ftp://airflow.test", 403),
        ("http://airflow.test:x", 403),
        ("airflow.test", 403),
        ("null", 403),
        ("", 403),
    ],
)
def test_another_scheme_or_port_is_another_site(app: App, origin: str, status: int):
    assert ask_from(app.as_editor(), origin) == status


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("https://facturas.example", 200),
        ("http://facturas.example", 403),
        ("https://facturas.example:444", 403),
    ],
)
def test_airflows_own_address_is_this_site_by_its_scheme(proxied: App, origin: str, status: int):
    assert ask_from(proxied.as_editor(), origin) == status


def test_a_trusted_proxy_says_the_scheme(app: App):
    with serve(app) as site:
        origin = site.removesuffix("/invoicing").replace("http:", "https:")
        with httpx.Client(cookies={"visitor": "ana"}, headers={"origin": origin}) as client:
            token = (
                client.get(f"{site}/automation").text.partition('csrf-token" content="')[2].partition('"')[0]
            )
            client.headers["x-csrf-token"] = token
            plain = client.patch(f"{site}/api/v1/settings", json={})
            told = client.patch(f"{site}/api/v1/settings", json={}, headers={"x-forwarded-proto": "https"})

    assert (plain.status_code, told.status_code) == (403, 200)
    assert plain.json()["code"] == "foreign_request"
    assert "base_url" in plain.json()["detail"]


def test_over_https_the_browser_is_told_to_stay_there(app: App, proxied: App):
    over_http = app.as_editor().see("/cycles?lang=en")
    over_https = app.as_editor().get("https://airflow.test/invoicing/cycles?lang=en")
    behind_a_proxy = proxied.as_editor().see("/cycles?lang=en")

    assert "strict-transport-security" not in over_http.headers
    assert "secure" not in over_http.headers["set-cookie"].lower()
    for answer in (over_https, behind_a_proxy, proxied.as_editor().see("/static/app.css")):
        assert answer.headers["strict-transport-security"] == "max-age=31536000"
    for answer in (over_https, behind_a_proxy):
        cookie = answer.headers["set-cookie"].lower()
        assert "secure" in cookie
        assert "httponly" in cookie
        assert "samesite=lax" in cookie
