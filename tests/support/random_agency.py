"""Random agencies, and what people change in them from one month to the next."""

import datetime
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from hypothesis import strategies as st

from support.agency import Agency

EMAILS: tuple[list[str], ...] = (
    [],
    ["a@correo.example"],
    ["roto@@correo.example"],
    ["a@b.example", "c@d.example"],
)
FIRST_DAY, LAST_DAY = datetime.date(2026, 8, 1), datetime.date(2026, 12, 31)


@dataclass(frozen=True, slots=True)
class RandomTenant:
    emails: list[str]
    cc_emails: list[str]
    auto_send: bool
    only_multiple: bool
    withholding_agent: bool

    def columns(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True)
class RandomLease:
    """``charges``: amount, tax, prorated."""

    tenant: int
    use: str
    start: datetime.date
    end: datetime.date | None
    rent: int
    charges: list[tuple[int, str, bool]]


@dataclass(frozen=True, slots=True)
class RandomMonth:
    """What an agency looks like in one month: tenants and leases by their place in the list."""

    settings: dict[str, Any]
    tenants: list[RandomTenant]
    leases: list[RandomLease]


TENANT = st.builds(
    RandomTenant,
    emails=st.sampled_from(EMAILS),
    cc_emails=st.sampled_from(EMAILS[:3]),
    auto_send=st.booleans() | st.just(True),
    only_multiple=st.booleans(),
    withholding_agent=st.booleans(),
)


@st.composite
def lease(draw: st.DrawFn) -> RandomLease:
    start = draw(st.just(datetime.date(2020, 1, 1)) | st.dates(FIRST_DAY, LAST_DAY))
    end = draw(st.none() | st.none() | st.dates(max(start, FIRST_DAY), LAST_DAY))
    charge = st.tuples(st.integers(-1_500_000, 400_000), st.sampled_from(["iva", "none"]), st.booleans())
    return RandomLease(
        tenant=draw(st.integers(0, 3)),
        use=draw(st.sampled_from(["residential", "commercial"])),
        start=start,
        end=end,
        rent=draw(st.sampled_from([0, 1_000_000, 1_234_567])),
        charges=draw(st.lists(charge, max_size=2)),
    )


MONTH = st.builds(
    RandomMonth,
    settings=st.fixed_dictionaries(
        {
            "auto_send": st.booleans() | st.just(True) | st.just(True),
            "recipients": st.sampled_from(["all", "multiple_only"]),
            "grouping": st.sampled_from(["per_tenant", "per_invoice"]),
            "approval": st.sampled_from(["never", "always", "changed"]),
            "approval_change_percent": st.sampled_from([0, 20, 1000]),
        }
    ),
    tenants=st.lists(TENANT, min_size=4, max_size=4),
    leases=st.lists(lease(), min_size=1, max_size=6),
)


@st.composite
def months(draw: st.DrawFn, count: int) -> list[RandomMonth]:
    """So many states of one agency: each keeps some of what the one before had, and has some of its own."""
    made = [draw(MONTH)]
    while len(made) < count:
        last, other = made[-1], draw(MONTH)
        made.append(
            RandomMonth(
                settings=draw(st.sampled_from([last.settings, last.settings, other.settings])),
                tenants=[
                    draw(st.sampled_from(pair)) for pair in zip(last.tenants, other.tenants, strict=True)
                ],
                leases=[
                    *(draw(st.sampled_from([each, each, other.leases[0]])) for each in last.leases),
                    *draw(st.sampled_from([[], other.leases[1:]])),
                ],
            )
        )
    return made


@dataclass
class RandomAgency:
    """The agency in the database, brought to one month's state after the other."""

    agency: Agency
    known: set[str] = field(default_factory=set)

    def become(self, month: RandomMonth) -> None:
        """As settings, pages and imports change it."""
        self.agency.set(**month.settings, from_email="facturas@agencia.example")
        for number, tenant in enumerate(month.tenants):
            self._tenant(f"T{number}", tenant)
        db = self.agency.db
        db.execute("DELETE FROM invoicing.charge")
        for number, each in enumerate(month.leases):
            self._lease(f"L{number}", each)

    def add_taxes(self) -> None:
        """Without a rate of IVA nothing commercial can be worked out."""
        for tax, city, rate in (
            ("iva", "", "0.19"),
            ("retefuente", "", "0.035"),
            ("reteica", "Cali", "0.00966"),
        ):
            self.agency.db.execute(
                "INSERT INTO invoicing.tax_rate (tax, city, rate, valid_from) VALUES (%s, %s, %s, '2020-01-01')",
                [tax, city, Decimal(rate)],
            )

    def _tenant(self, code: str, tenant: RandomTenant) -> None:
        if code not in self.known:
            self.known.add(code)
            self.agency.add_tenant(code, leases=0)
        self.agency.change_tenant(code, **tenant.columns())

    def _lease(self, code: str, lease: RandomLease) -> None:
        db = self.agency.db
        if code not in self.known:
            self.known.add(code)
            self.agency.add_lease(code, f"T{lease.tenant}")
        db.execute(
            "UPDATE invoicing.lease SET tenant_id = (SELECT id FROM invoicing.tenant WHERE code = %(tenant)s),"
            " use = %(use)s, start_date = %(start)s, end_date = %(end)s, rent = %(rent)s, city = 'Cali'"
            " WHERE code = %(code)s",
            {
                "code": code,
                "tenant": f"T{lease.tenant}",
                "use": lease.use,
                "start": lease.start,
                "end": lease.end,
                "rent": lease.rent,
            },
        )
        for amount, tax, prorated in lease.charges:
            db.execute(
                "INSERT INTO invoicing.charge (lease_id, concept, description, amount, tax, prorated)"
                " SELECT id, 'charge', 'Cargo', %s, %s, %s FROM invoicing.lease WHERE code = %s",
                [amount, tax, prorated, code],
            )
