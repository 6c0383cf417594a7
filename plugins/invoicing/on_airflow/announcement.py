"""From the API server: telling Airflow that there is something to send outside the monthly job."""

from airflow.assets.manager import asset_manager
from airflow.models.asset import AssetModel
from airflow.utils.session import create_session
from sqlalchemy import select

from invoicing.domain.errors import WorkFailedError
from invoicing.domain.names import INVOICES_ASSET, SINGLE_INVOICES_DAG


def announce_invoices() -> None:
    """Register an event of the asset ``invoices``, as Airflow's own API does: `send_new_invoices` runs.

    Raises:
        WorkFailedError: Airflow knows no such asset (yet).
    """
    with create_session() as session:
        asset = session.scalar(select(AssetModel).where(AssetModel.name == INVOICES_ASSET).limit(1))
        if asset is None:
            raise WorkFailedError("airflow_asset_without_dag", asset=INVOICES_ASSET, dag=SINGLE_INVOICES_DAG)
        event = asset_manager.register_asset_change(
            asset=asset, session=session, source_is_api=True, api_user_teams=set()
        )
        if event is None:
            raise WorkFailedError("airflow_event_refused", asset=INVOICES_ASSET)
