"""Message templates to a subject, a text and an HTML body; it runs in the child process."""

import json

import css_inline

from invoicing.rendering.document import MailDocument
from invoicing.rendering.errors import TemplateFaultError
from invoicing.rendering.templates import (
    MAIL_HTML,
    MAIL_TEXT,
    SUBJECT,
    Part,
    Template,
    environment,
    mail_variables,
)

LONGEST_SUBJECT = 500


class Composer:
    """Makes messages of one template.

    Raises:
        TemplateFaultError: A part, or the subject, has a syntax error.
    """

    def __init__(self, template: Template, subject: str, largest_bytes: int) -> None:
        sandbox = environment()
        self._subject = Part(sandbox, SUBJECT, subject, largest_bytes)
        self._text = Part(sandbox, MAIL_TEXT, template.parts[MAIL_TEXT], largest_bytes)
        self._html = Part(sandbox, MAIL_HTML, template.parts[MAIL_HTML], largest_bytes)
        # Mail readers drop style sheets, so rules move into style attributes; what cannot (dark mode, narrow
        # screens) stays behind in a <style> for those that read it.
        self._inliner = css_inline.CSSInliner(load_remote_stylesheets=False, keep_at_rules=True)

    def compose(self, document: MailDocument) -> bytes:
        """The message as JSON: ``subject``, ``text``, ``html``."""
        variables = mail_variables(document)
        message = {
            "subject": self._one_line(self._subject.render(variables)),
            "text": self._text.render(variables).strip() + "\n",
            "html": self._inline(self._html.render(variables)),
        }
        return json.dumps(message).encode()

    def _one_line(self, subject: str) -> str:
        subject = subject.strip()
        if len(subject.splitlines()) > 1:
            # A line end in a header starts the next header: the classic way to smuggle in a Bcc.
            raise TemplateFaultError(
                SUBJECT,
                None,
                f"it has a line break, in the template or in a value it shows: {subject[:200]!r}",
            )
        if not subject:
            raise TemplateFaultError(SUBJECT, None, "it is empty")
        if len(subject) > LONGEST_SUBJECT:
            raise TemplateFaultError(
                SUBJECT, None, f"it has {len(subject)} characters, {LONGEST_SUBJECT} are allowed"
            )
        return " ".join(subject.split(" "))

    def _inline(self, html: str) -> str:
        try:
            return self._inliner.inline(html)
        except css_inline.InlineError as error:
            raise TemplateFaultError(MAIL_HTML, None, f"its CSS cannot be inlined: {error}") from None
