"""What a person corrects of what was issued: void, credit, replace, and what that means for what is to be sent.

Nothing was sent: the invoice is voided, leaves its delivery, and its number stays used. Something was, or may have
been: a credit note takes it back, whole or in part, and is sent as a single invoice is. Locks come in the order of the
month's runs: imports, months, single invoices, the invoice, its deliveries; the last are what a worker's claim and mark
lock.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path

from psycopg.rows import DictRow

from invoicing.db import audit
from invoicing.db.connection import Database
from invoicing.db.statements import beside
from invoicing.domain.correction import LineAmount
from invoicing.domain.errors import ImportRejectedError, InputError, RowProblem
from invoicing.domain.period import Period
from invoicing.services.agency import merge
from invoicing.services.billing import corrections, decide, out_of_step, runs
from invoicing.services.billing.corrections import Act, IssuedInvoice
from invoicing.services.delivery import select
from invoicing.services.delivery.reasons import given_reason

_SQL = beside(__file__)


@dataclass(frozen=True, slots=True)
class Order:
    """One correction that somebody asks for.

    Args:
        lines: Of a credit note, and how much of each; None for the whole of what is left.
        line: Where it stands in a file.
    """

    number: str
    act: Act
    reason: str
    lines: Sequence[LineAmount] | None = None
    line: int = 0


@dataclass(frozen=True, slots=True)
class Made:
    """A credit note or an invoice that a correction issued."""

    number: str
    subtotal: Decimal
    tax: Decimal
    withholding: Decimal
    total: Decimal
    currency: str


@dataclass(frozen=True, slots=True)
class Corrected:
    """What became of an order.

    Args:
        state: Of the invoice now.
        total: Of the invoice, as it was issued; ``currency`` is its.
        taken: What of it was taken back just now.
        deliveries: Ids of those made of what replaces it; sent by the next run of `send_new_invoices`, or, where the
            month's messages have to be approved, once that was done.
        is_to_be_sent: Whether `send_new_invoices` has something to do.
    """

    number: str
    act: Act
    tenant: str
    lease: str | None
    period: str
    state: str
    total: Decimal
    currency: str
    taken: Decimal = Decimal(0)
    credit_note: Made | None = None
    replacement: Made | None = None
    deliveries: Sequence[int] = ()
    is_to_be_sent: bool = False

    @property
    def difference(self) -> Decimal | None:
        """By how much what there is to pay changes; None where the replacement is in another currency."""
        if self.replacement is None:
            return -self.taken
        return self.replacement.total - self.taken if self.replacement.currency == self.currency else None


def correct(
    db: Database, orders: Sequence[Order], *, actor: str, file: Path | None = None, dry_run: bool = False
) -> list[Corrected]:
    """Carry out corrections, all of them or none.

    Args:
        file: That the orders were read from: what is wrong with one is told with its line.
        dry_run: Do all of it, and undo it: the outcome is what it would be, numbers included.

    Raises:
        InputError: One cannot be done; nothing was changed. Of a file, `ImportRejectedError` with every one of them.
    """
    orders = [replace(order, reason=given_reason(order.reason)) for order in orders]
    with db.transaction(force_rollback=dry_run):
        problems: list[RowProblem] = []
        done = []
        _lock(db, orders, file, problems)
        for order in orders if not problems else ():
            with _told_with_its_line(file, order, problems), db.transaction():
                done.append(_correct(db, order, actor))
        if problems:
            raise ImportRejectedError(problems)
    return done


@dataclass(frozen=True, slots=True)
class Foreseen:
    """What would become of orders, each by itself.

    Args:
        done: Those that can be carried out; together they are what `correct` would do.
        refused: Numbers of the others, and why.
    """

    done: Sequence[Corrected]
    refused: Sequence[tuple[str, InputError]]


def foresee(db: Database, orders: Sequence[Order], *, actor: str) -> Foreseen:
    """Say what `correct` would do with each of ``orders`` that it can carry out. Writes nothing.

    Raises:
        InputError: There is no reason, or no such invoice.
    """
    orders = [replace(order, reason=given_reason(order.reason)) for order in orders]
    done: list[Corrected] = []
    refused: list[tuple[str, InputError]] = []
    with db.transaction(force_rollback=True):
        _lock(db, orders, None, [])
        for order in orders:
            try:
                with db.transaction():
                    done.append(_correct(db, order, actor))
            except InputError as error:
                refused.append((order.number, error))
    return Foreseen(done, refused)


def void(db: Database, number: str, *, reason: str, actor: str) -> Corrected:
    """Void an invoice of which nothing has left.

    Raises:
        InputError: It was sent, or may have been, or is being sent; it is void, or credited, whole or in part; or there
            is no reason.
    """
    return correct(db, [Order(number, "void", reason)], actor=actor)[0]


def credit(
    db: Database, number: str, lines: Sequence[LineAmount] | None, *, reason: str, actor: str
) -> Corrected:
    """Issue a credit note of an invoice, whole (None) or by line.

    Raises:
        InputError: It is void, or credited whole, or a credit note itself, or still to be sent; a line has less left;
            or there is no reason.
    """
    return correct(db, [Order(number, "credit", reason, lines)], actor=actor)[0]


def replace_invoice(db: Database, number: str, *, reason: str, actor: str) -> Corrected:
    """Void or credit an invoice, unless that was done, and issue it again from its lease as it is now.

    Raises:
        InputError: As `void` and `credit`; or its lease is not active in the month, or it would come out the same.
    """
    return correct(db, [Order(number, "replace", reason)], actor=actor)[0]


@contextmanager
def _told_with_its_line(file: Path | None, order: Order, problems: list[RowProblem]) -> Iterator[None]:
    try:
        yield
    except InputError as error:
        if file is None:
            raise
        problems.append(RowProblem(file.name, order.line, None, None, error.code, error.values))


def _lock(db: Database, orders: Sequence[Order], file: Path | None, problems: list[RowProblem]) -> None:
    """Take turns with whoever bills, decides or imports, in the order in which they do."""
    periods = set()
    for order in orders:
        with _told_with_its_line(file, order, problems):
            named = corrections.find(db, [order.number])[order.number]
            if named.cycle_id is not None:
                periods.add(named.period)
    if any(order.act == "replace" for order in orders):
        merge.hold_off_imports(db)
    for period in sorted(periods):
        runs.lock_month(db, Period.parse(period))
    runs.lock_single_invoices(db)


def _correct(db: Database, order: Order, actor: str) -> Corrected:
    invoice = corrections.lock(db, order.number)
    match order.act:
        case "void":
            done = _void(db, invoice, order.reason, actor)
        case "credit":
            done = _credit(db, invoice, order, actor)
        case "replace":
            done = _replace(db, invoice, order.reason, actor)
    audit.record(
        db,
        actor=actor,
        action={"void": "invoice_voided", "credit": "invoice_credited", "replace": "invoice_replaced"}[
            order.act
        ],
        subject=f"invoice {invoice.number}",
        details={
            "reason": order.reason,
            "state": done.state,
            "credit_note": done.credit_note and done.credit_note.number,
            "replacement": done.replacement and done.replacement.number,
        },
    )
    return done


def _void(db: Database, invoice: IssuedInvoice, reason: str, actor: str) -> Corrected:
    _check_stands(invoice)
    deliveries = _lock_deliveries(db, invoice)
    if _may_have_left(deliveries):
        raise InputError("void_was_sent", number=invoice.number)
    if invoice.state == "partly_credited":
        raise InputError("void_of_credited", number=invoice.number)
    _take_out(db, invoice, deliveries, reason, actor)
    _bring_decision_in_line(db, invoice, [invoice.tenant_id], actor)
    return _outcome(invoice, "void", "void", taken=invoice.total)


def _credit(db: Database, invoice: IssuedInvoice, order: Order, actor: str) -> Corrected:
    _check_stands(invoice)
    deliveries = _lock_deliveries(db, invoice)
    is_open = any(row["state"] in ("pending", "claimed", "failed", "held") for row in deliveries)
    if is_open and not _may_have_left(deliveries):
        raise InputError("credit_unsent", number=invoice.number)
    note = corrections.credit(db, invoice, order.lines, reason=order.reason, actor=actor)
    _bring_decision_in_line(db, invoice, [invoice.tenant_id], actor)
    out_of_step.compare(db, Period.parse(invoice.period), known_only=True)
    return replace(
        _outcome(invoice, "credit", note.state, taken=note.draft.total),
        credit_note=_made(note),
        is_to_be_sent=True,
    )


def _replace(db: Database, invoice: IssuedInvoice, reason: str, actor: str) -> Corrected:
    made = corrections.draft_replacement(db, invoice)
    note: corrections.CreditNote | None = None
    state, taken = invoice.state, Decimal(0)
    if invoice.stands:
        deliveries = _lock_deliveries(db, invoice)
        # What was credited in part was sent, or handed over: it has a history that no void takes back.
        if _may_have_left(deliveries) or invoice.state != "issued":
            note = corrections.credit(db, invoice, None, reason=reason, actor=actor)
            state, taken = note.state, note.draft.total
        else:
            _take_out(db, invoice, deliveries, reason, actor, made_anew=True)
            state, taken = "void", invoice.total
    new = corrections.issue_replacement(
        db, invoice, made, was_sent=state == "credited", reason=reason, actor=actor
    )
    tenants = list(dict.fromkeys([invoice.tenant_id, new.tenant_id]))
    deliveries_made, are_requested = _bring_decision_in_line(db, invoice, tenants, actor, deliver=True)
    return replace(
        _outcome(invoice, "replace", state, taken=taken),
        credit_note=None if note is None else _made(note),
        replacement=_made(new),
        deliveries=deliveries_made,
        is_to_be_sent=are_requested or note is not None or state == "credited",
    )


def _check_stands(invoice: IssuedInvoice) -> None:
    if invoice.state == "void":
        raise InputError("void_already", number=invoice.number)
    if invoice.state == "credited":
        raise InputError("credited_already", number=invoice.number)


def _lock_deliveries(db: Database, invoice: IssuedInvoice) -> list[DictRow]:
    """The deliveries that carry an invoice; raises `InputError` where one is being transmitted just now."""
    rows = db.execute(_SQL["lock_deliveries"], {"invoice_id": invoice.id}).fetchall()
    for row in rows:
        if row["state"] == "transmitting":
            raise InputError("correction_under_way", number=invoice.number, delivery=row["id"])
    return rows


def _may_have_left(deliveries: Sequence[DictRow]) -> bool:
    return any(row["state"] in ("sent", "in_doubt") or row["may_have_left"] for row in deliveries)


def _take_out(
    db: Database,
    invoice: IssuedInvoice,
    deliveries: Sequence[DictRow],
    reason: str,
    actor: str,
    *,
    made_anew: bool = False,
) -> None:
    """Void the invoice: it leaves its deliveries, and one that carried nothing else is withdrawn.

    Args:
        made_anew: Withdraw the others too: what they carried goes into another one, with the replacement.
    """
    why = {
        "ids": [row["id"] for row in deliveries],
        "actor": actor,
        "reason": f"{invoice.number} was voided: {reason}",
    }
    db.execute(_SQL["end_claims"], why)
    if made_anew:
        db.execute(_SQL["withdraw"], why)
    corrections.void(db, invoice, reason=reason, actor=actor)
    db.execute(_SQL["withdraw_emptied"], why)


def _bring_decision_in_line(
    db: Database,
    invoice: IssuedInvoice,
    tenant_ids: Sequence[int],
    actor: str,
    *,
    deliver: bool = False,
) -> tuple[list[int], bool]:
    """Decide once more on tenants whose standing invoices are others now, as the month's latest run would.

    One that no run has decided on is left to the run. A decision to skip stands as long as the invoices are no more.

    Args:
        deliver: Make the delivery of what no message carries.

    Returns:
        The deliveries that were made, and whether they are requested of `send_new_invoices`.
    """
    if invoice.cycle_id is None:
        return [], False
    latest = db.execute(_SQL["latest_run"], {"cycle_id": invoice.cycle_id}).fetchone()
    if latest is None:
        return [], False
    run = runs.load_run(db, latest["id"])
    decide.drop_uncounted(db, run)
    if not latest["has_decided"]:
        return [], False
    made: list[int] = []
    for tenant in decide.counted_tenants(db, run, tenant_ids):
        is_skip = tenant.decision_id is not None and tenant.decided_reason is not None
        if is_skip and tenant.invoices <= (tenant.decided_count or 0):
            continue
        if tenant.has_message and not tenant.has_open and not tenant.uncovered and tenant.decision_id:
            continue
        (decision,) = decide.decide_tenants([tenant], run.settings.settings.policy)
        if decision.send:
            decide.keep_decisions(db, run, [(tenant, decision)])
            if deliver:
                made += select.deliver_uncovered(db, run, tenant, actor=actor)
        else:
            select.bring_in_line(db, run, [(tenant, decision)], actor=actor)
    needs_approval = run.settings.settings.approval != "never"
    if made and not needs_approval:
        db.execute(_SQL["request"], {"ids": made})
    return made, bool(made) and not needs_approval


def _outcome(invoice: IssuedInvoice, act: Act, state: str, *, taken: Decimal) -> Corrected:
    return Corrected(
        number=invoice.number,
        act=act,
        tenant=invoice.tenant_code,
        lease=invoice.lease_code,
        period=invoice.period,
        state=state,
        total=invoice.total,
        currency=invoice.currency,
        taken=taken,
    )


def _made(made: corrections.CreditNote | corrections.Replacement) -> Made:
    draft = made.draft
    return Made(made.issued.number, draft.subtotal, draft.tax, draft.withholding, draft.total, draft.currency)
