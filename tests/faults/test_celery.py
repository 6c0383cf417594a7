"""The cycle on CeleryExecutor: two workers that share a broker, a database and an object store, and nothing else.

Each has a state folder, a journal and logs of its own, as on a machine of its own. The broker is Debian's Redis, the
object store moto's. What each test asks of the ledger and the relay afterwards is what every fault test asks: I1 to I9.
"""

import json
import re
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest

from invoicing.airflow_api import AirflowApi
from invoicing.db.connection import connect
from invoicing.domain.period import Period
from support.broker import Broker
from support.celery_worker import CeleryWorker
from support.invariants import violations
from support.object_store import BUCKET, KEY, ObjectStore
from support.pipeline import DAG, Pipeline
from support.relay import FaultyRelay, Step, hang, on
from support.running_stack import room_for_stack, wait_for

pytestmark = [pytest.mark.faults, pytest.mark.e2e, pytest.mark.long, pytest.mark.timeout(1500)]

_MANY = [f"N{number:03}" for number in range(60)]
_FEW = [f"N{number:03}" for number in range(6)]


class ScaledOut:
    """A stack whose tasks run elsewhere, and all that they share."""

    def __init__(self, pipeline: Pipeline, broker: Broker, store: ObjectStore, folder: Path) -> None:
        self.pipeline = pipeline
        self.broker = broker
        self.store = store
        self._folder = folder
        self.workers: list[CeleryWorker] = []

    def start_worker(self, name: str, **instead: str | None) -> CeleryWorker:
        """Start one more worker, with a state folder called ``name``, and variables of its own."""
        worker = CeleryWorker(self.pipeline.stack, self._folder / name, instead)
        self.workers.append(worker)
        worker.start()
        return worker

    def stop_workers(self) -> None:
        """End all workers that there are."""
        while self.workers:
            self.workers.pop().stop()

    def sent(self, period: str) -> int:
        """How many messages of a month the relay has accepted, as the ledger says."""
        return list(self.pipeline.states(period).values()).count("sent")

    def check(self, period: str, invoices: int) -> None:
        """I1 to I9, and that each invoice's document is in the store, once."""
        with connect(self.pipeline.stack.dsn) as db:
            accepted = self.pipeline.accepted
            assert violations(db, accepted, period=Period.parse(period), invoices=invoices) == []
            kept = {
                row["key"]
                for row in db.execute(
                    "SELECT d.key FROM invoicing.invoice_document AS d"
                    " JOIN invoicing.invoice AS i ON i.id = d.invoice_id WHERE i.period = %s",
                    [period],
                )
            }
        assert len(kept) == invoices
        assert {f"documents/{key}" for key in kept} <= set(self.store.keys())


@pytest.fixture(scope="module")
def scaled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ScaledOut]:
    folder = tmp_path_factory.mktemp("celery")
    for name in ("broker", "store", "files"):
        (folder / name).mkdir()
    with ExitStack() as parts:
        broker = parts.enter_context(Broker(folder / "broker"))
        store = parts.enter_context(ObjectStore(folder / "store"))
        relay = parts.enter_context(FaultyRelay(folder / "accepted.jsonl"))
        stack = parts.enter_context(room_for_stack())
        connection = {
            "conn_type": "smtp",
            "host": "127.0.0.1",
            "port": relay.port,
            "extra": {"disable_tls": True, "disable_ssl": True, "acceptance_timeout": 60},
        }
        stack.environ |= {
            "INVOICING_BROKER": broker.url,
            "INVOICING_ARCHIVE": f"s3://invoicing_archive@{BUCKET}/documents",
            "AIRFLOW_CONN_INVOICING_ARCHIVE": store.connection,
            "AIRFLOW_CONN_INVOICING_SMTP": json.dumps(connection),
            "INVOICING_RETRY_SECONDS": "8",
            # Five minutes and ten by default: when a worker that is gone is missed.
            "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "25",
            "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "5",
            "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT": "40",
            "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT_CHECK_INTERVAL": "10",
        }
        stack.up()
        sender = (
            "from_email=facturas@agencia.test",
            "agency_name=Agencia",
            "operator_email=ops@agencia.test",
        )
        stack.run("settings", "set", "auto_send=yes", *sender)
        api: AirflowApi = parts.enter_context(stack.airflow())
        made = ScaledOut(Pipeline(stack, api, relay, folder / "files"), broker, store, folder)
        parts.callback(made.stop_workers)
        yield made


@pytest.fixture(autouse=True)
def as_before(scaled: ScaledOut) -> Iterator[None]:
    yield
    scaled.pipeline.relay.script()
    scaled.store.recover()
    scaled.stop_workers()


def test_a_broker_that_is_away_in_mid_run_delays_it(scaled: ScaledOut) -> None:
    pipeline, period = scaled.pipeline, "2026-11"
    pipeline.import_tenants(_FEW)
    scaled.start_worker("first")
    scaled.start_worker("second")
    run_id = pipeline.trigger(period)
    wait_for(lambda: pipeline.states(period), "deliveries are decided on", 500)
    scaled.broker.stop()
    time.sleep(20)
    assert not pipeline.api.dag_run(DAG, run_id).is_over
    scaled.broker.start()

    assert pipeline.wait(run_id, seconds=600) == "success"
    scaled.check(period, len(_FEW))


def test_an_object_store_that_is_unwell_for_a_minute_delays_the_month(scaled: ScaledOut) -> None:
    pipeline, period = scaled.pipeline, "2026-12"
    pipeline.import_tenants(_FEW)
    worker = scaled.start_worker("first")
    scaled.store.fall_ill()
    run_id = pipeline.trigger(period)
    wait_for(lambda: scaled.store.refusals(503), "a document is asked for or stored", 500)
    time.sleep(60)
    assert scaled.sent(period) == 0
    scaled.store.recover()

    assert pipeline.wait(run_id, seconds=600) == "success"
    assert re.search("SlowDown|Service Unavailable", worker.task_logs())
    scaled.check(period, len(_FEW))


def test_a_worker_whose_key_the_store_does_not_know_says_so_and_another_does_the_work(
    scaled: ScaledOut,
) -> None:
    pipeline, period = scaled.pipeline, "2027-01"
    pipeline.import_tenants(_FEW)
    strange = scaled.store.connection.replace(KEY, "somebody-else")
    worker = scaled.start_worker("strange", AIRFLOW_CONN_INVOICING_ARCHIVE=strange)
    run_id = pipeline.trigger(period)
    wait_for(lambda: scaled.store.refusals(403), "the store refuses", 500)
    wait_for(lambda: re.search("Access ?Denied|Forbidden", worker.task_logs()), "the task's log says so", 300)
    assert scaled.sent(period) == 0
    worker.stop()
    # One that has no connection of its own is told the API server's.
    scaled.start_worker("keyless", AIRFLOW_CONN_INVOICING_ARCHIVE=None)

    assert pipeline.wait(run_id, seconds=600) == "success"
    scaled.check(period, len(_FEW))


def test_one_of_two_workers_dies_in_mid_batch_and_the_other_ends_its_work(scaled: ScaledOut) -> None:
    pipeline, period = scaled.pipeline, "2027-02"
    pipeline.import_tenants(_MANY)
    workers = [scaled.start_worker("first"), scaled.start_worker("second")]
    # Batches of ten, six of them.
    pipeline.stack.run("settings", "set", "largest_batch=10")
    pipeline.relay.script(on(Step.DOT, hang, times=1, after=4))
    run_id = pipeline.trigger(period)
    dead = wait_for(lambda: worker_transmitting(scaled, workers), "one hangs in mid-batch", 600)
    # It has sent a part of its batch, and the other sends on.
    assert 0 < scaled.sent(period) < len(_MANY)
    dead.kill()
    (survivor,) = [worker for worker in workers if worker is not dead]
    begun = survivor.tasks_logged()

    assert pipeline.wait(run_id, seconds=900) == "failed"

    # What the dead one's two tasks were transmitting nobody knows; all else of their batches has left, by the survivor.
    states = Counter(pipeline.states(period).values())
    assert set(states) == {"sent", "in_doubt"}
    assert states["in_doubt"] <= 2
    assert all(worker.tasks_logged() > 0 for worker in workers)
    assert survivor.tasks_logged() > begun
    tried_again = [
        task
        for task in pipeline.api.task_instances(DAG, run_id)
        if task.task_id == "send_invoices" and task.attempts > 1
    ]
    assert tried_again
    scaled.check(period, len(_MANY))

    # A person asks the relay's log.
    for doubtful in pipeline.stack.json("deliveries", "list", "--state", "in_doubt"):
        known = "sent" if doubtful["message_id"] in pipeline.accepted else "retry"
        pipeline.stack.run(
            "deliveries", "resolve", str(doubtful["id"]), "--as", known, "--reason", "by the relay's log"
        )
    pipeline.api.clear(DAG, run_id, only_failed=True)
    assert pipeline.wait(run_id) == "success"
    assert set(pipeline.states(period).values()) == {"sent"}
    assert set(pipeline.accepted.values()) == {1}
    scaled.check(period, len(_MANY))


def worker_transmitting(scaled: ScaledOut, workers: list[CeleryWorker]) -> CeleryWorker | None:
    """The worker one of whose tasks has been transmitting for two seconds."""
    ports = {
        row[0]
        for row in scaled.pipeline.query(
            "SELECT client_port FROM pg_stat_activity WHERE datname = current_database()"
            " AND query ILIKE %s AND pid <> pg_backend_pid() AND state_change < now() - interval '2 s'",
            "%SET state = 'transmitting'%",
        )
    }

    def holds(process: psutil.Process) -> bool:
        try:
            return bool(ports & {each.laddr.port for each in process.net_connections("tcp") if each.laddr})
        except psutil.Error:
            return False

    return next((worker for worker in workers if any(map(holds, worker.processes()))), None)
