"""What commands work with: database, Airflow, archive and relay, of the stack or as the caller names them."""

import getpass
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from invoicing import stack
from invoicing.airflow_api import AirflowApi
from invoicing.db.connection import Database, connect, dsn_from_airflow_connection
from invoicing.domain.errors import InputError, InvoicingError, PermanentFailureError
from invoicing.domain.names import INVOICES_ASSET
from invoicing.mail.sender import sender_of_connection
from invoicing.services.delivery.archive import Archive, FolderArchive
from invoicing.words.failures import Fault

POLL_SECONDS = 1.0  # how often what is waited for is asked about


@contextmanager
def open_database() -> Iterator[Database]:
    """A connection to the business database, closed at the end.

    Raises:
        InputError: Nothing names a database.
        WorkFailedError: It cannot be reached.
    """
    with connect(_from_environment("AIRFLOW_CONN_INVOICING_DB", dsn_from_airflow_connection)) as db:
        yield db


def environ_of_stack() -> dict[str, str]:
    """The caller's variables, over those of the embedded stack."""
    return {**stack.environment(), **os.environ}


def _from_environment(name: str, convert: Callable[[str], str]) -> str:
    value = os.environ.get(name) or stack.environment().get(name)
    if not value:
        raise InputError("variable_missing", variable=name)
    return convert(value)


@contextmanager
def open_airflow() -> Iterator[AirflowApi]:
    """Airflow's API, as the caller or the embedded stack names it."""
    with AirflowApi.from_environment(environ_of_stack()) as api:
        yield api


def actor() -> str:
    """Who acts, as the ledger keeps it."""
    return f"{getpass.getuser()} (command line)"


def tell_airflow(done: Fault) -> None:
    """Have `send_new_invoices` look. A doubled event does no harm, a lost one is made up for by the next."""
    try:
        with open_airflow() as api:
            api.emit_asset_event(INVOICES_ASSET)
    except InvoicingError as error:
        raise PermanentFailureError("airflow_not_told", done=done, reason=error) from error


def archive_of_stack() -> Archive:
    """The archive of issued documents, wherever it is."""
    environ = environ_of_stack()
    root = environ.get("INVOICING_ARCHIVE", "")
    if not root:
        raise InputError("variable_missing", variable="INVOICING_ARCHIVE")
    if "://" not in root or root.startswith("file://"):
        return FolderArchive(Path(root.removeprefix("file://")))
    # Of a bucket only Airflow knows the connection; importing it takes seconds.
    os.environ.update(environ)
    from invoicing.on_airflow.storage import open_archive

    return open_archive()


def relay_sender() -> str:
    """The address that the relay's connection sends from; empty where it names none."""
    return sender_of_connection(environ_of_stack().get("AIRFLOW_CONN_INVOICING_SMTP", ""))
