"""Tables of cases of which the default run tries some, and the long form (``--long``) all."""

from collections.abc import Iterable, Sequence
from typing import Any

import pytest
from _pytest.mark.structures import ParameterSet


def every(nth: int, cases: Iterable[Any], ids: Iterable[str] | None = None) -> list[ParameterSet]:
    """For ``parametrize``: the first case and each ``nth`` after it as they are, the others in the long form only.

    Args:
        cases: A value each, a tuple where there are several parameters, or a `pytest.param`.
        ids: What each is called; else pytest names it.
    """
    cases = list(cases)
    names: Sequence[str | None] = [None] * len(cases) if ids is None else list(ids)
    found = []
    for at, (case, name) in enumerate(zip(cases, names, strict=True)):
        values, marks = (case.values, case.marks) if isinstance(case, ParameterSet) else (case, ())
        values = values if isinstance(values, tuple) else (values,)
        found.append(
            pytest.param(*values, id=name, marks=[*marks, *([pytest.mark.long] if at % nth else [])])
        )
    return found
