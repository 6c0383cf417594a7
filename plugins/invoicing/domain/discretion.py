"""What of a row is not for everybody: personal data, and where things are on the server.

A field says so by its type (``name: Personal[str]``), where the row is defined; `as_seen` shows the row to somebody.
Who may read amounts alone sees codes, amounts, states and decisions. Where the server keeps its files is nobody's
business who looks at pages: the logs and the command line say it.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from functools import cache
from typing import Annotated, Any, TypeAlias, TypeVar, get_origin

HIDDEN = "•••"
ELSEWHERE = "[…]"

_T = TypeVar("_T")
_Change: TypeAlias = Callable[[Any], Any]

# Both are linear: no part can match what the part after it needs. Web addresses stay: relays refer to their help.
_URI = r"\b(?!https?://)[A-Za-z][A-Za-z0-9+.-]{1,20}://[^\s'\"<>(),;]*[^\s'\"<>(),;:.]"
_PATH = r"(?<![\w/:.])/(?:[\w.@+-]+/)+[\w.@+-]*"
_SERVER_PLACE = re.compile(f"{_URI}|{_PATH}")
_ANY_PLACE = re.compile(f"https?://[^\\s'\"<>]+|{_URI}|{_PATH}")


def without_places(text: str, *, of_the_web_too: bool = False) -> str:
    """``text`` without the server's paths and the addresses of its stores.

    Args:
        of_the_web_too: Without ``https:`` addresses as well: a store may have one.
    """
    return (_ANY_PLACE if of_the_web_too else _SERVER_PLACE).sub(ELSEWHERE, text)


def hide(value: Any) -> Any:
    """``value`` without its texts: whether there is one is still seen, and so are numbers and switches."""
    match value:
        case str():
            return HIDDEN if value else value
        case Mapping():
            return {key: hide(each) for key, each in value.items()}
        case Sequence():
            return [HIDDEN] if value else []
    return value


def hide_in_trace(trace: Any) -> Any:
    """A decision's trace without the addresses in it; None where there is none."""
    return trace and [_hide_in_answer(answer) for answer in trace]


def clean(words: Any) -> Any:
    """What was said of something that went wrong, without the server's places; None where nothing was."""
    return words and without_places(words)


def as_seen(value: Any, *, with_personal: bool) -> Any:
    """``value``, and the rows anywhere in it, as somebody may see them.

    Args:
        value: Rows (dataclasses), or lists, tuples and dictionaries of them; all else is left as it is.
        with_personal: They may see personal data too.
    """
    if is_dataclass(value) and not isinstance(value, type):
        return _row_as_seen(value, with_personal)
    if isinstance(value, dict):
        return {key: as_seen(each, with_personal=with_personal) for key, each in value.items()}
    if type(value) in (list, tuple):
        return type(value)(as_seen(each, with_personal=with_personal) for each in value)
    return value


def _row_as_seen(row: Any, with_personal: bool) -> Any:
    changes = {}
    for name, mark in _fields_to_look_at(type(row)).items():  # type: ignore[arg-type]  # a type is hashable
        before = getattr(row, name)
        if mark is None:
            after = as_seen(before, with_personal=with_personal)
        else:
            after = mark.to_all(before) if with_personal else mark.to_few(before)
        if after is not before and after != before:
            changes[name] = after
    return replace(row, **changes) if changes else row


def _hide_in_answer(answer: Mapping[str, Any]) -> dict[str, Any]:
    inputs = answer.get("inputs") or {}
    if "invalid" not in inputs:
        return dict(answer)
    return {**answer, "inputs": {**inputs, "invalid": hide(inputs["invalid"])}}


@dataclass(frozen=True, slots=True)
class _Mark:
    """What becomes of a field.

    Args:
        to_few: For those who may not see personal data.
        to_all: For the others.
    """

    to_few: _Change
    to_all: _Change = lambda value: value


# What can hold no row: most fields of most rows.
_PLAIN = frozenset((str, int, bool, float, str | None, int | None))


@cache
def _fields_to_look_at(kind: type) -> Mapping[str, _Mark | None]:
    """Field to its mark; None for one that may hold rows."""
    found: dict[str, _Mark | None] = {}
    for each in fields(kind):
        if get_origin(each.type) is Annotated:
            marks = [mark for mark in each.type.__metadata__ if isinstance(mark, _Mark)]  # type: ignore[union-attr]
            found[each.name] = marks[0] if marks else None
        elif each.type not in _PLAIN:
            found[each.name] = None
    return found


Personal = Annotated[_T, _Mark(hide)]
"""Names, documents, addresses."""

Said = Annotated[_T, _Mark(hide, clean)]
"""Words about what happened: a relay's, which may quote an address; a person's; ours, which may name a file."""

PersonalTrace = Annotated[_T, _Mark(hide_in_trace)]
"""A decision's trace: an address that is none is in it."""

PersonalAnswer = Annotated[_T, _Mark(lambda answer: answer and _hide_in_answer(answer))]
"""One answer of it; None where there is none."""
