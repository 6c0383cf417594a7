"""Worker processes of the fault suite: what an Airflow task does, without Airflow, to be killed at will.

``python -m support.worker`` reads requests, one JSON document a line, and answers each with the number of a process
that it has forked for it. All imports are done by then, so a worker starts in milliseconds. Its result goes to
a file; a worker without a result was killed.
"""

import json
import os
import resource
import signal
import smtplib
import ssl
import sys
import traceback
from pathlib import Path
from typing import Any

import psycopg

import invoicing.rendering.mail  # noqa: F401 (imported before the first fork)
from invoicing.db.connection import connect
from invoicing.domain.delivery import Batch
from invoicing.domain.errors import (
    InvoicingError,
    PermanentFailureError,
    TemporaryFailureError,
)
from invoicing.domain.task_address import TaskAddress
from invoicing.mail.conversation import BoundedSMTP
from invoicing.mail.transmission import Relay
from invoicing.services.delivery import deliver, ledger, rate_limit, sweep
from invoicing.services.delivery.journal import Journal
from invoicing.services.delivery.ledger import Worker
from support.archive import archive_in


def open_relay(request: dict[str, Any]) -> Relay:
    """The project's own client, with the request's patience."""
    patience = request["patience_seconds"]

    def connect_client() -> smtplib.SMTP:
        client = BoundedSMTP(
            "127.0.0.1",
            request["relay_port"],
            timeout=patience,
            setup_timeout_seconds=patience,
            local_hostname="worker.test",
        )
        if request["certificate"]:
            client.starttls(context=ssl.create_default_context(cafile=request["certificate"]))
        if request["login"]:
            client.login(*request["login"])
        return client

    return Relay(
        connect_client,
        host="127.0.0.1",
        port=request["relay_port"],
        messages_per_connection=request["messages_per_connection"],
        command_timeout_seconds=patience,
        envelope_timeout_seconds=2 * patience,
        payload_timeout_seconds=request["payload_seconds"] or patience,
        acceptance_timeout_seconds=request["acceptance_seconds"] or patience,
        farewell_timeout_seconds=min(0.3, patience),
    )


def work(request: dict[str, Any]) -> dict[str, Any]:
    """Do what the request says, and say how it ended as Airflow would see it."""
    for name, value in request["tuned"].items():
        # Waits that a test cannot sit out.
        module, _, constant = name.rpartition(".")
        setattr({"ledger": ledger, "rate_limit": rate_limit}[module], constant, value)
    if request["largest_file_bytes"] is not None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (request["largest_file_bytes"],) * 2)
    try:
        with connect(request["dsn"]) as db:
            journal = Journal(Path(request["journal"]))
            if request["task"] == "sweep":
                return {"ended": "done", "counts": sweep.sweep_deliveries(db, journal)}
            with open_relay(request) as relay:
                counts = deliver.send_batch(
                    db,
                    relay,
                    archive_in(Path(request["archive"])),
                    journal,
                    Batch("test", tuple(request["ids"])),
                    Worker(
                        TaskAddress("faults", "run", request["owner"], -1),
                        request["execution"],
                        request["name"],
                    ),
                )
    except PermanentFailureError as error:
        return {"ended": "permanent", "message": str(error)}
    except (TemporaryFailureError, psycopg.Error, InvoicingError) as error:
        return {"ended": "temporary", "message": f"{type(error).__name__}: {error}"}
    except Exception as error:  # noqa: BLE001 (the test wants to know)
        traceback.print_exc()
        return {"ended": "error", "message": f"{type(error).__name__}: {error}"}
    return {"ended": "done", "counts": counts}


def run(request: dict[str, Any]) -> None:
    """The forked process: never returns."""
    status = 1
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))
        output = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(output, 1)
        os.dup2(output, 2)
        result = work(request)
        draft = Path(request["result"] + ".tmp")
        draft.write_text(json.dumps(result))
        draft.rename(request["result"])
        status = 0
    except BaseException:  # noqa: BLE001 (whatever it is, this process ends here)
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)


def main() -> None:
    """Fork a worker for each request until standard input ends."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel buries the children
    for line in sys.stdin:
        request = json.loads(line)
        pid = os.fork()
        if pid == 0:
            run(request)
        print(pid, flush=True)


if __name__ == "__main__":
    main()
