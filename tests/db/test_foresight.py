"""What is foreseen is what the run then does; and nothing of it remains."""

import threading
from collections import Counter
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from invoicing.db.connection import Database, connect
from invoicing.domain.comparison import CHANGES
from invoicing.domain.errors import InputError
from invoicing.domain.period import Period
from invoicing.services.billing import runs
from invoicing.services.delivery import approvals
from invoicing.services.views import foresight, report, simulate
from invoicing.services.views.foresight import Foresight, ForesightQuery, find, foresee
from support.agency import NOVEMBER, Agency
from support.database import Server, contents, tampering
from support.random_acts import Act, Acts, some_acts
from support.random_agency import RandomAgency, RandomMonth, months

TO_SEND = ("pending", "claimed", "transmitting")
OCTOBER, DECEMBER = Period(2026, 10), Period(2026, 12)


def recipients(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """By tenant, the deliveries without what no two runs have alike."""
    return {
        row["tenant"]: sorted(
            (each["state"], each["to"], each["cc"], each["invoices"], each["attempts"], each["generation"])
            for each in row["deliveries"]
        )
        for row in rows
    }


def decided(rows: list[dict[str, Any]]) -> list[Any]:
    keys = ("tenant", "name", "invoices", "decision", "reason", "trace")
    return [{key: row[key] for key in keys} for row in rows]


def check_foresight(foreseen: Foresight, db: Database, period: Period) -> None:
    """Compare what was foreseen with what is now in the database."""
    invoices = report.cycle_invoices(db, period)
    by_tenant = {row["tenant"]: row for row in report.cycle_tenants(db, period)}
    told = [each for tenant in foreseen.tenants for each in tenant.invoices]
    assert {
        (
            each.number,
            each.lease,
            each.tenant,
            each.subtotal,
            each.tax,
            each.withholding,
            each.total,
            each.due_on,
        )
        for each in told
    } == {
        (
            row["number"],
            row["lease"],
            row["tenant"],
            *(Decimal(row[key]) for key in ("subtotal", "tax", "withholding", "total")),
            db.execute("SELECT due_on FROM invoicing.invoice WHERE number = %s", [row["number"]]).fetchone()[
                "due_on"
            ],  # type: ignore[index]
        )
        for row in invoices
    }
    assert foreseen.invoices == len(invoices)
    assert {each.currency: (each.invoices, each.total) for each in foreseen.totals if each.invoices} == {
        row["currency"]: (row["count"], Decimal(row["total"]))
        for row in report.cycle_report(db, period)["invoices"]["by_currency"]
    }
    with_invoices = [each for each in foreseen.tenants if each.invoices]
    assert {each.code: each.reason for each in with_invoices} == {
        code: row["reason"] for code, row in by_tenant.items()
    }
    assert foreseen.outcomes == {"send": 0} | Counter(row["reason"] or "send" for row in by_tenant.values())
    to_send = {
        code: [each for each in row["deliveries"] if each["state"] in TO_SEND and each["generation"] == 1]
        for code, row in by_tenant.items()
    }
    assert {each.code: each.messages for each in with_invoices} == {
        code: len(each) for code, each in to_send.items()
    }
    for each in with_invoices:
        # An older one may be on its way still, to where it went before.
        for delivery in to_send[each.code][-1:]:
            assert (delivery["to"], delivery["cc"]) == (list(each.to), list(each.cc))
    shown = report.cycle_report(db, period)
    assert [(each.lease, str(each.total)) for each in foreseen.unissued] == [
        (row["lease"], row["total"]) for row in shown["unissued"]
    ]


def check_asked(foreseen: Foresight, db: Database, run_id: int) -> None:
    """What a person is asked to approve, where one is, is what was foreseen."""
    asked = approvals.look(db, run_id).asked
    check_foresight(foreseen, db, NOVEMBER)
    if asked is None:
        return
    shown = asked.summary
    waiting = [
        delivery
        for row in report.cycle_tenants(db, NOVEMBER)
        for delivery in row["deliveries"]
        if delivery["state"] == "pending" and delivery["generation"] == 1
    ]
    by_name = db.execute(
        "SELECT count(*) AS n FROM invoicing.delivery WHERE state = 'pending' AND on_request AND purpose = 'initial'"
    ).fetchone()
    assert by_name is not None
    assert shown["messages"] == len(waiting) - by_name["n"]
    assert shown["skips"] == {key: n for key, n in foreseen.outcomes.items() if key != "send"}
    if shown["difference"] is None:
        assert not any(each.invoices_before for each in foreseen.totals)
        return
    assert shown["before"] == str(foreseen.compared_with)
    assert shown["difference"]["totals"] == {
        each.currency: [report.money(each.total_before), report.money(each.total)] for each in foreseen.totals
    }
    assert {kind: shown["difference"][kind] for kind in ("new", "ended", "amount")} == {
        kind: foreseen.changes[kind].count for kind in ("new", "ended", "amount")
    }
    assert shown["difference"]["decisions"] == foreseen.changes["decision"].count


def foresee_and_run(server: Server, states: list[RandomMonth], acts: tuple[list[Act], list[Act]]) -> None:
    """A month that nobody opened, and then again after it ran, people did this and that, and things changed."""
    with server.fresh_copy() as dsn, connect(dsn) as db:
        agency = Agency(db)
        random = RandomAgency(agency)
        random.add_taxes()
        random.become(states[0])
        agency.run(OCTOBER)
        for number, state in enumerate(states[1:]):
            random.become(state)
            for act in acts[number]:
                Acts(agency).do(act)
            is_open = runs.is_opened(db, NOVEMBER)
            before = contents(db)

            foreseen, simulated = foresee(db, NOVEMBER), simulate.simulate(db, NOVEMBER)

            assert contents(db) == before
            run_id, _ = agency.run(NOVEMBER)
            check_foresight(foreseen, db, NOVEMBER)
            rows = report.cycle_tenants(db, NOVEMBER)
            assert decided(simulated["tenants"]) == decided(rows)
            assert recipients(simulated["tenants"]) == recipients(rows)
            assert simulated["invoices_detail"] == report.cycle_invoices(db, NOVEMBER)
            assert foreseen.is_open == is_open
            check_asked(foreseen, db, run_id)
            # A second look finds just what is there; nothing is left to be issued.
            assert foresee(db, NOVEMBER).to_issue == 0
            assert report.cycle_report(db, NOVEMBER)["balanced"]


STORIES: dict[str, Any] = {
    "states": months(3),
    "acts": st.tuples(some_acts(12), some_acts(12)),
}
# Not shrunk: an example takes half a second, and a failing one would be shrunk for longer than anybody waits.
UNHURRIED: dict[str, Any] = {
    "deadline": None,
    "suppress_health_check": list(HealthCheck),
    "phases": (Phase.explicit, Phase.reuse, Phase.generate),
}


@settings(max_examples=2, **UNHURRIED)
@given(**STORIES)
def test_what_is_foreseen_is_what_the_run_then_does(
    server: Server, states: list[RandomMonth], acts: tuple[list[Act], list[Act]]
) -> None:
    foresee_and_run(server, states, acts)


@pytest.mark.long
@pytest.mark.timeout(900)
@settings(max_examples=100, **UNHURRIED)
@given(**STORIES)
def test_what_is_foreseen_is_what_the_run_then_does_at_length(
    server: Server, states: list[RandomMonth], acts: tuple[list[Act], list[Act]]
) -> None:
    foresee_and_run(server, states, acts)


@pytest.fixture
def billed(agency: Agency) -> Agency:
    """Four tenants whose November was billed; what follows of them is December's."""
    for code in ("SAME", "MORE", "LESS", "GONE"):
        agency.add_tenant(code, leases=2 if code == "LESS" else 1)
    agency.run(NOVEMBER)
    return agency


def change(billed: Agency) -> None:
    db = billed.db
    billed.add_tenant("NEW")
    db.execute("UPDATE invoicing.lease SET rent = 1250000 WHERE code = 'MORE-L0'")
    db.execute("UPDATE invoicing.lease SET end_date = '2026-11-30' WHERE code IN ('LESS-L1', 'GONE-L0')")


def test_each_difference_is_found(billed: Agency) -> None:
    change(billed)
    billed.change_tenant("SAME", auto_send=False)

    foreseen = foresee(billed.db, DECEMBER)

    assert foreseen.compared_with == NOVEMBER
    assert {each.code: each.comparison.change for each in foreseen.tenants} == {
        "SAME": "decision",
        "MORE": "amount",
        "LESS": "ended",
        "GONE": "ended",
        "NEW": "new",
    }
    assert {kind: foreseen.changes[kind].count for kind in CHANGES} == {
        "new": 1,
        "ended": 2,
        "amount": 1,
        "decision": 1,
    }
    assert foreseen.changes["ended"].differences == {"COP": -2_000_000}
    (total,) = foreseen.totals
    assert (total.total, total.total_before, total.difference) == (4_250_000, 5_000_000, -750_000)
    # Who lost the mail first, then the rent that jumped by a fifth, what ended, what is new.
    assert [each.code for each in foreseen.tenants] == ["SAME", "MORE", "GONE", "LESS", "NEW"]


def test_tenants_without_an_invoice_are_no_rows_of_the_simulation(billed: Agency) -> None:
    change(billed)

    rows = simulate.simulate_rows(billed.db, DECEMBER)

    assert {row["tenant"]: row["change"] for row in rows} == {
        "SAME": None,
        "MORE": "amount",
        "LESS": "ended",
        "NEW": "new",
    }
    assert all(len(row["invoices_detail"]) == row["invoices"] for row in rows)
    (more,) = [row for row in rows if row["tenant"] == "MORE"]
    assert more["changes"] == [
        {
            "change": "amount",
            "lease": "MORE-L0",
            "before": "1000000",
            "now": "1250000",
            "difference": "250000",
            "currency": "COP",
        }
    ]
    assert more["decision_before"] == "send"
    billed.run(DECEMBER)
    assert [row["tenant"] for row in report.cycle_tenants(billed.db, DECEMBER)] == [
        row["tenant"] for row in rows
    ]


def test_a_month_is_compared_with_the_last_one_that_was_billed(billed: Agency) -> None:
    assert foresee(billed.db, Period(2027, 3)).compared_with == NOVEMBER
    assert foresee(billed.db, NOVEMBER).compared_with is None
    assert {each.comparison.change for each in foresee(billed.db, NOVEMBER).tenants} == {"new"}


def test_addresses_that_stop_the_mail_are_counted_whatever_else_stops_it(agency: Agency) -> None:
    agency.add_tenant("NONE", emails=[])
    agency.add_tenant("WRONG", emails=["roto@@correo.example"], auto_send=False)
    agency.add_tenant("GOOD")

    foreseen = foresee(agency.db, NOVEMBER)

    assert foreseen.unreachable == 2
    assert {each.code: each.address_problem for each in foreseen.tenants} == {
        "NONE": "no_email",
        "WRONG": "invalid_email",
        "GOOD": None,
    }
    assert foreseen.outcomes == {"send": 1, "no_email": 1, "tenant_disabled": 1}


@pytest.mark.parametrize(
    ("which", "codes"),
    [
        (ForesightQuery(change="any"), ["SAME", "MORE", "GONE", "LESS", "NEW"]),
        (ForesightQuery(change="ended"), ["GONE", "LESS"]),
        (ForesightQuery(outcome="skip"), ["SAME"]),
        (ForesightQuery(outcome="tenant_disabled"), ["SAME"]),
        (ForesightQuery(outcome="send", change="new"), ["NEW"]),
        (ForesightQuery(search="MÓRE-l0"), ["MORE"]),
        (ForesightQuery(search="gone-l0"), ["GONE"]),
        (ForesightQuery(address="problem"), []),
    ],
)
def test_tenants_are_filtered_and_searched(billed: Agency, which: ForesightQuery, codes: list[str]) -> None:
    change(billed)
    billed.change_tenant("SAME", auto_send=False)

    found, total = find(foresee(billed.db, DECEMBER), which)

    assert ([each.code for each in found], total) == (codes, len(codes))


def test_tenants_are_sorted_and_paged(billed: Agency) -> None:
    change(billed)
    foreseen = foresee(billed.db, DECEMBER)

    by_difference, _ = find(foreseen, ForesightQuery(), sort="difference")
    newest, total = find(foreseen, ForesightQuery(), sort="total", descending=True, limit=1)

    assert [each.code for each in by_difference] == ["GONE", "LESS", "SAME", "MORE", "NEW"]
    assert ([each.code for each in newest], total) == (["MORE"], 5)
    assert find(foreseen, ForesightQuery(), limit=2, offset=4)[0] == foreseen.tenants[4:]


def test_a_run_that_would_fail_says_so(agency: Agency) -> None:
    agency.add_tenant("A")
    agency.db.execute("UPDATE invoicing.lease SET use = 'commercial'")
    before = contents(agency.db)

    with pytest.raises(InputError, match="A-L0"):
        foresee(agency.db, NOVEMBER)

    assert contents(agency.db) == before


def test_nobody_waits_long_for_a_run_that_is_at_work(
    agency: Agency, dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(simulate._SQL, "bound_waiting", b"SET LOCAL lock_timeout = '400ms'")
    agency.add_tenant("A")
    agency.run(NOVEMBER)
    run_id = runs.open_run(agency.db, dag_id="monthly_invoicing", dag_run_id="other", period=NOVEMBER)

    with connect(dsn) as other, other.transaction():
        runs.lock(other, runs.load_run(other, run_id))
        with pytest.raises(simulate.MonthAtWorkError, match="2026-11"):
            foresee(agency.db, NOVEMBER)

    assert foresee(agency.db, NOVEMBER).invoices == 1
    assert agency.db.execute("SHOW lock_timeout").fetchone() == {"lock_timeout": "0"}


def test_a_run_of_the_month_waits_only_until_the_figures_are_read(
    agency: Agency, dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    agency.add_tenant("A")
    compared, go_on = threading.Event(), threading.Event()
    attention = foresight._attention

    def look_for_long(tenant: foresight.ForeseenTenant) -> Any:
        compared.set()
        assert go_on.wait(30)
        return attention(tenant)

    monkeypatch.setattr(foresight, "_attention", look_for_long)
    told: list[Foresight] = []
    with connect(dsn) as other:
        looking = threading.Thread(target=lambda: told.append(foresee(other, NOVEMBER)))
        looking.start()
        try:
            assert compared.wait(30)
            agency.db.execute("SET lock_timeout = '2s'")
            agency.run(NOVEMBER)
        finally:
            go_on.set()
            looking.join()
    assert [each.invoices for each in told] == [1]


def test_the_fingerprint_changes_with_whatever_a_run_looks_at(billed: Agency) -> None:
    db = billed.db
    add_charge = (
        "INSERT INTO invoicing.charge (lease_id, concept, description, amount, tax, prorated)"
        " SELECT id, 'x', 'x', 1, 'none', false FROM invoicing.lease LIMIT 1"
    )
    changes = {
        "a lease": "UPDATE invoicing.lease SET rent = rent + 1 WHERE code = 'SAME-L0'",
        "a tenant": "UPDATE invoicing.tenant SET emails = '{}' WHERE code = 'SAME'",
        "a charge": add_charge,
        "a charge that goes": "DELETE FROM invoicing.charge",
        "a rate": "INSERT INTO invoicing.tax_rate (tax, rate, valid_from) VALUES ('iva', 0.1, '2020-01-01')",
        "a void": "UPDATE invoicing.invoice SET state = 'void' WHERE number = 'FV-1'",
        "a lease that goes": "DELETE FROM invoicing.lease WHERE code = 'never billed'",
    }
    billed.add_lease("never billed", "SAME", start="2030-01-01")
    db.execute(add_charge.encode())
    seen = [foresight.fingerprint(db, DECEMBER)]
    assert foresight.fingerprint(db, DECEMBER) == seen[0]
    foresee(db, DECEMBER)
    assert foresight.fingerprint(db, DECEMBER) == seen[0]

    for statement in changes.values():
        # No lease goes by the application's hand.
        with tampering(db) as owner:
            owner.execute(statement.encode())
        seen.append(foresight.fingerprint(db, DECEMBER))
    billed.set(grouping="per_invoice")
    seen.append(foresight.fingerprint(db, DECEMBER))
    billed.run(DECEMBER)
    seen.append(foresight.fingerprint(db, DECEMBER))
    billed.put("MORE", "claimed")
    seen.append(foresight.fingerprint(db, DECEMBER))

    assert len(set(seen)) == len(seen) == len(changes) + 4
