"""Several invoices of a month corrected together: which, what would come out of each, then one more click."""

import hashlib
from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from invoicing.db.connection import Database
from invoicing.domain.errors import InputError
from invoicing.domain.period import Period
from invoicing.services.billing.corrections import Act
from invoicing.services.delivery import corrections
from invoicing.services.delivery.corrections import Corrected, Order
from invoicing.services.views.correctable import ONLY, find_correctable
from invoicing.web.announcement import announce
from invoicing.web.database import PoolDep
from invoicing.web.door.duties import Duty, needs
from invoicing.web.door.turns import EXPENSIVE
from invoicing.web.door.visitor import VisitorDep
from invoicing.web.html.forms import Submitted, SubmittedDep, see_other
from invoicing.web.html.i18n import TranslatorDep
from invoicing.web.html.table import TableQuery
from invoicing.web.html.templating import PagesDep

router = APIRouter(prefix="/cycles")

# At once: each takes its turn with the month's runs, and one page shows them all.
_MOST = 200
_ACTS: dict[str, Act] = {"void": "void", "credit": "credit", "replace": "replace"}


@router.get("/{period}/correct")
@needs(Duty.READ_AMOUNTS)
def show_correctable(request: Request, pool: PoolDep, pages: PagesDep, period: str) -> Response:
    """The month's invoices that stand and fit, and what may be done with them. Changes nothing."""
    return _page(request, pool, pages, Period.parse(period))


@router.post("/{period}/correct", dependencies=[EXPENSIVE])
@needs(Duty.ACT_ON_DELIVERIES)
def correct_several(
    request: Request,
    pool: PoolDep,
    pages: PagesDep,
    visitor: VisitorDep,
    t: TranslatorDep,
    submitted: SubmittedDep,
    period: str,
) -> Response:
    """What would come out of those that fit and can be corrected so; then, of just these, what comes out."""
    month = Period.parse(period)
    asked = {"action": submitted["action"], "reason": submitted["reason"]}
    try:
        if submitted["step"] != "do":
            with pool.connection() as db:
                foreseen = corrections.foresee(
                    db, _orders_that_fit(request, db, month, asked), actor=visitor.actor
                )
            shown: dict[str, Any] = {"foreseen": foreseen, "seen": _digest(foreseen.done)}
            return _page(request, pool, pages, month, asked=asked, **shown)
        with pool.connection() as db:
            done = _correct(db, submitted, _orders(submitted.all("number"), asked), visitor.actor)
    except InputError as error:
        return _page(request, pool, pages, month, 422, asked=asked, refused=t.failure(error))
    told = not any(each.is_to_be_sent for each in done) or announce(request)
    return see_other(request, f"/cycles/{month}?done={'corrected' if told else 'corrected-untold'}")


def _correct(db: Database, submitted: Submitted, orders: Sequence[Order], actor: str) -> list[Corrected]:
    """All of it, as it was seen; raises `InputError` where one cannot be done, or would come out otherwise."""
    with db.transaction():
        done = corrections.correct(db, orders, actor=actor)
        if _digest(done) != submitted["seen"]:
            raise InputError("corrections_overtaken")
    return done


def _orders_that_fit(request: Request, db: Database, month: Period, asked: dict[str, str]) -> Sequence[Order]:
    query = _query(request)
    found, _ = find_correctable(db, month, query.search, query.filters.get("only"), most=_MOST)
    return _orders([each.number for each in found], asked)


def _orders(numbers: Sequence[str], asked: dict[str, str]) -> Sequence[Order]:
    act = _ACTS.get(asked["action"])
    if act is None:
        raise InputError("correction_not_chosen")
    if not numbers or len(numbers) > _MOST:
        raise InputError("corrections_none")
    return [Order(number, act, asked["reason"]) for number in numbers]


def _digest(done: Sequence[Corrected]) -> str:
    """Stands for what comes out of each, amounts and numbers included."""
    told = [
        (each.number, each.state, str(each.taken), str(each.credit_note), str(each.replacement))
        for each in done
    ]
    return hashlib.sha256(repr(told).encode()).hexdigest()


def _query(request: Request) -> TableQuery:
    return TableQuery.of(request, sorts=("number",), filters={"only": ONLY})


def _page(
    request: Request, pool: PoolDep, pages: PagesDep, month: Period, status: int = 200, **context: Any
) -> Response:
    query = _query(request)
    with pool.connection() as db:
        found, total = find_correctable(db, month, query.search, query.filters.get("only"), most=_MOST)
    shown = {"asked": {"action": "", "reason": ""}, "foreseen": None, "seen": "", "refused": "", **context}
    return pages.respond(
        request,
        "cycle_correct.html",
        status,
        period=str(month),
        query=query,
        found=found,
        total=total,
        **shown,
    )
