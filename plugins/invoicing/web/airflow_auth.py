"""What the web app needs of Airflow: its users, its secret key, its connection ``invoicing_db``, its assets.

Runs in the API server's process. The checks are those that Airflow's own API makes, with whichever auth manager
is configured.
"""

from typing import Any

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.base_user import BaseUser
from airflow.api_fastapi.auth.tokens import get_signing_key
from airflow.api_fastapi.core_api.security import bearer_scheme, get_user, requires_access_dag
from airflow.assets.manager import asset_manager
from airflow.configuration import conf
from airflow.models.asset import AssetModel
from airflow.models.connection import Connection
from airflow.sdk.exceptions import AirflowNotFoundException
from airflow.utils.session import create_session
from fastapi import HTTPException, Request
from fastapi.concurrency import run_in_threadpool
from sqlalchemy import select

from invoicing.db.connection import dsn_from_parts
from invoicing.domain.errors import WorkFailedError
from invoicing.web.visitor import NotLoggedInError, RefusedError, Visitor

_DAG_ID = "monthly_invoicing"
_ASSET = "invoices"
_may_read_dag: Any = requires_access_dag("GET", param_dag_id=_DAG_ID)


class AirflowGate:
    """Airflow's users: who may read the DAG may read; who may change variables (Op and above) may change."""

    async def admit(self, request: Request) -> Visitor:
        """Say who is asking; raises `NotLoggedInError` or `RefusedError`."""
        credentials = await bearer_scheme(request)
        try:
            user: BaseUser = await get_user(request, None, credentials)
        except HTTPException as error:
            raise NotLoggedInError(str(error.detail)) from None
        try:
            await run_in_threadpool(_may_read_dag, request, user)
        except HTTPException:
            raise RefusedError(f"reading needs permission to read the DAG {_DAG_ID}") from None
        return Visitor(
            id=str(user.get_id()),
            name=user.get_name(),
            # As `requires_access_variable("PUT")` asks; that one also reads a JSON body for the name of a team.
            may_change=await run_in_threadpool(
                lambda: get_auth_manager().is_authorized_variable(method="PUT", user=user)
            ),
            # Where everybody is an admin, Airflow itself adds a token to every request, a foreign site's too.
            sent_token=credentials is not None
            and not conf.getboolean("core", "simple_auth_manager_all_admins", fallback=False),
        )


def secret_key() -> str:
    """Airflow's key for what it signs (``[api] secret_key``); ours is derived from it."""
    return get_signing_key("api", "secret_key")


def public_url() -> str:
    """Where Airflow is seen from outside (``[api] base_url``), or empty."""
    return conf.get("api", "base_url", fallback="") or ""


def database_dsn() -> str:
    """The business database, by the Airflow connection ``invoicing_db``."""
    try:
        found = Connection.get_connection_from_secrets("invoicing_db")
    except AirflowNotFoundException:
        raise WorkFailedError(
            "Airflow has no connection invoicing_db: set AIRFLOW_CONN_INVOICING_DB for the API server too"
        ) from None
    return dsn_from_parts(
        found.host, found.port, found.login, found.password, found.schema, found.extra_dejson
    )


def announce_invoices() -> None:
    """Register an event of the asset ``invoices``, as Airflow's own API does: `send_new_invoices` runs.

    Raises:
        WorkFailedError: Airflow knows no such asset (yet).
    """
    with create_session() as session:
        asset = session.scalar(select(AssetModel).where(AssetModel.name == _ASSET).limit(1))
        if asset is None:
            raise WorkFailedError(f"Airflow knows no asset {_ASSET!r}: is the DAG send_new_invoices there?")
        event = asset_manager.register_asset_change(
            asset=asset, session=session, source_is_api=True, api_user_teams=set()
        )
        if event is None:
            raise WorkFailedError(f"Airflow did not take the event of asset {_ASSET!r}")
