"""What is billed to whom: leases, charges and tax rates, from the database's rows to what the rules work with."""

import datetime
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from invoicing.db.connection import Database
from invoicing.db.statements import beside, fetch_all, fetch_chunks
from invoicing.domain.errors import InputError
from invoicing.domain.invoice import InvoiceDraft, draft_lease_invoice
from invoicing.domain.lease import Charge, ChargeTax, Language, Lease, Use
from invoicing.domain.period import Period
from invoicing.domain.taxes import TaxRate, TaxTable

_SQL = beside(__file__)


@dataclass(frozen=True, slots=True)
class BilledTenant:
    """Who an invoice is made out to, as imported."""

    id: int
    code: str
    name: str
    document_type: str
    document_number: str
    city: str
    language: Language


@dataclass(frozen=True, slots=True)
class BilledLease:
    """A lease and its tenant.

    Args:
        terms: What the rules work with. Its charges are those due in the period that was asked for.
    """

    id: int
    tenant: BilledTenant
    terms: Lease


@dataclass(frozen=True, slots=True)
class _LeaseRow:
    id: int
    code: str
    property: str
    city: str
    use: Use
    start_date: datetime.date
    end_date: datetime.date | None
    rent: Decimal
    currency: str
    tenant_id: int
    tenant_code: str
    tenant_name: str
    document_type: str
    document_number: str
    tenant_city: str
    language: Language
    withholding_agent: bool

    def with_charges(self, charges: Iterable[Charge]) -> BilledLease:
        tenant = BilledTenant(
            id=self.tenant_id,
            code=self.tenant_code,
            name=self.tenant_name,
            document_type=self.document_type,
            document_number=self.document_number,
            city=self.tenant_city,
            language=self.language,
        )
        terms = Lease(
            code=self.code,
            property=self.property,
            city=self.city,
            use=self.use,
            start_date=self.start_date,
            end_date=self.end_date,
            rent=self.rent,
            currency=self.currency,
            withholding_agent=self.withholding_agent,
            charges=tuple(charges),
        )
        return BilledLease(self.id, tenant, terms)


@dataclass(frozen=True, slots=True)
class _ChargeRow:
    lease_id: int
    concept: str
    description: str
    amount: Decimal
    tax: ChargeTax
    prorated: bool


def leases_to_invoice(db: Database, period: Period, *, most: int | None = None) -> list[BilledLease]:
    """Leases active in ``period`` that have no standing invoice for it, by code; the first ``most`` of them."""
    rows = fetch_all(db, _LeaseRow, _SQL["leases_to_invoice"], _to_invoice(period, most))
    return _with_charges(db, rows, period)


def each_lease_to_invoice(db: Database, period: Period) -> Iterator[list[BilledLease]]:
    """All of `leases_to_invoice`, so many at a time; in the caller's transaction."""
    for rows in fetch_chunks(db, _LeaseRow, _SQL["leases_to_invoice"], _to_invoice(period, None)):
        yield _with_charges(db, rows, period)


def count_to_invoice(db: Database, period: Period) -> int:
    """How many `leases_to_invoice` there are: some of them may come to nothing."""
    row = db.execute(_SQL["count_to_invoice"], _to_invoice(period, None)).fetchone()
    assert row is not None
    return int(row["leases"])


def _to_invoice(period: Period, most: int | None) -> dict[str, object]:
    return {
        "period": str(period),
        "first_day": period.first_day,
        "last_day": period.last_day,
        "limit": most,
    }


def leases_of_tenant(db: Database, tenant_id: int, period: Period, *, most: int) -> list[BilledLease]:
    """A tenant's leases active in ``period``, by code; the first ``most`` of them."""
    which = {
        "tenant_id": tenant_id,
        "first_day": period.first_day,
        "last_day": period.last_day,
        "limit": most,
    }
    return _with_charges(db, fetch_all(db, _LeaseRow, _SQL["leases_of_tenant"], which), period)


def leases_by_id(db: Database, ids: Sequence[int], period: Period) -> Mapping[int, BilledLease]:
    """Leases as they are now, whether active in ``period`` or not, with their charges due in it."""
    rows = fetch_all(db, _LeaseRow, _SQL["leases_by_id"], {"ids": list(ids)})
    return {lease.id: lease for lease in _with_charges(db, rows, period)}


def leases_by_code(db: Database, codes: Sequence[str]) -> Mapping[str, BilledLease]:
    """Those of ``codes`` that are leases', without their charges."""
    rows = fetch_all(db, _LeaseRow, _SQL["leases_by_code"], {"codes": list(codes)})
    return {row.code: row.with_charges(()) for row in rows}


def tenants_by_code(db: Database, codes: Sequence[str]) -> Mapping[str, BilledTenant]:
    """Those of ``codes`` that are tenants'."""
    found = fetch_all(db, BilledTenant, _SQL["tenants_by_code"], {"codes": list(codes)})
    return {tenant.code: tenant for tenant in found}


def tax_table(db: Database, day: datetime.date) -> TaxTable:
    """The tax rates in force on ``day``."""
    return TaxTable(fetch_all(db, TaxRate, _SQL["tax_rates_in_force"], {"day": day}), on=day)


def draft_lease(lease: BilledLease, period: Period, taxes: TaxTable) -> InvoiceDraft | None:
    """Work out the invoice of one lease, as `draft_lease_invoice` does.

    Raises:
        InputError: It cannot be worked out; the words name the lease.
    """
    try:
        return draft_lease_invoice(lease.terms, period, taxes)
    except InputError as error:
        raise InputError("lease_not_billable", lease=lease.terms.code, reason=error) from None


def _with_charges(db: Database, rows: Sequence[_LeaseRow], period: Period) -> list[BilledLease]:
    charges: defaultdict[int, list[Charge]] = defaultdict(list)
    which = {"lease_ids": [row.id for row in rows], "period": str(period)}
    for each in fetch_all(db, _ChargeRow, _SQL["charges_due"], which):
        charge = Charge(each.concept, each.description, each.amount, each.tax, each.prorated)
        charges[each.lease_id].append(charge)
    return [row.with_charges(charges[row.id]) for row in rows]
