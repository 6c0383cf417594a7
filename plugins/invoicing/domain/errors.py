"""Every error that the project raises on purpose.

Each is a code and its values; the words, in either language, are in `invoicing.words.failures` and belong to whoever
shows it. ``str`` gives the English ones, for logs.

    InvoicingError
    ├── InputError                  the call, a setting or a file is wrong; nothing was changed
    │   ├── NotFoundError           what was asked for by its name does not exist
    │   ├── StaleEditError          somebody else changed it in the meantime
    │   └── ImportRejectedError     input files, with every bad row
    └── WorkFailedError             the work could not be done, or not all of it
        ├── TemporaryFailureError   repeating it later, by itself, may help
        └── PermanentFailureError   a person has to act first
"""

from collections.abc import Mapping, Sequence

from invoicing.words import Language
from invoicing.words.failures import Failure, tell


class InvoicingError(Exception):
    """Base of all errors raised on purpose.

    Args:
        code: What went wrong: a key of `FAILURES`.
        values: What its words speak of, by name. ``field``: the field of a form, or of a JSON body, that is wrong.
    """

    field: str | None = None

    def __init__(self, code: str, /, **values: object) -> None:
        self.code = code
        self.values: Mapping[str, object] = values
        if "field" in values:
            self.field = str(values["field"])
        super().__init__(code)

    def __str__(self) -> str:
        return self.in_words("en")

    def in_words(self, language: Language) -> str:
        """The error in words."""
        return tell(self, language)


class InputError(InvoicingError):
    """The call, a setting or an input file is wrong. Nothing was changed."""


class NotFoundError(InputError):
    """What was asked for by its name or number does not exist."""


class StaleEditError(InputError):
    """Somebody else, or an import, changed what the person had before them. Nothing was changed."""


class ImportRejectedError(InputError):
    """Input files were rejected whole.

    Args:
        problems: One a bad row: file, line, column, value, why.
    """

    def __init__(self, problems: Sequence[str | Failure]) -> None:
        self.problems = problems
        super().__init__("import_rejected", count=len(problems), problems=problems)


class WorkFailedError(InvoicingError):
    """The work could not be done, or not all of it."""


class TemporaryFailureError(WorkFailedError):
    """Part of the work is undone and may succeed when repeated later by itself."""


class PermanentFailureError(WorkFailedError):
    """Part of the work is undone and needs a person before it is repeated."""
