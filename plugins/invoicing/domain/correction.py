"""Credit notes: what one takes back of an invoice (docs/contract.md, section 5, "Corrections")."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from invoicing.domain.errors import InputError
from invoicing.domain.invoice import InvoiceDraft, InvoiceLine, Withholding
from invoicing.domain.taxes import round_money

_LINE_AMOUNT = re.compile(
    r"\s*(?P<position>[0-9]{1,6})\s*=\s*(?P<amount>-?[0-9]{1,15}(\.[0-9]{1,4})?)\s*(?P<currency>[A-Za-z]{3})?\s*"
)


@dataclass(frozen=True, slots=True)
class LineAmount:
    """How much of a line is to be credited.

    Args:
        position: Of the line in the invoice, from 1.
        amount: Before tax, in the invoice's currency.
        currency: As somebody named it; None where nobody did.
    """

    position: int
    amount: Decimal
    currency: str | None = None

    @classmethod
    def parse(cls, text: str) -> "LineAmount":
        """Read ``POSITION=AMOUNT``, with or without a currency behind; raises `InputError`."""
        found = _LINE_AMOUNT.fullmatch(text)
        if found is None:
            raise InputError("credit_line_malformed", text=text, field="lines")
        currency = found["currency"]
        return cls(int(found["position"]), Decimal(found["amount"]), currency and currency.upper())


@dataclass(frozen=True, slots=True)
class IssuedLine:
    """A line of an issued invoice, and what earlier credit notes took of it."""

    position: int
    line: InvoiceLine
    credited: Decimal = Decimal(0)
    credited_tax: Decimal = Decimal(0)

    @property
    def left(self) -> Decimal:
        """What may still be credited, before tax; it has the line's sign."""
        return self.line.amount - self.credited


@dataclass(frozen=True, slots=True)
class IssuedWithholding:
    """A withholding of an issued invoice, and what earlier credit notes took of it."""

    withholding: Withholding
    credited: Decimal = Decimal(0)


@dataclass(frozen=True, slots=True)
class Creditable:
    """An issued invoice and its earlier credit notes, as far as another one depends on them.

    Args:
        lines: By position; the first one is the rent of a monthly invoice.
        credited: Sum of the totals of its credit notes.
    """

    number: str
    lease_code: str | None
    currency: str
    lines: Sequence[IssuedLine]
    withholdings: Sequence[IssuedWithholding]
    total: Decimal
    credited: Decimal = Decimal(0)


@dataclass(frozen=True, slots=True)
class CreditDraft:
    """A credit note that has its amounts and not yet its number: what is taken back, so positive where the line is.

    Args:
        positions: Of the lines that it credits, line by line of ``draft``.
        is_rest: Whether nothing of the invoice is left after it.
    """

    draft: InvoiceDraft
    positions: tuple[int, ...]
    is_rest: bool


def draft_credit(invoice: Creditable, asked: Sequence[LineAmount] | None = None) -> CreditDraft:
    """Work out a credit note: of ``asked`` lines, or of all that is left.

    IVA and withholdings follow at the original's own rates. Each is the rounded amount on all that is credited by then,
    less what earlier notes have: so every note is within one rounding unit of its rate, and notes that add up to the
    whole give back the invoice exactly. The one that leaves nothing takes the rest of everything.

    Args:
        asked: At most once a line.

    Raises:
        InputError: A line that is not there, or has less left; another currency; an amount that nobody can pay in; a
            note of nothing or less, or one that leaves less than nothing to pay.
    """
    amounts = _whole(invoice) if asked is None else _checked(invoice, asked)
    is_rest = all(amounts.get(each.position, Decimal(0)) == each.left for each in invoice.lines)
    credited = [
        (each, _credit_line(each, amounts[each.position], invoice.currency))
        for each in invoice.lines
        if each.position in amounts
    ]
    withholdings = tuple(_withholdings(invoice, [line for _, line in credited], amounts, is_rest=is_rest))
    draft = InvoiceDraft(
        invoice.lease_code, invoice.currency, tuple(line for _, line in credited), withholdings
    )
    if draft.total <= 0:
        raise InputError("credit_of_nothing", invoice=invoice.number, total=draft.total)
    if not is_rest and draft.total >= invoice.total - invoice.credited:
        raise InputError(
            "credit_leaves_less_than_nothing",
            invoice=invoice.number,
            total=draft.total,
            left=invoice.total - invoice.credited,
        )
    return CreditDraft(draft, tuple(each.position for each, _ in credited), is_rest)


def _whole(invoice: Creditable) -> dict[int, Decimal]:
    return {each.position: each.left for each in invoice.lines if each.left}


def _checked(invoice: Creditable, asked: Iterable[LineAmount]) -> Mapping[int, Decimal]:
    lines = {each.position: each for each in invoice.lines}
    amounts: dict[int, Decimal] = {}
    for each in asked:
        named = {"invoice": invoice.number, "position": each.position, "field": "lines"}
        if each.currency not in (None, invoice.currency):
            raise InputError("credit_other_currency", **named, given=each.currency, currency=invoice.currency)
        line = lines.get(each.position)
        if line is None:
            raise InputError("credit_line_unknown", **named, lines=len(invoice.lines))
        if each.position in amounts:
            raise InputError("credit_line_twice", **named)
        if each.amount != round_money(each.amount, invoice.currency):
            raise InputError(
                "credit_amount_unpayable", **named, amount=each.amount, currency=invoice.currency
            )
        if each.amount == 0 or (each.amount < 0) != (line.line.amount < 0):
            raise InputError("credit_amount_of_other_sign", **named, amount=each.amount, left=line.left)
        if abs(each.amount) > abs(line.left):
            raise InputError("credit_more_than_left", **named, amount=each.amount, left=line.left)
        amounts[each.position] = each.amount
    if not amounts:
        raise InputError("credit_without_lines", invoice=invoice.number, field="lines")
    return amounts


def _credit_line(issued: IssuedLine, amount: Decimal, currency: str) -> InvoiceLine:
    line = issued.line
    is_rest = amount == issued.left
    due = line.tax if is_rest else round_money((issued.credited + amount) * line.tax_rate, currency)
    return InvoiceLine(
        concept=line.concept,
        description=line.description,
        amount=amount,
        tax_rate=line.tax_rate,
        tax=due - issued.credited_tax,
        # Said of the whole line alone: half of a month's half is no 15 days.
        active=line.active if amount == line.amount else None,
    )


def _withholdings(
    invoice: Creditable, lines: Iterable[InvoiceLine], amounts: Mapping[int, Decimal], *, is_rest: bool
) -> Iterable[Withholding]:
    """What is given back of each withholding: on the IVA that is credited, or on the rent, as it was withheld."""
    iva = sum((line.tax for line in lines), Decimal(0))
    iva_before = sum((each.credited_tax for each in invoice.lines), Decimal(0))
    rent = invoice.lines[0]
    for each in invoice.withholdings:
        kept = each.withholding
        if kept.tax == "reteiva":
            base, before = iva, iva_before
        else:
            base, before = amounts.get(rent.position, Decimal(0)), rent.credited
        due = kept.amount if is_rest else round_money((before + base) * kept.rate, invoice.currency)
        # Discounts that are credited apart may bring the base over the whole, or down again.
        amount = min(max(due, each.credited), kept.amount) - each.credited
        if amount:
            yield Withholding(kept.tax, kept.rate, base, amount)
