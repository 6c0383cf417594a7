"""Holding, releasing, stopping and sending now from the pages and the JSON API."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.month import Month, November
from support.visiting import Browser

HERE = "/cycles/2026-11"
DAN = f"{HERE}/tenants/DAN"
RITA = f"{HERE}/tenants/RITA"


@pytest.fixture
def month(november: November, tmp_path: Path) -> Iterator[Month]:
    with november.copy(tmp_path) as copied:
        yield copied


@pytest.fixture
def page(month: Month) -> Browser:
    return month.app.as_editor("en")


def test_a_tenant_is_sent_what_it_is_due_from_its_page(month: Month, page: Browser) -> None:
    """Switched off when the month ran; its switch is turned on, and the same page sends."""
    assert "1 invoice of November 2026 is unsent" in page.see(DAN).text
    refused = page.submit(f"{DAN}/send", {})
    assert "There is no mail: the decision below says why" in refused.text
    page.submit(
        "/tenants/DAN",
        {
            "auto_send": "yes",
            "emails": "daniel@correo.example",
            "language": "es",
            "seen_at": seen_at(month, "DAN"),
        },
    )
    assert "1 invoice of November 2026 is unsent" in page.see("/tenants/DAN?saved=yes").text
    sent = page.submit(f"{DAN}/send", {})
    assert "It will be sent in a moment" in sent.text
    assert month.state(month.delivery("DAN")) == "pending"
    assert month.announced
    again = page.submit(f"{DAN}/send", {})
    assert month.state(month.delivery("DAN")) == "pending"
    assert again.status_code == 200


def seen_at(month: Month, code: str) -> str:
    row = month.db.execute("SELECT updated_at FROM invoicing.tenant WHERE code = %s", [code]).fetchone()
    assert row is not None
    return str(row["updated_at"].isoformat())


def test_a_hold_is_made_and_ended_on_the_tenants_page(month: Month, page: Browser) -> None:
    assert "give a reason" in page.submit(f"{RITA}/hold", {"reason": " "}).text.lower()
    held = page.submit(f"{RITA}/hold", {"reason": "pays by hand <b>"})
    assert "Held: nothing leaves until it is released" in held.text
    assert "pays by hand &lt;b&gt;" in held.text
    assert month.state(month.delivery("RITA")) == "held"
    assert "A person holds it" in page.see(RITA).text
    twice = page.submit(f"{RITA}/hold", {"reason": "again"})
    assert twice.status_code == 422
    assert "is held for 2026-11 already" in twice.text
    released = page.submit(f"{RITA}/release", {"reason": "agreed"})
    assert "Released." in released.text
    assert "Send it now" in released.text
    page.submit(f"{RITA}/send", {})
    assert month.state(month.delivery("RITA")) == "pending"


def test_a_month_is_stopped_and_goes_on(month: Month, page: Browser) -> None:
    stopped = page.submit(f"{HERE}/stop", {"reason": "wrong text"})
    assert "The month is stopped." in stopped.text
    assert month.state(month.delivery("RITA")) == "held"
    assert page.submit(f"{HERE}/stop", {"reason": "again"}).status_code == 422
    resumed = page.submit(f"{HERE}/resume", {"reason": "it was right"})
    assert "The month goes on" in resumed.text
    assert month.state(month.delivery("RITA")) == "pending"


def test_the_json_api_does_the_same(month: Month, page: Browser) -> None:
    hold = {"period": "2026-11", "reason": "pays by hand"}
    held = page.ask("POST", "/tenants/RITA/hold", hold).json()
    assert (held["deliveries"], held["under_way"]) == ([month.delivery("RITA")], [])
    refused = page.ask("POST", "/tenants/RITA/hold", hold)
    assert (refused.status_code, refused.json()["code"]) == (422, "hold_exists")
    assert page.ask("POST", "/tenants/RITA/release", hold).json()["deliveries"] == held["deliveries"]
    sent = page.ask("POST", "/cycles/2026-11/send", {"tenants": ["RITA", "EVA"]}).json()
    assert sent["tenants"] == [
        {"tenant": "RITA", "decision": "send", "reason": None, "deliveries": held["deliveries"]},
        {"tenant": "EVA", "decision": "skip", "reason": "no_email", "deliveries": []},
    ]
    assert sent["airflow_told"] is True
    stopped = page.ask("POST", "/cycles/2026-11/stop", {"reason": "x"}).json()
    assert stopped["deliveries"] == held["deliveries"]
    assert (
        page.ask("POST", "/cycles/2026-11/resume", {"reason": "x"}).json()["deliveries"] == held["deliveries"]
    )
    assert page.ask("POST", "/cycles/2026-11/send", {"tenants": ["NOBODY"]}).status_code == 404


def test_who_only_looks_sees_the_hold_and_no_button(month: Month, page: Browser) -> None:
    page.submit(f"{RITA}/hold", {"reason": "pays by hand"})
    viewer = month.app.as_viewer("en")
    seen = viewer.see(RITA).text
    assert "pays by hand" in seen
    assert "/release" not in seen
    assert '/send"' not in seen
    assert "/stop" not in viewer.see(HERE).text
