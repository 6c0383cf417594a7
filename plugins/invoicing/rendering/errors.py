"""What can go wrong with a template or a document."""

from invoicing.domain.errors import PermanentFailureError


class RenderFailedError(PermanentFailureError):
    """A document could not be made from its template; the message names the document and the reason.

    Args:
        document: The invoice's number, or what else tells a person which document it is.
        reason: Why, with the template's part and line where they are known.
    """

    def __init__(self, document: str, reason: str) -> None:
        self.document = document
        self.reason = reason
        super().__init__(f"{document} was not rendered: {reason}")


class TemplateFaultError(Exception):
    """A part of a template is wrong. Raised and answered inside the child process.

    Args:
        part: For example ``mail.html``.
        line: Line of the part, counted from 1, where it is known.
        message: What is wrong, for the template's editor.
    """

    def __init__(self, part: str, line: int | None, message: str) -> None:
        self.part = part
        self.line = line
        self.message = message
        where = part if line is None else f"{part}, line {line}"
        super().__init__(f"{where}: {message}")
