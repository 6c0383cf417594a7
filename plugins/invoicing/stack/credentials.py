"""Passwords and keys of one stack: random, made once, readable by their owner only."""

import base64
import json
import secrets
from dataclasses import asdict, dataclass

from invoicing.stack.layout import Layout
from invoicing.stack.parts import StackError, write_private

ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class Credentials:
    """Secrets of the parts among themselves; no person types these."""

    postgres_password: str
    invoicing_password: str
    airflow_password: str
    fernet_key: str
    jwt_secret: str
    api_secret_key: str
    owner_password: str


def load_or_create(layout: Layout) -> Credentials:
    """The stack's secrets; the first call makes them."""
    path = layout.credentials_file
    if path.exists():
        try:
            known = json.loads(path.read_text(encoding="utf-8"))
            kept = Credentials(**{"owner_password": secrets.token_urlsafe(24), **known})
        except (ValueError, TypeError) as error:
            raise StackError("credentials_damaged", path=path, reason=str(error)) from None
        if "owner_password" not in known:  # made before the business database had an owner of its own
            write_private(path, json.dumps(asdict(kept), indent=2))
        return kept
    if layout.database.exists():
        raise StackError("credentials_gone", database=layout.database, path=path)
    credentials = Credentials(
        postgres_password=secrets.token_urlsafe(24),
        invoicing_password=secrets.token_urlsafe(24),
        airflow_password=secrets.token_urlsafe(24),
        fernet_key=base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
        jwt_secret=secrets.token_urlsafe(64),
        api_secret_key=secrets.token_urlsafe(32),
        owner_password=secrets.token_urlsafe(24),
    )
    write_private(path, json.dumps(asdict(credentials), indent=2))
    return credentials


def admin_password(layout: Layout) -> str:
    """The password of Airflow's user ``admin``; the first call makes it, later ones keep what is in the file."""
    path = layout.login_file
    passwords: dict[str, str] = {}
    if path.exists() and path.stat().st_size > 0:
        try:
            passwords = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise StackError("login_file_damaged", path=path, reason=str(error)) from None
    if ADMIN not in passwords:
        passwords[ADMIN] = secrets.token_urlsafe(12)
        write_private(path, json.dumps(passwords))
    return passwords[ADMIN]
