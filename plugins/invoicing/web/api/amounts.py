"""Typed rows as JSON: amounts are decimal strings, so that no program reads them as floats."""

from dataclasses import asdict
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from invoicing.services.views.report import money

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


def as_json(row: "DataclassInstance", *, without: tuple[str, ...] = ()) -> dict[str, Any]:
    """The fields of ``row`` but for those ``without``."""
    return {
        name: money(value) if isinstance(value, Decimal) else value
        for name, value in asdict(row).items()
        if name not in without
    }
