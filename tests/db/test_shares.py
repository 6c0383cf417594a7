"""What the instances of a month's tasks are given, from what the database knows of the work."""

import pytest

from invoicing.domain.delivery import Batch
from invoicing.services.delivery import shares
from support.agency import Agency


@pytest.fixture(autouse=True)
def two_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shares, "_RENDERING_LANES", 2)
    monkeypatch.setattr(shares, "_SENDING_LANES", 4)


def codes(batches: list[Batch]) -> list[str]:
    return [batch.label for batch in batches]


def test_a_month_of_fifty_has_a_square_each_and_one_more_has_not(agency: Agency) -> None:
    for number in range(50):
        agency.add_tenant(f"T{number:02}")
    run_id, rendered = agency.run()
    assert codes(rendered) == ["T00 T00 … T24 T24 (25)", "T25 T25 … T49 T49 (25)"]
    sent = shares.for_sending(agency.db, run_id, rendered)
    assert [batch.label for batch in sent] == [f"T{number:02} T{number:02}" for number in range(50)]

    agency.add_tenant("T50")
    run_id, rendered = agency.run()
    (sent_together,) = shares.for_sending(agency.db, run_id, rendered)
    assert sent_together.label == "T00 T00 … T50 T50 (51)"
    assert shares.for_sending(agency.db, run_id, rendered) == [sent_together]  # as a clear finds them

    agency.set(largest_batch=20)
    run_id, rendered = agency.run()
    sent = shares.for_sending(agency.db, run_id, rendered)
    assert [len(batch.delivery_ids) for batch in sent] == [20, 20, 11]
    assert max(len(batch.delivery_ids) for batch in rendered) <= 20


def test_what_is_rendered_counts_by_documents_and_what_an_earlier_run_left_stays_apart(
    agency: Agency,
) -> None:
    agency.add_tenant("A", leases=40)
    for code in "BCDE":
        agency.add_tenant(code)
    run_id, rendered = agency.run()
    assert codes(rendered) == ["A A", "B B … E E (4)"]

    [all_of_a, others] = rendered
    left_over = Batch(others.label, others.delivery_ids, is_leftover=True)
    sent = shares.for_sending(agency.db, run_id, [left_over, all_of_a])
    assert [(batch.label, batch.is_leftover) for batch in sent] == [
        ("A A", False),
        *((f"{code} {code}", True) for code in "BCDE"),
    ]
