"""Render the invoices of a batch of deliveries, once each."""

import logging
from collections.abc import Callable, Sequence

from invoicing.db.connection import Database
from invoicing.db.statements import beside
from invoicing.domain.delivery import Batch
from invoicing.domain.errors import PermanentFailureError, TemporaryFailureError
from invoicing.rendering.errors import RenderFailedError, RenderInterruptedError
from invoicing.rendering.invoice import InvoiceRenderer
from invoicing.services.agency.settings import SettingsVersions
from invoicing.services.billing import runs as cycles
from invoicing.services.delivery import documents
from invoicing.services.delivery.archive import Archive, keep

log = logging.getLogger(__name__)

_SQL = beside(__file__)
_MOST_NAMED = 10


def render_batch(
    db: Database,
    archive: Archive,
    run_id: int,
    batch: Batch,
    *,
    is_repeated: bool = False,
    on_failed: Callable[[Sequence[str]], None] = lambda _numbers: None,
) -> int:
    """Render and keep the documents that the batch's deliveries lack. Safe to repeat.

    One invoice that cannot be rendered costs its own tenant the mail, no other. Where an earlier run left it over, the
    log alone tells.

    Args:
        is_repeated: A person has cleared the task: the template is today's, which they may have mended since, and not
            the run's.
        on_failed: Is told the numbers of the invoices that could not be rendered, before that is raised.

    Returns:
        Documents rendered now.

    Raises:
        PermanentFailureError: Some could not be rendered; every other one was.
        TemporaryFailureError: The same, and another try may do: the process was interrupted.
        StorageFaultError: The archive does not take them.
    """
    run = cycles.load_run(db, run_id)
    template = (cycles.as_of_today(db, run) if is_repeated else run).template
    missing = db.execute(
        _SQL["invoices_without_document"], {"delivery_ids": list(batch.delivery_ids)}
    ).fetchall()
    failures: dict[str, RenderFailedError] = {}
    rendered = 0
    versions = SettingsVersions()
    with InvoiceRenderer(template.template) as renderer:
        for row in missing:
            invoice_id = row["invoice_id"]
            (invoice,) = documents.load_invoices(db, [invoice_id], versions)
            try:
                pdf = renderer.render(invoice)
            except RenderFailedError as error:
                log.error("%s", error)
                failures[row["number"]] = error
                continue
            keep(db, archive, invoice_id, template.id, pdf)
            rendered += 1
    if failures and not batch.is_leftover:
        on_failed(list(failures))
        listing = list(failures.values())[:_MOST_NAMED]
        may_pass = any(isinstance(failure, RenderInterruptedError) for failure in failures.values())
        if may_pass:
            raise TemporaryFailureError(
                "invoices_not_rendered",
                failed=len(failures),
                all=len(missing),
                listing=listing,
            )
        raise PermanentFailureError(
            "invoices_not_rendered", failed=len(failures), all=len(missing), listing=listing
        )
    return rendered
