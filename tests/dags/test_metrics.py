"""What a monitor gets: real datagrams, from Airflow's own metrics as its configuration has them."""

import datetime
import re
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from airflow.sdk._shared.observability.metrics import stats as shared
from airflow.sdk.observability import stats
from airflow.sdk.observability.metrics import stats_utils

from invoicing.domain.delivery import DeliveryState
from invoicing.domain.errors import PermanentFailureError
from invoicing.on_airflow import metrics
from invoicing.services.views.gauges import read_gauges
from support.agency import Agency
from support.project import ROOT


class Monitor:
    """A StatsD of the test's own, on UDP."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self._socket.settimeout(0.2)
        self.port = self._socket.getsockname()[1]

    def received(self) -> dict[str, str]:
        """Name and value with its kind (``3|c``, ``2|g``) of all that has come."""
        found = {}
        while True:
            try:
                line = self._socket.recv(4096).decode()
            except TimeoutError:
                return found
            name, _, value = line.partition(":")
            found[name] = value

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def monitor(monkeypatch: pytest.MonkeyPatch) -> Iterator[Monitor]:
    """Airflow tells it, as a task's process is set up to."""
    listening = Monitor()
    for name, value in (
        ("ON", "True"),
        ("HOST", "127.0.0.1"),
        ("PORT", str(listening.port)),
        ("PREFIX", "af"),
    ):
        monkeypatch.setenv(f"AIRFLOW__METRICS__STATSD_{name}", value)
    stats.initialize(factory=stats_utils.get_stats_factory(), export_legacy_names=False)
    yield listening
    shared._get_backend().statsd.close()
    monkeypatch.undo()
    stats.initialize(factory=stats_utils.get_stats_factory(), export_legacy_names=False)
    listening.close()


@pytest.fixture
def agency(db: object) -> Agency:
    made = Agency(db)  # type: ignore[arg-type]
    made.set(auto_send=True, from_email="facturas@agencia.example", agency_name="Agencia")
    return made


def test_a_batch_is_counted_at_its_end_also_where_it_fails(monitor: Monitor) -> None:
    def batch() -> None:
        with metrics.counting_deliveries() as count:
            for state in ("sent", "sent", "failed", "in_doubt", "pending"):
                count(DeliveryState(state))
            assert monitor.received() == {}
            raise PermanentFailureError("deliveries_unsent", unsent=2, all=5, listing="")

    with pytest.raises(PermanentFailureError):
        batch()

    assert monitor.received() == {
        "af.invoicing.deliveries.sent": "2|c",
        "af.invoicing.deliveries.failed": "1|c",
        "af.invoicing.deliveries.in_doubt": "1|c",
    }


def test_a_sweep_tells_how_things_stand(agency: Agency, monitor: Monitor) -> None:
    for code in "ABCDE":
        agency.add_tenant(code)
    agency.run()
    agency.put("A", "claimed", "failed")
    agency.put("B", "claimed", "transmitting", "in_doubt")
    agency.change_tenant("C", auto_send=False)

    metrics.tell_monitor(agency.db, {"adopted": 0, "doubted": 1})

    told = monitor.received()
    assert told["af.invoicing.deliveries.in_doubt"] == "1|c"
    assert (told["af.invoicing.now.failed"], told["af.invoicing.now.in_doubt"]) == ("1|g", "1|g")
    assert told["af.invoicing.now.unsent"] == "2|g", "what the brake holds is not late"
    assert set(told) - {"af.invoicing.deliveries.in_doubt"} == {
        f"af.{name}" for name in read_gauges(agency.db, datetime.datetime.now(datetime.UTC))
    }


def test_minutes_are_counted_since_the_oldest(agency: Agency) -> None:
    agency.add_tenant("A")
    agency.run()
    later = datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=2)
    found = read_gauges(agency.db, later)
    assert 119 < found["invoicing.now.unsent_minutes"] <= 120
    assert found["invoicing.now.approval_minutes"] == 0
    assert found["invoicing.month.tick_minutes"] > 0


def test_a_monitor_that_is_away_costs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise OSError("no route")

    monkeypatch.setattr(stats, "incr", broken)
    with metrics.counting_deliveries() as count:
        count(DeliveryState.SENT)


def test_the_operators_page_names_every_gauge_and_counter(agency: Agency) -> None:
    page = (Path(ROOT) / "docs" / "operating.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`(invoicing\.[a-z]+\.[a-z_]+)`", page))
    assert named >= set(read_gauges(agency.db, datetime.datetime.now(datetime.UTC)))
    assert named >= {f"invoicing.deliveries.{state}" for state in ("sent", "failed", "in_doubt")}
