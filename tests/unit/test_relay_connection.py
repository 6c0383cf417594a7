"""What the connection's extra says about TLS (docs/contract.md, section 3)."""

import json
import logging

import pytest

from invoicing.mail.transmission import RelayMisconfiguredError
from invoicing.on_airflow.connections import _OurClientHook, relay_sender


def hook(monkeypatch: pytest.MonkeyPatch, connection: str) -> _OurClientHook:
    monkeypatch.setenv("AIRFLOW_CONN_INVOICING_SMTP", connection)
    made = _OurClientHook(smtp_conn_id="invoicing_smtp")
    made.smtp_connection = made.get_connection("invoicing_smtp")
    return made


@pytest.mark.parametrize(
    ("connection", "starttls", "tls"),
    [
        ("smtp://relay.example:587/?disable_tls=true&disable_ssl=true", False, False),
        ("smtp://relay.example:587/?disable_tls=True&disable_ssl=1", False, False),
        ("smtp://relay.example:587/?disable_tls=false&disable_ssl=true", True, False),
        ("smtp://relay.example:465/?disable_tls=true&disable_ssl=false", False, True),
        ("smtp://relay.example:465", True, True),
        (
            json.dumps(
                {"conn_type": "smtp", "host": "r", "extra": {"disable_tls": True, "disable_ssl": True}}
            ),
            False,
            False,
        ),
        (
            json.dumps(
                {"conn_type": "smtp", "host": "r", "extra": {"disable_tls": False, "disable_ssl": True}}
            ),
            True,
            False,
        ),
    ],
)
def test_false_is_not_taken_for_true(
    monkeypatch: pytest.MonkeyPatch, connection: str, starttls: bool, tls: bool
) -> None:
    made = hook(monkeypatch, connection)
    assert (made.smtp_starttls, made.use_ssl) == (starttls, tls)


def test_what_is_neither_is_an_error_and_not_clear_text(monkeypatch: pytest.MonkeyPatch) -> None:
    made = hook(monkeypatch, "smtp://relay.example/?disable_tls=perhaps")
    with pytest.raises(RelayMisconfiguredError, match="disable_tls is 'perhaps', neither true nor false"):
        _ = made.smtp_starttls


@pytest.mark.parametrize(
    ("connection", "named", "sender", "warned"),
    [
        ("smtp://relay.example", "", "invoicing@host.example", True),
        ("smtp://relay.example", "cartera@agencia.example", "invoicing@host.example", False),
        ("smtp://relay.example/?from_email=a%40agencia.example", "", "a@agencia.example", False),
        ("smtp://b%40agencia.example:secret@relay.example", "", "b@agencia.example", False),
    ],
    ids=["nobody", "the-settings", "the-connection", "its-login"],
)
def test_a_missing_sender_is_warned_of_where_it_is_missing(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    connection: str,
    named: str,
    sender: str,
    warned: bool,
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_INVOICING_SMTP", connection)
    monkeypatch.setattr("socket.getfqdn", lambda: "host.example")
    with caplog.at_level(logging.WARNING):
        assert relay_sender(is_needed=not named) == sender
    assert ("no sender is set" in caplog.text) is warned
