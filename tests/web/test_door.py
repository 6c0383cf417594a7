"""Who gets in, and who may change what: every route, with the real auth managers of a real Airflow."""

import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from fastapi.routing import APIRoute

from invoicing.db.connection import connect
from invoicing.services.agency.imports import import_folder
from invoicing.web.app import create_app
from invoicing.web.door.duties import CHANGING, Duty, duties_of
from invoicing.web.outside import Outside
from support.database import Server
from support.project import AGENCY
from support.real_airflow import MANAGERS, OWN_ROLES, USERS, AirflowServer, run_airflow
from support.routes import filled_in, routes_of
from support.visiting import EDITOR, App, CookieGate

# What stands for a path's parameters; anything else gets "1".
SAMPLES = {"code": "T00001", "period": "2026-11", "name": "default"}

LEASE = "L00001"

AMOUNTS, PERSONAL = Duty.READ_AMOUNTS, Duty.READ_PERSONAL
TENANTS, SETTINGS, DELIVERIES = Duty.CHANGE_TENANTS, Duty.CHANGE_SETTINGS, Duty.ACT_ON_DELIVERIES

NEEDED: dict[str, set[Duty]] = {
    "GET /": {AMOUNTS},
    "GET /automation": {AMOUNTS},
    "POST /automation": {SETTINGS},
    "GET /automation/history": {AMOUNTS},
    "GET /automation/versions/{version_id}": {AMOUNTS},
    "GET /cycles": {AMOUNTS},
    "GET /cycles/singles": {AMOUNTS},
    "GET /cycles/{period}": {AMOUNTS},
    "GET /cycles/{period}/overview": {AMOUNTS},
    "GET /cycles/{period}/invoices.csv": {PERSONAL},
    "GET /cycles/{period}/tenants.csv": {PERSONAL},
    "GET /cycles/{period}/tenants/{code}": {AMOUNTS},
    "POST /cycles/{period}/approve": {DELIVERIES},
    "POST /cycles/{period}/reject": {DELIVERIES},
    "POST /cycles/{period}/resume": {DELIVERIES},
    "GET /cycles/{period}/correct": {AMOUNTS},
    "POST /cycles/{period}/correct": {DELIVERIES},
    "GET /cycles/{period}/retry": {AMOUNTS},
    "POST /cycles/{period}/retry": {DELIVERIES},
    "POST /cycles/{period}/stop": {DELIVERIES},
    "POST /cycles/{period}/tenants/{code}/address": {TENANTS, PERSONAL, DELIVERIES},
    "POST /cycles/{period}/tenants/{code}/hold": {DELIVERIES},
    "POST /cycles/{period}/tenants/{code}/release": {DELIVERIES},
    "POST /cycles/{period}/tenants/{code}/send": {DELIVERIES},
    "GET /deliveries/{delivery_id}": {AMOUNTS},
    "GET /deliveries/{delivery_id}/message": {PERSONAL},
    "GET /deliveries/{delivery_id}/message-of-today": {PERSONAL},
    "GET /deliveries/{delivery_id}/message-of-today.html": {PERSONAL},
    "GET /deliveries/{delivery_id}/message-of-today.txt": {PERSONAL},
    "GET /deliveries/{delivery_id}/message.eml": {PERSONAL},
    "GET /deliveries/{delivery_id}/message.html": {PERSONAL},
    "GET /deliveries/{delivery_id}/message.txt": {PERSONAL},
    "GET /deliveries/{delivery_id}/story": {PERSONAL},
    "GET /deliveries/{delivery_id}/story.json": {PERSONAL},
    "POST /deliveries/{delivery_id}/cancel": {DELIVERIES},
    "POST /deliveries/{delivery_id}/resend": {DELIVERIES},
    "POST /deliveries/{delivery_id}/resolve": {DELIVERIES},
    "GET /foresight": {AMOUNTS},
    "GET /foresight/{period}": {AMOUNTS},
    "GET /foresight/{period}/invoices.csv": {PERSONAL},
    "GET /foresight/{period}/leases/{lease}": {PERSONAL},
    "GET /foresight/{period}/leases/{lease}/invoice.pdf": {PERSONAL},
    "GET /foresight/{period}/leases/{lease}/pages": {PERSONAL},
    "POST /foresight/{period}/run": {DELIVERIES},
    "GET /invoices/{number}": {AMOUNTS},
    "POST /invoices/{number}/correct": {DELIVERIES},
    "GET /invoices/{number}/document.pdf": {PERSONAL},
    "GET /invoices/{number}/pages": {PERSONAL},
    "GET /leases/{code}": {AMOUNTS},
    "POST /leases/{code}": {TENANTS, PERSONAL},
    "GET /new/invoice": {DELIVERIES, PERSONAL},
    "POST /new/invoice": {DELIVERIES, PERSONAL},
    "POST /new/invoice/preview": {DELIVERIES, PERSONAL},
    "GET /new/lease": {TENANTS, PERSONAL},
    "POST /new/lease": {TENANTS, PERSONAL},
    "GET /new/tenant": {TENANTS, PERSONAL},
    "POST /new/tenant": {TENANTS, PERSONAL},
    "GET /runs/{dag_id}/{dag_run_id}": {AMOUNTS},
    "GET /runs/{dag_id}/{dag_run_id}/tasks/{task_id}/{map_index}": {AMOUNTS},
    "GET /templates": {AMOUNTS},
    "POST /templates": {SETTINGS},
    "GET /templates/{name}": {AMOUNTS},
    "POST /templates/{name}": {SETTINGS},
    "GET /templates/{name}/preview": {AMOUNTS},
    "POST /templates/{name}/preview": {SETTINGS},
    "POST /templates/{name}/test": {SETTINGS},
    "GET /templates/{name}/versions": {AMOUNTS},
    "GET /templates/{name}/versions/{version}": {AMOUNTS},
    "POST /templates/{name}/versions/{version}/restore": {SETTINGS},
    "GET /tenants": {AMOUNTS},
    "POST /tenants/switch": {TENANTS},
    "GET /tenants/{code}": {AMOUNTS},
    "POST /tenants/{code}": {TENANTS, PERSONAL},
    "GET /api/v1/cycles": {AMOUNTS},
    "GET /api/v1/cycles/{period}": {AMOUNTS},
    "GET /api/v1/cycles/{period}/invoices": {AMOUNTS},
    "GET /api/v1/cycles/{period}/progress": {AMOUNTS},
    "POST /api/v1/cycles/{period}/approve": {DELIVERIES},
    "POST /api/v1/cycles/{period}/reject": {DELIVERIES},
    "POST /api/v1/cycles/{period}/resume": {DELIVERIES},
    "GET /api/v1/cycles/{period}/retry": {AMOUNTS},
    "POST /api/v1/cycles/{period}/retry": {DELIVERIES},
    "POST /api/v1/cycles/{period}/send": {DELIVERIES},
    "POST /api/v1/cycles/{period}/stop": {DELIVERIES},
    "GET /api/v1/cycles/{period}/tenants": {AMOUNTS},
    "GET /api/v1/cycles/{period}/tenants/{code}": {AMOUNTS},
    "GET /api/v1/deliveries": {AMOUNTS},
    "POST /api/v1/deliveries/cancel": {DELIVERIES},
    "POST /api/v1/deliveries/resend": {DELIVERIES},
    "GET /api/v1/deliveries/{delivery_id}": {AMOUNTS},
    "POST /api/v1/deliveries/{delivery_id}/resolve": {DELIVERIES},
    "GET /api/v1/foresight/{period}": {AMOUNTS},
    "GET /api/v1/foresight/{period}/progress": {AMOUNTS},
    "POST /api/v1/invoices": {DELIVERIES},
    "GET /api/v1/invoices/{number}": {AMOUNTS},
    "POST /api/v1/corrections": {DELIVERIES},
    "POST /api/v1/invoices/{number}/credit": {DELIVERIES},
    "POST /api/v1/invoices/{number}/replace": {DELIVERIES},
    "POST /api/v1/invoices/{number}/void": {DELIVERIES},
    "POST /api/v1/leases": {TENANTS},
    "GET /api/v1/leases/{code}": {AMOUNTS},
    "PATCH /api/v1/leases/{code}": {TENANTS},
    "GET /api/v1/openapi.json": {AMOUNTS},
    "GET /api/v1/problems": {AMOUNTS},
    "GET /api/v1/settings": {AMOUNTS},
    "PATCH /api/v1/settings": {SETTINGS},
    "POST /api/v1/settings/subject-check": {SETTINGS},
    "GET /api/v1/single-invoices": {AMOUNTS},
    "GET /api/v1/templates": {AMOUNTS},
    "POST /api/v1/templates": {SETTINGS},
    "GET /api/v1/templates/{name}": {AMOUNTS},
    "PUT /api/v1/templates/{name}": {SETTINGS},
    "POST /api/v1/templates/{name}/check": {SETTINGS},
    "POST /api/v1/templates/{name}/test": {SETTINGS},
    "GET /api/v1/templates/{name}/tests": {SETTINGS, PERSONAL},
    "GET /api/v1/templates/{name}/versions": {AMOUNTS},
    "GET /api/v1/templates/{name}/versions/{version}": {AMOUNTS},
    "POST /api/v1/templates/{name}/versions/{version}/restore": {SETTINGS},
    "GET /api/v1/tenants": {AMOUNTS},
    "POST /api/v1/tenants": {TENANTS},
    "GET /api/v1/tenants/{code}": {AMOUNTS},
    "PATCH /api/v1/tenants/{code}": {TENANTS},
    "POST /api/v1/tenants/{code}/hold": {DELIVERIES},
    "POST /api/v1/tenants/{code}/release": {DELIVERIES},
}

GRANTED: dict[str, set[Duty]] = {
    "Viewer": {AMOUNTS, PERSONAL},
    "User": {AMOUNTS, PERSONAL, TENANTS, DELIVERIES},
    "Op": set(Duty),
    "Admin": set(Duty),
    # FAB's alone: what an installation may make of its permissions.
    "Accountant": {AMOUNTS},
    "Clerk": {AMOUNTS, PERSONAL, TENANTS},
    "Designer": {AMOUNTS, SETTINGS},
    "Sender": {AMOUNTS, PERSONAL, DELIVERIES},
    "Guest": set(),
    "Passer-by": set(),
}
"""What each role may be trusted with, under every auth manager that has the role (docs/security.md)."""


def our_routes() -> list[APIRoute]:
    """Every route of the app that is not a static file."""
    nobody: Any = _unused
    return list(routes_of(create_app(Outside(CookieGate(EDITOR), "x", "", str, nobody, nobody, nobody))))


def _unused() -> None:
    raise AssertionError("no request is made here")


DECLARED = {
    f"{method} {route.path}": set(duties_of(route)) for route in our_routes() for method in route.methods
}
ROUTES = sorted((method, filled_in(path, SAMPLES)) for method, path in map(str.split, DECLARED))
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


@pytest.fixture(scope="module")
def people(airflow: AirflowServer) -> dict[str, str]:
    """Role to a session's token, of each role that the manager has."""
    names = {role: name for name, role in USERS.items()} | (
        {role: role for role in OWN_ROLES} if airflow.manager == "fab" else {}
    )
    return {role: airflow.log_in(name) for role, name in names.items()}


def _session(airflow: AirflowServer, name: str) -> httpx.Client:
    return httpx.Client(
        base_url=f"{airflow.url}/invoicing", cookies={"_token": airflow.log_in(name)}, timeout=30
    )


def _token(client: httpx.Client) -> str:
    found = re.search(r'name="csrf-token" content="([^"]+)"', client.get("/automation").text)
    assert found
    return found[1]


def test_every_route_says_which_duties_it_needs():
    """A new route needs a row in `NEEDED`, and with it in docs/security.md where it is of a new kind."""
    assert DECLARED == NEEDED


def test_a_change_needs_more_than_reading():
    assert [
        route for route, needed in DECLARED.items() if route[:4] != "GET " and not needed & CHANGING
    ] == []


@pytest.mark.parametrize("route", NEEDED)
@pytest.mark.one_in(3)
def test_each_role_comes_in_where_its_duties_are(
    airflow: AirflowServer, people: dict[str, str], stranger: httpx.Client, route: str
):
    """Nothing is sent with a request: whoever is let in changes nothing, and is told so with another code."""
    method, path = filled_in(route, SAMPLES).split()
    answers = {}
    for role, token in people.items():
        answer = stranger.request(method, path, headers={"authorization": f"Bearer {token}"})
        # Whoever may run a month is let in, and told that this Airflow has no such DAG.
        assert answer.status_code < 500 or (path.endswith("/run"), answer.status_code) == (True, 503), (
            answer.text
        )
        answers[role] = "refused" if answer.status_code == 403 else "in"

    assert answers == {
        role: "in" if NEEDED[route] <= GRANTED[role] and AMOUNTS in GRANTED[role] else "refused"
        for role in people
    }


def test_who_is_refused_is_told_which_duty_is_missing_and_what_grants_it(
    airflow: AirflowServer, people: dict[str, str], stranger: httpx.Client
):
    viewer = {"authorization": f"Bearer {people['Viewer']}"}
    grants = "is missing, which Airflow’s permission to"
    cases = {
        (
            "PATCH",
            "tenants/T00001",
        ): f"“change tenants” {grants} edit the task instances of the DAG monthly_invoicing",
        ("PATCH", "settings"): f"“change settings and templates” {grants} edit variables",
        ("POST", "deliveries/resend"): f"“act on deliveries” {grants} trigger the DAG monthly_invoicing",
    }

    for (method, path), words in cases.items():
        details = stranger.request(method, f"/api/v1/{path}", headers=viewer).json()
        assert details["code"] == "may_not_change"
        assert words in details["detail"]
        assert (
            details["detail"].endswith("monthly_invoicing grants. Nothing was changed.") or path == "settings"
        )
    page = stranger.post("/automation", headers={**viewer, "accept-language": "es"})
    assert (
        "le falta «cambiar ajustes y plantillas», que da en Airflow el permiso de modificar variables"
        in page.text
    )


def test_a_route_that_says_nothing_is_closed_to_everybody(app: App):
    def forgotten() -> str:
        raise AssertionError("nobody comes here")

    app.app.add_api_route("/forgotten", forgotten, methods=["GET", "POST"])
    editor = app.as_editor()
    answers = [editor.see("/forgotten"), editor.submit("/forgotten", {})]

    assert [answer.status_code for answer in answers] == [403, 403]
    assert "no dice qué permiso pide" in answers[0].text


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
    answers = {path: reader.get(path).status_code for _, path in READS if not path.endswith("/default/tests")}
    # A form that is empty is of no use to who may not send it.
    forms = {path: answers.pop(path) for path in [*answers] if path.startswith("/new/")}

    # Sample addresses may name what is not there; a month may still be being worked out.
    assert set(answers.values()) <= {200, 202, 307, 404}
    assert set(forms.values()) == {403}
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
    for page in ("/automation", "/tenants", "/tenants/T00001", f"/leases/{LEASE}"):
        assert 'method="post"' not in reader.get(page).text
        assert 'method="post"' in operator.get(page).text


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


def test_a_test_message_goes_to_ones_own_address_where_the_auth_manager_knows_it(
    operator: httpx.Client, airflow: AirflowServer
):
    answer = operator.post(
        "/api/v1/templates/default/test",
        json={"to": "olga@example.com"},
        headers={"x-csrf-token": _token(operator)},
    )

    # Nobody listens where the relay should be: with FAB it comes as far as that.
    expected = {"fab": (503, "trial_not_sent"), "simple": (422, "trial_nowhere_allowed")}
    assert (answer.status_code, answer.json()["code"]) == expected[airflow.manager]


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
