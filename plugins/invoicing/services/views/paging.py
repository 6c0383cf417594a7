"""Where in a table a page begins: beside a row that the last page showed, which an index finds at once."""

from dataclasses import dataclass

MOST_COUNTED = 10_000
"""Rows of a table are counted so far; of more it is said that there are more."""


@dataclass(frozen=True, slots=True)
class Beside:
    """The page right after a row of a table, or right before it.

    Args:
        key: What tells the row from the others: a tenant's code.
        is_before: The page before it.
    """

    key: str
    is_before: bool = False
