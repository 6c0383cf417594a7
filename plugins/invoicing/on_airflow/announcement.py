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
            raise WorkFailedError(
                f"Airflow knows no asset {INVOICES_ASSET!r}: is the DAG {SINGLE_INVOICES_DAG} there?"
            )
        event = asset_manager.register_asset_change(
            asset=asset, session=session, source_is_api=True, api_user_teams=set()
        )
        if event is None:
            raise WorkFailedError(f"Airflow did not take the event of asset {INVOICES_ASSET!r}")
