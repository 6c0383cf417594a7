"""SQL lives in ``queries/*.sql``; each statement has a name."""

import re
from functools import cache
from pathlib import Path

QUERIES = Path(__file__).parent / "queries"


@cache
def load(noun: str) -> dict[str, bytes]:
    """Statements of ``queries/<noun>.sql`` by their ``-- name:``."""
    text = (QUERIES / f"{noun}.sql").read_text(encoding="utf-8")
    head, *rest = re.split(r"^-- name: (\w+)\n", text, flags=re.MULTILINE)
    names = rest[::2]
    if head.strip() or len(set(names)) != len(names):
        raise AssertionError(f"{noun}.sql: text before the first name, or a name given twice")
    return dict(zip(names, (sql.encode() for sql in rest[1::2]), strict=True))
