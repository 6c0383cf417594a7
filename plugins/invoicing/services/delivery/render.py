"""Render the invoices of a batch of deliveries, once each."""

import logging
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field

from invoicing.db.connection import Database
from invoicing.db.statements import beside, fetch_all
from invoicing.domain.delivery import Batch
from invoicing.domain.errors import PermanentFailureError, TemporaryFailureError
from invoicing.rendering.document import InvoiceDocument
from invoicing.rendering.errors import RenderFailedError, RenderInterruptedError
from invoicing.rendering.invoice import InvoiceRenderer
from invoicing.services.agency.settings import SettingsVersions
from invoicing.services.agency.templates import TemplateVersion
from invoicing.services.billing import runs as cycles
from invoicing.services.delivery import documents
from invoicing.services.delivery.archive import Archive, Keeper

log = logging.getLogger(__name__)

_SQL = beside(__file__)
_MOST_NAMED = 10
# Issued invoices do not change. Nothing of a document is read when it is laid out, and few are held at once.
_READ_AT_ONCE = 32


@dataclass(frozen=True, slots=True)
class Undocumented:
    """An invoice that has no document yet."""

    invoice_id: int
    number: str
    period: str


@dataclass
class Rendered:
    """What came of the documents that were to be made.

    Args:
        kept: Ids of the invoices that have theirs now.
        failures: Why the others have none, by invoice id.
    """

    kept: list[int] = field(default_factory=list)
    failures: dict[int, RenderFailedError] = field(default_factory=dict)


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
        db, Undocumented, _SQL["invoices_without_document"], {"delivery_ids": list(batch.delivery_ids)}
    )
    rendered = Rendered()
    render_each(db, archive, template, missing, rendered)
    if rendered.failures and not batch.is_leftover:
        tell_failures(rendered, missing, on_failed)
    return len(rendered.kept)


def render_each(
    db: Database,
    archive: Archive,
    template: TemplateVersion,
    missing: Sequence[Undocumented],
    rendered: Rendered,
) -> None:
    """Make and keep the documents of ``missing``, each on its own.

    Args:
        rendered: Is told of each, so that it is known of those before the archive went away too.

    Raises:
        StorageFaultError: The archive does not take them.
    """
    keeper = Keeper(db, archive, template.id)

    def keep(each: Undocumented, pdf: bytes) -> None:
        keeper.keep(each.invoice_id, each.number, each.period, pdf)
        rendered.kept.append(each.invoice_id)

    with InvoiceRenderer(template.template) as renderer, _one_behind() as behind:
        for each, invoice in _read(db, missing):
            try:
                pdf = renderer.render(invoice)
            except RenderFailedError as error:
                log.error("%s", error)
                rendered.failures[each.invoice_id] = error
                continue
            behind(keep, each, pdf)


def tell_failures(
    rendered: Rendered, missing: Sequence[Undocumented], on_failed: Callable[[Sequence[str]], None]
) -> None:
    """Raise what became of ``missing``, of which at least one could not be rendered.

    Args:
        on_failed: Is told their numbers first.

    Raises:
        TemporaryFailureError: Another try may do: the rendering process was interrupted.
        PermanentFailureError: No other try can help.
    """
    failures = rendered.failures
    on_failed([each.number for each in missing if each.invoice_id in failures])
    may_pass = any(isinstance(failure, RenderInterruptedError) for failure in failures.values())
    raise (TemporaryFailureError if may_pass else PermanentFailureError)(
        "invoices_not_rendered",
        failed=len(failures),
        all=len(missing),
        listing=list(failures.values())[:_MOST_NAMED],
    )


def _read(db: Database, missing: Sequence[Undocumented]) -> Iterator[tuple[Undocumented, InvoiceDocument]]:
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
