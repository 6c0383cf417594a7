"""SQL lives beside its only owner: ``X.sql`` beside ``X.py``, each statement with a name."""

import itertools
import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from psycopg.rows import class_row

from invoicing.db.connection import Database

Row = TypeVar("Row")

CHUNK = 2_000
"""Rows that are worked on at a time where there may be a month of them: more gain nothing."""

_CURSORS = itertools.count(1)


@cache
def beside(module_file: str) -> dict[str, bytes]:
    """The statements of a module, by their ``-- name:``.

    Args:
        module_file: The module's ``__file__``.
    """
    return _read(Path(module_file).with_suffix(".sql"))


def fetch_all(
    db: Database, kind: type[Row], statement: bytes, parameters: Mapping[str, Any] | None = None
) -> list[Row]:
    """Run ``statement``; its rows as values of ``kind``, a dataclass with a field a column."""
    with db.cursor(row_factory=class_row(kind)) as cursor:
        return cursor.execute(statement, parameters).fetchall()


def fetch_chunks(
    db: Database,
    kind: type[Row],
    statement: bytes,
    parameters: Mapping[str, Any] | None = None,
    *,
    size: int = CHUNK,
) -> Iterator[list[Row]]:
    """Run ``statement``; its rows as values of ``kind``, so many at a time, for neither side holds them all.

    In the caller's transaction. The rows are those of the moment of the first; what the caller writes meanwhile is not
    among them.
    """
    name = f"chunks_{next(_CURSORS)}"
    with db.cursor(name=name, row_factory=class_row(kind)) as cursor:
        cursor.execute(statement, parameters)
        while rows := cursor.fetchmany(size):
            yield rows


def fetch_one(
    db: Database, kind: type[Row], statement: bytes, parameters: Mapping[str, Any] | None = None
) -> Row | None:
    """Run ``statement``; its first row as a value of ``kind``, None where there is none."""
    with db.cursor(row_factory=class_row(kind)) as cursor:
        return cursor.execute(statement, parameters).fetchone()


def fetch_page(
    db: Database, kind: type[Row], statement: bytes, parameters: Mapping[str, Any] | None = None
) -> tuple[list[Row], int]:
    """Run ``statement``, which gives one page; its rows as values of ``kind``, and how many rows there are in all.

    Args:
        statement: Has a column ``total`` beside those of ``kind``, the same on each row.

    Returns:
        Past the end the total is 0: there is no row that says it.
    """
    rows = db.execute(statement, parameters).fetchall()
    total = rows[0]["total"] if rows else 0
    return [kind(**{name: row[name] for name in row if name != "total"}) for row in rows], total


def _read(path: Path) -> dict[str, bytes]:
    head, *rest = re.split(r"^-- name: (\w+)\n", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    names = rest[::2]
    if head.strip() or len(set(names)) != len(names):
        raise AssertionError(f"{path.name}: text before the first name, or a name given twice")
    return dict(zip(names, (sql.encode() for sql in rest[1::2]), strict=True))
