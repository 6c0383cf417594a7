"""What the operator is told when a run needs a person."""

from pathlib import Path

import jinja2

_FOLDER = Path(__file__).parents[3] / "include" / "templates" / "operator"


def render_notice(*, dag: str, run: str, period: str | None, reason: str, url: str | None) -> str:
    """The notice as HTML; every value is escaped."""
    sandbox = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_FOLDER), autoescape=True, undefined=jinja2.StrictUndefined
    )
    return sandbox.get_template("run_failed.html").render(
        dag=dag, run=run, period=period, reason=reason, url=url
    )
