"""The words of failures: every code has them, in both languages, with all that they speak of."""

import ast
import re
import string
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from invoicing.domain.delivery import DeliveryState
from invoicing.domain.eligibility import MONTHLY_RULES, REASONS
from invoicing.domain.errors import InputError
from invoicing.domain.settings import Settings
from invoicing.domain.typed import FAULTS
from invoicing.mail.transmission import Verdict
from invoicing.words import ledger, settings, trace
from invoicing.words.failures import FAILURES, Fault, tell, tell_both

ROOT = Path(__file__).parents[2]
CLOSING_SQL = ROOT / "plugins" / "invoicing" / "services" / "delivery" / "closing.sql"
# Beside the errors: what is made of a code and its values.
OTHERS = {"Fault", "BrokenConversationError"}
# English says what a library said, or how; Spanish says what it means, from the parts of it, or without.
LANGUAGES_DIFFER = {
    "address_stops_mail", "address_syntax", "css_ignored", "field_refused",
    "recipient_invalid", "resend_invalid_address", "row_value_not_a_choice", "setting_refused",
    "template_attribute_forbidden", "template_attribute_undefined", "template_element_undefined",
    "template_filter_unknown", "template_process_died", "template_tag_open", "template_tag_unknown",
    "template_token_expected", "template_token_unexpected", "trial_address_invalid",
    "value_not_an_address",
}  # fmt: skip


@dataclass(frozen=True)
class Use:
    """A place where a failure is made; ``values`` is None where they are not written there."""

    place: str
    code: ast.expr | None
    values: frozenset[str] | None


@cache
def modules() -> dict[str, ast.Module]:
    files = [*(ROOT / "plugins").rglob("*.py"), *(ROOT / "dags").rglob("*.py")]
    return {
        str(path.relative_to(ROOT)): ast.parse(path.read_text(encoding="utf-8")) for path in sorted(files)
    }


@cache
def families() -> tuple[frozenset[str], frozenset[str]]:
    """Our errors; and those of them that are made of something else than a code."""
    classes = [
        node for tree in modules().values() for node in ast.walk(tree) if isinstance(node, ast.ClassDef)
    ]
    errors = {"InvoicingError"}
    while (
        grown := {each.name for each in classes if {ast.unparse(base) for base in each.bases} & errors}
        - errors
    ):
        errors |= grown
    own = {
        each.name
        for each in classes
        if each.name in errors - {"InvoicingError"}
        and any(isinstance(node, ast.FunctionDef) and node.name == "__init__" for node in each.body)
    }
    grown_own = {
        each.name
        for each in classes
        if {ast.unparse(base) for base in each.bases} & own and each.name in errors
    }
    return frozenset(errors), frozenset(own | grown_own)


def uses() -> Iterator[Use]:
    errors, made_otherwise = families()
    for path, tree in modules().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef) and node.name in made_otherwise:
                for call in ast.walk(node):
                    if isinstance(call, ast.Call) and ast.unparse(call.func) == "super().__init__":
                        yield use_of(path, call)
            if not isinstance(node, ast.Call):
                continue
            name = ast.unparse(node.func).rpartition(".")[2]
            if name in (errors - made_otherwise) | OTHERS:
                yield use_of(path, node)
            elif name == "TemplateProblem" and len(node.args) > 2:
                given = node.args[3] if len(node.args) > 3 else ast.Dict([], [])
                names = given.keys if isinstance(given, ast.Dict) else None
                values = None if names is None else frozenset(ast.literal_eval(key) for key in names if key)
                yield Use(f"{path}:{node.lineno}", node.args[2], values)


def use_of(path: str, call: ast.Call) -> Use:
    splat = any(keyword.arg is None for keyword in call.keywords)
    values = None if splat else frozenset(str(keyword.arg) for keyword in call.keywords)
    return Use(f"{path}:{call.lineno}", call.args[0] if call.args else None, values)


def placeholders(text: str) -> frozenset[str]:
    return frozenset(name for _, name, _, _ in string.Formatter().parse(text) if name is not None)


def test_there_are_places_to_look_at():
    assert len(list(uses())) > 150
    assert {"InputError", "StackError", "RelayRefusedLoginError"} <= families()[0]
    assert {"RenderFailedError", "UnsafeMessageError"} <= families()[1]


def test_an_error_is_a_code_and_no_sentence():
    # A code that is handed on was written elsewhere.
    handed_on = ("code", "error.code", "fault.code", "error.failure.code", "told['code']", "row['code']")
    wrong = [
        f"{use.place} {ast.unparse(use.code) if use.code else '()'}"
        for use in uses()
        if use.code is None
        or (
            not (isinstance(use.code, ast.Constant) and use.code.value in FAILURES)
            and ast.unparse(use.code) not in handed_on
        )
    ]
    assert wrong == []


def test_all_that_the_words_speak_of_is_given():
    lacking = {}
    for use in uses():
        if isinstance(use.code, ast.Constant) and use.code.value in FAILURES and use.values is not None:
            spoken_of = frozenset().union(*map(placeholders, FAILURES[use.code.value]))
            if missing := spoken_of - use.values:
                lacking[use.place] = missing
    assert lacking == {}


def test_no_words_are_for_nothing():
    written = {
        node.value
        for path, tree in modules().items()
        if path != "plugins/invoicing/words/failures.py"
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    # What keeps a cycle from balancing is found, and named, in SQL.
    written |= set(re.findall(r"'(\w+)'", CLOSING_SQL.read_text()))
    assert set(FAILURES) - written == set()


def test_codes_are_codes():
    assert [code for code in FAILURES if not re.fullmatch(r"[a-z]+(_[a-z0-9]+)*", code)] == []


def test_both_languages_speak_of_the_same():
    assert [code for code, texts in FAILURES.items() if len(texts) != 2 or not all(texts)] == []
    different = {code for code, (es, en) in FAILURES.items() if placeholders(es) != placeholders(en)}
    assert different == LANGUAGES_DIFFER


def test_nothing_is_left_untranslated():
    # What is a value and nothing else has no words of its own.
    same = {code for code, (es, en) in FAILURES.items() if es == en and not re.fullmatch(r"[{}\w:, ]+", en)}
    assert same == set()


def test_values_are_told_in_the_same_language_and_never_taken_for_words():
    inner = Fault("template_variable_unknown", name="{known.__class__}", known="{0}")
    es, en = tell_both(Fault("in_line", part="mail.html", line=3, problem=inner))

    assert es == "mail.html, línea 3: no existe la variable «{known.__class__}»; existen {0}"
    assert en == "mail.html, line 3: unknown variable '{known.__class__}'; known are {0}"


def test_several_problems_are_told_one_after_the_other():
    problems = [Fault("subject_empty"), Fault("mail_svg_not_shown")]

    assert tell(Fault("settings_refused", problems=problems), "es") == (
        "los ajustes no se cambiaron: está vacío; los lectores de correo no muestran SVG: use PNG o JPEG"
    )
    assert tell(Fault("import_rejected", count=2, problems=["a.csv line 2", problems[0]])) == (
        "nothing was imported; 2 problem(s) to fix:\n  a.csv line 2\n  it is empty"
    )


def test_what_pydantic_complains_of_has_words():
    for code, names in FAULTS.values():
        assert frozenset(names) == frozenset().union(*map(placeholders, FAILURES[code])), code


def test_a_refused_setting_is_told_in_both_languages():
    with pytest.raises(InputError) as caught:
        Settings().changed({"due_days": "100", "from_email": "a@@b", "recipients": "some"})

    assert str(caught.value) == (
        "settings not changed: recipients=some: Input should be 'all' or 'multiple_only'; "
        "due_days=100: Input should be less than or equal to 90; "
        "from_email=a@@b: Value error, The part after the @-sign contains invalid characters: '@'."
    )
    assert caught.value.in_words("es") == (
        "los ajustes no se cambiaron: recipients=some: Elija una de las opciones.; "
        "due_days=100: Debe ser 90 o menos.; "
        "from_email=a@@b: No es una dirección de correo válida (ejemplo: nombre@dominio.com)."
    )


def test_the_ledger_has_words_for_all_that_it_keeps():
    assert set(DeliveryState) <= set(ledger.STATES)
    assert set(Verdict) == set(ledger.VERDICTS)
    assert set(REASONS) == set(ledger.REASONS)
    assert {rule.__name__ for rule in MONTHLY_RULES} == set(trace.RULES)


def test_settings_have_names_and_their_choices_too():
    assert set(Settings.model_fields) == set(settings.LABELS)
    for name, choices in settings.VALUES.items():
        assert set(choices) == set(Settings.model_fields[name].annotation.__args__), name  # type: ignore[union-attr]
