"""docker-compose.celery.yaml on top of docker-compose.yaml, as far as that can be checked without Docker."""

import json
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from test_compose import NETWORKS, SECRETS, constants, make_secrets, run_secret

from invoicing.domain.names import ARCHIVE_CONNECTION
from invoicing.stack.deployment import airflow_settings
from invoicing.stack.layout import is_free
from invoicing.stack.secret_files import variables_from_files
from support.project import ROOT, free_port
from support.waiting import wait_until

FILES = ("docker-compose.yaml", "docker-compose.celery.yaml")
# What the second file adds to the first; and what it leaves as it is.
MORE_NETWORKS = {
    "redis": {"back"},
    "worker": {"back", "relay"},
    "object-store": {"relay"},
    "cli": {"back", "relay"},
}
MORE_SECRETS = {
    "redis": {"redis_password"},
    "object-store": set(),
    "scheduler": SECRETS["scheduler"] | {"redis_password"},
    "worker": {"airflow_db_password", "api_secret_key", "redis_password", "connections.json"},
}
AIRFLOW_SERVICES = ("init", "api-server", "scheduler", "dag-processor", "triggerer", "worker")


def merged(below: Any, above: Any) -> Any:
    """Two documents as Compose puts them together: mappings by key, lists one after the other, else the later one."""
    if isinstance(below, dict) and isinstance(above, dict):
        return below | {key: merged(below.get(key), value) for key, value in above.items()}
    if isinstance(below, list) and isinstance(above, list):
        return [*below, *above]
    return above


@pytest.fixture(scope="module")
def alone() -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load((ROOT / FILES[1]).read_text(encoding="utf-8"))
    return document


@pytest.fixture(scope="module")
def compose(alone: dict[str, Any]) -> dict[str, Any]:
    first = yaml.safe_load((ROOT / FILES[0]).read_text(encoding="utf-8"))
    document: dict[str, Any] = merged(first, alone)
    return document


def test_the_file_is_valid_by_the_compose_specification(tmp_path, compose):
    both = tmp_path / "both.yaml"
    both.write_text(yaml.safe_dump(compose))
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]
    done = subprocess.run(
        [*command, str(ROOT / FILES[1]), str(both)], capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stdout


def test_nothing_of_a_command_or_a_check_is_said_twice(alone):
    # Compose would put a second command's or check's words in the place of the first's: only new services have any.
    for name in (*AIRFLOW_SERVICES[:-1], "cli"):
        assert set(alone["services"][name]) <= {
            "env_file",
            "environment",
            "secrets",
            "networks",
            "depends_on",
        }


def test_new_services_have_no_more_than_they_need(compose):
    for name in ("redis", "worker", "object-store"):
        service = compose["services"][name]
        assert (service["cap_drop"], service["read_only"]) == (["ALL"], True), name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert set(service["deploy"]["resources"]["limits"]) == {"cpus", "memory", "pids"}, name
        assert any(mount.startswith("/tmp:") for mount in service["tmpfs"]), name
        assert not {"ports", "expose", "privileged", "cap_add"} & set(service), name
        assert service["healthcheck"]["test"], name
    assert compose["services"]["redis"]["user"] == "redis"
    assert compose["services"]["object-store"]["user"] == "65534:65534"
    assert compose["services"]["object-store"]["profiles"] == ["dev"]


def test_services_are_on_the_networks_that_they_need(compose):
    assert {name: set(service["networks"]) for name, service in compose["services"].items()} == {
        **NETWORKS,
        **MORE_NETWORKS,
    }


def test_services_are_given_the_secrets_that_they_use(compose):
    assert {name: set(service.get("secrets", [])) for name, service in compose["services"].items()} == {
        **SECRETS,
        **MORE_SECRETS,
    }
    for name in ("redis", "scheduler", "worker"):
        service = compose["services"][name]
        told = " ".join(map(str, [*service.get("environment", {}).values(), *service.get("command", [])]))
        used = {secret for secret in compose["secrets"] if re.search(rf"\b{re.escape(secret)}\b", told)}
        assert used == MORE_SECRETS[name], name
    assert compose["secrets"]["redis_password"] == {"file": "${INVOICING_SECRETS:-./secrets}/redis_password"}


def test_no_secret_stands_in_an_environment(alone):
    for name, service in alone["services"].items():
        for variable, value in service.get("environment", {}).items():
            if re.search(r"PASSWORD|SECRET|KEY|CONN|URL|BACKEND", variable):
                assert variable.endswith("_CMD") or variable in {
                    "AIRFLOW__SECRETS__BACKEND",
                    "AIRFLOW__SECRETS__BACKEND_KWARGS",
                    "AIRFLOW__CORE__EXECUTION_API_SERVER_URL",
                }, variable
            if variable.endswith("_CMD"):
                assert value.startswith("/opt/airflow/bin/secret "), f"{name}: {variable}"


def test_all_of_airflow_knows_where_tasks_run(compose):
    executor = airflow_settings("celery.env")["AIRFLOW__CORE__EXECUTOR"]
    for name in AIRFLOW_SERVICES:
        service = compose["services"][name]
        # An environment wins over a file, and the first document has one.
        assert service["environment"]["AIRFLOW__CORE__EXECUTOR"] == executor, name
        assert service["env_file"] == ["include/deployment/airflow.env", "include/deployment/celery.env"], (
            name
        )
        assert set(airflow_settings("celery.env")) & set(service["environment"]) == {
            "AIRFLOW__CORE__EXECUTOR"
        }


def test_a_worker_is_told_what_the_code_reads_as_the_scheduler_is(compose):
    scheduler, worker = (compose["services"][name]["environment"] for name in ("scheduler", "worker"))
    ours = {name: value for name, value in scheduler.items() if name in constants()}
    assert "INVOICING_RETRY_SECONDS" in ours
    assert ours.items() <= worker.items()
    assert {name for name in worker if name.startswith("INVOICING_")} <= constants()
    assert scheduler["AIRFLOW__CELERY__BROKER_URL_CMD"] == worker["AIRFLOW__CELERY__BROKER_URL_CMD"]
    for name in ("AIRFLOW__SECRETS__BACKEND", "AIRFLOW__CORE__EXECUTION_API_SERVER_URL"):
        assert worker[name] == scheduler[name]


def test_documents_and_journals_are_not_in_a_folder_that_machines_would_have_to_share(compose):
    archives = {
        service["environment"]["INVOICING_ARCHIVE"]
        for service in compose["services"].values()
        if "INVOICING_ARCHIVE" in service.get("environment", {})
    }
    assert archives == {"${INVOICING_SHARED_ARCHIVE:-s3://" + ARCHIVE_CONNECTION + "@invoicing/documents}"}
    own = {mount.split(":")[0] for mount in compose["services"]["worker"]["volumes"]}
    others = {
        mount.split(":")[0]
        for name, service in compose["services"].items()
        if name != "worker"
        for mount in service.get("volumes", [])
    }
    assert not own & others
    assert own <= set(compose["volumes"])


def test_settings_are_names_that_airflow_and_celery_have():
    from airflow.providers.celery.get_provider_info import get_provider_info

    options = get_provider_info()["config"]
    text = (ROOT / FILES[1]).read_text(encoding="utf-8")
    named = set(re.findall(r"\bAIRFLOW__CELERY__\w+", text)) | set(airflow_settings("celery.env"))
    for name in named - {"AIRFLOW__CORE__EXECUTOR"}:
        _, section, option = name.lower().removesuffix("_cmd").split("__")
        assert option in options[section]["options"], name
        assert not name.endswith("_CMD") or options[section]["options"][option]["sensitive"], name


def test_what_celery_is_told_is_what_the_provider_tells_it_and_more():
    from airflow.providers.celery.executors.default_celery import DEFAULT_CELERY_CONFIG

    from invoicing.on_airflow.celery_settings import CELERY_CONFIG

    assert DEFAULT_CELERY_CONFIG.items() <= CELERY_CONFIG.items()
    # A try that is cut off is offered again; one that ends by itself is the task's failure.
    assert CELERY_CONFIG["task_publish_retry_policy"]["max_retries"] is None
    for module in CELERY_CONFIG["imports"]:
        assert (ROOT / "plugins" / Path(*module.split("."))).with_suffix(".py").is_file()


def test_the_object_stores_connection_is_taken_along(tmp_path):
    assert make_secrets(tmp_path, "dev").returncode == 0
    connections = tmp_path / "secrets" / "connections.json"
    known = json.loads(connections.read_text())[ARCHIVE_CONNECTION]
    assert known["extra"]["endpoint_url"] == "http://object-store:5000"
    found = variables_from_files({"INVOICING_CONNECTIONS_FILE": str(connections)})
    assert json.loads(found["AIRFLOW_CONN_INVOICING_ARCHIVE"]) == known

    (tmp_path / "secrets" / "archive.json").unlink()
    assert make_secrets(tmp_path).returncode == 0
    assert ARCHIVE_CONNECTION not in json.loads(connections.read_text())

    (tmp_path / "secrets" / "archive.json").write_text("{'conn_type': 'aws'}")
    done = make_secrets(tmp_path)
    assert done.returncode == 1
    assert "archive.json is not JSON" in done.stderr


def test_redis_starts_as_it_is_told_and_knows_its_password(compose, tmp_path):
    assert make_secrets(tmp_path, "dev").returncode == 0
    service, folder, port = compose["services"]["redis"], tmp_path / "secrets", free_port()
    shell, option, script = service["command"]
    here = (
        script.replace("$$", "$")
        .replace("/run/secrets", str(folder))
        .replace("/tmp/redis.conf", f"{tmp_path}/redis.conf")
        .replace("/data", f"{tmp_path} --bind 127.0.0.1 --port {port}")
    )
    with (tmp_path / "log").open("wb") as log:
        server = subprocess.Popen([shell, option, here], stdout=log, stderr=log)
    try:
        wait_until(lambda: not is_free(port), "Redis listens")
        check = service["healthcheck"]["test"][1].replace("$$", "$").replace("/run/secrets", str(folder))
        check = check.replace("redis-cli", f"redis-cli -p {port}")
        begun = time.monotonic()
        while subprocess.run(["sh", "-c", check], check=False).returncode and time.monotonic() < begun + 20:
            time.sleep(0.1)
        assert subprocess.run(["sh", "-c", check], check=False).returncode == 0
        assert subprocess.run(["sh", "-c", f"REDISCLI_AUTH=no {check[check.index('redis-cli'):]}"],
                              capture_output=True, check=False).returncode != 0  # fmt: skip
        told = compose["services"]["worker"]["environment"]["AIRFLOW__CELERY__BROKER_URL_CMD"]
        password = (folder / "redis_password").read_text().strip()
        assert run_secret(folder, *told.split(" ")[1:]).stdout == f"redis://:{password}@redis:6379/0"
    finally:
        server.terminate()
        server.wait(timeout=20)


def test_images_are_pinned(alone):
    redis, store = (alone["services"][name]["image"] for name in ("redis", "object-store"))
    assert re.search(r":-redis:\d+\.\d+\.\d+-\w+@sha256:[0-9a-f]{64}\}$", redis)
    lock = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    moto = re.search(r"^moto==(\S+)", lock, re.MULTILINE)
    assert moto is not None
    # The very program that the tests run with.
    assert store == "${OBJECT_STORE_IMAGE:-motoserver/moto:" + moto[1] + "}"
