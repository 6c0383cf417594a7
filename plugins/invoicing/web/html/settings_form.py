"""The settings as a form and as JSON: what is wrong with what was typed."""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from invoicing.db.connection import Database
from invoicing.domain.settings import Settings
from invoicing.domain.typed import fault_of
from invoicing.rendering.validation import validate_subject
from invoicing.services.agency.logo import LogoError, fit_logo
from invoicing.services.agency.templates import current_template, template_names
from invoicing.words.failures import Fault


def find_problems(db: Database, before: Settings, typed: Mapping[str, Any]) -> dict[str, Fault]:
    """What is wrong with the settings that ``typed`` would make, by field. Empty: they can be saved.

    `Settings.changed` asks the same in one message; a form needs it field by field.
    """
    problems = {
        key: Fault("setting_unknown", setting=key) for key in typed if key not in Settings.model_fields
    }
    known = {key: value for key, value in typed.items() if key not in problems}
    problems |= {
        key: Fault("setting_not_text")
        for key, value in known.items()
        if isinstance(value, str) and "\0" in value
    }
    try:
        after = before.validated(known)
    except ValidationError as error:
        problems = {str(each["loc"][0]): fault_of(each) for each in error.errors()} | problems
        # What else is wrong is told at once, not after the first mistakes are fixed.
        sound = {key: value for key, value in known.items() if key not in problems}
        after = before.validated(sound)
    if after.template not in template_names(db):
        problems["template"] = Fault("setting_template_unknown", template=after.template)
    elif "subject" not in problems:
        problem = _subject_problem(db, before, after)
        problems |= {} if problem is None else {"subject": problem}
    if "agency_logo" not in problems and after.agency_logo not in ("", before.agency_logo):
        try:
            fit_logo(after.agency_logo)
        except LogoError as error:
            problems["agency_logo"] = Fault(error.code, **error.values)
    # In the order of the form.
    return {key: problems[key] for key in sorted(problems, key=[*Settings.model_fields, *problems].index)}


def _subject_problem(db: Database, before: Settings, after: Settings) -> Fault | None:
    if after.auto_send and not after.subject:
        return Fault("setting_subject_missing")
    if not after.subject or (after.subject, after.template) == (before.subject, before.template):
        return None
    template = current_template(db, after.template).template
    found = [each for each in validate_subject(after.subject, template) if not each.is_warning]
    return Fault("setting_subject_unusable", problems=found) if found else None
