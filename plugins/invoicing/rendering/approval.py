"""What a person is asked in Airflow: the figures of a month that is about to leave, in both languages.

Airflow shows it as Markdown to everybody who may see the DAG: no name and no address is in it.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import jinja2

from invoicing.domain.period import Period
from invoicing.rendering import formats
from invoicing.words import Language, choose
from invoicing.words.ledger import REASONS, WHY_ASKED

_FOLDER = Path(__file__).parents[3] / "include" / "templates" / "operator"
_KINDS = {
    "new": ("nuevo", "new"),
    "ended": ("terminado", "ended"),
    "amount": ("otro valor", "another amount"),
}
_LANGUAGES: tuple[Language, ...] = ("es", "en")


@dataclass(frozen=True, slots=True)
class RenderedRequest:
    """A headline, and Markdown."""

    subject: str
    body: str


def render_request(period: str, summary: Mapping[str, Any], fingerprint: str, pages: str) -> RenderedRequest:
    """The question in words, Spanish first.

    Args:
        fingerprint: Over all that would leave: two texts are equal only where what would leave is.
        summary: As `services.delivery.approvals.Asked` has it.
        pages: Address of the pages, without a slash at its end.
    """
    parts = [_in_words(period, summary, pages, language) for language in _LANGUAGES]
    month = formats.month_name(Period.parse(period), "es")
    subject = (
        f"{month}: ¿enviar {summary['messages']} mensajes? · Send {summary['messages']} messages of {period}?"
    )
    return RenderedRequest(subject, "\n\n---\n\n".join([*parts, f"SHA-256 `{fingerprint}`"]))


def _in_words(period: str, summary: Mapping[str, Any], pages: str, language: Language) -> str:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_FOLDER),
        autoescape=False,  # noqa: S701 (Markdown; what is not ours in it is a lease's code)
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["money"] = partial(_money, language=language)
    environment.filters["code"] = _code
    text = environment.get_template("approval.md").render(
        summary=summary,
        period=period,
        pages=pages,
        t=lambda *texts: choose(texts, language),
        whys=WHY_ASKED,
        reasons=REASONS,
        kinds=_KINDS,
    )
    return re.sub(r"\n{3,}", "\n\n", text).strip()


def _money(amount: str, currency: str, language: Language) -> str:
    return formats.money(Decimal(amount), currency, language)


def _code(text: str) -> str:
    """A lease's code as it may stand between back-ticks."""
    return re.sub(r"[`\s]+", " ", text)[:60]
