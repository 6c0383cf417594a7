"""Parameters, bodies and headers that nobody of good manners sends, byte for byte, to every route of a real Airflow."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from invoicing.words.failures import FAILURES
from support.hostile import SECRET, Entry, corpus
from support.pulse import Pulse
from support.routes import Route, all_routes
from support.wire import Answer, Wire

from .conftest import Site

pytestmark = pytest.mark.alone

ROUTES = [route for route in all_routes() if route.method != "HEAD"]
READS = [route for route in ROUTES if route.is_read]
CHANGES = [route for route in ROUTES if not route.is_read]
# What draws a document or builds a message takes a second: it gets those entries that are meant for it.
DRAWING = re.compile(r"/preview$|/message\.(html|txt|eml)$|/pages$|/document\.pdf$")
MOST_SECONDS = 1.0
LARGEST_REFUSAL_BYTES = 100_000
# Of the server itself, before anything of ours has seen the request.
SERVERS_OWN = (0, 400, 431)


@dataclass
class Tried:
    """What was asked, and what was wrong with the answers."""

    wire: Wire
    count: int = 0
    faults: dict[str, str] = field(default_factory=dict)

    def ask(self, entry: Entry, route: Route, target: str, **request: object) -> Answer:
        answer = self.wire.ask(route.method, f"/invoicing{target}", **request)  # type: ignore[arg-type]
        self.count += 1
        if fault := fault_of(answer, is_api=route.is_api):
            self.faults[f"{entry.name}: {route.method} {route.path}"] = fault
        return answer


def fault_of(answer: Answer, *, is_api: bool) -> str:
    """What is wrong with an answer; empty where nothing is."""
    if answer.status >= 500 or answer.status <= 0:
        return f"{answer.status} {answer.text[:300]}"
    if SECRET in answer.text or "root:x:0" in answer.text or "Traceback" in answer.text:
        return f"it shows {answer.text[:300]}"
    named = {name for name, _ in answer.headers}
    if "x" in named or any("a=b" in value for name, value in answer.headers if name == "set-cookie"):
        return f"its headers are {answer.headers}"
    if answer.status >= 400 and len(answer.content) > LARGEST_REFUSAL_BYTES:
        return f"{answer.status} in {len(answer.content)} bytes"
    if answer.status >= 400 and is_api:
        return _fault_of_refusal(answer)
    return ""


def _fault_of_refusal(answer: Answer) -> str:
    if answer.header("content-type") != "application/problem+json":
        return f"{answer.status} as {answer.header('content-type')}: {answer.text[:200]}"
    details = json.loads(answer.content)
    if details["code"] not in FAILURES or details["status"] != answer.status:
        return str(details)[:300]
    if answer.status == 429 and not answer.header("retry-after"):
        return "429 without Retry-After"
    return ""


@pytest.fixture(scope="module")
def pulse(site: Site) -> Iterator[Pulse]:
    """Somebody else, all the while."""
    with Pulse(site.url) as beating:
        yield beating


@pytest.fixture
def tried(site: Site, pulse: Pulse) -> Iterator[Tried]:
    """What an editor tries, a viewer's rights being fewer; nobody else may notice."""
    begun = len(pulse.seconds)
    with Wire(site.port, site.headers("editor")) as wire:
        trying = Tried(wire)
        yield trying
    slowest = max(pulse.seconds[begun:], default=0)
    print(f"{trying.count} requests; others waited {slowest:.2f} s at most")
    assert trying.faults == {}
    assert slowest < MOST_SECONDS
    assert pulse.statuses == {200}


@pytest.mark.parametrize("kind", ["paths", "queries", "forms", "json", "headers"])
def test_there_are_thirty_and_more(kind: str):
    assert len(corpus(kind)) >= 30


def test_paths(site: Site, tried: Tried):
    for entry in corpus("paths").values():
        for route in ROUTES:
            for name in route.parameters:
                tried.ask(entry, route, route.address(site.samples | {name: entry["value"]}))


def test_queries(site: Site, tried: Tried):
    for entry in corpus("queries").values():
        for route in READS:
            if entry.get("draws") or not DRAWING.search(route.path):
                # A letter a byte: what is not ASCII goes out in UTF-8.
                query = entry["value"].encode().decode("latin-1")
                tried.ask(entry, route, f"{route.address(site.samples)}?{query}")


def test_forms(site: Site, tried: Tried):
    for entry in corpus("forms").values():
        headers = {
            "Content-Type": entry.get("type", "application/x-www-form-urlencoded"),
            **entry.get("headers", {}),
        }
        for route in CHANGES:
            if not route.is_api and (entry.get("draws") or not DRAWING.search(route.path)):
                tried.ask(
                    entry,
                    route,
                    route.address(site.samples),
                    headers=headers,
                    body=entry["body"].encode("latin-1"),
                )


def test_json(site: Site, tried: Tried):
    for entry in corpus("json").values():
        headers = {"Content-Type": entry.get("type", "application/json"), **entry.get("headers", {})}
        for route in CHANGES:
            if route.is_api:
                tried.ask(
                    entry,
                    route,
                    route.address(site.samples),
                    headers=headers,
                    body=entry["body"].encode("latin-1"),
                )


def test_headers(site: Site, tried: Tried):
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    targets = {
        "GET": [Route("GET", "/tenants", ()), Route("GET", "/api/v1/tenants", ())],
        "POST": [Route("POST", "/automation", ()), Route("PATCH", "/api/v1/settings", ())],
    }
    for entry in corpus("headers").values():
        for route in targets[entry["method"]]:
            body = None if route.is_read else b"seen"
            headers = ({} if route.is_read else form) | entry["headers"]
            answer = tried.wire.ask(route.method, f"/invoicing{route.path}", headers, body)
            tried.count += 1
            is_ours = answer.status not in SERVERS_OWN
            if is_ours and (fault := fault_of(answer, is_api=route.is_api)):
                tried.faults[f"{entry.name}: {route.method} {route.path}"] = fault
            if "evil.example" in answer.header("location"):
                tried.faults[entry.name] = answer.header("location")
