"""Every error that the project raises on purpose.

Each is a code and its values; the words, in either language, are in `invoicing.words.failures` and belong to whoever
shows it. ``str`` gives the English ones, for logs.

    InvoicingError
    ├── InputError                  the call, a setting or a file is wrong; nothing was changed
    │   ├── NotFoundError           what was asked for by its name does not exist
    │   ├── FieldsRefusedError      fields of a form, each with why
    │   ├── StaleEditError          somebody else changed it in the meantime
    │   └── ImportRejectedError     input files, with every bad row (`RowProblem`)
    └── WorkFailedError             the work could not be done, or not all of it
        ├── TemporaryFailureError   repeating it later, by itself, may help
        │   └── LimitReachedError   it would be too much at once: its values say in how many seconds to ask again
        └── PermanentFailureError   a person has to act first
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from invoicing.words import Language
from invoicing.words.failures import Failure, Fault, tell

_MOST_LISTED = 200
_LONGEST_SHOWN = 80


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


class FieldsRefusedError(InputError):
    """Fields of a form, or of a JSON body, cannot be saved as they are.

    Args:
        faults: Field to what is wrong with it, at least one; a field of the second charge is ``charges.1.amount``.
    """

    def __init__(self, faults: Mapping[str, Failure]) -> None:
        self.faults = faults
        super().__init__(
            "fields_refused",
            problems=[Fault("field_wrong", field=field, problem=fault) for field, fault in faults.items()],
        )


class StaleEditError(InputError):
    """Somebody else, or an import, changed what the person had before them. Nothing was changed."""


@dataclass(frozen=True, slots=True)
class RowProblem:
    """What is wrong at one place of an input file.

    Args:
        line: Physical line, the header is 1.
        column: None where the line as a whole is wrong.
        value: As it stands in the file; None where no single value is wrong.
        code: Why: a key of `FAILURES`.
        values: What its words speak of, by name.
        invoice_ref: The single invoice whose lines are wrong together, ``line`` the first of them.
    """

    file: str
    line: int
    column: str | None
    value: str | None
    code: str
    values: Mapping[str, object] = field(default_factory=dict)
    invoice_ref: str | None = None

    def __str__(self) -> str:
        return str(self.in_place)

    @property
    def in_place(self) -> Fault:
        """The same with its place in front."""
        place = {"file": self.file, "line": self.line}
        if self.invoice_ref is not None:
            return Fault("row_of_invoice", **place, invoice_ref=self.invoice_ref, problem=self)
        if self.column is None:
            return Fault("row_line", **place, problem=self)
        if self.value is None:
            return Fault("row_column", **place, column=self.column, problem=self)
        value = _shortened(self.value)
        return Fault("row_value", **place, column=self.column, value=value, problem=self)


class ImportRejectedError(InputError):
    """Input files were rejected whole.

    Args:
        problems: Every one of them, in the order of the files; its words name the first 200.
    """

    def __init__(self, problems: Sequence[RowProblem]) -> None:
        self.problems = problems
        listed = [problem.in_place for problem in problems[:_MOST_LISTED]]
        if len(problems) > _MOST_LISTED:
            listed.append(Fault("rows_left_out", left_out=len(problems) - _MOST_LISTED, count=len(problems)))
        super().__init__("import_rejected", count=len(problems), problems=listed)


class WorkFailedError(InvoicingError):
    """The work could not be done, or not all of it."""


class TemporaryFailureError(WorkFailedError):
    """Part of the work is undone and may succeed when repeated later by itself."""


class LimitReachedError(TemporaryFailureError):
    """It would be too much at once, or too often: nothing was done. Its value ``seconds`` says when to ask again."""


class PermanentFailureError(WorkFailedError):
    """Part of the work is undone and needs a person before it is repeated."""


def _shortened(value: str) -> str:
    """``value`` in quotes, with control characters as escapes."""
    return repr(value if len(value) <= _LONGEST_SHOWN else value[: _LONGEST_SHOWN - 1] + "…")
