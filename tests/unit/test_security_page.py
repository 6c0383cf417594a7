"""docs/security.md names all that is there: a table or a service that it forgets has no promise and no term."""

import re
from pathlib import Path

import yaml

from support.project import ROOT

PAGE = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")


def section(title: str) -> str:
    found = re.search(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)
    assert found is not None, title
    return found[1]


def test_every_table_has_its_term():
    schema = (ROOT / "plugins" / "invoicing" / "db" / "schema.sql").read_text(encoding="utf-8")
    tables = set(re.findall(r"^CREATE TABLE invoicing\.(\w+)", schema, re.MULTILINE))
    rows = re.findall(r"^\| ([^|]+) \|", section("What is kept, and for how long"), re.MULTILINE)
    named = re.findall(r"`([a-z_]+)`", " ".join(rows))

    assert tables
    assert sorted(set(named) & tables) == sorted(tables)
    assert len(named) == len(set(named)), "a table has two terms"


def test_every_service_has_its_networks_and_secrets():
    services = yaml.safe_load((ROOT / "docker-compose.yaml").read_text(encoding="utf-8"))["services"]
    rows = dict(re.findall(r"^\| `([a-z-]+)`[^|]* \| ([a-z, ]+) \|", section("The containers"), re.MULTILINE))

    assert {name: set(networks.split(", ")) for name, networks in rows.items()} == {
        name: set(service["networks"]) for name, service in services.items()
    }


def test_files_that_hold_a_promise_exist():
    named = set(re.findall(r"`(tests/[\w/.]+)`", PAGE))

    assert named
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_the_readme_leads_to_it():
    assert "docs/security.md" in Path(ROOT / "README.md").read_text(encoding="utf-8")
