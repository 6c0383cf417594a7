"""`demo`: the stack, the demo agency and its month."""

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from invoicing import stack
from invoicing.cli.connections import open_database
from invoicing.cli.embedded import show_stack
from invoicing.cli.importing import import_
from invoicing.cli.month import run
from invoicing.cli.terminal import err, out, say_line
from invoicing.domain.errors import InputError
from invoicing.domain.period import Period
from invoicing.services.agency import clock, tenants
from invoicing.services.agency import settings as settings_service

DEMO_FOLDER = Path(__file__).parents[3] / "include" / "demo"


def demo() -> None:
    """Start the stack, import the demo agency, run this month's cycle, and say where to look."""
    for name in ("AIRFLOW_CONN_INVOICING_SMTP", "AIRFLOW_CONN_INVOICING_DB"):
        if os.environ.get(name):
            raise InputError("demo_connection_set", variable=name)
    month = Period.containing(clock.today())
    parts: list[tuple[str, float]] = []

    def timed(name: str, work: Callable[[], Any]) -> Any:
        started = time.monotonic()
        err.rule(name)
        result = work()
        parts.append((name, time.monotonic() - started))
        return result

    info: stack.StackInfo = timed("start the stack", lambda: stack.start(say_line))
    _refuse_foreign_tenants(info)
    timed("import the demo agency", lambda: import_(DEMO_FOLDER))
    timed("settings of the demo agency", _demo_settings)
    timed(f"run the cycle of {month} through Airflow", lambda: run(str(month), wait=True))
    err.rule("done")
    for name, seconds in parts:
        out.print(f"{seconds:6.1f} s  {name}", highlight=False)
    messages = len(list(info.mailbox.glob("*.eml"))) if info.mailbox else 0
    out.print(f"\n{messages} messages in {info.mailbox}", markup=False)
    show_stack(info)
    out.print(f"Month     {info.pages}cycles/{month}", markup=False)
    out.print(f"Audit     bin/invoicing cycle tenants {month}")


def _refuse_foreign_tenants(info: stack.StackInfo) -> None:
    """The demo is not for a state folder in which somebody keeps tenants of their own."""
    demo_codes = {
        row.split(",", 1)[0] for row in (DEMO_FOLDER / "tenants.csv").read_text("utf-8").splitlines()
    }
    with open_database() as db:
        foreign = tenants.tenant_codes(db) - demo_codes
    if foreign:
        raise InputError("demo_foreign_tenants", state=info.state, tenant=min(foreign))


def _demo_settings() -> None:
    wanted = json.loads((DEMO_FOLDER / "settings.json").read_text(encoding="utf-8"))
    with open_database() as db:
        settings_service.change_settings(db, wanted, actor="demo")
