"""Messages to tenants: subject, text and HTML."""

import json
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from invoicing.rendering.assignment import LARGEST_MAIL_BYTES, Assignment, Inspection, Limits
from invoicing.rendering.document import MailDocument
from invoicing.rendering.sandbox import TemplateProcess
from invoicing.rendering.templates import Template

# A message takes 5 ms.
MAIL_LIMITS = Limits(seconds=10, memory_bytes=256 * 1024 * 1024, output_bytes=LARGEST_MAIL_BYTES)


@dataclass(frozen=True, slots=True)
class MailContent:
    """A message's words.

    Args:
        subject: One line, not empty.
        html: A complete document, its CSS inline, that loads nothing from anywhere.
    """

    subject: str
    text: str
    html: str


class MailRenderer:
    """Renders a batch of messages, each within its limits, in a child process that they share.

    For one thread at a time. Use it as a context manager; the child ends with the block.

    Args:
        subject_template: The settings' subject.
    """

    def __init__(self, template: Template, subject_template: str, limits: Limits = MAIL_LIMITS) -> None:
        self._process = TemplateProcess(Assignment("mail", template, subject_template), limits)
        self._cleaner = TemplateProcess(Inspection("mail"), MAIL_LIMITS)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._process.close()
        self._cleaner.close()

    def render(self, document: MailDocument) -> MailContent:
        """Make the message of ``document``, and have it cleaned by a process that has never seen the template.

        Raises:
            RenderFailedError: The template is wrong, was over a limit, or made what no message may have; or the
                subject is not one line.
        """
        made = self._process.ask(document, document.label)
        return MailContent(**json.loads(self._cleaner.ask(made, document.label)))


def render_mail(template: Template, subject_template: str, document: MailDocument) -> MailContent:
    """Make one message; for more than one, a `MailRenderer` starts its process once."""
    with MailRenderer(template, subject_template) as renderer:
        return renderer.render(document)
