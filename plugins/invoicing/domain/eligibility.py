"""Who gets mail, and why not: the rules of docs/contract.md, section 5, in their order."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from invoicing.domain.address import invalid_addresses
from invoicing.domain.lease import Tenant

Recipients = Literal["all", "multiple_only"]


@dataclass(frozen=True, slots=True)
class SendPolicy:
    """The global settings that decide, of the run's snapshot."""

    auto_send: bool
    recipients: Recipients


@dataclass(frozen=True, slots=True)
class RuleAnswer:
    """What one rule looked at and said.

    Args:
        rule: The reason it gives when it objects.
        inputs: What it looked at, plain JSON values.
        objects: True stops the mail.
    """

    rule: str
    inputs: dict[str, Any]
    objects: bool

    def as_json(self) -> dict[str, Any]:
        """For the trace kept with the decision."""
        return {"rule": self.rule, "inputs": self.inputs, "objects": self.objects}


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether a tenant gets mail; ``reason`` is None to send, else the first rule that objected.

    It names no tenant: those who are alike in what the rules look at have the same.
    """

    reason: str | None
    trace: tuple[RuleAnswer, ...]

    @property
    def send(self) -> bool:
        """True where no rule objected."""
        return self.reason is None


Rule = Callable[[Tenant, int, SendPolicy], RuleAnswer]


def sending_disabled(_: Tenant, __: int, policy: SendPolicy) -> RuleAnswer:
    """The global switch is off."""
    return RuleAnswer("sending_disabled", {"auto_send": policy.auto_send}, not policy.auto_send)


def tenant_disabled(tenant: Tenant, _: int, __: SendPolicy) -> RuleAnswer:
    """The tenant's own switch is off."""
    return RuleAnswer("tenant_disabled", {"tenant_auto_send": tenant.auto_send}, not tenant.auto_send)


def global_only_multiple(_: Tenant, invoice_count: int, policy: SendPolicy) -> RuleAnswer:
    """The agency writes only to tenants with more than one invoice."""
    return RuleAnswer(
        "global_only_multiple",
        {"recipients": policy.recipients, "invoices": invoice_count},
        policy.recipients == "multiple_only" and invoice_count < 2,
    )


def tenant_only_multiple(tenant: Tenant, invoice_count: int, _: SendPolicy) -> RuleAnswer:
    """The tenant wants mail only for more than one invoice."""
    return RuleAnswer(
        "tenant_only_multiple",
        {"tenant_only_multiple": tenant.only_multiple, "invoices": invoice_count},
        tenant.only_multiple and invoice_count < 2,
    )


def no_email(tenant: Tenant, _: int, __: SendPolicy) -> RuleAnswer:
    """There is no address to send to."""
    return RuleAnswer("no_email", {"emails": len(tenant.emails)}, not tenant.emails)


def invalid_email(tenant: Tenant, _: int, __: SendPolicy) -> RuleAnswer:
    """An address, of the recipients or of those in copy, cannot be one."""
    problems = invalid_addresses((*tenant.emails, *tenant.cc_emails))
    return RuleAnswer(
        "invalid_email", {"invalid": [f"{p.address}: {p.reason}" for p in problems]}, bool(problems)
    )


def tenant_held(tenant: Tenant, _: int, __: SendPolicy) -> RuleAnswer:
    """A person holds the tenant for this period."""
    return RuleAnswer("tenant_held", {"held": tenant.is_held}, tenant.is_held)


MONTHLY_RULES: tuple[Rule, ...] = (
    sending_disabled,
    tenant_disabled,
    global_only_multiple,
    tenant_only_multiple,
    no_email,
    invalid_email,
    tenant_held,
)
SINGLE_INVOICE_RULES: tuple[Rule, ...] = (
    sending_disabled,
    tenant_disabled,
    no_email,
    invalid_email,
    tenant_held,
)
HELD = tenant_held.__name__
"""The reason of a hold: the tenant's deliveries are set aside, not withdrawn."""
REASONS: tuple[str, ...] = tuple(rule.__name__ for rule in MONTHLY_RULES)


def decide(
    tenant: Tenant, invoice_count: int, policy: SendPolicy, rules: tuple[Rule, ...] = MONTHLY_RULES
) -> Decision:
    """Decide whether ``tenant`` gets mail, and why.

    The first rule that objects gives the reason; the trace keeps every rule that was asked.

    Args:
        tenant: As imported, with its own switches.
        invoice_count: Invoices generated for the tenant in the period, at least 1.
        policy: The global settings of the run's snapshot.
        rules: Asked in their order; a single invoice is asked fewer.
    """
    trace = tuple(rule(tenant, invoice_count, policy) for rule in rules)
    objection = next((answer for answer in trace if answer.objects), None)
    return Decision(objection.rule if objection else None, trace)
