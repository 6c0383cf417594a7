"""What needs a person is one list: the first page shows it, `bin/invoicing health` tells of it."""

import datetime

import pytest

from invoicing.services.agency import clock
from invoicing.services.delivery import approvals, holds
from invoicing.services.views import health
from invoicing.services.views.attention import MOST_NAMED, UNSENT_PATIENCE, Attention, needs_attention
from invoicing.services.views.health import Here
from support.agency import NOVEMBER, Agency

LATER = UNSENT_PATIENCE + datetime.timedelta(minutes=1)


def now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


def kinds(found: Attention) -> dict[str, int]:
    """Of each kind that health knows, how many there are."""
    return {
        "failed": found.failed.count,
        "in_doubt": found.in_doubt.count,
        "unsent": found.unsent.count,
        "held": found.held.count,
        "documents": found.unmade.count,
        "unbilled": len(found.unbilled),
        "approvals": len(found.approvals),
    }


def agree(agency: Agency, at: datetime.datetime) -> Attention:
    """The list, which says of each kind what health says."""
    found = needs_attention(agency.db, at)
    checks = {check.name: check for check in health.look(agency.db, Here(at))}
    assert {kind for kind, count in kinds(found).items() if count} == {
        kind for kind in kinds(found) if not checks[kind].ok
    }
    for kind, deliveries in (
        ("failed", found.failed),
        ("in_doubt", found.in_doubt),
        ("unsent", found.unsent),
    ):
        if deliveries.count:
            assert checks[kind].detail.values["count"] == deliveries.count
            assert str(checks[kind].detail.values["ids"]).startswith(", ".join(map(str, deliveries.ids)))
    if found.unbilled:
        leases = sum(len(month.leases) for month in found.unbilled)
        assert checks["unbilled"].detail.values["count"] == leases
    for hold in found.held.named:
        assert f"{hold.period}: {hold.tenant or '*'}" in str(checks["held"].detail)
    for waiting in found.approvals:
        assert waiting.period in str(checks["approvals"].detail)
    assert found.count == sum(kinds(found).values())
    return found


def test_where_all_is_well_there_is_nothing(agency: Agency) -> None:
    agency.add_tenant("A")
    agency.run()
    agency.put("A", "claimed", "transmitting", "sent")

    assert agree(agency, now() + LATER).count == 0


def test_each_thing_is_in_the_list_and_in_health(agency: Agency, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "today", lambda: datetime.date(2026, 11, 20))
    for code in "ABCDEF":
        agency.add_tenant(code)
    agency.run()
    agency.put("A", "claimed", "transmitting")
    agency.db.execute(
        "UPDATE invoicing.delivery SET state = 'failed', claim_until = NULL, last_reply = '550 5.1.1 no such user'"
        " WHERE state = 'transmitting'"
    )
    agency.put("B", "claimed", "transmitting", "in_doubt")
    agency.put("C", "claimed", "transmitting", "sent")
    holds.hold(agency.db, "D", NOVEMBER, reason="pays by hand", actor="ana")
    agency.put("F", "claimed", "transmitting", "in_doubt")
    agency.db.execute(
        "UPDATE invoicing.delivery SET state = 'failed', given_up = true"
        " WHERE tenant_id = (SELECT id FROM invoicing.tenant WHERE code = 'F')"
    )
    agency.add_lease("late", "C")
    agency.db.execute("UPDATE invoicing.billing_cycle SET state = 'closed', closed_at = now()")

    found = agree(agency, now() + LATER)

    assert kinds(found) == {
        "failed": 1,
        "in_doubt": 1,
        "unsent": 1,
        "held": 1,
        "documents": 0,
        "unbilled": 1,
        "approvals": 0,
    }
    assert [(each.tenant, each.refusal) for each in found.failed.named] == [("A", "address_unknown")]
    assert [each.tenant for each in found.unsent.named] == ["E"]
    assert [(month.period, list(month.leases)) for month in found.unbilled] == [("2026-11", ["late"])]
    assert kinds(agree(agency, now()))["unsent"] == 0


def test_a_month_that_waits_for_approval_is_in_both(agency: Agency) -> None:
    agency.set(approval="always")
    agency.add_tenant("A")
    run_id, _ = agency.run()
    approvals.look(agency.db, run_id)

    assert kinds(agree(agency, now() + LATER)) == {
        "failed": 0, "in_doubt": 0, "unsent": 0, "held": 0, "documents": 0, "unbilled": 0, "approvals": 1,
    }  # fmt: skip

    approvals.answer(agency.db, NOVEMBER, "rejected", reason="no", actor="ana", via="page")
    assert agree(agency, now()).count == 0


def test_of_many_the_first_are_named_and_all_are_counted(agency: Agency) -> None:
    for number in range(MOST_NAMED + 3):
        agency.add_tenant(f"T{number:02}")
    agency.run()
    for number in range(MOST_NAMED + 3):
        agency.put(f"T{number:02}", "claimed", "transmitting", "failed")

    found = agree(agency, now())

    assert (found.failed.count, len(found.failed.named), found.unnamed) == (MOST_NAMED + 3, MOST_NAMED, 3)
