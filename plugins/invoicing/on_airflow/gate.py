"""The pages' gate: Airflow's users, and what else the web app needs of the API server that it runs in.

The checks are those that Airflow's own API makes, with whichever auth manager
is configured.
"""

from typing import Any

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.base_user import BaseUser
from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
from airflow.api_fastapi.auth.tokens import get_signing_key
from airflow.api_fastapi.core_api.security import bearer_scheme, get_user, requires_access_dag
from airflow.configuration import conf
from airflow.models.connection import Connection
from airflow.sdk.exceptions import AirflowNotFoundException
from fastapi import HTTPException, Request
from fastapi.concurrency import run_in_threadpool

from invoicing.db.connection import dsn_from_parts
from invoicing.domain.errors import WorkFailedError
from invoicing.domain.names import DATABASE_CONNECTION, MONTHLY_DAG
from invoicing.web.door.visitor import NotLoggedInError, RefusedError, Visitor
from invoicing.words.failures import Fault

_may_read_dag: Any = requires_access_dag("GET", param_dag_id=MONTHLY_DAG)
# As Airflow's own API asks whoever triggers a DAG.
_may_trigger_dag: Any = requires_access_dag("POST", DagAccessEntity.RUN, param_dag_id=MONTHLY_DAG)


class AirflowGate:
    """Airflow's users: who may read the DAG may read; who may change variables (Op and above) may change.

    Who may trigger the DAG in Airflow may run a month.
    """

    async def admit(self, request: Request) -> Visitor:
        """Say who is asking; raises `NotLoggedInError` or `RefusedError`."""
        credentials = await bearer_scheme(request)
        try:
            user: BaseUser = await get_user(request, None, credentials)
        except HTTPException as error:
            raise NotLoggedInError(error.detail) from None
        try:
            await run_in_threadpool(_may_read_dag, request, user)
        except HTTPException:
            raise RefusedError(Fault("needs_the_dag", dag=MONTHLY_DAG)) from None
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

    async def may_run(self, request: Request) -> bool:
        """Whether who is asking may run a month; the door has let them in."""
        user: BaseUser = await get_user(request, None, await bearer_scheme(request))
        try:
            await run_in_threadpool(_may_trigger_dag, request, user)
        except HTTPException:
            return False
        return True


def secret_key() -> str:
    """Airflow's key for what it signs (``[api] secret_key``); ours is derived from it."""
    return get_signing_key("api", "secret_key")


def public_url() -> str:
    """Where Airflow is seen from outside (``[api] base_url``), or empty."""
    return conf.get("api", "base_url", fallback="") or ""


def database_dsn() -> str:
    """The business database, by the Airflow connection ``invoicing_db``."""
    try:
        found = Connection.get_connection_from_secrets(DATABASE_CONNECTION)
    except AirflowNotFoundException:
        raise WorkFailedError("airflow_server_without_connection") from None
    return dsn_from_parts(
        found.host, found.port, found.login, found.password, found.schema, found.extra_dejson
    )
