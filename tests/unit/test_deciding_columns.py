"""The rules asked of a whole month at once say what they say of each tenant."""

import pandas as pd  # noqa: F401 (not within the first example)
from hypothesis import given, settings
from hypothesis import strategies as st

from invoicing.domain.address import problem
from invoicing.domain.eligibility import SendPolicy, decide
from invoicing.services.billing.decide import CountedTenant, apply_rules

# None that the database would call doubtful; then such as are, of which some are valid after all.
PLAIN = ("a@correo.example", "b.c@sub.correo.example", "c+d@correo.example")
DOUBTFUL = (
    "roto@@correo.example",
    "año@correo.example",
    "a@localhost",
    "x" * 61 + "@correo.example",
    "a b@c.example",
)


@st.composite
def tenant(draw: st.DrawFn) -> CountedTenant:
    addresses = st.lists(st.sampled_from(PLAIN) | st.sampled_from(DOUBTFUL), max_size=3)
    emails, cc_emails = draw(addresses), draw(addresses)
    has_decision = draw(st.booleans())
    return CountedTenant(
        tenant_id=draw(st.integers(1, 9)),
        code=draw(st.sampled_from("ABC")),
        name=draw(st.sampled_from(["Ana", "Íngrid"])),
        emails=emails,
        cc_emails=cc_emails,
        language=draw(st.sampled_from(["es", "en"])),
        withholding_agent=draw(st.booleans()),
        auto_send=draw(st.booleans()),
        only_multiple=draw(st.booleans()),
        is_held=draw(st.booleans()),
        doubtful_address=draw(st.booleans()) or not set(PLAIN).issuperset([*emails, *cc_emails]),
        invoices=draw(st.integers(1, 3)),
        decision_id=7 if has_decision else None,
        decided_reason=draw(st.sampled_from([None, "no_email"])) if has_decision else None,
        decided_count=1 if has_decision else None,
        has_message=draw(st.booleans()),
        has_open=draw(st.booleans()),
        uncovered=draw(st.sampled_from([(), (1,)])),
    )


@settings(max_examples=60, deadline=None)
@given(
    st.lists(tenant(), max_size=30),
    st.builds(SendPolicy, auto_send=st.booleans(), recipients=st.sampled_from(["all", "multiple_only"])),
)
def test_all_at_once_are_decided_on_as_one_by_one(tenants: list[CountedTenant], policy: SendPolicy) -> None:
    frame = apply_rules(tenants, policy)

    singly = [decide(each.as_tenant(), each.invoices, policy) for each in tenants]
    assert list(frame["tenant"]) == tenants
    assert list(frame["decision"]) == singly
    assert list(frame["reason"]) == [each.reason for each in singly]
    stands = [
        each.decision_id is not None and each.has_message and not each.has_open and not each.uncovered
        for each in tenants
    ]
    assert list(frame["anew"]) == [not each for each in stands]
    assert list(frame["outcome"]) == [
        (each.decided_reason if stood else decision.reason) or "send"
        for each, decision, stood in zip(tenants, singly, stands, strict=True)
    ]


def test_the_addresses_that_are_not_doubted_are_valid() -> None:
    assert [problem(each) for each in PLAIN] == [None, None, None]
