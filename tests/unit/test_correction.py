"""What a credit note takes back of an invoice, worked out to the peso."""

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from invoicing.domain.correction import (
    Creditable,
    CreditDraft,
    IssuedLine,
    IssuedWithholding,
    LineAmount,
    draft_credit,
)
from invoicing.domain.errors import InputError
from invoicing.domain.invoice import InvoiceLine, Withholding
from invoicing.domain.proration import ActiveDays
from invoicing.domain.taxes import TaxName, round_money

IVA = Decimal("0.19")


def invoice(
    *amounts: int | str, rates: Sequence[Decimal] = (), currency: str = "COP", kept: bool = False
) -> Creditable:
    """An invoice whose first line is the rent, with the withholdings of a commercial lease where ``kept``."""
    lines = []
    for position, text in enumerate(amounts, start=1):
        amount = Decimal(text)
        rate = rates[position - 1] if position <= len(rates) else Decimal(0)
        line = InvoiceLine(
            "rent" if position == 1 else "other",
            f"line {position}",
            amount,
            rate,
            round_money(amount * rate, currency),
        )
        lines.append(IssuedLine(position, line))
    iva = sum((each.line.tax for each in lines), Decimal(0))
    rent = lines[0].line.amount
    withholdings = []
    bases: Sequence[tuple[TaxName, str, Decimal]] = (
        ("retefuente", "0.035", rent),
        ("reteiva", "0.15", iva),
        ("reteica", "0.00966", rent),
    )
    for tax, rate_text, base in bases if kept else ():
        amount = round_money(base * Decimal(rate_text), currency)
        if amount > 0:
            withholdings.append(IssuedWithholding(Withholding(tax, Decimal(rate_text), base, amount)))
    total = (
        sum((each.line.amount for each in lines), Decimal(0))
        + iva
        - sum((each.withholding.amount for each in withholdings), Decimal(0))
    )
    return Creditable("FV-1", "L1", currency, lines, withholdings, total)


def after(of: Creditable, note: CreditDraft) -> Creditable:
    """The invoice once the note is issued."""
    taken = dict(zip(note.positions, note.draft.lines, strict=True))
    kept = {each.tax: each.amount for each in note.draft.withholdings}
    return replace(
        of,
        lines=[
            replace(
                each,
                credited=each.credited + taken[each.position].amount,
                credited_tax=each.credited_tax + taken[each.position].tax,
            )
            if each.position in taken
            else each
            for each in of.lines
        ],
        withholdings=[
            replace(each, credited=each.credited + kept.get(each.withholding.tax, Decimal(0)))
            for each in of.withholdings
        ],
        credited=of.credited + note.draft.total,
    )


def lines(**amounts: int | str) -> list[LineAmount]:
    return [LineAmount(int(name[1:]), Decimal(amount)) for name, amount in amounts.items()]


def test_a_whole_credit_is_the_invoice() -> None:
    of = invoice(4_200_001, 131_000, -100_000, rates=[IVA, IVA], kept=True)
    note = draft_credit(of)

    assert note.is_rest
    assert note.positions == (1, 2, 3)
    assert note.draft.total == of.total
    assert note.draft.lines == tuple(each.line for each in of.lines)
    assert [each.amount for each in note.draft.withholdings] == [
        each.withholding.amount for each in of.withholdings
    ]


def test_part_of_the_rent_takes_its_iva_and_its_withholdings_with_it() -> None:
    of = invoice(4_000_000, 100_000, rates=[IVA], kept=True)
    note = draft_credit(of, lines(p1=1_000_000))

    assert not note.is_rest
    assert note.draft.subtotal == 1_000_000
    assert note.draft.tax == 190_000
    assert {each.tax: (each.base, each.amount) for each in note.draft.withholdings} == {
        "retefuente": (1_000_000, 35_000),
        "reteiva": (190_000, 28_500),
        "reteica": (1_000_000, 9_660),
    }
    assert note.draft.total == 1_000_000 + 190_000 - 35_000 - 28_500 - 9_660


def test_part_of_another_charge_takes_no_withholding_of_the_rent() -> None:
    note = draft_credit(invoice(4_000_000, 100_000, rates=[IVA, IVA], kept=True), lines(p2=50_000))
    assert {each.tax: each.amount for each in note.draft.withholdings} == {"reteiva": 1_425}


def test_days_are_said_of_a_whole_line_alone() -> None:
    of = invoice(500_000)
    prorated = replace(of.lines[0].line, active=ActiveDays(15, 30))
    of = replace(of, lines=[IssuedLine(1, prorated)])

    assert draft_credit(of).draft.lines[0].active == ActiveDays(15, 30)
    assert draft_credit(of, lines(p1=100)).draft.lines[0].active is None


@given(st.data())
def test_notes_that_add_up_to_the_whole_give_back_the_invoice_to_the_peso(data: st.DataObject) -> None:
    """However it is cut up: lines, parts, IVA, withholdings, discounts; and each note is near its own rate."""
    currency = data.draw(st.sampled_from(["COP", "USD"]))
    unit = Decimal(1) if currency == "COP" else Decimal("0.01")
    rent = data.draw(st.integers(1, 10_000_000))
    others = data.draw(st.lists(st.integers(-rent // 8, 3_000_000).filter(bool), max_size=3))
    rates = data.draw(st.lists(st.sampled_from([IVA, Decimal(0), Decimal("0.05")]), min_size=4, max_size=4))
    of = left = invoice(
        *(amount * unit for amount in [rent, *others]),
        rates=rates,
        currency=currency,
        kept=data.draw(st.booleans()),
    )
    if of.total <= 0:
        return
    notes = []
    for _ in range(data.draw(st.integers(0, 5))):
        open_lines = [each for each in left.lines if each.left]
        asked = []
        for each in data.draw(st.lists(st.sampled_from(open_lines), min_size=1, max_size=3, unique=True)):
            most = int(abs(each.left) / unit)
            part = data.draw(st.integers(1, most)) * unit
            asked.append(LineAmount(each.position, part.copy_sign(each.left)))
        try:
            note = draft_credit(left, asked)
        except InputError as error:
            if error.code not in ("credit_of_nothing", "credit_leaves_less_than_nothing"):
                raise
            continue
        notes.append(note)
        left = after(left, note)
        if note.is_rest:
            break
    if not (notes and notes[-1].is_rest):
        notes.append(draft_credit(left))
        left = after(left, notes[-1])

    for line in (line for note in notes for line in note.draft.lines):
        assert abs(line.tax - line.amount * line.tax_rate) <= unit
    assert sum(note.draft.total for note in notes) == of.total
    assert sum(note.draft.tax for note in notes) == sum(each.line.tax for each in of.lines)
    assert [each.left for each in left.lines] == [0] * len(of.lines)
    assert [each.credited_tax for each in left.lines] == [each.line.tax for each in of.lines]
    assert [each.credited for each in left.withholdings] == [
        each.withholding.amount for each in of.withholdings
    ]
    assert all(note.draft.total > 0 for note in notes)
    assert all(kept.amount > 0 for note in notes for kept in note.draft.withholdings)


def test_small_notes_do_not_leave_their_rounding_to_the_last_one() -> None:
    """0.57 of IVA a note: by itself each would have 1, and the last would give less than nothing."""
    left = invoice(30, 1_000, rates=[IVA])
    taxes = []
    for _ in range(9):
        note = draft_credit(left, lines(p1=3))
        taxes.append(note.draft.tax)
        left = after(left, note)
    assert taxes == [1, 0, 1, 0, 1, 0, 1, 1, 0]
    assert draft_credit(left, lines(p1=3)).draft.tax == 1


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        ([LineAmount(1, Decimal(1001))], "credit_more_than_left"),
        ([LineAmount(3, Decimal(-501))], "credit_more_than_left"),
        ([LineAmount(4, Decimal(1))], "credit_line_unknown"),
        ([LineAmount(0, Decimal(1))], "credit_line_unknown"),
        ([LineAmount(1, Decimal(1)), LineAmount(1, Decimal(2))], "credit_line_twice"),
        ([LineAmount(1, Decimal("0.5"))], "credit_amount_unpayable"),
        ([LineAmount(1, Decimal(0))], "credit_amount_of_other_sign"),
        ([LineAmount(1, Decimal(-1))], "credit_amount_of_other_sign"),
        ([LineAmount(3, Decimal(1))], "credit_amount_of_other_sign"),
        ([LineAmount(1, Decimal(1), "USD")], "credit_other_currency"),
        ([], "credit_without_lines"),
        # A discount alone would be a charge.
        ([LineAmount(3, Decimal(-500))], "credit_of_nothing"),
        # The rent without its discount is more than there is to pay.
        ([LineAmount(1, Decimal(1000)), LineAmount(2, Decimal(600))], "credit_leaves_less_than_nothing"),
    ],
)
def test_what_cannot_be_credited_is_said(asked: list[LineAmount], code: str) -> None:
    with pytest.raises(InputError) as caught:
        draft_credit(invoice(1000, 600, -500), asked)
    assert caught.value.code == code
    assert caught.value.in_words("es") != caught.value.in_words("en")


def test_what_was_credited_before_is_no_longer_left() -> None:
    of = invoice(1000, 500)
    left = after(of, draft_credit(of, lines(p1=700)))

    with pytest.raises(InputError, match="line 1 of invoice FV-1 has 300 left, less than 301"):
        draft_credit(left, lines(p1=301))
    rest = draft_credit(left)
    assert (rest.positions, rest.draft.total, rest.is_rest) == ((1, 2), 800, True)


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("1=250000", LineAmount(1, Decimal(250000))),
        (" 12 = 0.50 usd ", LineAmount(12, Decimal("0.50"), "USD")),
        ("3=-100", LineAmount(3, Decimal(-100))),
        ("2=5COP", LineAmount(2, Decimal(5), "COP")),
    ],
)
def test_a_line_and_its_amount_are_read(text: str, read: LineAmount) -> None:
    assert LineAmount.parse(text) == read


@pytest.mark.parametrize(
    "text", ["", "1", "=1", "1=", "a=1", "1=1e5", "1=1.2.3", "1=NaN", "1=1,000", "-1=5", "1=1=1"]
)
def test_what_is_no_line_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="is not of the form POSITION=AMOUNT"):
        LineAmount.parse(text)
