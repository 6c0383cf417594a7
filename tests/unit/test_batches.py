from hypothesis import given
from hypothesis import strategies as st

from invoicing.domain.delivery import split_into_batches


@given(st.integers(0, 3_000))
def test_batches_keep_everyone_in_order_and_never_exceed_the_most(count: int) -> None:
    recipients = [(number, f"T{number}") for number in range(count)]
    batches = split_into_batches(recipients)
    assert len(batches) <= 200
    assert [id_ for batch in batches for id_ in batch.delivery_ids] == list(range(count))
    if count <= 200:
        assert all(len(batch.delivery_ids) == 1 for batch in batches)


def test_a_batch_is_labelled_with_its_tenants() -> None:
    one, many = (
        split_into_batches([(1, "T1 Ana")])[0],
        split_into_batches([(n, f"T{n}") for n in range(400)])[0],
    )
    assert (one.label, many.label) == ("T1 Ana", "T0 … T1 (2)")
