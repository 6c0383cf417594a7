"""Parameters, bodies and headers that nobody of good manners sends, byte for byte, to every route of a real Airflow."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from invoicing.web.app import create_app
from invoicing.web.outside import Outside
from invoicing.words.failures import FAILURES
from support.attacked import Site
from support.hostile import SECRET, Entry, corpus
from support.pulse import Pulse
from support.routes import filled_in, routes_of
from support.wire import NO_ANSWER, Answer, Wire


@dataclass(frozen=True, slots=True)
class Route:
    """A method and an address, with the names of its parameters in braces."""

    method: str
    path: str

    @property
    def parameters(self) -> list[str]:
        return re.findall(r"\{(\w+)\}", self.path)

    @property
    def is_read(self) -> bool:
        return self.method == "GET"

    @property
    def is_api(self) -> bool:
        return self.path.startswith("/api/")

    def address(self, values: Mapping[str, str]) -> str:
        """The address with ``values`` for its parameters, as they are; "1" for any other."""
        return filled_in(self.path, values)


def all_routes() -> list[Route]:
    nobody: Any = None
    app = create_app(Outside(nobody, "x", "", str, nobody, nobody, nobody))
    found = (Route(method, route.path) for route in routes_of(app) for method in route.methods)
    return sorted((route for route in found if route.method != "HEAD"), key=str)


ROUTES = all_routes()
READS = [route for route in ROUTES if route.is_read]
CHANGES = [route for route in ROUTES if not route.is_read]
# What draws a document or builds a message takes a second: it gets those entries that are meant for it.
DRAWING = re.compile(r"/preview$|/message(-of-today)?\.(html|txt|eml)$|/pages$|/document\.pdf$")
# There is a real Airflow here, and no DAG: what would start one says so.
WITHOUT_DAG = re.compile("Airflow [^.<]{0,60}(monthly_invoicing|send_new_invoices)")
# So long others may wait for the server; and so long with all that the machine has to do beside it.
MOST_BLOCKED_SECONDS = 1.0
MOST_SECONDS = 20.0
LARGEST_REFUSAL_BYTES = 100_000


@dataclass
class Tried:
    """What was asked, and what was wrong with the answers."""

    wire: Wire
    count: int = 0
    faults: dict[str, str] = field(default_factory=dict)

    def ask(
        self,
        entry: Entry,
        route: Route,
        target: str,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
    ) -> None:
        answer = self.wire.ask(route.method, f"/invoicing{target}", headers, body)
        self.count += 1
        if answer.status == 503 and route.path.endswith("/message.eml"):
            return  # a delivery of the sample of which not every document was made
        fault = fault_of(answer, LARGEST_REFUSAL_BYTES + len(body or target), is_api=route.is_api)
        if fault:
            self.faults[f"{entry.name}: {route.method} {route.path}"] = fault


def fault_of(answer: Answer, most_bytes: int, *, is_api: bool) -> str:
    """What is wrong with an answer; empty where nothing is.

    Args:
        most_bytes: Of an answer that refuses: pages show again what was typed.
    """
    is_for_now = answer.status == 503 and (
        WITHOUT_DAG.search(answer.text) or answer.header("retry-after").isdecimal()
    )
    if (answer.status >= 500 and not is_for_now) or answer.status == NO_ANSWER:
        return f"{answer.status} {answer.text[:300]}"
    if SECRET in answer.text or "root:x:0" in answer.text or "Traceback" in answer.text:
        return f"it shows {answer.text[:300]}"
    if any(name == "x" or (name == "set-cookie" and "a=b" in value) for name, value in answer.headers):
        return f"its headers are {answer.headers}"
    if "evil.example" in answer.header("location"):
        return f"it leads to {answer.header('location')}"
    # The server itself, and Airflow's router, refuse what is no HTTP, or no address of ours.
    is_ours = bool(answer.header("content-security-policy"))
    if answer.status < 400 or not is_ours:
        return ""
    if len(answer.content) > most_bytes:
        return f"{answer.status} in {len(answer.content)} bytes"
    if answer.status == 429 and not answer.header("retry-after"):
        return "429 without Retry-After"
    return _fault_of_problem(answer) if is_api else ""


def _fault_of_problem(answer: Answer) -> str:
    if answer.header("content-type") != "application/problem+json":
        return f"{answer.status} as {answer.header('content-type')}: {answer.text[:200]}"
    details = json.loads(answer.content)
    known = details["code"] in FAILURES and details["status"] == answer.status
    return "" if known else str(details)[:300]


@pytest.fixture(scope="module")
def pulse(site: Site) -> Iterator[Pulse]:
    """Somebody else, all the while."""
    with Pulse(site.url, server=site.airflow.pid) as beating:
        yield beating


@pytest.fixture
def tried(site: Site, pulse: Pulse) -> Iterator[Tried]:
    """What an editor tries, a viewer's rights being fewer; nobody else may notice."""
    begun = len(pulse.seconds)
    with Wire(site.port, site.headers("editor")) as wire:
        trying = Tried(wire)
        yield trying
    slowest, blocked = max(pulse.seconds[begun:], default=0), max(pulse.blocked[begun:], default=0)
    print(f"{trying.count} requests; others waited {slowest:.2f} s at most, {blocked:.2f} s for the server")
    assert trying.faults == {}
    # One in a hundred may meet what a young server imports.
    waited = sorted(pulse.blocked[begun:])
    assert waited[: -max(1, len(waited) // 100)][-1:] < [MOST_BLOCKED_SECONDS]
    assert blocked < 3 * MOST_BLOCKED_SECONDS
    assert slowest < MOST_SECONDS
    assert pulse.statuses == {200}


@pytest.mark.parametrize("kind", ["paths", "queries", "forms", "json", "headers"])
def test_there_are_thirty_and_more(kind: str):
    assert len(corpus(kind)) >= 30


def test_paths(site: Site, tried: Tried):
    # Routes of a kind take turns: pages and API, reading and changing, by the parameter that is tried.
    kinds: dict[tuple[str, bool, bool], list[Route]] = {}
    for route in ROUTES:
        for name in route.parameters:
            kinds.setdefault((name, route.is_api, route.is_read), []).append(route)
    for number, entry in enumerate(corpus("paths").values()):
        for (name, *_), routes in kinds.items():
            route = routes[number % len(routes)]
            tried.ask(entry, route, route.address(site.samples | {name: entry["value"]}))


def test_queries(site: Site, tried: Tried):
    for number, entry in enumerate(corpus("queries").values()):
        # A letter a byte: what is not ASCII goes out in UTF-8.
        query = entry["value"].encode().decode("latin-1")
        for route in in_turn(READS, number, entry):
            tried.ask(entry, route, f"{route.address(site.samples)}?{query}")


def test_forms(site: Site, tried: Tried):
    send_bodies(site, tried, "forms", "application/x-www-form-urlencoded")


def test_json(site: Site, tried: Tried):
    send_bodies(site, tried, "json", "application/json")


def send_bodies(site: Site, tried: Tried, kind: str, media_type: str) -> None:
    routes = [route for route in CHANGES if route.is_api == (kind == "json")]
    for number, entry in enumerate(corpus(kind).values()):
        headers = {"Content-Type": entry.get("type", media_type), **entry.get("headers", {})}
        body = entry["body"].encode("latin-1")
        for route in in_turn(routes, number, entry):
            tried.ask(entry, route, route.address(site.samples), headers, body)


def in_turn(routes: Sequence[Route], number: int, entry: Entry) -> Iterator[Route]:
    """The routes that an entry is sent to: every third one, and those that draw only where it is meant for them."""
    for at, route in enumerate(routes):
        if entry.get("draws") if DRAWING.search(route.path) else (at + number) % 3 == 0:
            yield route


def test_headers(site: Site, tried: Tried):
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    targets = {
        "GET": [Route("GET", "/tenants"), Route("GET", "/api/v1/tenants")],
        "POST": [Route("POST", "/automation"), Route("PATCH", "/api/v1/settings")],
    }
    for entry in corpus("headers").values():
        for route in targets[entry["method"]]:
            body = None if route.is_read else b"seen"
            headers = ({} if route.is_read else form) | entry["headers"]
            tried.ask(entry, route, route.path, headers, body)
