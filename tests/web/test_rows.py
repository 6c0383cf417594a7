"""No raw row of the database reaches a template: what pages are made of has names and types."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import pytest
from psycopg.rows import dict_row

from invoicing.services.billing.single_invoices import create_from_file
from invoicing.web import database
from invoicing.web.html.templating import Pages
from support.month import November

PAGES = (
    "/cycles",
    "/cycles/2026-11",
    "/cycles/2026-11/overview",
    "/cycles/2026-11/overview?state=failed",
    "/cycles/2026-11/tenants/ANA",
    "/cycles/2026-11/tenants/CAM",
    "/cycles/singles",
    "/cycles/singles?kind=resends",
    "/cycles/singles?run=1",
    "/deliveries/1",
    "/deliveries/1/message",
    "/invoices/FV-1",
    "/tenants",
    "/tenants?problem=no_email",
    "/tenants/ANA",
    "/templates",
    "/templates/default",
    "/templates/default/versions",
    "/templates/default/versions/1",
)
SINGLES = "invoice_ref,tenant_code,lease_code,description,amount,tax\nS-1,ANA,,Copia de llaves,50000,none\n"


class RawRow(dict[str, Any]):
    """A row as the database gave it, told apart from every other mapping."""

    def __or__(self, other: Any) -> "RawRow":
        return RawRow({**self, **other})


def raw_rows(cursor: Any) -> Any:
    """Psycopg's rows by name, marked."""
    make = dict_row(cursor)
    return lambda values: RawRow(make(values))


def found_in(value: Any, path: str) -> Iterator[str]:
    """Where a raw row is inside of ``value``."""
    if isinstance(value, RawRow):
        yield f"{path}: {', '.join(value)}"
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from found_in(inner, f"{path}[{key!r}]")
    elif isinstance(value, Sequence) and not isinstance(value, str | bytes):
        for number, inner in enumerate(value):
            yield from found_in(inner, f"{path}[{number}]")
    elif is_dataclass(value):
        for field in fields(value):
            yield from found_in(getattr(value, field.name), f"{path}.{field.name}")


def test_a_raw_row_is_found_wherever_it_hides():
    row = RawRow(id=1)

    assert list(found_in({"table": [(row | {"b": 2},)]}, "page")) == ["page['table'][0][0]: id, b"]
    assert list(found_in({"id": 1}, "page")) == []


def test_no_raw_row_reaches_a_template(november: November, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(database, "dict_row", raw_rows)
    respond = Pages.respond
    seen: dict[str, list[str]] = defaultdict(list)

    def look(self: Pages, request: Any, name: str, status: int = 200, **context: Any) -> Any:
        seen[name] += found_in(context, str(request.url))
        return respond(self, request, name, status, **context)

    monkeypatch.setattr(Pages, "respond", look)
    file = tmp_path / "singles.csv"
    file.write_text(SINGLES)
    with november.copy(tmp_path) as month:
        create_from_file(month.db, file, actor="test")
        page = month.app.as_editor("en")
        page.submit(f"/deliveries/{month.delivery('ANA')}/resend", {"reason": "lost", "back": "delivery"})
        month.send_again()
        month.put_in_doubt("RITA")
        for path in PAGES:
            assert page.see(path).status_code == 200, path

    assert {template: rows for template, rows in seen.items() if rows} == {}
    assert {
        "cycles.html",
        "tenants.html",
        "tenant.html",
        "cycle_tenant.html",
        "delivery.html",
        "issued_invoice.html",
    } <= set(seen)
