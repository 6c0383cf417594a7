"""Render the invoices of a batch of deliveries, once each."""

import logging
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

from invoicing.db.connection import Database
from invoicing.db.statements import beside, fetch_all
from invoicing.domain.delivery import Batch
from invoicing.domain.errors import PermanentFailureError, TemporaryFailureError
from invoicing.rendering.document import InvoiceDocument
from invoicing.rendering.errors import RenderFailedError, RenderInterruptedError
from invoicing.rendering.invoice import InvoiceRenderer
from invoicing.services.agency.settings import SettingsVersions
from invoicing.services.billing import runs as cycles
from invoicing.services.delivery import documents
from invoicing.services.delivery.archive import Archive, Keeper

log = logging.getLogger(__name__)

_SQL = beside(__file__)
_MOST_NAMED = 10
# Issued invoices do not change. Nothing of a document is read when it is laid out, and few are held at once.
_READ_AT_ONCE = 32


@dataclass(frozen=True, slots=True)
class _Lacking:
    invoice_id: int
    number: str
    period: str


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
    missing = fetch_all(
        db, _Lacking, _SQL["invoices_without_document"], {"delivery_ids": list(batch.delivery_ids)}
    )
    failures: dict[str, RenderFailedError] = {}
    rendered = 0
    keeper = Keeper(db, archive, template.id)
    with InvoiceRenderer(template.template) as renderer, _one_behind() as behind:
        for lacking, invoice in _read(db, missing):
            try:
                pdf = renderer.render(invoice)
            except RenderFailedError as error:
                log.error("%s", error)
                failures[lacking.number] = error
                continue
            behind(keeper.keep, lacking.invoice_id, lacking.number, lacking.period, pdf)
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


def _read(db: Database, missing: Sequence[_Lacking]) -> Iterator[tuple[_Lacking, InvoiceDocument]]:
    versions = SettingsVersions()
    for start in range(0, len(missing), _READ_AT_ONCE):
        some = missing[start : start + _READ_AT_ONCE]
        by_number = {
            each.number: each
            for each in documents.load_invoices(db, [lacking.invoice_id for lacking in some], versions)
        }
        yield from ((lacking, by_number[lacking.number]) for lacking in some)


@contextmanager
def _one_behind() -> Iterator[Callable[..., None]]:
    """Give the block a function that calls another one in a thread, once the call before it has ended.

    While a document is on its way to the disk the next one is laid out, by another process. What a call raises is
    raised by the next one, or at the end of the block.
    """
    last: Future[object] | None = None

    def call(function: Callable[..., object], *arguments: object) -> None:
        nonlocal last
        if last is not None:
            last.result()
        last = thread.submit(function, *arguments)

    with ThreadPoolExecutor(1) as thread:
        yield call
        if last is not None:
            last.result()
