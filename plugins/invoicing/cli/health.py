"""`health`: what needs a person."""

from datetime import UTC, datetime

import typer

from invoicing import stack
from invoicing.cli.connections import open_database
from invoicing.cli.options import AsJson
from invoicing.cli.terminal import language_of_errors, out, print_json, say
from invoicing.domain.errors import WorkFailedError
from invoicing.rendering.cage import CageReport
from invoicing.rendering.errors import RenderFailedError
from invoicing.rendering.sandbox import look_at_cage
from invoicing.services.delivery.journal import Journal, journal_folder
from invoicing.services.delivery.notices import NoticeFolder
from invoicing.services.views import health as condition
from invoicing.words.failures import Fault, tell


def health(as_json: AsJson = False) -> None:
    """One line for each thing that needs a person; exit 0 where there is none, else 1."""
    try:
        with open_database() as db:
            checks = condition.look(db, _here())
    except WorkFailedError as error:
        checks = [condition.database_away(error)]
    language = language_of_errors()
    is_well = all(check.ok for check in checks)
    if as_json:
        rows = [
            {
                "name": check.name,
                "ok": check.ok,
                "detail": tell(check.detail, language),
                "next_step": check.next_step and tell(check.next_step, language),
            }
            for check in checks
        ]
        print_json({"ok": is_well, "checks": rows})
    for check in checks if not as_json else ():
        if check.next_step is not None:
            line = f"{check.name}: {tell(check.detail, language)} → {tell(check.next_step, language)}"
            out.print(line, markup=False, highlight=False)
    if is_well and not as_json:
        say(Fault("all_well"))
    if not is_well:
        raise typer.Exit(1)


def _here() -> condition.Here:
    environ = stack.environment()
    folder = journal_folder(environ)
    return condition.Here(
        datetime.now(UTC),
        journal_entries=Journal(folder).waiting(),
        kept_notices=NoticeFolder(folder.parent / "notices").waiting(),
        has_notifier=condition.names_notifier(environ.get("AIRFLOW_CONN_INVOICING_SMTP", "")),
        renderer=_renderer(),
    )


def _renderer() -> CageReport | RenderFailedError:
    try:
        return look_at_cage()
    except RenderFailedError as error:
        return error
