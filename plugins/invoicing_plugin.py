"""Registers the pages with Airflow: the app, and where its views are shown. Nothing else."""

import threading
from functools import partial
from typing import Any, ClassVar

from airflow.plugins_manager import AirflowPlugin


class _AppOnDemand:
    """The app, made when the first request comes: every component loads this file, the API server alone serves."""

    def __init__(self) -> None:
        self._app: Any = None
        self._lock = threading.Lock()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if self._app is None:
            with self._lock:
                self._app = self._app or self._create()
        await self._app(scope, receive, send)

    @staticmethod
    def _create() -> Any:
        from invoicing.on_airflow import (
            announcement,
            answering,
            clearing,
            connections,
            gate,
            storage,
            triggering,
        )
        from invoicing.web.app import create_app
        from invoicing.web.outside import Outside

        return create_app(
            Outside(
                gate=gate.AirflowGate(),
                secret=gate.secret_key(),
                public_url=gate.public_url(),
                find_dsn=gate.database_dsn,
                open_archive=storage.open_archive,
                open_relay=partial(connections.open_relay, someone_waits=True),
                relay_sender=partial(connections.relay_sender, is_needed=False),
                has_notifier=connections.has_notifier,
                announce=announcement.announce_invoices,
                resume=answering.resume_run,
                scheduler=clearing.Clearing,
                run_month=triggering.run_month,
            )
        )


def _view(name: str, path: str, route: str, destination: str = "nav", **options: Any) -> dict[str, Any]:
    icons = {"icon": "/invoicing/static/icon.svg"}
    href = f"/invoicing/{path}"
    return {"name": name, "href": href, "url_route": route, "destination": destination, **icons, **options}


class InvoicingPlugin(AirflowPlugin):
    """Rent invoicing's pages."""

    name = "invoicing"
    fastapi_apps: ClassVar[list[Any]] = [
        {"app": _AppOnDemand(), "url_prefix": "/invoicing", "name": "Rent invoicing"}
    ]
    external_views: ClassVar[list[Any]] = [
        _view("Invoicing", "", "invoicing", nav_top_level=True),
        _view("Cycles", "cycles", "invoicing-cycles", category="Invoicing"),
        _view("Next month", "foresight", "invoicing-foresight", category="Invoicing"),
        _view("Tenants", "tenants", "invoicing-tenants", category="Invoicing"),
        _view("Templates", "templates", "invoicing-templates", category="Invoicing"),
        _view("Automation", "automation", "invoicing-automation", category="Invoicing"),
        _view("Cycles", "cycles", "invoicing-dag", "dag"),
        _view("Cycle", "runs/{DAG_ID}/{RUN_ID}", "invoicing-run", "dag_run"),
        _view(
            "Delivery",
            "runs/{DAG_ID}/{RUN_ID}/tasks/{TASK_ID}/{MAP_INDEX}",
            "invoicing-task",
            "task_instance",
        ),
    ]
