"""Every route of the pages' app, as the app itself has them."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from fastapi.routing import APIRoute
from starlette.routing import BaseRoute, Mount

from invoicing.web.app import create_app
from invoicing.web.outside import Outside

API = "/api/"


@dataclass(frozen=True, slots=True)
class Route:
    """A method and an address.

    Args:
        path: With its parameters in braces.
        parameters: Their names, in their order.
    """

    method: str
    path: str
    parameters: tuple[str, ...]

    @property
    def is_read(self) -> bool:
        return self.method == "GET"

    @property
    def is_api(self) -> bool:
        return self.path.startswith(API)

    def address(self, values: Mapping[str, str]) -> str:
        """The address with ``values`` for its parameters, as they are."""
        path = self.path
        for name in self.parameters:
            path = path.replace(f"{{{name}}}", values[name])
        return path


def all_routes() -> list[Route]:
    """Every route that is not a static file."""
    nobody: Any = None
    return sorted(_routes(create_app(Outside(nobody, "x", "", str, nobody, nobody, nobody)).routes), key=str)


def _routes(found: list[BaseRoute]) -> Iterator[Route]:
    for route in found:
        if isinstance(route, Mount):
            continue
        assert isinstance(route, APIRoute), route
        path = re.sub(r"\{(\w+):\w+\}", r"{\1}", route.path)
        for method in route.methods:
            yield Route(method, path, tuple(re.findall(r"\{(\w+)\}", path)))
