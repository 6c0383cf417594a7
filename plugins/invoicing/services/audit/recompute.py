"""Amounts and decisions of an export, worked out again from what it says that they come from."""

import datetime
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from invoicing.domain.address import invalid_addresses
from invoicing.domain.correction import (
    Creditable,
    IssuedLine,
    IssuedWithholding,
    LineAmount,
    draft_credit,
)
from invoicing.domain.eligibility import (
    MONTHLY_RULES,
    SINGLE_INVOICE_RULES,
    SendPolicy,
)
from invoicing.domain.invoice import InvoiceDraft, InvoiceLine, Withholding
from invoicing.domain.lease import Tenant
from invoicing.domain.period import Period
from invoicing.domain.proration import ActiveDays
from invoicing.domain.settings import Settings
from invoicing.domain.taxes import round_money
from invoicing.services.billing.basis import Basis, draft_again
from invoicing.words.failures import Fault

Row = Mapping[str, Any]

_AN_ADDRESS = "x@example.com"


@dataclass(frozen=True, slots=True)
class Issued:
    """An invoice or credit note as exported.

    Args:
        basis: What it was worked out from; None for a credit note, and for what is older than that was kept.
    """

    row: Row
    lines: Sequence[Row]
    withholdings: Sequence[Row]
    basis: Basis | None


def check_invoice(invoice: Issued, original: Issued | None, earlier: Sequence[Issued]) -> Iterator[Fault]:
    """What of an invoice's amounts does not follow from what it was worked out from.

    Args:
        original: Of a credit note: the invoice that it credits.
        earlier: Credit notes of the same invoice that were issued before it.

    Raises:
        InputError, KeyError, ValueError, ArithmeticError: They cannot be worked out at all.
    """
    row, number = invoice.row, invoice.row["number"]
    sums = {
        "subtotal": sum((line["amount"] for line in invoice.lines), Decimal(0)),
        "tax": sum((line["tax"] for line in invoice.lines), Decimal(0)),
        "withholding": sum((kept["amount"] for kept in invoice.withholdings), Decimal(0)),
    }
    sums["total"] = sums["subtotal"] + sums["tax"] - sums["withholding"]
    for name, found in sums.items():
        if row[name] != found:
            yield Fault("export_sum_differs", invoice=number, what=name, said=row[name], found=found)
    if row["number"] != f"{row['series']}{row['serial']}":
        yield Fault("export_amount_differs", invoice=number, what="number", said=number, found=row["serial"])
    if original is not None:
        asked = [LineAmount(line["position"], line["amount"]) for line in invoice.lines]
        made = draft_credit(_creditable(original, earlier), asked)
        yield from _compare(invoice, made.draft, made.positions)
    elif invoice.basis is not None:
        lease = invoice.basis.get("lease")
        draft = draft_again(
            invoice.basis,
            period=Period.parse(row["period"]),
            lease_code=None if lease is None else lease["code"],
            currency=row["currency"],
        )
        if draft is None:
            yield Fault("export_amount_differs", invoice=number, what="lease", said=row["total"], found=None)
        else:
            yield from _compare(invoice, draft, tuple(range(1, len(draft.lines) + 1)))
            yield from _compare_premises(invoice)
    else:
        yield from _check_arithmetic(invoice)


def _compare(invoice: Issued, draft: InvoiceDraft, positions: Sequence[int]) -> Iterator[Fault]:
    number = invoice.row["number"]
    expected: dict[str, Any] = {"currency": draft.currency}
    found: dict[str, Any] = {"currency": invoice.row["currency"]}
    for position, line in zip(positions, draft.lines, strict=True):
        days = None if line.active is None else (line.active.active, line.active.total)
        words = (line.concept, line.description, line.amount, line.tax_rate, line.tax, days)
        expected[f"line {position}"] = words
    for row in invoice.lines:
        days = None if row["active_days"] is None else (row["active_days"], row["period_days"])
        words = (row["concept"], row["description"], row["amount"], row["tax_rate"], row["tax"], days)
        found[f"line {row['position']}"] = words
    expected |= {
        f"withholding {kept.tax}": (kept.rate, kept.base, kept.amount) for kept in draft.withholdings
    }
    found |= {
        f"withholding {row['tax']}": (row["rate"], row["base"], row["amount"]) for row in invoice.withholdings
    }
    for what in sorted(set(expected) | set(found)):
        if expected.get(what) != found.get(what):
            said, computed = _shown(found.get(what)), _shown(expected.get(what))
            yield Fault("export_amount_differs", invoice=number, what=what, said=said, found=computed)


def _compare_premises(invoice: Issued) -> Iterator[Fault]:
    """The lease that it says it is of is the one that it was worked out from."""
    assert invoice.basis is not None
    lease = invoice.basis.get("lease")
    if lease is None:
        return
    said = (invoice.row["property"], invoice.row["property_city"], invoice.row["use"])
    found = (lease["property"], lease["city"], lease["use"])
    if said != found:
        yield Fault(
            "export_amount_differs",
            invoice=invoice.row["number"],
            what="lease",
            said=_shown(said),
            found=_shown(found),
        )


def _check_arithmetic(invoice: Issued) -> Iterator[Fault]:
    """Of an invoice whose basis was not kept: its taxes follow from its lines, at the rates that it says."""
    number, currency = invoice.row["number"], invoice.row["currency"]
    for line in invoice.lines:
        tax = round_money(line["amount"] * line["tax_rate"], currency)
        if line["tax"] != tax:
            what = f"line {line['position']}"
            yield Fault("export_amount_differs", invoice=number, what=what, said=line["tax"], found=tax)
    for kept in invoice.withholdings:
        amount = round_money(kept["base"] * kept["rate"], currency)
        if kept["amount"] != amount:
            what = f"withholding {kept['tax']}"
            yield Fault("export_amount_differs", invoice=number, what=what, said=kept["amount"], found=amount)


def _creditable(original: Issued, earlier: Sequence[Issued]) -> Creditable:
    def credited(position: int, column: str) -> Decimal:
        return sum(
            (line[column] for note in earlier for line in note.lines if line["position"] == position),
            Decimal(0),
        )

    def given_back(tax: str) -> Decimal:
        return sum(
            (kept["amount"] for note in earlier for kept in note.withholdings if kept["tax"] == tax),
            Decimal(0),
        )

    return Creditable(
        number=original.row["number"],
        lease_code=None,
        currency=original.row["currency"],
        lines=[
            IssuedLine(
                row["position"],
                InvoiceLine(
                    row["concept"],
                    row["description"],
                    row["amount"],
                    row["tax_rate"],
                    row["tax"],
                    None
                    if row["active_days"] is None
                    else ActiveDays(row["active_days"], row["period_days"]),
                ),
                credited(row["position"], "amount"),
                credited(row["position"], "tax"),
            )
            for row in original.lines
        ],
        withholdings=[
            IssuedWithholding(
                Withholding(row["tax"], row["rate"], row["base"], row["amount"]), given_back(row["tax"])
            )
            for row in original.withholdings
        ],
        total=original.row["total"],
        credited=sum((note.row["total"] for note in earlier), Decimal(0)),
    )


def check_decision(row: Row, tenant: str, settings: Row | None) -> Iterator[Fault]:
    """What of a decision does not follow from what its rules looked at.

    Args:
        settings: The version that its run used.
    """
    trace = row["trace"]
    rules = MONTHLY_RULES if row["invoice_id"] is None else SINGLE_INVOICE_RULES
    given = {answer["rule"]: answer for answer in trace}
    policy = _policy(row, given, settings)
    for rule in rules:
        answer = given.pop(rule.__name__, None)
        if answer is None:
            # A rule that came later than the decision was not asked.
            continue
        again = rule(_tenant(answer, tenant), row["invoice_count"], policy)
        if again.as_json() != answer:
            yield Fault("export_rule_differs", tenant=tenant, rule=rule.__name__)
    for rule in given:
        yield Fault("export_rule_differs", tenant=tenant, rule=rule)
    reason = next((answer["rule"] for answer in trace if answer["objects"]), None)
    if row["reason"] != reason:
        yield Fault(
            "export_decision_differs", tenant=tenant, said=row["reason"] or "send", found=reason or "send"
        )


def _policy(row: Row, given: Mapping[str, Row], settings: Row | None) -> SendPolicy:
    """By the settings of its run; by its own words where those came later: a run that is repeated takes today's."""
    if (
        settings is not None
        and row["superseded_at"] is None
        and _instant(settings["created_at"]) <= _instant(row["decided_at"])
    ):
        return Settings.model_validate(settings["settings"]).policy
    recipients = given.get("global_only_multiple", {"inputs": {}})["inputs"].get("recipients", "all")
    return SendPolicy(given["sending_disabled"]["inputs"]["auto_send"], recipients)


def _tenant(answer: Row, code: str) -> Tenant:
    """A tenant of whom a rule would say what it said: each looked at its own part of one."""
    inputs = answer["inputs"]
    emails: tuple[str, ...] = (_AN_ADDRESS,) * int(inputs.get("emails", 1))
    if answer["rule"] == "invalid_email":
        # An address is before the first colon and space; none of those that are wrong by their reason alone is right.
        emails = tuple(_address(said) for said in inputs["invalid"])
    return Tenant(
        code=code,
        name=code,
        emails=emails,
        auto_send=inputs.get("tenant_auto_send", False),
        only_multiple=inputs.get("tenant_only_multiple", False),
        is_held=inputs.get("held", False),
    )


def _address(said: str) -> str:
    """The address of ``address: reason``: the longest beginning that is wrong for just that reason."""
    parts = said.split(": ")
    for cut in range(len(parts) - 1, 0, -1):
        address = ": ".join(parts[:cut])
        if [f"{each.address}: {each.reason}" for each in invalid_addresses((address,))] == [said]:
            return address
    return _AN_ADDRESS


def _instant(text: str) -> datetime.datetime:
    return datetime.datetime.fromisoformat(text)


def _shown(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)
