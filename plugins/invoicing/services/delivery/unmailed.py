"""Documents of invoices that nobody is mailed: made after the mail, to be printed and downloaded."""

import logging
from collections.abc import Callable, Mapping, Sequence

from psycopg.types.json import Jsonb

from invoicing.db.connection import Database
from invoicing.db.statements import beside, fetch_all
from invoicing.domain.delivery import DocumentBatch
from invoicing.services.billing import runs
from invoicing.services.delivery import shares
from invoicing.services.delivery.archive import Archive, StorageFaultError
from invoicing.services.delivery.render import Rendered, Undocumented, render_each, tell_failures
from invoicing.words.failures import Failure, tell_both

log = logging.getLogger(__name__)

_SQL = beside(__file__)


def ask_for_unmailed(db: Database, run_id: int) -> list[DocumentBatch]:
    """Write down which documents nobody has made and nobody will mail.

    They are those of the run's month, or, where it has none, of what is decided on one by one.
    Left out are invoices that are void, of a tenant who is held, not decided on yet, or carried by a message: that one
    brings its document along. Safe to repeat; an earlier run's list is replaced.

    Returns:
        What is to be made, an instance each; empty where the run's settings do not ask for it.
    """
    run = runs.load_run(db, run_id)
    month = {"cycle_id": run.cycle_id, "run_id": run.id}
    with db.transaction():
        runs.lock(db, run)
        db.execute(_SQL["forget"], month)
        if not run.settings.settings.unmailed_documents:
            log.info("documents that nobody is mailed are not made: the setting unmailed_documents is off")
            return []
        statement = _SQL["ask_for_others"] if run.cycle_id is None else _SQL["ask_for_month"]
        ids = [row["invoice_id"] for row in db.execute(statement, month)]
    return shares.for_documents(db, run, ids)


def render_unmailed(
    db: Database,
    archive: Archive,
    run_id: int,
    batch: DocumentBatch,
    *,
    is_repeated: bool = False,
    on_failed: Callable[[Sequence[str]], None] = lambda _numbers: None,
) -> int:
    """Make and keep the documents of the batch that are still to be made. Safe to repeat.

    What cannot be made is kept with its reason, for those who look at what needs a person: no mail depends on it.

    Args:
        is_repeated: A person has cleared the task: the template is today's, which they may have mended since.
        on_failed: Is told the numbers of the invoices that could not be rendered, before that is raised.

    Returns:
        Documents made now.

    Raises:
        PermanentFailureError, TemporaryFailureError, StorageFaultError: As `render.render_batch` does.
    """
    run = runs.load_run(db, run_id)
    template = (runs.as_of_today(db, run) if is_repeated else run).template
    missing = fetch_all(db, Undocumented, _SQL["still_to_make"], {"ids": list(batch.invoice_ids)})
    rendered = Rendered()
    try:
        if missing:
            render_each(db, archive, template, missing, rendered)
    except StorageFaultError as error:
        done = {*rendered.kept, *rendered.failures}
        _keep_problems(
            db, {each.invoice_id: error for each in missing if each.invoice_id not in done}, run_id
        )
        raise
    finally:
        _keep_problems(db, rendered.failures, run_id)
        db.execute(_SQL["made"], {"ids": list(batch.invoice_ids)})
    if rendered.failures:
        tell_failures(rendered, missing, on_failed)
    return len(rendered.kept)


def _keep_problems(db: Database, problems: Mapping[int, Failure], run_id: int) -> None:
    rows = []
    for invoice_id, problem in problems.items():
        es, en = tell_both(problem)
        rows.append({"invoice_id": invoice_id, "problem": {"es": es, "en": en}})
    if rows:
        db.execute(_SQL["keep_problems"], {"rows": Jsonb(rows), "run_id": run_id})
