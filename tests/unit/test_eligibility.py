"""Who gets mail: the six rules, their order, and their trace (docs/contract.md, section 5)."""

import itertools
from dataclasses import replace

import pytest

from invoicing.domain.eligibility import (
    MONTHLY_RULES,
    REASONS,
    SINGLE_INVOICE_RULES,
    SendPolicy,
    decide,
)
from invoicing.domain.lease import Tenant

ON = SendPolicy(auto_send=True, recipients="all")
TENANT = Tenant("T1", "Ana", emails=("ana@correo.example",), auto_send=True)


@pytest.mark.parametrize(
    ("tenant", "count", "policy", "reason"),
    [
        (TENANT, 1, ON, None),
        (TENANT, 1, SendPolicy(auto_send=False, recipients="all"), "sending_disabled"),
        (replace(TENANT, auto_send=False), 1, ON, "tenant_disabled"),
        (TENANT, 1, replace(ON, recipients="multiple_only"), "global_only_multiple"),
        (TENANT, 2, replace(ON, recipients="multiple_only"), None),
        (replace(TENANT, only_multiple=True), 1, ON, "tenant_only_multiple"),
        (replace(TENANT, only_multiple=True), 2, ON, None),
        (replace(TENANT, emails=()), 1, ON, "no_email"),
        (replace(TENANT, emails=("ana@@correo.example",)), 1, ON, "invalid_email"),
        (replace(TENANT, cc_emails=("mal",)), 1, ON, "invalid_email"),
        (replace(TENANT, is_held=True), 1, ON, "tenant_held"),
        (replace(TENANT, emails=("ana@peña.example",)), 1, ON, None),
    ],
)
def test_each_rule_gives_its_reason(
    tenant: Tenant, count: int, policy: SendPolicy, reason: str | None
) -> None:
    assert decide(tenant, count, policy).reason == reason


def test_the_first_rule_that_matches_gives_the_reason() -> None:
    """Every combination of the switches: the reason is the earliest of those that object."""
    switches = itertools.product(
        [True, False],
        [True, False],
        ["all", "multiple_only"],
        [True, False],
        [1, 2],
        [(), ("x",), ("a@b.example",)],
        [True, False],
    )
    for auto_send, tenant_auto, recipients, only_multiple, count, emails, held in switches:
        tenant = Tenant(
            "T", "T", emails=emails, auto_send=tenant_auto, only_multiple=only_multiple, is_held=held
        )
        objecting = {
            "sending_disabled": not auto_send,
            "tenant_disabled": not tenant_auto,
            "global_only_multiple": recipients == "multiple_only" and count < 2,
            "tenant_only_multiple": only_multiple and count < 2,
            "no_email": not emails,
            "invalid_email": emails == ("x",),
            "tenant_held": held,
        }
        expected = next((reason for reason in REASONS if objecting[reason]), None)
        decision = decide(tenant, count, SendPolicy(auto_send, recipients))
        assert decision.reason == expected
        assert {answer.rule: answer.objects for answer in decision.trace} == objecting


def test_the_trace_has_every_rule_with_its_inputs() -> None:
    trace = decide(replace(TENANT, only_multiple=True), 1, ON).trace
    assert [answer.rule for answer in trace] == list(REASONS) == [rule.__name__ for rule in MONTHLY_RULES]
    assert trace[3].as_json() == {
        "rule": "tenant_only_multiple",
        "inputs": {"tenant_only_multiple": True, "invoices": 1},
        "objects": True,
    }


def test_single_invoices_are_asked_five_rules() -> None:
    tenant = replace(TENANT, only_multiple=True)
    decision = decide(tenant, 1, replace(ON, recipients="multiple_only"), SINGLE_INVOICE_RULES)
    assert decision.send
    assert [answer.rule for answer in decision.trace] == [
        "sending_disabled",
        "tenant_disabled",
        "no_email",
        "invalid_email",
        "tenant_held",
    ]
