"""What hostile people are tried with: a secret that nobody may see, and a real Airflow with a month behind it."""

import os
from collections.abc import Iterator

import pytest

from support.attacked import Site, attacked_site
from support.database import Server
from support.hostile import SECRET, Watch, watching


@pytest.fixture(scope="session", autouse=True)
def secret_in_the_environment() -> Iterator[None]:
    """Whatever a test starts has the secret in its environment, as a container has its passwords."""
    os.environ["HOSTILE_CANARY"] = SECRET
    yield
    del os.environ["HOSTILE_CANARY"]


@pytest.fixture(scope="module")
def watch(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watch]:
    with watching(tmp_path_factory.mktemp("watch")) as watched:
        yield watched


@pytest.fixture(scope="session")
def site(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with attacked_site(server, tmp_path_factory.mktemp("site")) as attacked:
        yield attacked
