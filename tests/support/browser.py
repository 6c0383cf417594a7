"""Chromium, and what it is asked of every page."""

import shutil
import threading
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import uvicorn
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, FrameLocator, Page, sync_playwright

from support.project import free_port
from support.running_stack import Stack
from support.visiting import App

# Debian's; where it is another one, what is first on the PATH.
CHROMIUM = shutil.which("chromium") or "/usr/bin/chromium"
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
LOCALES = {"es": "es-CO", "en": "en-US"}


@contextmanager
def open_chromium() -> Iterator[Browser]:
    """A browser without a window."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


def visit(
    chromium: Browser,
    site: str,
    who: str = "ana",
    *,
    language: str = "es",
    width: int = 1280,
    **options: Any,
) -> BrowserContext:
    """What one person does in a browser.

    Args:
        site: Address of the pages, served by `serve`.
        who: ``ana`` may change everything, ``luis`` may look.
        width: Of the window, in pixels.
        options: Playwright's for a context: ``color_scheme``, ``java_script_enabled``, …
    """
    context = chromium.new_context(
        viewport={"width": width, "height": 900}, locale=LOCALES[language], **options
    )
    context.add_cookies([{"name": "visitor", "value": who, "url": site}])
    return context


def unfold(page: Page) -> None:
    """What is folded away is looked at too."""
    page.evaluate("for (const each of document.querySelectorAll('details')) each.open = true")


def axe_violations(page: Page, options: Mapping[str, Any] | None = None) -> str:
    """What axe-core has to say against the page; empty where that is nothing."""
    results = Axe().run(page, options={"resultTypes": ["violations"], **(options or {})})
    return str(results.generate_report()) if results.violations_count else ""


def rules_of(scheme: str) -> dict[str, Any]:
    """Axe's options for a theme: all its rules in the light one; in the dark one, which changes nothing but colours,
    those of colours.
    """
    colours = {"type": "rule", "values": ["color-contrast", "link-in-text-block"]}
    return {"runOnly": colours} if scheme == "dark" else {}


def faults_of_look(page: Page, options: Mapping[str, Any] | None = None, width: int = 1280) -> list[str]:
    """What is wrong with the look of an open page: to axe in the light theme and in the dark one, and in its width.

    Args:
        options: Axe's.
        width: Of the window at which axe looks, in pixels.
    """
    faults = []
    page.set_viewport_size({"width": width, "height": 900})
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        if report := axe_violations(page, {**(options or {}), **rules_of(scheme)}):
            faults.append(f"{scheme}: {report}")
    page.emulate_media(color_scheme="light")
    for each in (390, 1280):
        page.set_viewport_size({"width": each, "height": 900})
        if is_wider_than_its_window(page):
            faults.append(f"wider than {each} pixels")
    return faults


def faults_of_pages(
    page: Page,
    addresses: Mapping[str, str],
    *,
    width: int,
    refused: Collection[str],
    options: Mapping[str, Any] | None = None,
) -> str:
    """What is wrong with the look of each page, by its name, or with what its own policy lets it do; empty for nothing.

    Args:
        refused: Pages whose answer says no, of which the browser itself complains.
    """
    found: dict[str, list[str]] = {}
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    for name, address in addresses.items():
        page.goto(address)
        unfold(page)
        faults = faults_of_look(page, options, width)
        if faults or (complaints and name not in refused):
            found[name] = [*faults, *complaints]
        complaints.clear()
    return "\n\n".join("\n".join([name, *faults]) for name, faults in found.items())


def is_wider_than_its_window(page: Page) -> bool:
    return bool(page.evaluate("document.documentElement.scrollWidth > innerWidth"))


@contextmanager
def serve(app: App) -> Iterator[str]:
    """Serve the app from a thread; its address."""
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(app.parent, host="127.0.0.1", port=port, log_level="error"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + 30
    while not server.started:
        assert thread.is_alive(), "the server did not start"
        assert time.monotonic() < deadline, "the server does not come up"
        time.sleep(0.02)
    try:
        yield f"http://127.0.0.1:{port}/invoicing"
    finally:
        server.should_exit = True
        thread.join(timeout=10)


def open_airflow(chromium: Browser, stack: Stack, language: str) -> Page:
    """Airflow's own pages, its administrator logged in."""
    return log_into_airflow(chromium, stack.url, "admin", stack.admin_password, language)


def log_into_airflow(chromium: Browser, url: str, name: str, password: str, language: str) -> Page:
    """Airflow's own pages at ``url``, somebody logged in by the form of whichever auth manager it has."""
    context = chromium.new_context(locale=LOCALES[language], base_url=url)
    page = context.new_page()
    page.set_default_timeout(60_000)
    page.goto("/")
    page.locator("input[name=username]").fill(name)
    page.locator("input[name=password]").fill(password)
    page.keyboard.press("Enter")
    page.get_by_role("link", name="Dags").first.wait_for()
    return page


def open_in_airflow(airflow: Page, place: str) -> FrameLocator:
    """A page of ours where Airflow shows it."""
    route = place.partition("/")[0]
    airflow.goto(f"/plugin/invoicing-{route}/invoicing/{place}")
    return airflow.frame_locator("iframe")
