"""What can go wrong with a template or a document."""

from collections.abc import Mapping

from invoicing.domain.errors import PermanentFailureError
from invoicing.words.failures import Failure, Fault

LONGEST_VALUE = 500
"""Characters of a value that leaves the child process: a template can make a message of any length."""

# Python refuses to print numbers of more than some thousand digits.
_LARGEST_NUMBER = 10**18


class RenderFailedError(PermanentFailureError):
    """A document could not be made from its template.

    Args:
        document: What tells a person which document it is.
        failure: Why, with the template's part and line where they are known.
    """

    def __init__(self, document: Failure | str, failure: Failure) -> None:
        self.failure = failure
        super().__init__("document_not_rendered", document=document, reason=failure)

    @property
    def reason(self) -> str:
        """Why, in English."""
        return str(self.failure)


class RenderInterruptedError(RenderFailedError):
    """The rendering process took too long, or died: the template's fault, or a busy machine's. Another try may do."""


class PartFaultError(Exception):
    """A part of a template is wrong. Raised and answered inside the child process.

    Args:
        part: For example ``mail.html``.
        line: Line of the part, counted from 1, where it is known.
        fault: What is wrong, for the template's editor.
    """

    def __init__(self, part: str, line: int | None, fault: Fault) -> None:
        self.part = part
        self.line = line
        self.fault = fault
        super().__init__(str(in_place(part, line, fault)))


class DocumentTooLargeError(Exception):
    """What was made of a document is larger than anything that is sent or shown. Never leaves this package.

    Args:
        most_bytes: What it may have.
    """

    def __init__(self, most_bytes: int) -> None:
        self.fault = Fault("document_too_large", megabytes=most_bytes // 2**20)
        super().__init__(str(self.fault))


def in_place(part: str, line: int | None, problem: Failure) -> Fault:
    """``problem`` with the part, and the line where it is known, in front."""
    if line is None:
        return Fault("in_part", part=part, problem=problem)
    return Fault("in_line", part=part, line=line, problem=problem)


def cut(values: Mapping[str, object]) -> dict[str, object]:
    """Values as they may leave the child process: numbers, and texts of a bounded length."""
    return {name[:LONGEST_VALUE]: _cut(value) for name, value in values.items()}


def _cut(value: object) -> object:
    if value is None or isinstance(value, bool | float):
        return value
    if isinstance(value, int) and abs(value) < _LARGEST_NUMBER:
        return value
    return str(value)[:LONGEST_VALUE]


def broken(error: Exception) -> Fault:
    """What nobody foresaw."""
    return Fault("template_broken", kind=type(error).__name__, message=str(error))
