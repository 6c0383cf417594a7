"""At random: whatever happens together, nothing is sent twice, nothing is lost, and doubt is shown."""

from collections.abc import Callable
from pathlib import Path

import pytest

from support.campaign import Campaign, Figures
from support.database import Server
from support.ledger import Ledger
from support.relay import read_log
from support.troubled_relay import TroubledRelay

pytestmark = pytest.mark.faults

# What people's acts come to, each at least once where there are many of them.
EVERY_KIND = {
    "voided by itself",
    "replaced what is void",
    "replaced what is credited",
    "credited in part",
    "retried by a clear",
    "retried apart",
    "retried what failed",
    "sent again",
    "sent again what failed",
    "withdrawn",
    "months approved",
    "months rejected",
}


def run(
    ledger: Ledger,
    server: Server,
    tmp_path: Path,
    report: Callable[[str], None],
    *,
    deliveries: int,
    kills: int,
    crashes: int,
    batch_size: int,
    timeout_seconds: float,
    acts: int = 0,
) -> Figures:
    """Make the deliveries, hurt everything, check; then settle the doubts and send what they hid."""
    ledger.make(tenants=deliveries)
    log = tmp_path / "accepted.jsonl"
    with TroubledRelay(log, trouble=0.02, refusals=0.05 if acts else 0.0) as relay:
        campaign = Campaign(
            ledger,
            server,
            relay.port,
            lambda: read_log(log),
            kills=kills,
            crashes=crashes,
            batch_size=batch_size,
            report=report,
            acts=acts,
        )
        figures = campaign.run(timeout_seconds)
        report("\n" + figures.table())
        assert not figures.violations, "\n".join(figures.violations[:20])
        assert (figures.duplicates, figures.lost) == (0, 0)

        campaign.resolve_doubts()
    with TroubledRelay(log, trouble=0.0, pause_seconds=0.0) as healthy:
        ending = ledger.start(healthy.port).wait(300)
    assert ending.counts == {"sent": figures.deliveries}
    assert read_log(log).total() == figures.deliveries
    ledger.check(read_log(log))
    return figures


@pytest.fixture
def report(capsys: pytest.CaptureFixture[str]) -> Callable[[str], None]:
    """Show something at once, however output is captured."""

    def show(text: str) -> None:
        with capsys.disabled():
            print(text, flush=True)

    return show


@pytest.mark.long
@pytest.mark.timeout(180)
def test_a_short_campaign(ledger: Ledger, server: Server, tmp_path: Path) -> None:
    shown: list[str] = []
    figures = run(
        ledger,
        server,
        tmp_path,
        shown.append,
        deliveries=150,
        kills=20,
        crashes=1,
        batch_size=6,
        timeout_seconds=120,
    )
    print(shown[-1])
    assert figures.kills >= 14  # workers that are quick are done before they are killed
    assert figures.database_crashes == 1


@pytest.mark.timeout(240)
def test_a_short_campaign_with_people_in_it(ledger: Ledger, server: Server, tmp_path: Path) -> None:
    shown: list[str] = []
    figures = run(
        ledger,
        server,
        tmp_path,
        shown.append,
        deliveries=60,
        kills=8,
        crashes=1,
        batch_size=5,
        timeout_seconds=180,
        acts=14,
    )
    print(shown[-1])
    assert figures.acts.total() >= 10
    assert figures.database_crashes == 1


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_the_long_campaign(
    ledger: Ledger, server: Server, tmp_path: Path, report: Callable[[str], None]
) -> None:
    """3,000 deliveries, six workers, 300 kills, 5 database crashes, 300 acts of people who change their minds."""
    report("")
    figures = run(
        ledger,
        server,
        tmp_path,
        report,
        deliveries=3000,
        kills=300,
        crashes=5,
        batch_size=15,
        timeout_seconds=1500,
        acts=300,
    )
    assert (figures.kills, figures.database_crashes) == (300, 5)
    assert figures.acts.total() == 300
    assert not EVERY_KIND - set(figures.outcomes)
