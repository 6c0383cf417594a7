"""The routes of the pages' app, found by looking."""

import re
from collections.abc import Iterator, Mapping

from fastapi import FastAPI
from fastapi.routing import APIRoute
from starlette.routing import Mount


def routes_of(app: FastAPI) -> Iterator[APIRoute]:
    """Every route but the static files'."""
    for route in app.routes:
        if isinstance(route, Mount):
            assert route.path == "/static", f"what is mounted at {route.path}?"
            continue
        assert isinstance(route, APIRoute), route
        yield route


def filled_in(path: str, samples: Mapping[str, str]) -> str:
    """A route's path with ``samples`` for its parameters; anything else gets "1"."""
    return re.sub(r"\{(\w+)(?::\w+)?\}", lambda found: samples.get(found[1], "1"), path)
