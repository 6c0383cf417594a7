"""What the JSON API's description allows, and what it does not: made up by schemathesis, asked of a real Airflow."""

from typing import Any

import pytest
import schemathesis
from fastapi.openapi.utils import get_openapi
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.generation import GenerationMode

from invoicing.web.app import create_app
from invoicing.web.outside import Outside
from support.attacked import Site
from support.hostile import SECRET
from support.pulse import Pulse

# Of each way to ask for an operation: with what it takes, and with what it does not.
EXAMPLES = 10
LONG_EXAMPLES = 20
# A viewer is refused whatever it is.
REFUSED_EXAMPLES = 2
# Each of these draws, which takes a second.
EXAMPLES_OF = {
    "POST /api/v1/settings/subject-check": 3,
    "POST /api/v1/templates/{name}/check": 3,
    "PUT /api/v1/templates/{name}": 3,
}
# So long others may wait for the server; and so long with all that the machine has to do beside it.
MOST_BLOCKED_SECONDS = 1.0
MOST_SECONDS = 20.0


def described() -> Any:
    """The description as it is without a place where it is mounted."""
    nobody: Any = None
    app = create_app(Outside(nobody, "x", "", str, nobody, nobody, nobody))
    document = get_openapi(title=app.title, version=app.version, routes=app.routes)
    return schemathesis.openapi.from_dict(document)


OPERATIONS = {each.ok().label: each.ok() for each in described().get_all_operations()}


@pytest.fixture(scope="module")
def pulse(site: Site) -> Any:
    with Pulse(site.url, server=site.airflow.pid) as beating:
        yield beating


@pytest.mark.parametrize("role", ["viewer", "editor"])
@pytest.mark.parametrize("label", OPERATIONS)
@pytest.mark.one_in(3)
def test_every_operation(site: Site, pulse: Pulse, label: str, role: str, pytestconfig: pytest.Config):
    operation = OPERATIONS[label]
    examples = LONG_EXAMPLES if pytestconfig.getoption("--long") else EXAMPLES
    begun = len(pulse.seconds)
    for mode in GenerationMode:
        if mode is GenerationMode.POSITIVE or may_be_asked_wrongly(operation):
            ask_with(operation, mode, site, role, examples)

    assert max(pulse.blocked[begun:], default=0) < MOST_BLOCKED_SECONDS
    assert max(pulse.seconds[begun:], default=0) < MOST_SECONDS


def may_be_asked_wrongly(operation: Any) -> bool:
    """Whether something could be sent that the description does not allow: a path that is any text is never wrong."""
    return bool(list(operation.body)) or any(
        each.location != "path" or each.definition["schema"].get("type") != "string"
        for each in operation.iter_parameters()
    )


def ask_with(operation: Any, mode: GenerationMode, site: Site, role: str, examples: int) -> None:
    is_refused = role == "viewer" and operation.method.upper() != "GET"

    @settings(
        max_examples=REFUSED_EXAMPLES if is_refused else EXAMPLES_OF.get(operation.label, examples),
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def ask(case: Any) -> None:
        answer = case.call(
            base_url=f"{site.url}/invoicing",
            headers={**(case.headers or {}), **site.headers(role)},
            timeout=20,
        )
        assert answer.status_code < 500, answer.text[:500]
        assert SECRET not in answer.text
        # What is no address of ours is Airflow's to refuse.
        if "content-security-policy" in answer.headers:
            kind = answer.headers["content-type"][0].partition(";")[0]
            assert kind == ("application/json" if answer.status_code < 400 else "application/problem+json")
            assert not is_refused or answer.status_code in (403, 404, 405)

    ask()
