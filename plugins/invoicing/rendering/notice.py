"""What the operator is told when something needs a person."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import jinja2

_FOLDER = Path(__file__).parents[3] / "include" / "templates" / "operator"

RUN_FAILED = "run_failed"


@dataclass(frozen=True, slots=True)
class RenderedNotice:
    """A notice as it is sent: one line, and a page."""

    subject: str
    html: str


def render_notice(cause: str, texts: Mapping[str, str], *, head: str) -> RenderedNotice:
    """The notice in words; every value is escaped in the page.

    Args:
        cause: `RUN_FAILED`, or the name of a check.
        texts: Of a run: ``dag``, ``run``, ``period``, ``reason``, ``url``, any of them empty. Of a check:
            ``detail_es``, ``detail_en``, ``next_es``, ``next_en``.
        head: Of the history, ``entry:sha256``, to be kept with the notice.
    """
    sandbox = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_FOLDER), autoescape=True, undefined=jinja2.StrictUndefined
    )
    if cause == RUN_FAILED:
        subject = f"Facturación: la ejecución {texts['run']} necesita atención"
        return RenderedNotice(subject, sandbox.get_template("run_failed.html").render(texts, head=head))
    subject = " ".join(f"Facturación: {texts['detail_es']}".split())
    return RenderedNotice(subject, sandbox.get_template("alarm.html").render(texts, head=head))
