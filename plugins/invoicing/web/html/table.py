"""Tables of many rows: the database searches, sorts and pages; the address says how."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import urlencode

from fastapi import Request

from invoicing.services.views.paging import MOST_COUNTED, Beside
from invoicing.web.door.duties import Duty
from invoicing.web.door.visitor import current_visitor

SIZES = (25, 50, 100)
_LONGEST_KEY = 200


@dataclass(frozen=True, slots=True)
class TableQuery:
    """What is asked of a table.

    Args:
        sort: One of the table's columns.
        page: Counted from 1.
        filters: The other parameters of the address that are set.
        beside: The row that the page lies after, or before; ``page`` then says which it is, no more.
    """

    search: str
    sort: str
    descending: bool
    page: int
    size: int
    filters: Mapping[str, str]
    beside: Beside | None = None

    @classmethod
    def of(cls, request: Request, *, sorts: Sequence[str], filters: Mapping[str, Sequence[str]]) -> Self:
        """Read it from the address; what is unknown there counts as not given.

        Args:
            sorts: Columns that can be sorted by; the first one is the default. ``-name`` sorts descending.
            filters: Parameters and their possible values.

        Raises:
            MissingDutyError: Words are searched in names and addresses, which the visitor may not read.
        """
        asked = request.query_params
        if asked.get("q"):
            current_visitor(request).require(Duty.READ_PERSONAL)
        sort = asked.get("sort", "")
        column = sort.removeprefix("-")
        page, size = _number(asked.get("page"), 1), _number(asked.get("size"), SIZES[0])
        return cls(
            search=asked.get("q", "").replace("\0", "").strip()[:200],
            sort=column if column in sorts else sorts[0],
            descending=column in sorts and sort.startswith("-"),
            page=min(max(page, 1), 1_000_000),
            size=size if size in SIZES else SIZES[0],
            filters={name: asked[name] for name, values in filters.items() if asked.get(name) in values},
            beside=_beside(asked.get("after"), asked.get("before")),
        )

    @property
    def offset(self) -> int:
        """Rows before the page."""
        return (self.page - 1) * self.size

    def address(self, **changes: Any) -> str:
        """The query string of this table with ``changes``: filters, ``q``, ``sort``, ``page``; None takes one away."""
        parameters: dict[str, Any] = {
            "q": self.search or None,
            **self.filters,
            "sort": f"-{self.sort}" if self.descending else self.sort,
            "size": self.size if self.size != SIZES[0] else None,
            "page": None,
        } | changes
        given = {name: value for name, value in parameters.items() if value not in (None, "", 1)}
        return f"?{urlencode(given)}"

    def sort_address(self, column: str) -> str:
        """Sort by ``column``; where it is so already, the other way round."""
        turned = column == self.sort and not self.descending
        return self.address(sort=f"-{column}" if turned else column)


@dataclass(frozen=True, slots=True)
class TablePage:
    """The rows of one page, and how many there are in all.

    Args:
        key: The rows' field that tells them apart, where the table can begin beside one of them.
        is_capped: They were counted up to one more than `MOST_COUNTED`.
    """

    query: TableQuery
    rows: Sequence[Any]
    total: int
    key: str | None = None
    is_capped: bool = False

    @property
    def next_address(self) -> str:
        """The page after this one."""
        after = getattr(self.rows[-1], self.key) if self.key and self.rows else None
        return self.query.address(page=self.query.page + 1, after=after)

    @property
    def previous_address(self) -> str:
        """The page before this one."""
        page = self.query.page - 1
        before = getattr(self.rows[0], self.key) if self.key and self.rows and page > 1 else None
        return self.query.address(page=page, before=before)

    @property
    def first(self) -> int:
        """Number of the first row shown, counted from 1; 0 where there is none."""
        return self.query.offset + 1 if self.rows else 0

    @property
    def last(self) -> int:
        """Number of the last row shown."""
        return self.query.offset + len(self.rows)

    @property
    def is_longer(self) -> bool:
        """There are more rows than anybody counted."""
        return self.is_capped and self.total > MOST_COUNTED

    @property
    def has_next(self) -> bool:
        """Whether another page follows."""
        return self.query.page < self.pages or (self.is_longer and len(self.rows) == self.query.size)

    @property
    def pages(self) -> int:
        """How many pages there are, at least 1; of a table that is longer than was counted, how many at least."""
        return max(1, -(-self.total // self.query.size))


def _beside(after: str | None, before: str | None) -> Beside | None:
    key = after or before
    return Beside(key.replace("\0", "")[:_LONGEST_KEY], is_before=not after) if key else None


def _number(text: str | None, default: int) -> int:
    return int(text) if text and text.isascii() and text.isdecimal() and len(text) < 10 else default
