"""What the JSON API's description says of the answers that say no (RFC 9457); `invoicing.web.errors` gives them."""

from http import HTTPStatus
from typing import Any

from pydantic import BaseModel, Field

PROBLEM_DETAILS = "application/problem+json"


class _FieldError(BaseModel):
    field: str | None = Field(description="Of the body or the query that is wrong; null: all of it")
    message: str


class _Problem(BaseModel):
    type: str
    title: str
    status: int
    detail: str
    code: str
    errors: list[_FieldError] | None = Field(None, description="Where fields are wrong: each with why")


def _inlined(model: type[BaseModel]) -> dict[str, Any]:
    """A model's schema with nothing outside of it: the document's own components stay as they are."""
    schema = model.model_json_schema()
    schema["properties"]["errors"]["anyOf"][0]["items"] = schema.pop("$defs")["_FieldError"]
    return schema


REFUSALS: dict[int | str, dict[str, Any]] = {
    status: {
        "description": HTTPStatus(status).phrase,
        "content": {PROBLEM_DETAILS: {"schema": _inlined(_Problem)}},
    }
    for status in (401, 403, 404, 408, 409, 413, 429, 503)
}
"""Of every route. 409: somebody else changed it since it was read. 429: ask again after *Retry-After* seconds.

422 is left to FastAPI, which checks it.
"""
