"""Cities that are spelled in more than one way, as ``Bogota`` and ``Bogotá``: reteica is found by the exact name."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from invoicing.db.connection import Database
from invoicing.db.statements import beside, fetch_all
from invoicing.domain.errors import RowProblem
from invoicing.services.agency.input_files import InputFile
from invoicing.services.agency.searching import plain

_SQL = beside(__file__)

_RATES = "tax_rates.csv"


@dataclass(frozen=True, slots=True)
class _Spelling:
    """How a city is spelled in the rows that came with a file, of this import or an earlier one."""

    spelling: str
    file: str
    rows: int


def spelling_warnings(db: Database, files: Iterable[InputFile[Any]]) -> Iterator[RowProblem]:
    """Warn of each spelling in ``files`` that is another city's but for accents or case.

    Of several spellings that of a reteica rate is right, else the most used one. A file is warned of its wrong
    ones; where the wrong ones came with earlier files alone, of the right one, since somebody must look at it. Each
    spelling of a file is warned of once, at its first row.

    Args:
        db: With the rows of ``files`` in it.
        files: Those of the import that have a column ``city``.
    """
    cities: defaultdict[str, list[_Spelling]] = defaultdict(list)
    for each in fetch_all(db, _Spelling, _SQL["spellings"]):
        cities[_key(each.spelling)].append(each)
    by_trust = {key: _by_trust(found) for key, found in cities.items()}
    first_rows: dict[tuple[str, str], int] = {}
    for file in files:
        for line, spelling in file.values("city"):
            first_rows.setdefault((file.name, spelling), line)
    wrong_ones = {_key(spelling) for _, spelling in first_rows if spelling != by_trust[_key(spelling)][0]}
    for (name, spelling), line in first_rows.items():
        key = _key(spelling)
        right, *others = by_trust[key]
        if not others or (spelling == right and key in wrong_ones):
            continue
        other = others[0] if spelling == right else right
        places = sorted(each.file for each in cities[key] if each.spelling == other)
        values = {"other": other, "places": ", ".join(places)}
        yield RowProblem(name, line, "city", spelling, "city_spelled_otherwise", values)


def _by_trust(spellings: Sequence[_Spelling]) -> list[str]:
    """The different ones, the one that is taken to be right first."""
    trust: defaultdict[str, tuple[bool, int]] = defaultdict(lambda: (False, 0))
    for each in spellings:
        has_rate, rows = trust[each.spelling]
        trust[each.spelling] = (has_rate or each.file == _RATES, rows + each.rows)
    return sorted(trust, key=lambda spelling: (trust[spelling], spelling), reverse=True)


def _key(city: str) -> str:
    return " ".join(plain(city).split())
