"""The JSON API's own description."""

from fastapi import APIRouter, Request
from fastapi.openapi.utils import get_openapi
from starlette.responses import JSONResponse, Response

from invoicing.web.door.duties import Duty, needs

router = APIRouter()


@router.get("/openapi.json", include_in_schema=False)
@needs(Duty.READ_AMOUNTS)
def get_openapi_document(request: Request) -> Response:
    """This API's description, for those who are logged in."""
    app = request.app
    return JSONResponse(
        get_openapi(
            title=app.title,
            version=app.version,
            description=app.description,
            routes=app.routes,
            servers=[{"url": request.scope.get("root_path", "") or "/"}],
        )
    )
