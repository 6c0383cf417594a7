"""The JSON API's own description."""

from functools import lru_cache
from typing import Any

from fastapi import APIRouter, FastAPI, Request
from fastapi.openapi.utils import get_openapi
from starlette.responses import JSONResponse, Response

from invoicing.web.door.duties import Duty, needs

router = APIRouter()


@router.get("/openapi.json", include_in_schema=False)
@needs(Duty.READ_AMOUNTS)
def get_openapi_document(request: Request) -> Response:
    """This API's description, for those who are logged in."""
    return JSONResponse(_described(request.app, request.scope.get("root_path", "") or "/"))


# Where the app is mounted does not change; whoever asks for it again would hold up everybody for a third of a second.
@lru_cache(maxsize=4)
def _described(app: FastAPI, root: str) -> dict[str, Any]:
    return get_openapi(
        title=app.title,
        version=app.version,
        description=app.description,
        routes=app.routes,
        servers=[{"url": root}],
    )
