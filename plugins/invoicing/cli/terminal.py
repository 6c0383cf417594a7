"""What commands print: JSON on stdout, tables, words on stderr, bars where somebody looks."""

import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from invoicing.words import Language
from invoicing.words.failures import Fault, tell

CODES_SHOWN = 20
out = Console(soft_wrap=True)
err = Console(stderr=True, soft_wrap=True, highlight=False)


def language_of_errors() -> Language:
    """Of errors; scripts that read them get English unless they ask for Spanish."""
    return "es" if os.environ.get("INVOICING_LANGUAGE") == "es" else "en"


def say(fault: Fault) -> None:
    """Words on stderr, in the language of errors."""
    say_line(tell(fault, language_of_errors()))


def say_line(line: str) -> None:
    """A line on stderr, as it is."""
    err.print(line, markup=False)


def progress_bars(figures: str) -> Progress:
    """Bars where somebody looks, nothing where nobody does.

    Args:
        figures: What each says of its task beside its name and the time, in rich's way of writing.
    """
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn(figures),
        TimeElapsedColumn(),
        console=err,
        disable=not err.is_terminal,
    )


def print_json(document: Any) -> None:
    """One document on stdout; what JSON has no form for is written as text."""
    sys.stdout.write(json.dumps(document, ensure_ascii=False, indent=2, default=str) + "\n")


def print_table(title: str, rows: list[dict[str, Any]], columns: list[str]) -> None:
    """One line a row on stdout; a column is a key of the rows."""
    table = Table(title=title, title_justify="left")
    for column in columns:
        table.add_column(column)
    for row in rows:
        table.add_row(*(cell(row.get(column)) for column in columns))
    out.print(table)


def cell(value: Any) -> str:
    """As a table shows it: what looks like markup is text."""
    from rich.markup import escape

    if value is None:
        return ""
    return escape(", ".join(map(str, value)) if isinstance(value, list) else str(value))


def first_of(codes: Sequence[str]) -> str:
    """The first `CODES_SHOWN`, and how many more there are."""
    more = len(codes) - CODES_SHOWN
    return ", ".join(codes[:CODES_SHOWN]) + (f" and {more} more" if more > 0 else "")


@contextmanager
def progress_of_stages() -> Iterator[Callable[[str, int, int], None]]:
    """Gives what shows how far a long reading or writing is, where somebody looks."""
    progress = progress_bars("{task.completed}")
    bars: dict[str, Any] = {}

    def show(stage: str, done: int, total: int) -> None:
        if stage not in bars:
            bars[stage] = progress.add_task(stage, total=total or None)
        progress.update(bars[stage], completed=done)

    with progress:
        yield show
