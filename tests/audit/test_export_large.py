"""An export of a large agency: streamed, so that ten times the tenants need no more memory."""

import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from invoicing.db.connection import connect
from invoicing.services.agency.settings import current_settings
from invoicing.services.agency.templates import current_template
from invoicing.services.audit import history
from support.archive import archive_in
from support.database import Server, as_owner
from support.project import PYTHON_PATH, ROOT

pytestmark = [pytest.mark.long, pytest.mark.alone, pytest.mark.timeout(3600)]

_CHILD = """
import json, resource, sys
from pathlib import Path
from invoicing.db.connection import connect
from invoicing.domain.period import Period
from invoicing.services.audit import export, verify
from invoicing.services.delivery.archive import FolderArchive
dsn, archive, folder, act = sys.argv[1:]
if act == "export":
    with connect(dsn) as db:
        made = export.export_period(db, FolderArchive(Path(archive)), Period(2026, 11), Path(folder))
    found = [made.documents, made.messages + len(made.not_rebuilt)]
else:
    found = [str(each.where) for each in verify.verify_folder(Path(folder)).differences][:20]
print(json.dumps({"found": found, "mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}))
"""


@contextmanager
def large_agency(server: Server, folder: Path, tenants: int) -> Iterator[str]:
    """A month of so many tenants, sent, with small documents."""
    script = (ROOT / "tests" / "bench" / "large_agency.sql").read_text()
    with server.fresh_copy() as dsn, connect(as_owner(dsn)) as owner:
        current_settings(owner)
        current_template(owner, "default")
        with owner.transaction():
            for statement in script.split(";\n"):
                if statement.strip():
                    owner.execute(statement.encode(), {"tenants": tenants, "months": 1})
        archive = archive_in(folder)
        owner.execute("ANALYZE")
        # Nothing says yet that the messages were these: they are built, and found to be others.
        owner.execute("ALTER TABLE invoicing.delivery_attempt DISABLE TRIGGER delivery_attempt_is_guarded")
        owner.execute(
            "UPDATE invoicing.delivery_attempt SET payload_sha256 = repeat('0', 64) WHERE delivery_id % 10 = 0"
        )
        owner.execute("ALTER TABLE invoicing.delivery_attempt ENABLE TRIGGER delivery_attempt_is_guarded")
        (template,) = owner.execute("SELECT max(id) AS id FROM invoicing.template_version").fetchall()
        invoices = owner.execute("SELECT id, number FROM invoicing.invoice ORDER BY id").fetchall()
        with (
            owner.cursor() as cursor,
            cursor.copy(
                "COPY invoicing.invoice_document (invoice_id, key, sha256, size_bytes, template_version_id) FROM STDIN"
            ) as copy,
        ):
            for row in invoices:
                content = f"%PDF-1.4\n% {row['number']}\n".encode().ljust(30_000, b"x")
                key = f"2026-11/{row['number']}.pdf"
                archive.store(key, content)
                copy.write_row(
                    (row["id"], key, hashlib.sha256(content).hexdigest(), len(content), template["id"])
                )
        yield dsn


def measured(*arguments: str) -> dict[str, Any]:
    begun = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", _CHILD, *arguments],
        env={**os.environ, "PYTHONPATH": PYTHON_PATH},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return {**json.loads(done.stdout.splitlines()[-1]), "seconds": round(time.monotonic() - begun, 1)}


def test_ten_times_the_tenants_need_hardly_more_memory(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    figures = {}
    for tenants in (1_000, 10_000):
        with large_agency(server, tmp_path / f"archive-{tenants}", tenants) as dsn:
            with connect(dsn) as db:
                begun = time.monotonic()
                head = history.seal(db)
                sealing = time.monotonic() - begun
            where = (dsn, str(tmp_path / f"archive-{tenants}"), str(tmp_path / f"export-{tenants}"))
            figures[tenants] = {
                "entries": head.entry,
                "seal_seconds": round(sealing, 2),
                "export": measured(*where, "export"),
                "verify": measured(*where, "verify"),
            }
            with connect(dsn) as db:
                begun = time.monotonic()
                assert list(history.differences(db)) == []
                figures[tenants]["database_seconds"] = round(time.monotonic() - begun, 1)
    with capsys.disabled():
        print(json.dumps(figures, indent=1))
    assert figures[10_000]["export"]["mb"] < figures[1_000]["export"]["mb"] + 60
    assert figures[10_000]["verify"]["found"] == []
