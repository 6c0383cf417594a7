"""A subject line while it is typed: what is wrong with it, and how it will read."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

from pydantic import BaseModel

from invoicing.rendering.assignment import Limits
from invoicing.rendering.document import MailDocument
from invoicing.rendering.errors import RenderFailedError
from invoicing.rendering.mail import MailRenderer
from invoicing.rendering.templates import INVOICE_CSS, INVOICE_HTML, MAIL_HTML, MAIL_TEXT, Template
from invoicing.rendering.validation import validate_subject
from invoicing.words.failures import tell_both

_LIMITS = Limits(seconds=3, memory_bytes=128 * 1024 * 1024, output_bytes=64 * 1024)
_LONGEST = 500


class SubjectProblem(BaseModel):
    """Something wrong with the line.

    Args:
        message_es: The same in Spanish, where there is a translation.
    """

    message: str
    message_es: str


class SubjectReport(BaseModel):
    """What became of the line with a sample tenant's data."""

    problems: list[SubjectProblem]
    previews: dict[str, str]


def check_subject(subject: str, template: Template, samples: Mapping[str, MailDocument]) -> SubjectReport:
    """Check a line, and print it for each of ``samples``, by their language."""
    subject = subject.strip()
    if not subject:
        return SubjectReport(problems=[], previews={})
    if len(subject) > _LONGEST:
        return _refused(
            f"tiene {len(subject)} caracteres; se admiten {_LONGEST}",
            f"it has {len(subject)} characters, at most {_LONGEST} are allowed",
        )
    if any(ord(character) < 32 or ord(character) == 127 for character in subject):
        return _refused("debe ser una sola línea de texto", "it must be one line of text")
    with ThreadPoolExecutor(max_workers=2) as at_once:
        # Each is a child process of its own: they start side by side.
        found = at_once.submit(validate_subject, subject, template, _LIMITS)
        previews = at_once.submit(_previews, subject, samples)
        problems = [_problem(*tell_both(each)) for each in found.result() if not each.is_warning]
        return SubjectReport(problems=problems, previews={} if problems else previews.result())


def _problem(es: str, en: str) -> SubjectProblem:
    return SubjectProblem(message=en, message_es=es)


def _refused(es: str, en: str) -> SubjectReport:
    return SubjectReport(problems=[_problem(es, en)], previews={})


def _previews(subject: str, samples: Mapping[str, MailDocument]) -> dict[str, str]:
    # The subject alone: the message's own parts say nothing here.
    parts = {MAIL_HTML: "<p></p>", MAIL_TEXT: "-", INVOICE_HTML: "", INVOICE_CSS: ""}
    try:
        with MailRenderer(Template("subject", 0, parts), subject, _LIMITS) as renderer:
            return {language: renderer.render(mail).subject for language, mail in samples.items()}
    except RenderFailedError:
        return {}
