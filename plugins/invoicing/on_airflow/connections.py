"""The business database and the mail relay, by their Airflow connections."""

import logging
import pkgutil
import smtplib
from collections.abc import Iterator
from contextlib import contextmanager

from airflow.providers.smtp.hooks.smtp import SmtpHook
from airflow.sdk import BaseHook, BaseNotifier, Connection
from airflow.sdk.exceptions import AirflowNotFoundException

from invoicing.db.connection import Database, connect, dsn_from_parts
from invoicing.domain.errors import PermanentFailureError
from invoicing.domain.names import DATABASE_CONNECTION, RELAY_CONNECTION
from invoicing.mail.conversation import BoundedSMTP, BoundedSMTPS
from invoicing.mail.sender import named_sender, sender_of_host
from invoicing.mail.transmission import Relay, RelayMisconfiguredError
from invoicing.on_airflow.storage import open_journal

log = logging.getLogger(__name__)


@contextmanager
def open_database(*, settle_journal: bool = True) -> Iterator[Database]:
    """The business database, by the Airflow connection ``invoicing_db``.

    Args:
        settle_journal: First tell it what this host's journal has: the sweep may run on another host, and any task of
            this one does as well.
    """
    found = _connection(DATABASE_CONNECTION)
    dsn = dsn_from_parts(
        found.host, found.port, found.login, found.password, found.schema, found.extra_dejson
    )
    with connect(dsn) as db:
        if settle_journal:
            _settle_journal(db)
        yield db


def _settle_journal(db: Database) -> None:
    from invoicing.services.delivery import ledger

    try:
        ledger.settle_journal(db, open_journal())
    except OSError as error:
        log.error("the journal of this host cannot be read: %s", error)


def _connection(name: str) -> Connection:
    try:
        return BaseHook.get_connection(name)
    except AirflowNotFoundException:
        raise PermanentFailureError(
            "airflow_connection_missing", connection=name, variable=f"AIRFLOW_CONN_{name.upper()}"
        ) from None


class _OurClientHook(SmtpHook):
    """The provider's connection handling and authentication, around a client that keeps its deadlines."""

    def _build_client(self) -> smtplib.SMTP:
        client = BoundedSMTPS if self.use_ssl else BoundedSMTP
        return client(**self._build_client_kwargs(is_async=False))

    @property
    def use_ssl(self) -> bool:
        """TLS from the first byte, unless the extra ``disable_ssl`` says otherwise."""
        return not self._flag("disable_ssl")

    @property
    def smtp_starttls(self) -> bool:
        """STARTTLS, unless the extra ``disable_tls`` says otherwise."""
        return not self._flag("disable_tls")

    def _flag(self, name: str) -> bool:
        # The provider takes any text for true, "false" too, as a connection given as a URI has it: a password
        # would go in clear text.
        value = str(self.conn.extra_dejson.get(name, "")).strip().lower()
        if value in ("true", "yes", "1", "on"):
            return True
        if value in ("false", "no", "0", "off", "none", ""):
            return False
        raise RelayMisconfiguredError("relay_flag_malformed", flag=name, value=value)

    @property
    def smtp_retry_limit(self) -> int:
        """None: Airflow retries the task; six connections in a row would hold a worker for minutes."""
        return 0


# A person waits, and a thread of the API server with them: what takes longer is said to be unknown.
_PATIENCE = {
    "command_timeout_seconds": 10.0,
    "envelope_timeout_seconds": 20.0,
    "payload_timeout_seconds": 30.0,
    "acceptance_timeout_seconds": 30.0,
}


@contextmanager
def open_relay(messages_per_connection: int = 1, *, someone_waits: bool = False) -> Iterator[Relay]:
    """The mail relay, by the Airflow connection ``invoicing_smtp``; connected when it is first used.

    Args:
        someone_waits: For the end of it: a minute and a half at the most, whatever the connection says.
    """
    found = _connection(RELAY_CONNECTION)

    def connect_client() -> smtplib.SMTP:
        # A hook of its own for each: one keeps its client, and an OAuth2 token that may be over by now.
        client = _OurClientHook(smtp_conn_id=RELAY_CONNECTION).get_conn()._smtp_client  # noqa: SLF001
        if not isinstance(client, smtplib.SMTP):
            raise RelayMisconfiguredError("relay_without_client")
        return client

    acceptance = float(found.extra_dejson.get("acceptance_timeout", 600))
    with Relay(
        connect_client,
        host=found.host or "",
        port=found.port or 0,
        messages_per_connection=messages_per_connection,
        **(_PATIENCE if someone_waits else {"acceptance_timeout_seconds": acceptance}),
    ) as relay:
        yield relay


def has_notifier() -> bool:
    """Whether the relay's connection names a notifier of the operator's own (extra ``operator_notifier``)."""
    return bool(_connection(RELAY_CONNECTION).extra_dejson.get("operator_notifier"))


def operator_notifier() -> BaseNotifier | None:
    """The notifier of the operator's own, with its options; None where the connection names none.

    Raises:
        RelayMisconfiguredError: What is named cannot be imported, or is no `BaseNotifier`: anything else that may be
            called (``os.system``) is not called.
    """
    extra = _connection(RELAY_CONNECTION).extra_dejson
    named = extra.get("operator_notifier")
    if not named:
        return None
    try:
        found = pkgutil.resolve_name(str(named))
    except (ImportError, AttributeError, ValueError) as error:
        raise RelayMisconfiguredError("notifier_not_found", name=named, reason=str(error)) from None
    if not (isinstance(found, type) and issubclass(found, BaseNotifier)):
        raise RelayMisconfiguredError("notifier_is_none", name=named)
    options = extra.get("operator_notifier_options", {})
    try:
        return found(**options)
    except TypeError as error:
        raise RelayMisconfiguredError("notifier_refuses_options", name=named, reason=str(error)) from None


def relay_sender(*, is_needed: bool = True) -> str:
    """Who sends where the settings name nobody: the connection's from-address, else its login.

    Else ``invoicing@`` this host, as mail of a Unix machine does: it works with a relay of one's own and is
    refused, loudly, by one that checks its senders.

    Args:
        is_needed: False where the settings name somebody, or nothing is sent: there is nothing to warn of.
    """
    found = _connection(RELAY_CONNECTION)
    named = named_sender(found.extra_dejson.get("from_email"), found.login)
    if named is not None:
        return named
    sender = sender_of_host()
    if is_needed:
        log.warning("no sender is set, mail goes out as %s: bin/invoicing settings set from_email=…", sender)
    return sender
