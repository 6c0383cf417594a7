"""What a delivery can be, and who may move it."""

from dataclasses import dataclass
from enum import StrEnum


class DeliveryState(StrEnum):
    """State of a delivery (docs/contract.md, section 5); the database's trigger holds the same transitions."""

    PENDING = "pending"
    CLAIMED = "claimed"
    TRANSMITTING = "transmitting"
    SENT = "sent"
    FAILED = "failed"
    IN_DOUBT = "in_doubt"
    HELD = "held"
    CANCELLED = "cancelled"

    @property
    def is_done(self) -> bool:
        """Nothing is left for a worker to do."""
        return self in (DeliveryState.SENT, DeliveryState.CANCELLED, DeliveryState.HELD)


@dataclass(frozen=True, slots=True)
class Batch:
    """The deliveries of one mapped task instance.

    Args:
        label: What the Airflow UI shows for the instance: the tenant, or the range of tenants.
        delivery_ids: At least one.
        is_leftover: An earlier run tried them, or the brake stopped it, and it has ended: they are tried once more,
            and nobody waits for them.
    """

    label: str
    delivery_ids: tuple[int, ...]
    is_leftover: bool = False


def merge_for_rendering(batches: list[Batch], size: int = 20, most: int = 200) -> list[Batch]:
    """Merge neighbouring batches: starting a rendering process costs more than rendering ten invoices.

    Args:
        size: Deliveries of a merged batch at least, where there are so many.
        most: Batches at the most, of leftovers and of others each.
    """
    merged = []
    for is_leftover in (False, True):
        alike = [batch for batch in batches if batch.is_leftover is is_leftover]
        recipients = [(delivery_id, batch.label) for batch in alike for delivery_id in batch.delivery_ids]
        at_most = min(most, -(-len(recipients) // size) or 1)
        merged += split_into_batches(recipients, at_most, is_leftover=is_leftover)
    return merged


def split_into_batches(
    recipients: list[tuple[int, str]], most: int = 200, *, is_leftover: bool = False
) -> list[Batch]:
    """Group deliveries so that no more than ``most`` task instances are mapped.

    Up to ``most`` recipients each has an instance of its own; beyond, neighbours share one, in batches
    of the same size save the last.

    Args:
        recipients: Delivery id and the tenant's label, in the order to be sent.
        most: Instances at the most; a mapped instance costs about 0.5 s of a two-core machine.
    """
    size = -(-len(recipients) // most) or 1
    chunks = [recipients[start : start + size] for start in range(0, len(recipients), size)]
    return [
        Batch(
            chunk[0][1] if len(chunk) == 1 else f"{chunk[0][1]} … {chunk[-1][1]} ({len(chunk)})",
            tuple(delivery_id for delivery_id, _ in chunk),
            is_leftover,
        )
        for chunk in chunks
    ]
