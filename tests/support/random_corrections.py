"""What people correct of a month's invoices, one act after another, at random."""

import contextlib
from dataclasses import dataclass

import psycopg
from hypothesis import event
from hypothesis import strategies as st

from invoicing.db.connection import Database
from invoicing.domain.correction import LineAmount
from invoicing.domain.errors import InputError, PermanentFailureError
from invoicing.services.delivery import approvals, corrections
from invoicing.services.delivery.corrections import Corrected
from support.agency import NOVEMBER, Agency
from support.random_agency import RandomAgency, RandomMonth

_WHY = {"reason": "at random", "actor": "test"}


@dataclass(frozen=True, slots=True)
class Act:
    """What somebody does to an invoice, by its place in the month.

    Args:
        kind: ``credit`` is of one line, ``whole`` of all that is left.
        line: By its place, of a credit in part.
        share: How much of that line, of ten.
    """

    kind: str
    invoice: int
    line: int
    share: int


ACTS = st.lists(
    st.builds(
        Act,
        kind=st.sampled_from(["void", "credit", "credit", "whole", "replace"]),
        invoice=st.integers(0, 7),
        line=st.just(0) | st.integers(0, 2),
        share=st.integers(1, 10),
    ),
    max_size=6,
)


def correct(db: Database, act: Act) -> Corrected | None:
    """Do it, where it may be done: what is refused changes nothing, and is None."""
    invoices = db.execute(
        "SELECT id, number FROM invoicing.invoice WHERE kind = 'invoice' ORDER BY id"
    ).fetchall()
    if not invoices:
        return None
    invoice = invoices[act.invoice % len(invoices)]
    done = None
    with contextlib.suppress(InputError, PermanentFailureError, psycopg.errors.IntegrityError):
        done = _correct(db, act, invoice["id"], invoice["number"])
    event(f"{act.kind}: {'done' if done else 'refused'}")
    return done


def _correct(db: Database, act: Act, invoice_id: int, number: str) -> Corrected:
    match act.kind:
        case "void":
            return corrections.void(db, number, **_WHY)
        case "replace":
            return corrections.replace_invoice(db, number, **_WHY)
        case "whole":
            return corrections.credit(db, number, None, **_WHY)
        case _:
            lines = db.execute(
                "SELECT position, amount FROM invoicing.invoice_line WHERE invoice_id = %s ORDER BY position",
                [invoice_id],
            ).fetchall()
            line = lines[act.line % len(lines)]
            part = LineAmount(line["position"], (line["amount"] * act.share / 10).quantize(1))
            return corrections.credit(db, number, [part], **_WHY)


def bill(agency: Agency, month: RandomMonth, of: RandomAgency) -> None:
    """The agency as ``month`` has it, and a run up to its deliveries, approved where that is asked for."""
    of.become(month)
    run_id, _ = agency.run()
    if approvals.look(agency.db, run_id).state == "wait":
        approvals.answer(agency.db, NOVEMBER, "approved", via="page", **_WHY)


def send(agency: Agency, put: list[bool]) -> None:
    """As workers send the messages of those tenants who have a True in their place."""
    rows = agency.db.execute(
        "SELECT DISTINCT t.code FROM invoicing.delivery d JOIN invoicing.tenant t ON t.id = d.tenant_id"
        " WHERE d.state = 'pending' ORDER BY 1"
    ).fetchall()
    for is_sent, row in zip(put, rows, strict=False):
        if is_sent:
            agency.put(row["code"], "claimed", "transmitting", "sent")
