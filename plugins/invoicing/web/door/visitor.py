"""Who is asking, and what they may do."""

from dataclasses import dataclass
from typing import Annotated, Protocol

from fastapi import Depends, Request

from invoicing.words.failures import Failure


class NotLoggedInError(Exception):
    """The request carries no valid session."""


class RefusedError(Exception):
    """The visitor may not do this.

    Args:
        needed: What is missing.
    """

    def __init__(self, needed: Failure) -> None:
        self.needed = needed
        super().__init__(str(needed))


@dataclass(frozen=True, slots=True)
class Visitor:
    """Somebody who is logged in and may read.

    Args:
        id: The auth manager's id of the user.
        name: As the user is shown.
        may_change: Settings, tenants and templates too.
        sent_token: The request brought its credentials by itself (``Authorization: Bearer``). A browser
            never adds those to a request that another site makes: no form token is asked for.
    """

    id: str
    name: str
    may_change: bool
    sent_token: bool = False

    @property
    def actor(self) -> str:
        """How the audit names the person: by the id, with the name where it says more."""
        return self.id if self.id == self.name else f"{self.name} (user {self.id})"


class Gate(Protocol):
    """Knows the users: Airflow's auth manager, whichever is configured."""

    async def admit(self, request: Request) -> Visitor:
        """Say who is asking.

        Raises:
            NotLoggedInError: Nobody.
            RefusedError: Somebody who may not read.
        """

    async def may_run(self, request: Request) -> bool:
        """Whether who is asking, and was admitted, may run a month."""


def current_visitor(request: Request) -> Visitor:
    """Who is asking; the doorkeeper has let them in."""
    visitor = request.state.visitor
    assert isinstance(visitor, Visitor)
    return visitor


VisitorDep = Annotated[Visitor, Depends(current_visitor)]


async def _may_run(request: Request) -> bool:
    gate: Gate = request.app.state.outside.gate
    return await gate.may_run(request)


MayRunDep = Annotated[bool, Depends(_may_run)]
"""Whether who is asking may run a month: asked where it matters alone."""
