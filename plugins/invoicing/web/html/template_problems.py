"""What is wrong with a template, as its editor is told."""

from collections.abc import Sequence
from dataclasses import dataclass

from invoicing.rendering.validation import TemplateProblem
from invoicing.words import Text
from invoicing.words.failures import tell_both


@dataclass(frozen=True, slots=True)
class Complaint:
    """A problem in words.

    Args:
        field: Of the form: the part with ``_`` for ``.``.
    """

    part: str
    field: str
    line: int | None
    text: Text
    is_warning: bool


def field_of(part: str) -> str:
    """The form field that a part is typed in."""
    return part.replace(".", "_")


def in_words(problems: Sequence[TemplateProblem]) -> list[Complaint]:
    """Every problem in both languages, errors first."""
    ordered = sorted(problems, key=lambda problem: problem.is_warning)
    return [
        Complaint(each.part, field_of(each.part), each.line, tell_both(each), each.is_warning)
        for each in ordered
    ]
