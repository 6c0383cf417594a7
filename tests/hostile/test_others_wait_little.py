"""While a hundred hostile requests of a kind run, another person's page and Airflow's own answer within a second."""

import base64
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import cycle, islice
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from invoicing.rendering.templates import INVOICE_CSS, INVOICE_HTML, MAIL_HTML, MAIL_TEXT, load_shipped
from support.attacked import Site
from support.hostile import corpus
from support.project import PYTHON_PATH

pytestmark = [pytest.mark.alone, pytest.mark.long]

MOST_SECONDS = 1.0
SAMPLES = 20
AT_ONCE = 100
_ONE_ANSWER_SECONDS = 5.0
_QUIET_SECONDS = 90.0
PAGE = "/invoicing/tenants"
AIRFLOWS_OWN = "/api/v2/version"
FINE = frozenset((*range(200, 300), *range(300, 400), 400, 403, 404, 408, 409, 413, 422, 429))

Request = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Kind:
    """A hundred requests of one kind.

    Args:
        role: Whose; the other person is of the other role.
    """

    role: str
    requests: Sequence[Request]


def get(path: str) -> Request:
    return {"method": "GET", "path": f"/invoicing{path}"}


def send(method: str, path: str, body: bytes, kind: str) -> Request:
    return {
        "method": method,
        "path": f"/invoicing{path}",
        "headers": {"Content-Type": kind},
        "body": base64.b64encode(body).decode(),
    }


def send_json(method: str, path: str, value: object) -> Request:
    return send(method, path, json.dumps(value).encode(), "application/json")


def send_form(path: str, fields: Mapping[str, str]) -> Request:
    body = "&".join(f"{quote(name)}={quote(value)}" for name, value in fields.items())
    return send("POST", path, body.encode(), "application/x-www-form-urlencoded")


LOOP = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"
COMPLAINT = corpus("templates")["a name with our own words in it, twelve thousand times"]["source"]
HUGE = corpus("templates")["a name of a hundred million letters"]["source"]
HOSTILE_PARTS = {
    **load_shipped().parts,
    MAIL_HTML: COMPLAINT,
    MAIL_TEXT: LOOP,
    INVOICE_HTML: HUGE,
    INVOICE_CSS: "p { color: red }",
}
NESTED_LOGO = (
    '<svg xmlns="http://www.w3.org/2000/svg"><defs><g id="g0"><rect width="1" height="1"/></g>'
    + "".join(f'<g id="g{n}">' + f'<use href="#g{n - 1}"/>' * 10 + "</g>" for n in range(1, 10))
    + '</defs><use href="#g9"/></svg>'
)


def upload(fields: Mapping[str, str], file: bytes) -> bytes:
    parts = [
        f'--b\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        for name, value in fields.items()
    ]
    picture = (
        b'--b\r\nContent-Disposition: form-data; name="logo_file"; filename="x.svg"\r\n\r\n' + file + b"\r\n"
    )
    return b"".join([*parts, picture, b"--b--\r\n"])


def kinds(site: Site, seen_version: int) -> Mapping[str, Kind]:
    """Everything expensive that the pages offer, and bodies that are broken."""
    delivery, number = site.samples["delivery_id"], site.samples["number"]
    editor = "/templates/default"
    test = {"to": "a@agencia.example", "mail_txt": LOOP}
    logo = upload({"seen_version": str(seen_version), "agency_name": "A"}, NESTED_LOGO.encode())
    broken = [
        send(
            "PATCH",
            "/api/v1/settings",
            entry["body"].encode("latin-1"),
            entry.get("type", "application/json"),
        )
        for entry in corpus("json").values()
        if len(entry["body"]) > 50_000
    ] + [
        send("POST", "/automation", entry["body"].encode("latin-1"), entry.get("type", "multipart/form-data"))
        for entry in corpus("forms").values()
        if len(entry["body"]) > 50_000
    ]
    return {
        "previews": Kind(
            "viewer", [get(f"{editor}/preview?view={view}") for view in ("invoice", "mail", "pdf", "text")]
        ),
        "checks": Kind("editor", [send_json("POST", f"/api/v1{editor}/check", {"parts": HOSTILE_PARTS})]),
        "saves": Kind(
            "editor", [send_json("PUT", f"/api/v1{editor}", {"parts": HOSTILE_PARTS, "seen_version": 1})]
        ),
        "messages": Kind(
            "viewer", [get(f"/deliveries/{delivery}/message.{form}") for form in ("html", "txt", "eml")]
        ),
        "documents": Kind(
            "viewer", [get(f"/invoices/{number}/{what}") for what in ("pages", "document.pdf", "pages")]
        ),
        "CSV": Kind("viewer", [get("/cycles/2026-11/tenants.csv")]),
        "test messages": Kind("editor", [send_form(f"{editor}/test", test)]),
        "logos": Kind("editor", [send("POST", "/automation", logo, "multipart/form-data; boundary=b")]),
        "broken bodies": Kind("editor", broken),
    }


NAMES = (
    "previews",
    "checks",
    "saves",
    "messages",
    "documents",
    "CSV",
    "test messages",
    "logos",
    "broken bodies",
)


@dataclass(frozen=True, slots=True)
class Waited:
    """How long the others waited, in seconds.

    Args:
        page: Median, of another person's page; ``airflow`` of Airflow's own answer.
        samples: How many there are of each.
    """

    page: float
    airflow: float
    samples: int


def wait(site: Site, role: str) -> Waited:
    """Ask as somebody else does, one question after the other."""
    pages: list[float] = []
    airflows: list[float] = []
    with httpx.Client(base_url=site.url, headers=site.headers(role), timeout=_ONE_ANSWER_SECONDS) as other:
        while len(pages) < SAMPLES and not (_is_late(pages) or _is_late(airflows)):
            pages.append(_seconds(other, PAGE))
            airflows.append(_seconds(other, AIRFLOWS_OWN))
    return Waited(statistics.median(pages), statistics.median(airflows), len(pages))


def _is_late(seconds: Sequence[float]) -> bool:
    """Whether the median of them all will be above the limit, whatever the others are."""
    return sum(each >= MOST_SECONDS for each in seconds) > SAMPLES / 2


def _seconds(client: httpx.Client, path: str) -> float:
    begun = time.perf_counter()
    try:
        is_fine = client.get(path).status_code == 200
    except httpx.TimeoutException:
        is_fine = False
    # What was refused took as long as one waits at most.
    return time.perf_counter() - begun if is_fine else _ONE_ANSWER_SECONDS


def wait_for_quiet(site: Site) -> None:
    """Until what an earlier kind left behind is done."""
    ends = time.monotonic() + _QUIET_SECONDS
    with httpx.Client(base_url=site.url, headers=site.headers("viewer"), timeout=_QUIET_SECONDS) as client:
        while time.monotonic() < ends:
            if sum(_seconds(client, PAGE) for _ in range(3)) < MOST_SECONDS:
                return
            time.sleep(0.5)
    pytest.fail("the server did not come to rest")


@contextmanager
def flood(site: Site, kind: Kind, told: dict[str, Any]) -> Iterator[None]:
    """A hundred requests of ``kind`` under way all the time; ``told`` what became of them."""
    orders = {
        "url": site.url,
        "at_once": AT_ONCE,
        "headers": site.headers(kind.role),
        "requests": list(islice(cycle(kind.requests), AT_ONCE)),
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "support.flood"],
        env={"PYTHONPATH": PYTHON_PATH},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    with process, process.stdin, process.stdout:
        try:
            process.stdin.write(json.dumps(orders) + "\n")
            process.stdin.flush()
            assert process.stdout.readline() == "begun\n"
            yield
            process.stdin.close()
            told.update(json.loads(process.stdout.readline()))
        finally:
            process.kill()


@pytest.fixture(scope="module")
def quiet(site: Site) -> Waited:
    """The server when nobody else is there."""
    wait(site, "viewer")
    return wait(site, "viewer")


@pytest.mark.parametrize("name", NAMES)
def test_others_wait_little(site: Site, quiet: Waited, name: str, capsys: pytest.CaptureFixture[str]):
    settings = httpx.get(f"{site.url}/invoicing/api/v1/settings", headers=site.headers("viewer"), timeout=30)
    kind = kinds(site, settings.json()["version"])[name]
    wait_for_quiet(site)
    told: dict[str, Any] = {}
    with flood(site, kind, told):
        busy = wait(site, "editor" if kind.role == "viewer" else "viewer")

    with capsys.disabled():
        print(
            f"\n  {name:14} page {1000 * busy.page:5.0f} ms ({busy.page / quiet.page:5.1f} times the quiet server's),"
            f" Airflow's own {1000 * busy.airflow:5.0f} ms ({busy.airflow / quiet.airflow:5.1f}),"
            f" {busy.samples} samples; answered: {dict(sorted(told['answers'].items()))}"
        )
    assert busy.page < MOST_SECONDS
    assert busy.airflow < MOST_SECONDS
    assert {status for status in told["answers"] if int(status) not in FINE} == set()
    assert told["without_retry_after"] == 0
