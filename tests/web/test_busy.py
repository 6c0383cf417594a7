"""Many requests at once: what is expensive has few places and is refused at once, and nobody else waits for it."""

import asyncio
import html
import re
import socket
import statistics
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest

from invoicing.db.connection import connect
from invoicing.domain.errors import LimitReachedError
from invoicing.rendering.sandbox import TemplateProcess
from invoicing.rendering.templates import load_shipped
from invoicing.services.agency.imports import import_folder
from invoicing.services.agency.settings import change_settings
from invoicing.services.agency.templates import current_template
from invoicing.web.door import body_limit
from invoicing.web.door.body_limit import BodyTooLargeError, BodyTooSlowError, read_body
from invoicing.web.door.turns import ALL_PLACES, PLACES_EACH, Places, Turns
from invoicing.web.html.template_problems import field_of
from support.database import Server
from support.month import Month, November
from support.pages_server import run_pages
from support.project import AGENCY
from support.visiting import App

PREVIEW = "/invoicing/templates/default/preview?view=invoice"
CHECK = "/invoicing/api/v1/templates/default/check"
ENDLESS = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"
MOST_SECONDS = 1.0


@pytest.fixture(scope="module")
def url(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with server.fresh_copy() as dsn:
        with connect(dsn) as db:
            import_folder(db, AGENCY, actor="test")
            current_template(db, "default")
        with run_pages(dsn, tmp_path_factory.mktemp("archive")) as running:
            yield running


def person(url: str, name: str) -> httpx.AsyncClient:
    many = httpx.Limits(max_connections=200, max_keepalive_connections=0)
    return httpx.AsyncClient(base_url=url, cookies={"visitor": name}, timeout=120, limits=many)


async def token(client: httpx.AsyncClient) -> str:
    found = re.search(
        r'name="csrf-token" content="([^"]+)"', (await client.get("/invoicing/automation")).text
    )
    assert found
    return found[1]


async def seconds_of(client: httpx.AsyncClient, path: str, times: int = 20) -> float:
    """The median of how long ``path`` takes."""
    taken = []
    for _ in range(times):
        begun = time.perf_counter()
        answer = await client.get(path)
        assert answer.status_code == 200, answer.text[-500:]
        taken.append(time.perf_counter() - begun)
    return statistics.median(taken)


def test_ninety_previews_of_one_viewer_keep_nobody_waiting(url: str, capsys: pytest.CaptureFixture[str]):
    async def scene() -> tuple[list[httpx.Response], dict[str, tuple[float, float]]]:
        async with person(url, "luis") as luis, person(url, "ana") as ana:
            paths = ("/invoicing/tenants", "/version")
            quiet = {path: await seconds_of(ana, path, 5) for path in paths}
            flood = [asyncio.create_task(luis.get(PREVIEW)) for _ in range(90)]
            await asyncio.sleep(0.1)
            busy = {path: await seconds_of(ana, path) for path in paths}
            return await asyncio.gather(*flood), {path: (quiet[path], busy[path]) for path in paths}

    answers, seconds = asyncio.run(scene())

    with capsys.disabled():
        for path, (quiet, busy) in seconds.items():
            print(
                f"\n  {path}: {1000 * quiet:.0f} ms quiet, {1000 * busy:.0f} ms busy ({busy / quiet:.1f}×)",
                end="",
            )
    statuses = Counter(answer.status_code for answer in answers)
    assert set(statuses) == {200, 429}
    assert statuses[200] >= PLACES_EACH
    refused = next(answer for answer in answers if answer.status_code == 429)
    assert int(refused.headers["retry-after"]) >= 1
    assert "Todavía se atiende lo que usted pidió antes" in html.unescape(refused.text)
    assert 'class="problem"' in refused.text
    assert max(busy for _, busy in seconds.values()) < MOST_SECONDS


def test_who_takes_all_places_of_ones_own_leaves_those_of_others(url: str):
    async def scene() -> tuple[httpx.Response, set[int]]:
        async with person(url, "ana") as ana, person(url, "luis") as luis:
            headers = {"x-csrf-token": await token(ana)}
            body = {"parts": {**load_shipped().parts, "mail.txt": ENDLESS}}
            slow = [asyncio.create_task(ana.post(CHECK, json=body, headers=headers)) for _ in range(40)]
            await asyncio.sleep(0.5)
            preview = await luis.get("/invoicing/templates/default/preview?view=text")
            return preview, {answer.status_code for answer in await asyncio.gather(*slow)}

    preview, others = asyncio.run(scene())

    assert preview.status_code == 200
    assert "Factura de arriendo" in preview.text
    assert others == {200, 429}


@pytest.mark.long
def test_checks_in_every_place_empty_no_pool(url: str):
    async def scene() -> tuple[list[httpx.Response], float]:
        async with person(url, "ana") as ana, person(url, "beto") as beto, person(url, "vera") as vera:
            body = {"parts": {**load_shipped().parts, "mail.txt": ENDLESS}}
            headers = {each: {"x-csrf-token": await token(each)} for each in (ana, beto)}
            checks = [
                asyncio.create_task(each.post(CHECK, json=body, headers=headers[each]))
                for each in (ana, beto)
                for _ in range(PLACES_EACH)
            ]
            await asyncio.sleep(0.5)
            seconds = await seconds_of(vera, "/invoicing/tenants", 10)
            full = await vera.get("/invoicing/cycles/2026-11/tenants.csv")
            assert full.status_code == 429
            return await asyncio.gather(*checks), seconds

    checks, seconds = asyncio.run(scene())

    assert len(checks) == ALL_PLACES
    assert {answer.status_code for answer in checks} == {200}
    assert seconds < MOST_SECONDS


def test_bodies_that_never_end_keep_nobody_waiting(url: str):
    async def ask() -> float:
        async with person(url, "ana") as ana:
            return await seconds_of(ana, "/invoicing/tenants", 5)

    port = int(url.rpartition(":")[2])
    head = (
        "POST /invoicing/automation HTTP/1.1\r\nHost: x\r\nCookie: visitor=ana\r\nContent-Length: 100000\r\n"
        "Content-Type: application/x-www-form-urlencoded\r\n\r\na="
    )
    slow = [socket.create_connection(("127.0.0.1", port)) for _ in range(60)]
    try:
        for each in slow:
            each.sendall(head.encode())
        time.sleep(0.2)
        assert asyncio.run(ask()) < MOST_SECONDS
    finally:
        for each in slow:
            each.close()


def test_a_program_is_refused_with_problem_details(app: App):
    editor = app.as_editor()
    places = app.app.state.places

    with places.place("ana"), places.place("ana"), places.place("ana"):
        answer = editor.ask("POST", "/templates/default/check", {"parts": dict(load_shipped().parts)})
        page = editor.submit("/automation", {"due_days": "5"})

    assert (answer.status_code, answer.headers["content-type"]) == (429, "application/problem+json")
    assert (answer.json()["code"], answer.headers["retry-after"]) == ("own_requests_busy", "2")
    assert (page.status_code, page.headers["retry-after"]) == (429, "2")
    assert "Ocupado" in page.text


def test_places_are_few_in_all_and_fewer_for_one():
    places = Places(in_all=3, each=2)

    with places.place("ana"), places.place("ana"):
        with pytest.raises(LimitReachedError, match="What you asked for before"), places.place("ana"):
            pass
        with (
            places.place("luis"),
            pytest.raises(LimitReachedError, match="Other previews"),
            places.place("vera"),
        ):
            pass
        with places.place("luis"):
            pass
    with places.place("ana"), places.place("ana"):
        pass


def test_turns_of_one_person_come_one_after_another_and_others_need_not_wait():
    async def scene() -> tuple[list[str], int]:
        turns, order, refused = Turns(in_all=3, each=1, queue=5), [], 0

        async def ask(name: str, seconds: float) -> None:
            nonlocal refused
            try:
                async with turns.turn(name):
                    await anyio.sleep(seconds)
                    order.append(name)
            except LimitReachedError:
                refused += 1

        async with anyio.create_task_group() as group:
            for _ in range(8):
                group.start_soon(ask, "luis", 0.05)
            group.start_soon(ask, "ana", 0.01)
        return order, refused

    order, refused = asyncio.run(scene())

    assert (order[0], order.count("luis"), refused) == ("ana", 6, 2)


@pytest.mark.parametrize(
    ("messages", "error"),
    [
        ([b"x"] * 3 + [None], BodyTooSlowError),
        ([b"x" * body_limit.LARGEST_BODY_BYTES, b"x"], BodyTooLargeError),
    ],
)
def test_a_body_is_small_and_comes_in_time(
    monkeypatch: pytest.MonkeyPatch, messages: list[bytes | None], error: type[Exception]
):
    monkeypatch.setattr(body_limit, "SLOWEST_BODY_SECONDS", 0.1)
    coming = iter(messages)

    async def receive() -> dict[str, Any]:
        chunk = next(coming)
        if chunk is None:
            await anyio.sleep(5)
        return {"type": "http.request", "body": chunk, "more_body": True}

    with pytest.raises(error):
        asyncio.run(read_body(receive))


@pytest.fixture
def month(november: November, tmp_path: Path) -> Iterator[Month]:
    with november.copy(tmp_path) as copied:
        yield copied


def test_no_connection_is_held_while_a_child_the_archive_or_the_relay_works(
    month: Month, monkeypatch: pytest.MonkeyPatch
):
    change_settings(month.db, {"test_domains": "correo.example"}, actor="test")
    held: Counter[str] = Counter()
    at = ""
    pool = month.app.app.state.pool

    def look(what: str) -> None:
        stats = pool._opened().get_stats()
        held[f"{at}: {what}"] = max(held[f"{at}: {what}"], stats["pool_size"] - stats["pool_available"])

    exchange = TemplateProcess._exchange

    def watched(*arguments: Any) -> bytes:
        look("a child")
        return exchange(*arguments)

    monkeypatch.setattr(TemplateProcess, "_exchange", watched)
    editor = month.app.as_editor()
    sent = month.delivery("ANA")
    row = month.db.execute("SELECT number FROM invoicing.invoice ORDER BY id LIMIT 1").fetchone()
    assert row is not None
    parts = dict(load_shipped().parts)
    form = {field_of(part): text for part, text in parts.items()} | {
        "seen_version": "1",
        "to": "a@correo.example",
    }
    for at, status, ask in (
        ("preview", 200, lambda: editor.submit("/templates/default/preview?view=text", form)),
        ("check", 200, lambda: editor.ask("POST", "/templates/default/check", {"parts": parts})),
        ("subject check", 200, lambda: editor.ask("POST", "/settings/subject-check", {"subject": "x"})),
        ("test", 200, lambda: editor.submit("/templates/default/test", form)),
        ("settings", 200, lambda: editor.ask("PATCH", "/settings", {"subject": "Factura {{ tenant.name }}"})),
        ("save", 200, lambda: editor.submit("/templates/default", {**form, "mail_txt": "Hola"})),
        (
            "restore",
            200,
            lambda: editor.ask("POST", "/templates/default/versions/1/restore", {"seen_version": 2}),
        ),
        ("message", 200, lambda: editor.see(f"/deliveries/{sent}/message.html")),
    ):
        answer = ask()
        assert answer.status_code == status, (at, answer.text[-2000:])

    assert {place.partition(":")[0] for place in held} == {
        *("preview", "check", "subject check", "test", "settings", "save", "restore", "message")
    }
    assert set(held.values()) == {0}, held
