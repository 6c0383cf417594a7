"""`settings`: show and set."""

from typing import Annotated, Any

import typer

from invoicing.cli.connections import actor, open_database
from invoicing.cli.options import AsJson
from invoicing.cli.terminal import err, language_of_errors, out, print_json, print_table
from invoicing.domain.errors import InputError
from invoicing.services.agency import settings as settings_service
from invoicing.words.failures import tell

app = typer.Typer(help="Show and change the agency's settings.", no_args_is_help=True)


@app.command("show")
def settings_show(as_json: AsJson = False) -> None:
    """Show the settings in force."""
    with open_database() as db:
        version = settings_service.current_settings(db)
    values = version.settings.model_dump()
    if as_json:
        print_json(
            {
                **values,
                "version": version.id,
                "actor": version.actor,
                "created_at": version.created_at.isoformat(),
            }
        )
        return
    fields = type(version.settings).model_fields
    rows = [
        {"setting": key, "value": _shortened(str(value)), "meaning": fields[key].description}
        for key, value in values.items()
    ]
    print_table(f"settings version {version.id}, by {version.actor}", rows, ["setting", "value", "meaning"])
    for fault in version.settings.doubtful:
        err.print(tell(fault, language_of_errors()), markup=False)


def _shortened(text: str) -> str:
    return text if len(text) <= 60 else text[:57] + "…"


@app.command("set")
def settings_set(
    assignments: Annotated[list[str], typer.Argument(metavar="KEY=VALUE …")], as_json: AsJson = False
) -> None:
    """Change settings; all of them or, if one is wrong, none."""
    changes: dict[str, Any] = {}
    for assignment in assignments:
        key, equals, value = assignment.partition("=")
        if not equals:
            raise InputError("assignment_malformed", assignment=assignment)
        if key in changes:
            raise InputError("setting_given_twice", setting=key)
        changes[key] = value
    with open_database() as db:
        version = settings_service.change_settings(db, changes, actor=actor())
    if as_json:
        print_json({**version.settings.model_dump(), "version": version.id})
    else:
        out.print(f"settings version {version.id} is in force")
