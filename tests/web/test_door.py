"""Who gets in, and who may change what: every route, with the real auth managers of a real Airflow."""

import re
from collections.abc import Iterator

import httpx
import pytest
from fastapi.routing import APIRoute
from starlette.routing import BaseRoute, Mount

from invoicing.db.connection import connect
from invoicing.services.agency.imports import import_folder
from invoicing.web.app import create_app
from invoicing.web.outside import Outside
from support.database import Server
from support.project import AGENCY
from support.real_airflow import MANAGERS, AirflowServer, run_airflow
from support.visiting import EDITOR, CookieGate

# What stands for a path's parameters; anything else gets "1".
SAMPLES = {"code": "T00001", "period": "2026-11", "name": "default"}


def routes() -> list[tuple[str, str]]:
    """Method and path of every route of the app that is not a static file."""
    app = create_app(
        Outside(CookieGate(EDITOR), "x", "", str, _unused, _unused, _unused)  # type: ignore[arg-type]
    )
    return sorted(_routes(app.routes))


def _routes(found: list[BaseRoute]) -> Iterator[tuple[str, str]]:
    for route in found:
        if isinstance(route, Mount):
            assert route.path == "/static", f"what is mounted at {route.path}?"
            continue
        assert isinstance(route, APIRoute), route
        path = re.sub(r"\{(\w+)(?::\w+)?\}", lambda m: SAMPLES.get(m[1], "1"), route.path)
        for method in route.methods:
            yield method, path


def _unused() -> None:
    raise AssertionError("no request is made here")


ROUTES = routes()
CHANGES = [(method, path) for method, path in ROUTES if method not in ("GET", "HEAD", "OPTIONS")]
READS = [(method, path) for method, path in ROUTES if method == "GET"]


@pytest.fixture(scope="module")
def business(server: Server) -> Iterator[str]:
    with server.fresh_copy() as dsn:
        with connect(dsn) as db:
            import_folder(db, AGENCY, actor="test")
        yield dsn


@pytest.fixture(scope="module", params=sorted(MANAGERS))
def airflow(
    request: pytest.FixtureRequest, business: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[AirflowServer]:
    with run_airflow(request.param, business, tmp_path_factory.mktemp("airflow") / request.param) as running:
        yield running


@pytest.fixture(scope="module")
def stranger(airflow: AirflowServer) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"{airflow.url}/invoicing", timeout=30) as client:
        yield client


@pytest.fixture(scope="module")
def reader(airflow: AirflowServer) -> Iterator[httpx.Client]:
    with _session(airflow, "vera") as client:
        yield client


@pytest.fixture(scope="module")
def operator(airflow: AirflowServer) -> Iterator[httpx.Client]:
    with _session(airflow, "olga") as client:
        yield client


def _session(airflow: AirflowServer, name: str) -> httpx.Client:
    return httpx.Client(
        base_url=f"{airflow.url}/invoicing", cookies={"_token": airflow.log_in(name)}, timeout=30
    )


def _token(client: httpx.Client) -> str:
    found = re.search(r'name="csrf-token" content="([^"]+)"', client.get("/automation").text)
    assert found
    return found[1]


def test_there_are_routes_to_try():
    assert ("POST", "/automation") in CHANGES
    assert ("PATCH", "/api/v1/settings") in CHANGES
    assert ("GET", "/api/v1/openapi.json") in READS


def test_every_route_answers_401_without_a_session(stranger: httpx.Client):
    answers = {(method, path): stranger.request(method, path).status_code for method, path in ROUTES}

    assert answers == dict.fromkeys(ROUTES, 401)


def test_every_route_answers_401_to_a_token_that_is_none(stranger: httpx.Client):
    headers = {"authorization": "Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJvbGdhIn0."}

    answers = {
        (method, path): stranger.request(method, path, headers=headers).status_code for method, path in ROUTES
    }

    assert answers == dict.fromkeys(ROUTES, 401)


def test_what_does_not_exist_is_told_to_nobody_without_a_session(stranger: httpx.Client):
    assert stranger.get("/nothing").status_code == 401
    assert stranger.get("/docs").status_code == 401
    assert stranger.get("/openapi.json").status_code == 401


def test_static_files_need_no_session(stranger: httpx.Client):
    assert stranger.get("/static/app.css").status_code == 200
    assert stranger.get("/static/../app.py").status_code in (401, 404)
    assert stranger.get("/static/%2e%2e/%2e%2e/default/mail.html").status_code in (401, 404)


def test_a_viewer_reads_every_page(reader: httpx.Client):
    answers = {path: reader.get(path).status_code for _, path in READS}

    # Sample addresses may name what is not there; a month may still be being worked out.
    assert set(answers.values()) <= {200, 202, 307, 404}
    assert answers["/automation"] == answers["/tenants"] == answers["/tenants/T00001"] == 200


def test_a_viewer_changes_nothing(reader: httpx.Client, airflow: AirflowServer):
    token = _token(reader)
    bearer = {"authorization": f"Bearer {airflow.log_in('vera')}"}
    with httpx.Client(base_url=reader.base_url, headers=bearer, timeout=30) as program:
        answers = {
            (method, path): (
                reader.request(method, path, headers={"x-csrf-token": token}).status_code,
                program.request(method, path).status_code,
            )
            for method, path in CHANGES
        }

    assert answers == dict.fromkeys(CHANGES, (403, 403))


def test_a_viewer_sees_no_button_that_would_be_refused(reader: httpx.Client, operator: httpx.Client):
    for page in ("/automation", "/tenants", "/tenants/T00001"):
        assert 'method="post"' not in reader.get(page).text
        assert 'method="post"' in operator.get(page).text


@pytest.mark.parametrize(("who", "may_change"), [("olga", True), ("uma", False)])
def test_who_may_trigger_the_dag_in_airflow_may_run_a_month(
    airflow: AirflowServer, who: str, may_change: bool
):
    with _session(airflow, who) as client:
        headers = {"x-csrf-token": _token(client)}
        ran = client.post("/foresight/2026-12/run", headers=headers)
        changed = client.patch("/api/v1/settings", json={"due_days": 7}, headers=headers)
        other = client.post("/foresight/2026-12/leases/1/run", headers=headers)
        page = client.get("/foresight/2026-12").text

    # This Airflow has no DAG to run.
    assert (ran.status_code, "monthly_invoicing" in ran.text) == (503, True)
    assert (changed.status_code, other.status_code) == ((200, 404) if may_change else (403, 403))
    assert "/foresight/2026-12/run" in page


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
    ids=str,
)
def test_another_site_changes_nothing(operator: httpx.Client, headers: dict[str, str]):
    token = _token(operator)

    answers = {
        (method, path): operator.request(method, path, headers={"x-csrf-token": token, **headers}).status_code
        for method, path in CHANGES
    }

    assert answers == dict.fromkeys(CHANGES, 403)


def test_a_change_needs_the_token_of_a_form_of_ones_own(operator: httpx.Client, reader: httpx.Client):
    tokens = {"none": None, "a viewer's": _token(reader), "made up": "1.x.y", "not text": "²³.é.x"}

    for name, token in tokens.items():
        headers = {} if token is None else {"x-csrf-token": token.encode()}
        answers = {
            (method, path): operator.request(method, path, headers=headers).status_code
            for method, path in CHANGES
        }
        assert answers == dict.fromkeys(CHANGES, 403), name


def test_an_operator_changes_settings_by_the_form_and_by_the_api(
    operator: httpx.Client, airflow: AirflowServer
):
    patched = operator.patch(
        "/api/v1/settings", json={"due_days": 8}, headers={"x-csrf-token": _token(operator)}
    )
    with httpx.Client(base_url=operator.base_url, timeout=30) as program:
        program.headers["authorization"] = f"Bearer {airflow.log_in('olga')}"
        again = program.patch("/api/v1/settings", json={"due_days": 9})

    assert (patched.status_code, again.status_code) == (200, 200)
    assert patched.json()["settings"]["due_days"] == 8
    assert again.json()["settings"]["due_days"] == 9
    assert again.json()["actor"].startswith("olga")


def test_the_answers_carry_a_strict_policy(operator: httpx.Client, stranger: httpx.Client):
    for answer in (operator.get("/tenants"), stranger.get("/tenants"), stranger.get("/static/app.css")):
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "frame-ancestors 'self'" in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "same-origin"
    assert operator.get("/tenants").headers["cache-control"] == "no-store"


def test_the_api_describes_itself_to_those_who_are_logged_in(reader: httpx.Client):
    document = reader.get("/api/v1/openapi.json").json()

    assert "/api/v1/tenants/{code}" in document["paths"]
    assert not any(path.startswith("/automation") for path in document["paths"])


def test_airflow_lists_the_pages(airflow: AirflowServer):
    token = airflow.log_in("olga")

    plugins = httpx.get(
        f"{airflow.url}/api/v2/plugins", headers={"authorization": f"Bearer {token}"}, timeout=30
    )

    ours = next(each for each in plugins.json()["plugins"] if each["name"] == "invoicing")
    assert {view["href"] for view in ours["external_views"]} >= {
        "/invoicing/cycles",
        "/invoicing/foresight",
        "/invoicing/tenants",
        "/invoicing/templates",
        "/invoicing/automation",
    }
