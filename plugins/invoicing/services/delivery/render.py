"""Render the invoices of a batch of deliveries, once each."""

import logging

from invoicing.db.connection import Database
from invoicing.db.statements import load
from invoicing.domain.delivery import Batch
from invoicing.domain.errors import PermanentFailureError
from invoicing.rendering.errors import RenderFailedError
from invoicing.rendering.invoice import InvoiceRenderer
from invoicing.services.billing import runs as cycles
from invoicing.services.delivery import documents
from invoicing.services.delivery.archive import Archive

log = logging.getLogger(__name__)


def render_batch(db: Database, archive: Archive, run_id: int, batch: Batch) -> int:
    """Render and keep the documents that the batch's deliveries lack. Safe to repeat.

    One invoice that cannot be rendered costs its own tenant the mail, no other.

    Returns:
        Documents rendered now.

    Raises:
        PermanentFailureError: Some could not be rendered; every other one was.
    """
    template = cycles.load_run(db, run_id).template
    missing = db.execute(
        load("invoice")["invoices_without_document"], {"delivery_ids": list(batch.delivery_ids)}
    ).fetchall()
    failures = []
    rendered = 0
    with InvoiceRenderer(template.template) as renderer:
        for row in missing:
            invoice_id = row["invoice_id"]
            (invoice,) = documents.load_invoices(db, [invoice_id])
            try:
                pdf = renderer.render(invoice)
            except RenderFailedError as error:
                log.error("%s", error)
                failures.append(str(error))
                continue
            documents.keep(db, archive, invoice_id, template.id, pdf)
            rendered += 1
    if failures:
        raise PermanentFailureError(
            f"{len(failures)} of {len(missing)} invoices were not rendered: " + "; ".join(failures[:10])
        )
    return rendered
