"""Who is asking, and what they may do."""

from dataclasses import dataclass
from typing import Annotated, Protocol, TypeVar

from fastapi import Depends, Request

from invoicing.domain.discretion import as_seen
from invoicing.web.door.duties import CHANGING, Duty, MissingDutyError
from invoicing.words.failures import Failure

_T = TypeVar("_T")


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
        duties: What they may be trusted with.
        sent_token: The request brought its credentials by itself (``Authorization: Bearer``). A browser
            never adds those to a request that another site makes: no form token is asked for.
        email: The user's own address, where the auth manager knows one; test messages may go there.
    """

    id: str
    name: str
    duties: frozenset[Duty]
    sent_token: bool = False
    email: str = ""

    def may(self, duty: Duty) -> bool:
        """Whether ``duty`` is theirs."""
        return duty in self.duties

    def require(self, duty: Duty) -> None:
        """Raise `MissingDutyError` where ``duty`` is not theirs: for what depends on more than the route."""
        if duty not in self.duties:
            raise MissingDutyError(duty)

    @property
    def only_looks(self) -> bool:
        """Whether nothing is theirs to change."""
        return not self.duties & CHANGING

    def sees(self, shown: _T) -> _T:
        """``shown`` as this visitor may see it (`invoicing.domain.discretion`)."""
        seen: _T = as_seen(shown, with_personal=self.may(Duty.READ_PERSONAL))
        return seen

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


def current_visitor(request: Request) -> Visitor:
    """Who is asking; the doorkeeper has let them in."""
    visitor = request.state.visitor
    assert isinstance(visitor, Visitor)
    return visitor


VisitorDep = Annotated[Visitor, Depends(current_visitor)]
