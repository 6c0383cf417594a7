"""Secrets that a container is given as files, as the variables that they stand in for."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from invoicing.domain.errors import InputError
from invoicing.domain.names import ARCHIVE_CONNECTION, DATABASE_CONNECTION, RELAY_CONNECTION
from invoicing.words.failures import Fault

CONNECTIONS_FILE = "INVOICING_CONNECTIONS_FILE"
PASSWORD_FILE = "INVOICING_AIRFLOW_PASSWORD_FILE"  # noqa: S105  # a variable's name


def variables_from_files(environ: Mapping[str, str]) -> dict[str, str]:
    """The variables whose values are in files that ``environ`` names; what it sets itself is left out.

    ``INVOICING_CONNECTIONS_FILE`` holds Airflow's connections by name, as JSON, as its ``LocalFilesystemBackend`` reads
    them; ``INVOICING_AIRFLOW_PASSWORD_FILE`` the password of the command line's login.

    Raises:
        InputError: A file cannot be read, or is not what it should be.
    """
    found = {**dict(_connections(environ)), **dict(_password(environ))}
    return {name: value for name, value in found.items() if not environ.get(name)}


def _connections(environ: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    if not environ.get(CONNECTIONS_FILE):
        return
    path = Path(environ[CONNECTIONS_FILE])
    try:
        known = json.loads(_text(CONNECTIONS_FILE, path))
    except ValueError as error:
        raise InputError(
            "secret_file_unusable", variable=CONNECTIONS_FILE, path=path, reason=str(error)
        ) from None
    if not isinstance(known, dict):
        raise InputError(
            "secret_file_unusable", variable=CONNECTIONS_FILE, path=path, reason=Fault("not_connections")
        )
    for name in (DATABASE_CONNECTION, RELAY_CONNECTION, ARCHIVE_CONNECTION):
        if name in known:
            value = known[name]
            yield f"AIRFLOW_CONN_{name.upper()}", value if isinstance(value, str) else json.dumps(value)


def _password(environ: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    if environ.get(PASSWORD_FILE):
        yield "INVOICING_AIRFLOW_PASSWORD", _text(PASSWORD_FILE, Path(environ[PASSWORD_FILE])).strip()


def _text(variable: str, path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "UTF-8"
        raise InputError("secret_file_unusable", variable=variable, path=path, reason=reason) from None
