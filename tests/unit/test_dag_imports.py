"""What import-linter cannot see: DAG files are loose files, of no package."""

import ast
from collections.abc import Iterator

import pytest

from support.project import ROOT

DAGS = sorted((ROOT / "dags").glob("*.py"))
ALLOWED = ("airflow.sdk", "invoicing.on_airflow", "invoicing.services", "invoicing.domain.errors")


def imported(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_there_are_dags():
    assert DAGS


@pytest.mark.parametrize("path", DAGS, ids=lambda path: path.stem)
def test_a_dag_file_imports_airflow_and_our_services_only(path):
    modules = set(imported(ast.parse(path.read_text(encoding="utf-8"))))

    foreign = {name for name in modules if name.partition(".")[0] in ("airflow", "invoicing")}
    assert {name for name in foreign if not name.startswith(ALLOWED)} == set()
    assert {name.partition(".")[0] for name in modules - foreign} <= {"collections", "datetime", "typing"}


@pytest.mark.parametrize("path", DAGS, ids=lambda path: path.stem)
def test_a_dag_file_imports_services_inside_its_tasks_only(path):
    """A DAG file is read every half minute: what its tasks need is imported when they run."""
    body = ast.parse(path.read_text(encoding="utf-8")).body
    at_the_top = {
        name for node in body if isinstance(node, ast.Import | ast.ImportFrom) for name in imported(node)
    }

    assert not [name for name in at_the_top if name.startswith("invoicing.services")]
