"""The app: pages, JSON API and static files, behind one door."""

from pathlib import Path

from fastapi import Depends, FastAPI, Request
from starlette.responses import RedirectResponse
from starlette.staticfiles import StaticFiles

from invoicing.services.views import remembering
from invoicing.web import api, pages
from invoicing.web.database import Pool
from invoicing.web.door.doorkeeper import Doorkeeper
from invoicing.web.door.duties import Duty, needs
from invoicing.web.door.form_tokens import FormTokens, require_form_token
from invoicing.web.door.headers import SecurityHeaders
from invoicing.web.door.turns import Places
from invoicing.web.errors import install_handlers, refuse
from invoicing.web.foresights import Foresights
from invoicing.web.html.forms import lead_to
from invoicing.web.html.templating import STATIC_FOLDER, Pages
from invoicing.web.outside import Outside
from invoicing.web.refusals import REFUSALS


def create_app(outside: Outside) -> FastAPI:
    """The app for one process.

    Args:
        outside: Its users, keys, database, archive and relay.
    """
    app = FastAPI(
        title="Rent invoicing",
        description="The invoicing pages' JSON API: log in as for Airflow's own. What it refuses, it refuses with "
        "problem details (RFC 9457) with a code; /api/v1/problems has every code's words.",
        version="1",
        # The documentation is a route of ours, behind the door like all others.
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        dependencies=[Depends(require_form_token)],
    )
    app.state.outside = outside
    app.state.pool = Pool(outside.find_dsn)
    app.state.places = Places()
    app.state.foresights = Foresights(app.state.pool)
    app.state.pages = Pages()
    app.state.remembered_of_ledger = remembering.of_ledger()
    app.state.remembered_of_tenants = remembering.of_tenants()
    app.state.form_tokens = FormTokens(outside.secret)
    # The last one added is the outermost.
    app.add_middleware(Doorkeeper, gate=outside.gate, refuse=refuse, own_origin=outside.public_url)
    app.add_middleware(SecurityHeaders)
    install_handlers(app)
    for router in api.ROUTERS:
        app.include_router(router, prefix="/api/v1", responses=REFUSALS)
    for router in pages.ROUTERS:
        app.include_router(router, include_in_schema=False)
    app.mount("/static", StaticFiles(directory=Path(STATIC_FOLDER)), name="static")

    @app.get("/", include_in_schema=False)
    @needs(Duty.READ_AMOUNTS)
    def start(request: Request) -> RedirectResponse:
        return lead_to(request, "/cycles")

    return app
