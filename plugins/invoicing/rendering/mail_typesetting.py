"""Message templates to a subject, a text and an HTML body; it runs in the child process."""

import json
from functools import cached_property

import css_inline

from invoicing.rendering.complaints import prints_too_much
from invoicing.rendering.document import MailDocument
from invoicing.rendering.errors import PartFaultError
from invoicing.rendering.templates import (
    CORRECTION_HTML,
    CORRECTION_SUBJECT,
    CORRECTION_TEXT,
    MAIL_HTML,
    MAIL_TEXT,
    SUBJECT,
    Part,
    Template,
    correction_variables,
    environment,
    mail_variables,
)
from invoicing.words.failures import Fault

LONGEST_SUBJECT = 500


class MailTypesetter:
    """Makes messages of one template.

    Raises:
        PartFaultError: A part, or the subject, has a syntax error.
    """

    def __init__(self, template: Template, subject: str, largest_bytes: int) -> None:
        sandbox = environment()
        self._usual = (
            Part(sandbox, SUBJECT, subject, largest_bytes),
            Part(sandbox, MAIL_TEXT, template.parts[MAIL_TEXT], largest_bytes),
            Part(sandbox, MAIL_HTML, template.parts[MAIL_HTML], largest_bytes),
        )
        self._variations = template.variations
        self._fields = template.fields
        self._largest_bytes = largest_bytes
        # Mail readers drop style sheets, so rules move into style attributes; what cannot (dark mode, narrow
        # screens) stays behind in a <style> for those that read it.
        self._inliner = css_inline.CSSInliner(load_remote_stylesheets=False, keep_at_rules=True)

    @cached_property
    def _correction(self) -> tuple[Part, Part, Part]:
        """Compiled when it is first wanted: a process for one message need not wait for it."""
        sandbox, most = environment(), self._largest_bytes
        return (
            Part(sandbox, SUBJECT, CORRECTION_SUBJECT, most),
            Part(sandbox, CORRECTION_TEXT, self._variations[CORRECTION_TEXT], most),
            Part(sandbox, CORRECTION_HTML, self._variations[CORRECTION_HTML], most),
        )

    def typeset(self, document: MailDocument) -> bytes:
        """The message as JSON: ``subject``, ``text``, ``html``."""
        if document.is_correction:
            variables, parts = correction_variables(document, self._fields), self._correction
        else:
            variables, parts = mail_variables(document, self._fields), self._usual
        subject, text, html = (part.render(variables) for part in parts)
        message = {
            "subject": self._one_line(subject),
            "text": text.strip() + "\n",
            "html": self._inline(html),
        }
        return json.dumps(message, ensure_ascii=False).encode()

    def _one_line(self, subject: str) -> str:
        subject = subject.strip()
        if len(subject.splitlines()) > 1:
            # A line end in a header starts the next header: the classic way to smuggle in a Bcc.
            raise PartFaultError(SUBJECT, None, Fault("subject_line_break", subject=subject[:200]))
        if not subject:
            raise PartFaultError(SUBJECT, None, Fault("subject_empty"))
        if len(subject) > LONGEST_SUBJECT:
            fault = Fault("subject_too_long", characters=len(subject), most=LONGEST_SUBJECT)
            raise PartFaultError(SUBJECT, None, fault)
        return " ".join(subject.split(" "))

    def _inline(self, html: str) -> str:
        try:
            inlined = self._inliner.inline(html)
        except css_inline.InlineError as error:
            fault = Fault("mail_css_not_inlined", message=str(error))
            raise PartFaultError(MAIL_HTML, None, fault) from None
        # One rule for every paragraph is as many copies of it.
        if len(inlined) > self._largest_bytes or len(inlined.encode()) > self._largest_bytes:
            raise PartFaultError(MAIL_HTML, None, prints_too_much(self._largest_bytes))
        return inlined
