"""Secrets as files: what the command line in a container is told by name instead of by value."""

import json
from pathlib import Path

import pytest

from invoicing import stack
from invoicing.domain.errors import InputError
from invoicing.stack.secret_files import variables_from_files


def connections(folder: Path, document: object) -> dict[str, str]:
    path = folder / "connections.json"
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    return {"INVOICING_CONNECTIONS_FILE": str(path)}


def test_connections_are_objects_or_addresses(tmp_path):
    named = connections(
        tmp_path,
        {
            "invoicing_db": "postgres://a:b@c/d",
            "invoicing_smtp": {"host": "r"},
            "invoicing_archive": {"conn_type": "aws"},
            "other": {},
        },
    )

    assert variables_from_files(named) == {
        "AIRFLOW_CONN_INVOICING_DB": "postgres://a:b@c/d",
        "AIRFLOW_CONN_INVOICING_SMTP": '{"host": "r"}',
        "AIRFLOW_CONN_INVOICING_ARCHIVE": '{"conn_type": "aws"}',
    }


def test_a_variable_that_is_set_itself_wins(tmp_path):
    named = connections(tmp_path, {"invoicing_db": "postgres://a:b@c/d"})

    assert variables_from_files({**named, "AIRFLOW_CONN_INVOICING_DB": "postgres://e"}) == {}


def test_nothing_is_named_and_nothing_is_read():
    assert variables_from_files({"INVOICING_CONNECTIONS_FILE": ""}) == {}


@pytest.mark.parametrize("document", ["not json", "[]", '"text"'])
def test_a_file_that_holds_no_connections_is_named(tmp_path, document):
    with pytest.raises(InputError) as refusal:
        variables_from_files(connections(tmp_path, document))

    assert refusal.value.code == "secret_file_unusable"
    assert "connections.json" in str(refusal.value)


def test_a_file_that_is_missing_is_named(tmp_path):
    with pytest.raises(InputError) as refusal:
        variables_from_files({"INVOICING_AIRFLOW_PASSWORD_FILE": str(tmp_path / "gone")})

    assert "INVOICING_AIRFLOW_PASSWORD_FILE" in str(refusal.value)
    assert "gone" in str(refusal.value)


def test_a_process_without_a_stack_works_by_the_files_it_was_given(tmp_path, monkeypatch):
    for name in ("AIRFLOW_CONN_INVOICING_DB", "AIRFLOW_CONN_INVOICING_SMTP", "INVOICING_AIRFLOW_PASSWORD"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "password").write_text("a secret\n")
    named = connections(tmp_path, {"invoicing_db": "postgres://a:b@c/d"})
    monkeypatch.setenv("INVOICING_CONNECTIONS_FILE", named["INVOICING_CONNECTIONS_FILE"])
    monkeypatch.setenv("INVOICING_AIRFLOW_PASSWORD_FILE", str(tmp_path / "password"))
    monkeypatch.setenv("INVOICING_STATE", str(tmp_path / "no-stack-here"))

    assert stack.environment()["INVOICING_AIRFLOW_PASSWORD"] == "a secret"
    assert stack.database_dsn() == "host=c user=a password=b dbname=d"
