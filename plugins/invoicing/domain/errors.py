"""Every error that the project raises on purpose.

`InvoicingError` has two branches. `InputError` says that the call, a setting or a file is wrong and the caller
must change it: `ImportRejectedError` for files, with every bad row, and `NotFoundError` for what was asked for
by name. `WorkFailedError` says that the work could not be done: `TemporaryFailureError` where repeating it
later, by itself, may help, and `PermanentFailureError` where it does not until a person has acted.
"""


class InvoicingError(Exception):
    """Base of all errors raised on purpose; the message says what is wrong and what to do."""


class InputError(InvoicingError):
    """The call, a setting or an input file is wrong. Nothing was changed."""


class NotFoundError(InputError):
    """What was asked for by its name or number does not exist."""


class ImportRejectedError(InputError):
    """Input files were rejected whole.

    Args:
        problems: One line a bad row: file, line, column, value, why.
    """

    def __init__(self, problems: list[str]) -> None:
        self.problems = problems
        listing = "\n".join(f"  {problem}" for problem in problems)
        super().__init__(f"nothing was imported; {len(problems)} problem(s) to mend:\n{listing}")


class WorkFailedError(InvoicingError):
    """The work could not be done, or not all of it."""


class TemporaryFailureError(WorkFailedError):
    """Part of the work is undone and may succeed when repeated later by itself."""


class PermanentFailureError(WorkFailedError):
    """Part of the work is undone and needs a person before it is repeated."""
