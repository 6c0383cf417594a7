"""Is a template fit to be saved?"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from invoicing.domain.settings import DEFAULT_SUBJECT
from invoicing.rendering.assignment import Assignment, Limits
from invoicing.rendering.errors import RenderFailedError, cut, in_place
from invoicing.rendering.fields import TemplateFields
from invoicing.rendering.sandbox import TemplateProcess
from invoicing.rendering.templates import PARTS, SUBJECT, Template
from invoicing.words.failures import Fault, tell

# An editor waits for the answer; a sound template takes less than a second.
VALIDATION_LIMITS = Limits(seconds=5)

MOST_PROBLEMS = 100
"""Of one part: whoever has fixed so many asks again."""


@dataclass(frozen=True, slots=True)
class TemplateProblem:
    """Something wrong with a template.

    Args:
        part: One of `PARTS`, ``subject``, or a field (``colour``), a sentence with its language (``greeting.es``).
        line: Line of the part, counted from 1, where it is known.
        code: What is wrong: a key of `FAILURES`.
        values: What its words speak of.
        is_warning: The template works in spite of it (CSS that is ignored).
    """

    part: str
    line: int | None
    code: str
    values: Mapping[str, object] = field(default_factory=dict)
    is_warning: bool = False

    @property
    def message(self) -> str:
        """What is wrong, in English."""
        return tell(self)

    @property
    def in_place(self) -> Fault:
        """The same with part and line in front."""
        return in_place(self.part, self.line, self)

    def __str__(self) -> str:
        return str(self.in_place)


def validate(
    parts: Mapping[str, str],
    subject: str = DEFAULT_SUBJECT,
    folder: Path | None = None,
    limits: Limits = VALIDATION_LIMITS,
    fields: TemplateFields | None = None,
) -> list[TemplateProblem]:
    """Find the problems of a template: syntax, unknown variables, blocked resources, limits.

    Prints every part with sample documents in a child process, so that nothing an editor writes can hang or
    harm the caller. Takes about one second.

    Args:
        parts: Source text of each of `PARTS`.
        subject: The settings' subject line; it has the message's variables.
        folder: As in `Template`.
        fields: What the parts print of the template's fields; they are taken as sound.

    Returns:
        No problems that are not warnings: the template can be saved.
    """
    problems: list[TemplateProblem] = []
    template = Template("proof", 0, parts, folder, fields or TemplateFields())
    with TemplateProcess(Assignment("proof", template, subject), limits) as process:
        for part in (SUBJECT, *PARTS):
            problems += _ask(process, part)
    return problems


def validate_subject(
    subject: str, template: Template, limits: Limits = VALIDATION_LIMITS
) -> list[TemplateProblem]:
    """Find the problems of a subject line alone."""
    with TemplateProcess(Assignment("proof", template, subject), limits) as process:
        return _ask(process, SUBJECT)


def _ask(process: TemplateProcess, part: str) -> list[TemplateProblem]:
    try:
        found = json.loads(process.ask(part, part))
    except RenderFailedError as error:
        return [TemplateProblem(part, None, error.failure.code, error.failure.values)]
    return [
        TemplateProblem(**{**problem, "values": cut(problem["values"])}) for problem in found[:MOST_PROBLEMS]
    ]
