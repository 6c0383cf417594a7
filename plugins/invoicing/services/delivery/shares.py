"""What each task instance renders and sends (`domain.grain`), by what it costs on this machine."""

import os
from collections.abc import Sequence
from dataclasses import dataclass

from invoicing.db.connection import Database
from invoicing.db.statements import beside, fetch_all
from invoicing.domain.delivery import Batch, DocumentBatch
from invoicing.domain.grain import SMALL_MONTH, Share, even_groups, label_of, one_each, share_out
from invoicing.services.billing import runs
from invoicing.services.billing.runs import Run

_SQL = beside(__file__)
_LABEL_LENGTH = 60

# Measured on two cores, seconds of the clock with both at work: a document with all that keeps it, a message, what each
# document adds to its message. A factor of two does no harm: the batches are as long as each other all the same.
_RENDERING_SECONDS = 0.08
_SENDING_SECONDS = 0.05
_ATTACHING_SECONDS = 0.008

# Below this an instance's own beginning costs more than what it shares: two processes with WeasyPrint, or without.
_LEAST_RENDERING_SECONDS = 1.6
_LEAST_SENDING_SECONDS = 3.0

_CORES = os.cpu_count() or 2
# The pools' sizes (include/deployment/pools.json).
_RENDERING_LANES = max(2, _CORES)
_SENDING_LANES = max(4, _CORES)


@dataclass(frozen=True, slots=True)
class _Recipient:
    id: int
    code: str
    name: str
    documents: int
    lacking: int

    def share(self, seconds: float) -> Share:
        return Share(self.id, _label(self.code, self.name), seconds)


def for_rendering(
    db: Database, run: Run, delivery_ids: Sequence[int], *, is_leftover: bool = False
) -> list[Batch]:
    """Share deliveries out to the instances that render what they lack, by tenant; all of them, for others follow.

    A rendering process costs a second to start: neighbours share one in a small month too.
    """
    return share_out(
        [each.share(each.lacking * _RENDERING_SECONDS) for each in _recipients(db, delivery_ids)],
        lanes=_RENDERING_LANES,
        least_seconds=_LEAST_RENDERING_SECONDS,
        largest=run.settings.settings.largest_batch,
        is_leftover=is_leftover,
    )


@dataclass(frozen=True, slots=True)
class _Unmailed:
    """A tenant with documents to be made that nobody is mailed."""

    code: str
    name: str
    invoice_ids: list[int]

    @property
    def label(self) -> str:
        return _label(self.code, self.name)

    @property
    def seconds(self) -> float:
        return len(self.invoice_ids) * _RENDERING_SECONDS


def for_documents(db: Database, run: Run, invoice_ids: Sequence[int]) -> list[DocumentBatch]:
    """Share invoices out to the instances that make their documents and mail them to nobody, by tenant."""
    groups = even_groups(
        fetch_all(db, _Unmailed, _SQL["tenants_of_invoices"], {"ids": list(invoice_ids)}),
        lanes=_RENDERING_LANES,
        least_seconds=_LEAST_RENDERING_SECONDS,
        largest=run.settings.settings.largest_batch,
    )
    return [
        DocumentBatch(label_of(group), tuple(id_ for tenant in group for id_ in tenant.invoice_ids))
        for group in groups
    ]


def for_sending(db: Database, run_id: int, rendered: Sequence[Batch]) -> list[Batch]:
    """Share out to the instances that send, by tenant, what others rendered.

    Up to `SMALL_MONTH` recipients have an instance each. The same again for the same deliveries, so that an instance
    that is cleared has those that it had.
    """
    run = runs.load_run(db, run_id)
    batches: list[Batch] = []
    for is_leftover in (False, True):
        ids = [id_ for batch in rendered if batch.is_leftover is is_leftover for id_ in batch.delivery_ids]
        shares = [
            each.share(_SENDING_SECONDS + each.documents * _ATTACHING_SECONDS)
            for each in _recipients(db, ids)
        ]
        if len(shares) <= SMALL_MONTH:
            batches += one_each(shares, is_leftover=is_leftover)
        else:
            batches += share_out(
                shares,
                lanes=_SENDING_LANES,
                least_seconds=_LEAST_SENDING_SECONDS,
                largest=run.settings.settings.largest_batch,
                is_leftover=is_leftover,
            )
    return batches


def _recipients(db: Database, delivery_ids: Sequence[int]) -> list[_Recipient]:
    return fetch_all(db, _Recipient, _SQL["recipients"], {"ids": list(delivery_ids)})


def _label(code: str, name: str) -> str:
    return f"{code} {name}"[:_LABEL_LENGTH]
