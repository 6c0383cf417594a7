"""The pages' gate: Airflow's users, and what else the web app needs of the API server that it runs in.

The checks are those that Airflow's own API makes, with whichever auth manager
is configured.
"""

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.base_auth_manager import ResourceMethod
from airflow.api_fastapi.auth.managers.models.base_user import BaseUser
from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity, DagDetails
from airflow.api_fastapi.auth.tokens import get_signing_key
from airflow.api_fastapi.core_api.security import bearer_scheme, get_user
from airflow.configuration import conf
from airflow.models.connection import Connection
from airflow.models.dag import DagModel
from airflow.sdk.exceptions import AirflowNotFoundException
from fastapi import HTTPException, Request
from fastapi.concurrency import run_in_threadpool

from invoicing.db.connection import dsn_from_parts
from invoicing.domain.errors import WorkFailedError
from invoicing.domain.names import DATABASE_CONNECTION, MONTHLY_DAG
from invoicing.web.door.duties import Duty, missing_duty
from invoicing.web.door.visitor import NotLoggedInError, RefusedError, Visitor


class AirflowGate:
    """Airflow's users, and their duties: each is asked of the auth manager as one of Airflow's own permissions."""

    async def admit(self, request: Request) -> Visitor:
        """Say who is asking; raises `NotLoggedInError` or `RefusedError`."""
        credentials = await bearer_scheme(request)
        try:
            user: BaseUser = await get_user(request, None, credentials)
        except HTTPException as error:
            raise NotLoggedInError(error.detail) from None
        duties = await run_in_threadpool(_duties_of, user)
        if Duty.READ_AMOUNTS not in duties:
            raise RefusedError(missing_duty(Duty.READ_AMOUNTS))
        return Visitor(
            id=str(user.get_id()),
            name=user.get_name(),
            duties=duties,
            # Where everybody is an admin, Airflow itself adds a token to every request, a foreign site's too.
            sent_token=credentials is not None
            and not conf.getboolean("core", "simple_auth_manager_all_admins", fallback=False),
            # FAB's users have one, SimpleAuthManager's have none.
            email=str(getattr(user, "email", None) or ""),
        )


def _duties_of(user: BaseUser) -> frozenset[Duty]:
    """What the auth manager lets ``user`` do; nothing where they may not read (docs/security.md, "Who may do what").

    Every question is about the monthly DAG but for the settings', which are the installation's, as variables are.
    """
    manager = get_auth_manager()
    dag = DagDetails(id=MONTHLY_DAG, team_name=DagModel.get_team_name(MONTHLY_DAG))

    def may(method: ResourceMethod, entity: DagAccessEntity | None = None) -> bool:
        return manager.is_authorized_dag(method=method, access_entity=entity, details=dag, user=user)

    if not (may("GET") and may("GET", DagAccessEntity.RUN)):
        return frozenset()
    granted = {
        Duty.READ_AMOUNTS: True,
        Duty.READ_PERSONAL: may("GET", DagAccessEntity.TASK_LOGS),
        Duty.CHANGE_TENANTS: may("PUT", DagAccessEntity.TASK_INSTANCE),
        Duty.CHANGE_SETTINGS: manager.is_authorized_variable(method="PUT", user=user),
        Duty.ACT_ON_DELIVERIES: may("POST", DagAccessEntity.RUN),
    }
    return frozenset(duty for duty, is_granted in granted.items() if is_granted)


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
