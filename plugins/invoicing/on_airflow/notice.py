"""The operator is told when a run needs a person."""

import logging
import pkgutil
from typing import Any

from airflow.sdk import BaseHook

from invoicing.domain.names import RELAY_CONNECTION
from invoicing.on_airflow.connections import open_database, relay_sender

log = logging.getLogger(__name__)


def notify_operator(context: Any) -> None:
    """Tell the operator that a run needs a person; whatever goes wrong with that is logged and no more.

    By the notifier that the connection ``invoicing_smtp`` names in its extra (``operator_notifier``, a class
    path, with ``operator_notifier_options``), else by mail to the setting ``operator_email``.
    """
    try:
        from airflow.providers.smtp.notifications.smtp import SmtpNotifier

        from invoicing.rendering.notice import render_notice
        from invoicing.services.agency import settings as settings_service

        extra = BaseHook.get_connection(RELAY_CONNECTION).extra_dejson
        with open_database() as db:
            settings = settings_service.current_settings(db).settings
        if extra.get("operator_notifier"):
            notifier = pkgutil.resolve_name(extra["operator_notifier"])(
                **extra.get("operator_notifier_options", {})
            )
        elif settings.operator_email:
            run = context["dag_run"]
            notifier = SmtpNotifier(
                to=settings.operator_email,
                from_email=settings.from_email or relay_sender(),
                subject=f"Facturación: la ejecución {run.run_id} necesita atención",
                html_content=render_notice(
                    dag=run.dag_id,
                    run=run.run_id,
                    period=getattr(run, "partition_key", None),
                    reason=str(context.get("exception") or ""),
                    url=context["ti"].log_url,
                ),
                smtp_conn_id=RELAY_CONNECTION,
            )
        else:
            return
        notifier.notify(context)
    except Exception:
        log.exception("the operator could not be notified; the run is not affected")
