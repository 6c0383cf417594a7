"""Rows of a form, as many as somebody adds: ``lines.0.amount``, ``lines.1.amount``, …; without a script too."""

from collections.abc import Callable, Collection, Mapping, Sequence

from invoicing.services.agency.input_rows import looks_like_thousands
from invoicing.web.html.forms import Submitted
from invoicing.web.html.i18n import Translator
from invoicing.words import Text
from invoicing.words.failures import Failure, Fault

ADD = "add"
REMOVE = "remove"


def typed_rows(submitted: Submitted, name: str, fields: Sequence[str]) -> list[dict[str, str]]:
    """The rows that were sent, in their order, up to the first number that is missing."""
    rows: list[dict[str, str]] = []
    while any(f"{name}.{len(rows)}.{field}" in submitted for field in fields):
        rows.append({field: submitted[f"{name}.{len(rows)}.{field}"] for field in fields})
    return rows


def filled(rows: Sequence[Mapping[str, str]], told: Sequence[str]) -> list[dict[str, str]]:
    """Those in which something was typed: one of ``told``, which are not filled in from the start."""
    return [dict(row) for row in rows if any(row[field].strip() for field in told)]


def changed_rows(
    rows: Sequence[Mapping[str, str]], action: str, empty: Mapping[str, str], *, most: int
) -> list[dict[str, str]]:
    """The rows after ``add`` or ``remove:2`` (counted from 0); any other action leaves them as they are."""
    kept = [dict(row) for row in rows]
    what, _, which = action.partition(":")
    if what == ADD and len(kept) < most:
        kept.append(dict(empty))
    if what == REMOVE and which.isascii() and which.isdecimal() and int(which[:4]) < len(kept):
        del kept[int(which[:4])]
    return kept


def is_about_rows(action: str) -> bool:
    """Whether a button of a row, or the one that adds a row, was pressed."""
    return action.partition(":")[0] in (ADD, REMOVE)


def in_form_order(faults: Mapping[str, Failure], fields: Sequence[str]) -> dict[str, Failure]:
    """The faults as their fields stand on the page; ``lines.1.amount`` where ``lines`` does."""
    order = {name: at for at, name in enumerate(fields)}
    return dict(sorted(faults.items(), key=lambda each: order.get(each[0].partition(".")[0], len(order))))


def labeller(labels: Mapping[str, Text], row: Text) -> Callable[[Translator, str], str]:
    """What says how a field is called: ``lines.1.amount`` is the amount of line 2.

    Args:
        labels: Of the form's fields, and of a row's.
        row: What a row is called.
    """

    def label_of(t: Translator, name: str) -> str:
        head, *rest = name.split(".")
        if len(rest) == 2:
            return f"{t.text(row)} {int(rest[0]) + 1}, {t.text(labels[rest[1]]).lower()}"
        return t.text(labels[head])

    return label_of


def thousands(amounts: Mapping[str, str], known: Collection[str] = ()) -> dict[str, Fault]:
    """Field to fault, of amounts such as ``2.500``: at a file a warning, here a person can mend it at once.

    Args:
        known: Amounts that were so before.
    """
    return {
        field: Fault("amount_like_thousands", typed=value.strip(), meant=value.strip().replace(".", ""))
        for field, value in amounts.items()
        if value not in known and looks_like_thousands(value.strip())
    }
