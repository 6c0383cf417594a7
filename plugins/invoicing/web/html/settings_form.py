"""The settings as a form and as JSON: what is wrong with what was typed."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from invoicing.db.connection import OpenDatabase
from invoicing.domain.settings import Settings
from invoicing.domain.typed import fault_of
from invoicing.rendering.validation import validate_subject
from invoicing.services.agency.logo import LogoError, fit_logo
from invoicing.services.agency.templates import current_template, template_names
from invoicing.words.failures import Fault

# Of the settings there are few; whoever sends more names than this has made them up.
MOST_NAMES = 200


@dataclass(frozen=True, slots=True)
class Findings:
    """What was found of settings that are not saved yet.

    Args:
        problems: By field, in the order of the form. Empty: they can be saved.
        proven_with: Id of the template version that the new subject was tried with; None where none was.
    """

    problems: Mapping[str, Fault]
    proven_with: int | None = None


def examine(open_database: OpenDatabase, before: Settings, typed: Mapping[str, Any]) -> Findings:
    """Find what is wrong with the settings that ``typed`` would make. No connection is held while a subject is tried.

    `Settings.changed` asks the same in one message; a form needs it field by field.
    """
    if len(typed) > MOST_NAMES:
        return Findings({"": Fault("settings_too_many", count=len(typed), most=MOST_NAMES)})
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
    with open_database() as db:
        is_known = after.template in template_names(db)
        template = current_template(db, after.template) if is_known else None
    proven_with = None
    if template is None:
        problems["template"] = Fault("setting_template_unknown", template=after.template)
    elif "subject" in problems:
        pass
    elif after.auto_send and not after.subject:
        problems["subject"] = Fault("setting_subject_missing")
    elif after.subject and (after.subject, after.template) != (before.subject, before.template):
        found = [each for each in validate_subject(after.subject, template.template) if not each.is_warning]
        if found:
            problems["subject"] = Fault("setting_subject_unusable", problems=found)
        proven_with = template.id
    if "agency_logo" not in problems and after.agency_logo not in ("", before.agency_logo):
        try:
            fit_logo(after.agency_logo)
        except LogoError as error:
            problems["agency_logo"] = Fault(error.code, **error.values)
    # In the order of the form.
    ordered = {key: problems[key] for key in sorted(problems, key=[*Settings.model_fields, *problems].index)}
    return Findings(ordered, proven_with)
