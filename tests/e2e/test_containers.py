"""docker-compose.yaml's services, as processes as little able as its containers: do they do their work?"""

import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from invoicing.domain.period import Period
from invoicing.services.agency import clock
from support.containers import Containers, can_confine, containers
from support.project import memory_folder
from support.waiting import wait_until

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.long,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(not can_confine(), reason="namespaces cannot be made here"),
]


@pytest.fixture(scope="module")
def deployment() -> Iterator[Containers]:
    """All services up and well."""
    with tempfile.TemporaryDirectory(prefix="inv-compose-", dir=memory_folder()) as name:
        folder = Path(name)
        folder.chmod(0o755)
        with containers(folder) as services:
            services.start_postgres()
            services.start_mailpit()
            made = services.run("init")
            assert made.returncode == 0, made.stdout + made.stderr
            for service in ("api-server", "scheduler", "dag-processor", "triggerer"):
                services.start(service)
            wait_until(
                lambda: services.answers("http://localhost:8080/api/v2/monitor/health"),
                "the API server is well",
                timeout_seconds=400,
                every_seconds=1,
            )
            wait_until(
                lambda: services.answers("http://localhost:8974/health"),
                "the scheduler is well",
                timeout_seconds=300,
                every_seconds=1,
            )
            yield services


def test_a_month_runs_in_containers_that_can_write_next_to_nothing(deployment):
    month = Period.containing(clock.today())
    for command in (
        ["import", "/opt/airflow/include/demo"],
        ["settings", "set", "auto_send=yes", "from_email=rent@agency.test"],
        ["run", "--period", str(month), "--wait"],
    ):
        done = deployment.run("cli", *command)
        assert done.returncode == 0, done.stdout + done.stderr

    assert list(deployment.mailbox.glob("*.eml"))


def test_services_stay_up(deployment):
    for name in ("api-server", "scheduler", "dag-processor", "triggerer"):
        assert deployment.runs(name), deployment.log(name)


def test_the_operators_login_cannot_administer_users(deployment):
    listed = deployment.run("init", "airflow", "users", "list", "--output", "plain")

    assert re.search(r"\badmin\b.*\bAdmin\b", listed.stdout)
    assert re.search(r"\binvoicing-cli\b.*\bOp\b", listed.stdout)


def test_no_process_has_a_secret_in_its_environment(deployment):
    secrets = {path.name: path.read_text().strip() for path in (deployment.folder / "secrets").iterdir()}
    for name in ("api-server", "scheduler", "dag-processor", "triggerer"):
        environ = deployment.environ_of(name)
        assert not [secret for secret, value in secrets.items() if value in environ]


def test_a_root_that_cannot_be_written_is_what_services_have(deployment):
    done = deployment.run("init", "sh", "-c", "touch /opt/airflow/dags/x || touch /etc/x || touch /root/x")

    assert done.returncode != 0


def test_starting_again_changes_nothing(deployment):
    done = deployment.run("init")

    assert done.returncode == 0, done.stdout + done.stderr
    assert "business database: applied nothing" in done.stdout
