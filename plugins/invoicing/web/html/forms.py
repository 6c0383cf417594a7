"""What a form sent."""

import datetime
from collections.abc import Callable, Mapping
from typing import Annotated

from fastapi import Depends, Request
from starlette.datastructures import UploadFile
from starlette.responses import RedirectResponse, Response

from invoicing.domain.errors import InputError, NotFoundError
from invoicing.web.door.form_reading import read_form


class Submitted:
    """The fields of one form, as typed; a field that was not sent is empty."""

    def __init__(self, fields: Mapping[str, list[str]], files: Mapping[str, bytes]) -> None:
        self._fields = fields
        self._files = files

    def __getitem__(self, name: str) -> str:
        values = self._fields.get(name)
        return values[-1] if values else ""

    def __contains__(self, name: object) -> bool:
        return name in self._fields

    def all(self, name: str) -> list[str]:
        """Every value of a field that may be there more than once."""
        return self._fields.get(name, [])

    def flag(self, name: str) -> bool:
        """Whether a box is ticked."""
        return self[name] not in ("", "no", "false", "0")

    def number(self, name: str) -> int | None:
        """A hidden field's number; None where it is none."""
        value = self[name]
        return int(value) if value.isascii() and value.isdecimal() and len(value) < 19 else None

    def instant(self, name: str) -> datetime.datetime | None:
        """A hidden field's moment; None where it is none."""
        try:
            return datetime.datetime.fromisoformat(self[name])
        except ValueError:
            return None

    def file(self, name: str) -> bytes:
        """An uploaded file's bytes; empty where none was chosen."""
        return self._files.get(name, b"")


async def _submitted(request: Request) -> Submitted:
    form = await read_form(request)
    fields: dict[str, list[str]] = {}
    files: dict[str, bytes] = {}
    for name, value in form.multi_items():
        if isinstance(value, UploadFile):
            files[name] = await value.read()
        else:
            # A browser sends lines as CRLF, whatever they were.
            fields.setdefault(name, []).append(value.replace("\r\n", "\n"))
    await form.close()
    return Submitted(fields, files)


SubmittedDep = Annotated[Submitted, Depends(_submitted)]


def lead_to(request: Request, path: str) -> RedirectResponse:
    """Where what was asked for is shown: ``path`` of this app."""
    return RedirectResponse(f"{request.scope.get('root_path', '')}{path}")


def see_other(request: Request, path: str) -> RedirectResponse:
    """After a change: show ``path`` of this app, so that a reload repeats nothing."""
    return RedirectResponse(f"{request.scope.get('root_path', '')}{path}", status_code=303)


def attempt(act: Callable[[], Response], refused: Callable[[InputError], Response]) -> Response:
    """What ``act`` answers; where it cannot be done, what ``refused`` does. What does not exist stays a 404."""
    try:
        return act()
    except NotFoundError:
        raise
    except InputError as error:
        return refused(error)
