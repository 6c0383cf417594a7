"""Pages as HTML: Jinja2 over ``include/templates/pages``, everything escaped."""

import datetime
import hashlib
import json
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import jinja2
from babel.dates import format_date, format_datetime, get_timezone_name
from babel.numbers import format_decimal
from fastapi import Depends, Request
from starlette.responses import HTMLResponse

from invoicing.domain.period import Period
from invoicing.domain.task_address import TaskAddress
from invoicing.rendering import formats
from invoicing.services.agency import clock
from invoicing.web.door.duties import Duty
from invoicing.web.door.form_tokens import FormTokens
from invoicing.web.door.headers import is_secure
from invoicing.web.door.visitor import Visitor
from invoicing.web.html.airflow_places import run_place, task_place
from invoicing.web.html.i18n import COOKIE, Translator, chosen_language
from invoicing.web.html.trace import place_of

FOLDER = Path(__file__).parents[4] / "include" / "templates" / "pages"
STATIC_FOLDER = FOLDER / "static"

_LOCALES = {"es": "es_CO", "en": "en_US"}
_YEAR_SECONDS = 365 * 24 * 3600


class Pages:
    """Renders the pages' templates."""

    def __init__(self) -> None:
        self._environment = jinja2.Environment(
            loader=jinja2.FileSystemLoader(FOLDER),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.filters |= {
            "when": _when,
            "day": _day,
            "clock": _clock,
            "time_left": _time_left,
            "month": _month,
            "number": _number,
            "money": _money,
            "signed_money": _signed_money,
            "signed_percent": _signed_percent,
        }
        self._environment.filters |= {"run_place": run_place, "task_place": task_place}
        self._environment.filters["decimal"] = Decimal
        self._environment.filters["path_part"] = lambda text: quote(str(text), safe="")
        self._environment.filters["as_json"] = lambda value: json.dumps(
            value, ensure_ascii=False, default=str
        )
        self._environment.globals["asset"] = _asset
        self._environment.globals["switch_place"] = place_of
        self._environment.globals["zone_name"] = zone_name
        self._environment.globals["task_address"] = TaskAddress.parse

    def respond(self, request: Request, name: str, status: int = 200, **context: Any) -> HTMLResponse:
        """The page ``name`` in the visitor's language.

        Every template has: ``t`` (`Translator`), ``language``, ``visitor`` (None where nobody is logged in),
        ``may`` (whether a duty, by its name, is the visitor's), ``root`` and ``airflow`` (addresses of this app and
        of Airflow, without a slash at the end), ``path`` (below ``root``), ``query`` (of the address),
        ``csrf_token``. What is in ``context`` is shown as the visitor may see it.
        """
        language = chosen_language(request)
        visitor: Visitor | None = getattr(request.state, "visitor", None)
        root: str = request.scope.get("root_path", "")
        tokens: FormTokens = request.app.state.form_tokens
        html = self._environment.get_template(name).render(
            {
                "t": Translator(language),
                "language": language,
                "visitor": visitor,
                "may": lambda duty: visitor is not None and visitor.may(Duty(duty)),
                "root": root,
                "airflow": root.removesuffix("/invoicing"),
                "path": request.url.path.removeprefix(root),
                "query": request.query_params,
                "language_address": lambda other: f"?{request.url.include_query_params(lang=other).query}",
                "csrf_token": tokens.issue(visitor) if visitor else "",
                **(visitor.sees(context) if visitor else context),
            }
        )
        # What is quoted from a template may be half a character, which UTF-8 has no way to write.
        answer = HTMLResponse(html.encode(errors="replace"), status_code=status)
        if request.query_params.get("lang") == language:
            answer.set_cookie(
                COOKIE,
                language,
                max_age=_YEAR_SECONDS,
                path=root or "/",
                samesite="lax",
                httponly=True,
                secure=is_secure(request.scope),
            )
        return answer


def _pages(request: Request) -> Pages:
    pages = request.app.state.pages
    assert isinstance(pages, Pages)
    return pages


PagesDep = Annotated[Pages, Depends(_pages)]


@cache
def _asset(name: str) -> str:
    """A static file's path below ``root``; it changes with the content, so that browsers may keep it."""
    content = (STATIC_FOLDER / name).read_bytes()
    return f"/static/{name}?v={hashlib.sha256(content).hexdigest()[:12]}"


@jinja2.pass_context
def _when(context: jinja2.runtime.Context, instant: datetime.datetime | None) -> str:
    """An instant in the agency's time zone."""
    if instant is None:
        return "–"
    local = instant.astimezone(clock.zone())
    return format_datetime(local, "d MMM y, HH:mm:ss", locale=_LOCALES[context["language"]])


def zone_name(language: str) -> str:
    """The agency's time zone, as people call it: ``hora de Colombia``; its own name where they do not."""
    name = get_timezone_name(clock.zone(), locale=_LOCALES[language], zone_variant="generic")
    return clock.TIMEZONE if "(" in name else str(name)


@jinja2.pass_context
def _clock(context: jinja2.runtime.Context, instant: datetime.datetime | None) -> str:
    """A moment, shortly, in the agency's time zone: ``20:38`` of today, ``28 nov, 20:38`` of another day."""
    if instant is None:
        return "–"
    local = instant.astimezone(clock.zone())
    today = clock.today()
    if local.date() == today:
        return f"{local:%H:%M}"
    pattern = "d MMM, HH:mm" if local.year == today.year else "d MMM y, HH:mm"
    return str(format_datetime(local, pattern, locale=_LOCALES[context["language"]])).replace(".", "")


@jinja2.pass_context
def _time_left(context: jinja2.runtime.Context, seconds: int) -> str:
    """``quedan 3 min``, ``about 3 min left``: an estimate, and said so by its roundness."""
    if seconds < 60:
        spanish, english = "queda menos de 1 min", "less than 1 min left"
    elif seconds < 5400:
        minutes = round(seconds / 60)
        spanish, english = f"quedan unos {minutes} min", f"about {minutes} min left"
    else:
        hours = round(seconds / 3600)
        spanish, english = f"quedan unas {hours} h", f"about {hours} h left"
    return spanish if context["language"] == "es" else english


@jinja2.pass_context
def _day(context: jinja2.runtime.Context, day: datetime.date | None) -> str:
    return "–" if day is None else format_date(day, "d MMM y", locale=_LOCALES[context["language"]])


@jinja2.pass_context
def _month(context: jinja2.runtime.Context, period: str | Period) -> str:
    return formats.month_name(Period.parse(str(period)), context["language"])


@jinja2.pass_context
def _number(context: jinja2.runtime.Context, number: Any) -> str:
    text: str = format_decimal(number, locale=_LOCALES[context["language"]])
    return text


@jinja2.pass_context
def _money(context: jinja2.runtime.Context, amount: Any, currency: str) -> str:
    return formats.money(amount, currency, context["language"])


@jinja2.pass_context
def _signed_money(context: jinja2.runtime.Context, amount: Decimal, currency: str) -> str:
    """By how much: ``+$ 200.000``, ``-$ 200.000``."""
    text = formats.money(amount, currency, context["language"])
    return f"+{text}" if amount > 0 else text


@jinja2.pass_context
def _signed_percent(context: jinja2.runtime.Context, ratio: Decimal) -> str:
    """By which part: ``+3,5 %``; to a tenth."""
    text = formats.percent(round(ratio, 3), context["language"])
    return f"+{text}" if ratio > 0 else text
