"""Tenants and leases as people change them, and what that means for the months that are billed already."""

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from invoicing.db.connection import Database
from invoicing.services.agency import lease_editing, merge, tenants
from invoicing.services.billing import out_of_step
from invoicing.services.billing.out_of_step import DriftedInvoice


@dataclass(frozen=True, slots=True)
class Saved:
    """What saving did.

    Args:
        changed: Whether anything is different now.
        drifted: Invoices that would come out differently today; they stay as they are.
    """

    changed: bool
    drifted: Sequence[DriftedInvoice] = ()


def change_tenant(
    db: Database,
    code: str,
    changes: Mapping[str, Any],
    *,
    actor: str,
    seen_at: datetime.datetime | None = None,
) -> Saved:
    """As `tenants.change_tenant`, which raises; and look back where it may matter to what was billed."""
    with db.transaction():
        looks_back = "withholding_agent" in changes
        if looks_back:
            merge.hold_off_imports(db)
        changed = tenants.change_tenant(db, code, changes, actor=actor, seen_at=seen_at)
        drifted = out_of_step.look_back_on(db, tenant=code) if changed and looks_back else ()
    return Saved(changed, drifted)


def change_lease(
    db: Database,
    code: str,
    values: Mapping[str, str],
    charges: Sequence[Mapping[str, str]] | None,
    *,
    actor: str,
    seen: str | None = None,
) -> Saved:
    """As `lease_editing.change_lease`, which raises; and look back on the lease's invoices."""
    with db.transaction():
        changed = lease_editing.change_lease(db, code, values, charges, actor=actor, seen=seen)
        drifted = out_of_step.look_back_on(db, lease=code) if changed else ()
    return Saved(changed, drifted)
