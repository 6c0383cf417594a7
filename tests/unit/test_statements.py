"""SQL has owners: ``X.sql`` is read by ``X.py`` beside it and by nobody else, and each statement in it is used."""

import ast
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

import invoicing
from invoicing.db import statements

PACKAGE = Path(invoicing.__file__).parent
# No statements of a module's: the schema's history, and what prepares a server before there is a schema.
OTHER_SQL = (
    PACKAGE / "db" / "migrations",
    PACKAGE / "db" / "schema.sql",
    PACKAGE / "stack" / "provision.sql",
)

OWNED = sorted(
    path for path in PACKAGE.rglob("*.sql") if not any(path.is_relative_to(other) for other in OTHER_SQL)
)
MODULES = sorted(PACKAGE.rglob("*.py"))


def name_of(path: Path) -> str:
    return str(path.relative_to(PACKAGE))


def statements_used(module: Path) -> Iterator[str]:
    """What stands in ``_SQL["…"]``; anything but a literal there is an error: nobody could look it up."""
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name) and node.value.id == "_SQL":
            assert isinstance(node.slice, ast.Constant), (
                f"{name_of(module)} line {node.lineno}: name it literally"
            )
            yield node.slice.value


def loads_its_own(module: Path) -> bool:
    """Whether ``_SQL = beside(__file__)`` is in it; any other call of `beside` is an error."""
    calls = [
        node
        for node in ast.walk(ast.parse(module.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "beside"
    ]
    assert all(ast.unparse(call) == "beside(__file__)" for call in calls), name_of(module)
    return bool(calls)


def test_there_is_something_to_look_at() -> None:
    assert len(OWNED) > 10


@pytest.mark.parametrize("sql", OWNED, ids=name_of)
def test_each_statement_is_used_by_the_module_beside_it(sql: Path) -> None:
    module = sql.with_suffix(".py")

    assert module.exists(), "no module is beside it"
    assert loads_its_own(module), f"{name_of(module)} does not load it"
    used, defined = Counter(statements_used(module)), set(statements.beside(str(module)))
    assert defined - set(used) == set(), "defined and not used"
    assert set(used) - defined == set(), "used and not defined"


def test_a_module_that_loads_statements_has_some_beside_it() -> None:
    loading = {module.with_suffix(".sql") for module in MODULES if loads_its_own(module)}

    assert loading == set(OWNED)


def test_nobody_reads_another_modules_sql() -> None:
    """Neither its file, nor through its ``_SQL``."""
    reaching = [
        f"{name_of(module)} line {node.lineno}"
        for module in MODULES
        if module != Path(statements.__file__)
        for node in ast.walk(ast.parse(module.read_text(encoding="utf-8")))
        if (isinstance(node, ast.Attribute) and node.attr == "_SQL")
        or (isinstance(node, ast.ImportFrom) and any(alias.name == "_SQL" for alias in node.names))
    ]

    assert reaching == []
