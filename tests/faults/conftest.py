"""A relay and a proxy that fail on command, and a certificate for both."""

import datetime
import ipaddress
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from support.database import Server
from support.ledger import Ledger, Workshop, opened
from support.proxy import Proxy
from support.relay import FaultyRelay


@pytest.fixture
def start_relay(tmp_path: Path) -> Iterator[Callable[..., FaultyRelay]]:
    """Start a relay with options of one's own; the log's name tells several apart."""
    with ExitStack() as relays:

        def start(log: str = "accepted.jsonl", **options: Any) -> FaultyRelay:
            return relays.enter_context(FaultyRelay(tmp_path / log, **options))

        yield start


@pytest.fixture
def relay(start_relay: Callable[..., FaultyRelay]) -> FaultyRelay:
    """A relay that takes mail from anybody, in clear text."""
    return start_relay()


@pytest.fixture
def start_proxy() -> Iterator[Callable[[tuple[str, int] | Path], Proxy]]:
    """Put a proxy before a server."""
    with ExitStack() as proxies:

        def start(target: tuple[str, int] | Path) -> Proxy:
            return proxies.enter_context(Proxy(target))

        yield start


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A PEM file with the key and the self-signed certificate of 127.0.0.1."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "relay.test")])
    now = datetime.datetime.now(datetime.UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.KeyUsage(
                digital_signature=True,
                key_cert_sign=True,
                content_commitment=False,
                key_encipherment=False,
                data_encipherment=False,
                key_agreement=False,
                crl_sign=False,
                encipher_only=False,
                decipher_only=False,
            ),
            critical=True,
        )
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("certificate") / "relay.pem"
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + signed.public_bytes(serialization.Encoding.PEM)
    )
    return path


# For the faults of `services.deliver`: the ledger and its workers.


@pytest.fixture(scope="session")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workshop]:
    """Where workers come from."""
    with Workshop(tmp_path_factory.mktemp("workshop")) as workshop:
        yield workshop


@pytest.fixture
def ledger(server: Server, workshop: Workshop, tmp_path: Path) -> Iterator[Ledger]:
    """A ledger in a fresh database."""
    with opened(server, workshop, tmp_path) as made:
        yield made
