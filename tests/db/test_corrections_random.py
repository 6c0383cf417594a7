"""Whatever an agency is like and people correct in its month: what is owed is what the leases say, to the peso."""

from collections import Counter, defaultdict
from decimal import Decimal
from fractions import Fraction
from math import floor
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, event, given, settings
from hypothesis import strategies as st

from invoicing.db.connection import Database, connect
from invoicing.services.delivery import corrections
from invoicing.services.delivery.corrections import Corrected
from invoicing.services.views import report
from support.agency import NOVEMBER, Agency
from support.database import Server
from support.random_agency import RandomAgency, RandomLease, RandomMonth, months
from support.random_corrections import ACTS, Act, bill, correct, send

DAYS = 30
IVA, RETEFUENTE, RETEIVA, RETEICA = (Fraction(rate) for rate in ("0.19", "0.035", "0.15", "0.00966"))
WHY = {"reason": "the month ends", "actor": "test"}
Rows = list[dict[str, Any]]


def rounded(amount: Fraction) -> int:
    """To the peso, halves away from zero."""
    size = floor(abs(amount) + Fraction(1, 2))
    return size if amount >= 0 else -size


def says(lease: RandomLease, *, is_agent: bool) -> int:
    """What a lease comes to in November (docs/contract.md, section 5), worked out by other means than the code's."""
    first, last = max(lease.start, NOVEMBER.first_day), min(lease.end or NOVEMBER.last_day, NOVEMBER.last_day)
    days = (last - first).days + 1
    if days <= 0:
        return 0
    share = Fraction(days, DAYS)
    is_commercial = lease.use == "commercial"
    lines = [(rounded(lease.rent * share), is_commercial)]
    lines += [
        (rounded(amount * share) if prorated else amount, tax == "iva")
        for amount, tax, prorated in lease.charges
    ]
    iva = sum(rounded(amount * IVA) for amount, has_iva in lines if has_iva)
    kept = 0
    if is_commercial and is_agent:
        rent = lines[0][0]
        kept = (
            rounded(rent * RETEFUENTE) + rounded(rent * RETEICA) + (rounded(iva * RETEIVA) if iva >= 0 else 0)
        )
    return sum(amount for amount, _ in lines) + iva - kept


class Books:
    """What each lease owes of the month, kept beside the application by what is done to it.

    Args:
        owed: By lease, of those that were billed.
    """

    def __init__(self, db: Database, agency: Agency) -> None:
        self.db = db
        self.agency = agency
        self.owed: dict[str, int] = {}
        self.leases: dict[str, int] = {}

    def see(self, month: RandomMonth) -> None:
        """What the leases say from here on."""
        for place, lease in enumerate(month.leases):
            self.leases[f"L{place}"] = says(lease, is_agent=month.tenants[lease.tenant].withholding_agent)

    def bill(self) -> None:
        """A run bills what it has never billed, and nothing else."""
        for lease, amount in self.leases.items():
            if amount > 0:
                self.owed.setdefault(lease, amount)

    def correct(self, done: Corrected) -> None:
        lease = str(done.lease)
        match done.act:
            case "replace":
                self.owed[lease] = self.leases[lease]
            case "void":
                self.owed[lease] = 0
            case _:
                assert done.credit_note is not None
                self.owed[lease] -= int(done.credit_note.total)
                assert (self.owed[lease] == 0) == (done.state == "credited")
        assert self.owed[lease] >= 0

    def check(self) -> None:
        """The application's own figures say the same, by invoice and by month, and no number is missing."""
        rows = report.cycle_invoices(self.db, NOVEMBER) if self.agency.runs else []
        found: defaultdict[str, int] = defaultdict(int)
        for row in rows:
            assert Decimal(row["total"]) == sum(
                Decimal(row[part]) * sign for part, sign in (("subtotal", 1), ("tax", 1), ("withholding", -1))
            )
            if row["state"] != "void":
                found[row["lease"]] += int(row["total"]) * (1 if row["kind"] == "invoice" else -1)
        assert {lease: amount for lease, amount in found.items() if amount} == {
            lease: amount for lease, amount in self.owed.items() if amount
        }
        shown = report.cycle_report(self.db, NOVEMBER)
        assert (shown["balanced"], shown["imbalances"]) == (True, [])
        whole = sum(int(row["total"]) for row in rows if row["state"] == "credited")
        taken_back = int(shown["credits"]["total"])
        assert int(shown["invoices"]["total"]) + whole - taken_back == sum(self.owed.values())
        self._check_numbers(rows)

    def _check_numbers(self, rows: Rows) -> None:
        """No number twice, none missing: each series runs from 1 to the last that it gave."""
        assert max(Counter(row["number"] for row in rows).values(), default=1) == 1
        for series in self.db.execute("SELECT prefix, last_serial FROM invoicing.invoice_series").fetchall():
            given = sorted(
                int(row["number"].removeprefix(series["prefix"]))
                for row in rows
                if row["number"].startswith(series["prefix"])
            )
            assert given == list(range(1, series["last_serial"] + 1)), series

    def set_right(self) -> None:
        """Each invoice is replaced whose lease says something else; one whose lease says nothing is taken back."""
        last = {
            row["lease"]: row["number"]
            for row in report.cycle_invoices(self.db, NOVEMBER)
            if row["kind"] == "invoice" and row["replaced_by"] is None
        }
        for lease, number in last.items():
            owed, due = self.owed[lease], max(0, self.leases[lease])
            if owed == due:
                continue
            if due:
                event("set right: replaced")
                self.correct(corrections.replace_invoice(self.db, number, **WHY))
            else:
                event("set right: taken back")
                self.correct(self._take_back(number))
            self.check()

    def _take_back(self, number: str) -> Corrected:
        row = self.db.execute(
            "SELECT coalesce(bool_or(d.state = 'sent'), false) OR i.state = 'partly_credited' AS was_sent"
            " FROM invoicing.invoice i LEFT JOIN invoicing.delivery_invoice di ON di.invoice_id = i.id"
            " LEFT JOIN invoicing.delivery d ON d.id = di.delivery_id WHERE i.number = %s GROUP BY i.id",
            [number],
        ).fetchone()
        assert row is not None
        if row["was_sent"]:
            return corrections.credit(self.db, number, None, **WHY)
        return corrections.void(self.db, number, **WHY)


def check(server: Server, states: list[RandomMonth], acts: list[list[Act]], put: list[bool]) -> None:
    with server.fresh_copy() as dsn, connect(dsn) as db:
        agency = Agency(db)
        random_agency = RandomAgency(agency)
        random_agency.add_taxes()
        db.execute(
            "INSERT INTO invoicing.tax_rate (tax, city, rate, valid_from) VALUES ('reteiva', '', 0.15, '2020-01-01')"
        )
        books = Books(db, agency)
        for month, done_then in zip(states, acts, strict=True):
            bill(agency, month, random_agency)
            books.see(month)
            books.bill()
            books.check()
            send(agency, put)
            for act in done_then:
                done = correct(db, act)
                if done:
                    books.correct(done)
                books.check()
        agency.run()
        books.bill()
        books.check()
        books.set_right()
        assert sum(books.owed.values()) == sum(max(0, amount) for amount in books.leases.values())
        agency.run()
        books.check()


def property_test(examples: int) -> Any:
    stories = given(
        states=months(2),
        acts=st.tuples(ACTS, ACTS).map(list),
        put=st.lists(st.booleans(), max_size=4),
    )
    unhurried = settings(
        max_examples=examples,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.explicit, Phase.reuse, Phase.generate),
    )
    return lambda test: unhurried(stories(test))


@property_test(examples=3)
def test_what_is_owed_is_what_the_leases_say(
    server: Server, states: list[RandomMonth], acts: list[list[Act]], put: list[bool]
) -> None:
    check(server, states, acts, put)


@pytest.mark.long
@pytest.mark.timeout(3600)
@property_test(examples=300)
def test_what_is_owed_is_what_the_leases_say_at_length(
    server: Server, states: list[RandomMonth], acts: list[list[Act]], put: list[bool]
) -> None:
    check(server, states, acts, put)
