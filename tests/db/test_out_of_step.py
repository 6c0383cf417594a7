"""Rent that nobody billed, and invoices that would come out differently today, are named wherever one looks."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from invoicing.domain.period import Period
from invoicing.services.agency import clock
from invoicing.services.billing import generate, out_of_step, runs
from invoicing.services.views import cycles, report, simulate
from support.agency import NOVEMBER, Agency
from support.files import write_files

SENT = ("claimed", "transmitting", "sent")
ANA = "A,CC,1,Ana,ana@correo.example,,es,Cali,no,yes,no"
BEN = "B,CC,2,Ben,ben@correo.example,,es,Cali,yes,yes,no"
FLAT = "L1,A,Calle 1,Cali,residential,2026-01-01,,1000000,COP"
SHOP = "L2,B,Calle 2,Cali,commercial,2026-01-01,,2000000,COP"
WATER = "L1,water,Agua,30000,none,no,,"
PARKING = "L1,parking,Parqueadero,50000,iva,no,,"
RATES = (
    "iva,,0.19,0,2017-01-01,",
    "retefuente,,0.035,0,2017-01-01,",
    "reteica,Cali,0.01,0,2017-01-01,",
)

Import = Callable[..., dict[str, tuple[list[str], list[str]]]]


@pytest.fixture
def bring(agency: Agency, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Import:
    """Import rows of files, on a day in November; what is unbilled and what drifted, by month."""
    monkeypatch.setattr(clock, "today", lambda: NOVEMBER.first_day)

    def bring(**files: Any) -> dict[str, tuple[list[str], list[str]]]:
        folder = write_files(tmp_path / "files", **files)
        _, months = out_of_step.import_and_look_back(agency.db, folder, actor="ana", report=lambda line: None)
        return {str(month.period): (list(month.unbilled), list(month.drifted)) for month in months}

    return bring


@pytest.fixture
def billed(agency: Agency, bring: Import) -> Agency:
    """A flat and a shop, billed in November."""
    bring(tenants=[ANA, BEN], leases=[FLAT, SHOP], charges=[WATER, PARKING], tax_rates=RATES)
    agency.run()
    return agency


def generated(agency: Agency, period: Period = NOVEMBER) -> dict[str, Any]:
    """What a new run of the month says of its invoices."""
    agency.runs += 1
    run_id = runs.open_run(
        agency.db, dag_id="monthly_invoicing", dag_run_id=f"run-{agency.runs}", period=period
    )
    return generate.generate_invoices(agency.db, run_id)


def shown(agency: Agency, period: Period = NOVEMBER) -> tuple[list[str], list[str]]:
    cycle = report.cycle_report(agency.db, period)
    return cycle["unbilled"], cycle["drifted"]


# Unbilled


def test_a_lease_imported_after_the_month_ran_is_unbilled_until_the_month_runs_again(
    billed: Agency, bring: Import, caplog: pytest.LogCaptureFixture
) -> None:
    billed.put("A", *SENT)
    assert shown(billed) == ([], [])

    answer = bring(leases=[FLAT.replace("L1", "L1-late")])

    assert answer == {"2026-11": (["L1-late"], [])}
    assert shown(billed) == (["L1-late"], [])

    with caplog.at_level(logging.WARNING):
        counts = generated(billed)
    assert (counts["issued"], counts["unbilled"], counts["unbilled_leases"]) == (1, 1, ["L1-late"])
    assert "2026-11: leases unbilled until now: L1-late" in caplog.text
    assert report.cycle_report(billed.db, NOVEMBER)["runs"][-1]["counts"]["unbilled_leases"] == ["L1-late"]
    assert shown(billed) == ([], [])
    billed.run()
    assert billed.deliveries() == [("A", "sent", 1), ("B", "pending", 1), ("A", "pending", 1)]


def test_the_first_run_of_a_month_names_nothing(agency: Agency) -> None:
    agency.add_tenant("A")
    counts = generated(agency)
    assert (counts["issued"], counts["unbilled"], counts["drifted"]) == (1, 0, 0)


def test_what_comes_to_nothing_or_less_is_not_unbilled(billed: Agency, bring: Import) -> None:
    answer = bring(
        leases=[FLAT.replace("L1", "L3").replace("1000000", "0"), FLAT.replace("L1", "L4")],
        charges=[WATER, PARKING, "L4,discount,Descuento,-1000000,none,no,,"],
    )
    assert answer == {"2026-11": ([], [])}


def test_a_lease_that_is_not_active_in_the_month_is_not_unbilled(billed: Agency, bring: Import) -> None:
    ended = FLAT.replace("L1", "L3").replace("2026-01-01,", "2026-01-01,2026-10-31")
    begins = FLAT.replace("L1", "L4").replace("2026-01-01", "2026-12-01")
    assert bring(leases=[ended, begins]) == {"2026-11": ([], [])}


def test_a_lease_that_cannot_be_worked_out_is_unbilled_and_says_why(billed: Agency, bring: Import) -> None:
    assert bring(leases=[SHOP.replace("L2", "L3")], tax_rates=[])["2026-11"][0] == ["L3"]

    (lease,) = out_of_step.unbilled_leases(billed.db, NOVEMBER)
    assert lease.total is None
    assert "lease L3: no iva rate is in force" in str(lease.problem)
    assert shown(billed)[0] == ["L3"]


def test_a_cycle_whose_invoices_were_never_made_is_unbilled_whole(agency: Agency) -> None:
    agency.add_tenant("A", leases=3)
    runs.open_run(agency.db, dag_id="monthly_invoicing", dag_run_id="died", period=NOVEMBER)
    assert shown(agency) == (["A-L0", "A-L1", "A-L2"], [])


def test_a_page_works_out_no_more_leases_than_it_can_in_time(
    agency: Agency, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cycles, "MOST_OUT_OF_STEP", 2)
    agency.add_tenant("A", leases=3)
    runs.open_run(agency.db, dag_id="monthly_invoicing", dag_run_id="died", period=NOVEMBER)
    assert len(cycles.cycle_overview(agency.db, NOVEMBER).figures.unbilled) == 2


# Drifted


@pytest.mark.parametrize(
    ("files", "drifted"),
    [
        ({"leases": [FLAT.replace("1000000", "1100000")]}, ["L1"]),
        ({"leases": [FLAT.replace("2026-01-01", "2026-11-02")]}, ["L1"]),
        ({"leases": [FLAT.replace("2026-01-01,", "2026-01-01,2026-10-31")]}, ["L1"]),
        ({"leases": [FLAT.replace("COP", "USD")]}, ["L1"]),
        ({"leases": [FLAT.replace("L1,A", "L1,B")]}, ["L1"]),
        ({"leases": [SHOP.replace("commercial", "residential")]}, ["L2"]),
        ({"leases": [SHOP.replace("Calle 2,Cali", "Calle 2,Pasto")]}, ["L2"]),
        ({"tenants": [BEN.replace("Cali,yes", "Cali,no")]}, ["L2"]),
        ({"charges": [PARKING]}, ["L1"]),
        ({"charges": [WATER, WATER, PARKING]}, ["L1"]),
        ({"charges": [WATER, PARKING, PARKING.replace("L1", "L2")]}, ["L2"]),
        ({"tax_rates": [RATES[0].replace("0.19", "0.16"), *RATES[1:]]}, ["L1", "L2"]),
        ({"tax_rates": RATES[:2]}, ["L2"]),
        ({"tax_rates": []}, ["L1", "L2"]),
    ],
)
def test_an_invoice_that_would_come_out_differently_has_drifted(
    billed: Agency, bring: Import, files: dict[str, list[str]], drifted: list[str]
) -> None:
    before = report.cycle_invoices(billed.db, NOVEMBER)

    assert bring(**files) == {"2026-11": ([], drifted)}

    assert shown(billed) == ([], drifted)
    assert report.cycle_invoices(billed.db, NOVEMBER) == before
    counts = generated(billed)
    assert (counts["issued"], counts["drifted"], counts["drifted_leases"]) == (0, len(drifted), drifted)


@pytest.mark.parametrize(
    "files",
    [
        {"tenants": [ANA.replace("ana@", "a@"), BEN.replace("yes,no", "no,no")]},
        {"charges": [PARKING, WATER]},
        {"charges": [WATER, PARKING, "L1,later,Después,1,none,no,2026-12,"]},
        {"leases": [FLAT.replace("2026-01-01,", "2025-01-01,2027-12-31")]},
        {"leases": [FLAT.replace("1000000", "1000000.00")]},
        {"tax_rates": [*RATES, "iva,,0.2,0,2016-01-01,2016-12-31"]},
    ],
)
def test_what_makes_no_difference_to_the_month_is_no_drift(
    billed: Agency, bring: Import, files: dict[str, list[str]]
) -> None:
    assert bring(**files) == {"2026-11": ([], [])}


def test_what_is_put_right_has_not_drifted_any_more(billed: Agency, bring: Import) -> None:
    bring(leases=[FLAT.replace("1000000", "1100000")])
    (found,) = out_of_step.drifted_invoices(billed.db, NOVEMBER)
    assert (found.lease, found.tenant, found.number, str(found.total), str(found.total_today)) == (
        "L1", "A", "FV-1", "1089500", "1189500",
    )  # fmt: skip

    assert bring(leases=[FLAT]) == {"2026-11": ([], [])}


def test_an_import_that_changes_nothing_says_what_is_known_and_works_out_nothing(
    billed: Agency, bring: Import, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {"leases": [FLAT.replace("1000000", "1100000"), FLAT.replace("L1", "L3")]}
    bring(**files)
    monkeypatch.setattr(out_of_step, "compare", None)
    assert bring(**files) == {"2026-11": (["L3"], ["L1"])}


def test_an_import_and_its_look_back_are_one(
    billed: Agency, bring: Import, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody would look back any more: the same files, imported again, change nothing."""

    def die(*_: Any, **__: Any) -> None:
        raise RuntimeError("killed")

    with monkeypatch.context() as patched:
        patched.setattr(out_of_step, "compare", die)
        with pytest.raises(RuntimeError):
            bring(leases=[FLAT.replace("1000000", "1100000")])

    assert bring(leases=[FLAT.replace("1000000", "1100000")]) == {"2026-11": ([], ["L1"])}


def test_the_next_run_finds_a_drift_that_no_import_told_of(billed: Agency) -> None:
    billed.db.execute("UPDATE invoicing.lease SET rent = 5 WHERE code = 'L1'")
    assert shown(billed) == ([], [])
    assert generated(billed)["drifted_leases"] == ["L1"]
    assert shown(billed) == ([], ["L1"])


def test_a_simulation_leaves_the_drift_as_it_is(billed: Agency) -> None:
    billed.db.execute("UPDATE invoicing.lease SET rent = 5 WHERE code = 'L1'")
    simulate.simulate(billed.db, NOVEMBER)
    assert shown(billed) == ([], [])


def test_an_invoice_that_does_not_stand_has_not_drifted(billed: Agency, bring: Import) -> None:
    bring(leases=[FLAT.replace("1000000", "1100000")])
    billed.db.execute("UPDATE invoicing.invoice SET state = 'void' WHERE number = 'FV-1'")
    assert shown(billed)[1] == []


# Which months


def test_an_import_looks_back_on_this_month_and_the_last_three_with_a_cycle(
    agency: Agency, bring: Import
) -> None:
    bring(tenants=[ANA], leases=[FLAT], charges=[], tax_rates=RATES)
    for year, month in ((2026, 1), (2026, 5), (2026, 6), (2026, 10), (2026, 11), (2026, 12)):
        agency.run(Period(year, month))

    answer = bring(leases=[FLAT.replace("1000000", "1100000"), FLAT.replace("L1", "L2")])

    assert answer == {
        month: (["L2"], ["L1"]) for month in ("2026-12", "2026-11", "2026-10", "2026-06", "2026-05")
    }
    assert shown(agency, Period(2026, 1)) == (["L2"], [])


def test_a_drift_of_long_ago_is_looked_at_until_it_is_gone(
    agency: Agency, bring: Import, monkeypatch: pytest.MonkeyPatch
) -> None:
    bring(tenants=[ANA], leases=[FLAT], charges=[], tax_rates=RATES)
    long_ago = Period(2026, 1)
    agency.run(long_ago)
    bring(leases=[FLAT.replace("1000000", "1100000")])
    for month in (8, 9, 10):
        agency.run(Period(2026, month))
    assert shown(agency, long_ago)[1] == ["L1"]

    bring(leases=[FLAT])

    assert shown(agency, long_ago)[1] == []
