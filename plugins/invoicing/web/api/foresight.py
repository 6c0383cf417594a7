"""The JSON API of what a run would do now: for a page that waits, and for programs."""

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.encoders import jsonable_encoder
from starlette.responses import JSONResponse, Response

from invoicing.domain.errors import TemporaryFailureError
from invoicing.domain.period import Period
from invoicing.services.views.foresight import ForeseenTenant, Foresight
from invoicing.services.views.simulate import change_json
from invoicing.web.api.amounts import as_json
from invoicing.web.door.duties import Duty, needs
from invoicing.web.door.turns import EXPENSIVE
from invoicing.web.door.visitor import VisitorDep
from invoicing.web.errors import refuse
from invoicing.web.foresights import RETRY_AFTER_SECONDS, Foresights, ForesightsBusyError, Underway
from invoicing.web.refusals import REFUSALS
from invoicing.words.failures import Fault

router = APIRouter()

_PATIENCE_SECONDS = 20.0
_BUSY: Mapping[int | str, dict[str, Any]] = {429: {**REFUSALS[503], "description": "Too Many Requests"}}


@router.get("/foresight/{period}", responses=dict(_BUSY), dependencies=[EXPENSIVE])
@needs(Duty.READ_AMOUNTS)
def get_foresight(request: Request, visitor: VisitorDep, period: str) -> Any:
    """What a run of the month would do now, and what differs from the month before. Nothing is written or sent."""
    month = Period.parse(period)
    try:
        known = _foresights(request).ask(month, patience_seconds=_PATIENCE_SECONDS)
    except ForesightsBusyError as error:
        return _later(refuse(request, 429, error))
    except TemporaryFailureError as error:
        return _later(refuse(request, 503, error))
    if isinstance(known, Underway):
        return _later(refuse(request, 503, Fault("foresight_underway", period=month)))
    return JSONResponse(jsonable_encoder(_foresight_json(visitor.sees(known))))


@router.get("/foresight/{period}/progress")
@needs(Duty.READ_AMOUNTS)
def get_progress(
    request: Request, period: str, of: Annotated[str, Query(max_length=64)] = ""
) -> dict[str, Any]:
    """How far the one is that a page waits for; ``done`` says that there is nothing to wait for."""
    Period.parse(period)
    underway = _foresights(request).progress(of)
    if underway is None:
        return {"done": True, "stage": 0, "stages": 0, "seconds": 0}
    return {"done": False, "stage": underway.done, "stages": underway.stages, "seconds": underway.seconds}


def _foresights(request: Request) -> Foresights:
    foresights = request.app.state.foresights
    assert isinstance(foresights, Foresights)
    return foresights


def _later(answer: Response) -> Response:
    answer.headers["Retry-After"] = str(RETRY_AFTER_SECONDS)
    return answer


def _foresight_json(foresight: Foresight) -> dict[str, Any]:
    return {
        "period": str(foresight.period),
        "as_of": foresight.as_of.isoformat(),
        "compared_with": None if foresight.compared_with is None else str(foresight.compared_with),
        "totals": [as_json(each) for each in foresight.totals],
        "decisions": dict(foresight.outcomes),
        "messages": foresight.messages,
        "changes": {
            kind: {
                "count": each.count,
                "differences": {currency: f"{amount:f}" for currency, amount in each.differences.items()},
            }
            for kind, each in foresight.changes.items()
        },
        "unreachable": foresight.unreachable,
        "unissued": [as_json(each) for each in foresight.unissued],
        "tenants": [_tenant_json(each) for each in foresight.tenants],
    }


def _tenant_json(tenant: ForeseenTenant) -> dict[str, Any]:
    outcome = tenant.outcome
    return {
        "tenant": tenant.code,
        "name": tenant.name,
        "invoices": len(tenant.invoices),
        "decision": outcome if outcome in (None, "send") else "skip",
        "reason": tenant.reason,
        "address_problem": tenant.address_problem,
        "to": list(tenant.to),
        "cc": list(tenant.cc),
        **change_json(tenant.comparison),
        "invoices_detail": [as_json(each, without=("change", "tenant")) for each in tenant.invoices],
    }
