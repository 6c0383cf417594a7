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


@dataclass(frozen=True, slots=True)
class DocumentBatch:
    """The invoices of one mapped task instance that makes documents which nobody is mailed.

    Args:
        label: As a `Batch` has it.
        invoice_ids: At least one.
    """

    label: str
    invoice_ids: tuple[int, ...]
