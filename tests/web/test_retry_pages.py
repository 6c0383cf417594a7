"""A month is retried on its page: first what it will do, then one button; a resend has the words that were chosen."""

import email
import email.policy
from collections.abc import Iterator, Sequence
from email.message import EmailMessage
from pathlib import Path

import pytest

from invoicing.services.delivery import resolution
from support.month import NOVEMBER, Month, November
from support.visiting import Browser

HERE = f"/cycles/{NOVEMBER}"


def _headers(message: bytes) -> EmailMessage:
    return email.message_from_bytes(message, _class=EmailMessage, policy=email.policy.default)


class FakeAirflow:
    """Airflow's clear: whatever is asked for, one sending task had failed."""

    def __init__(self) -> None:
        self.asked: list[Sequence[str]] = []

    def clear_tasks(
        self, _dag_id: str, _dag_run_id: str, task_ids: Sequence[str], *, only_failed: bool
    ) -> list[tuple[str, int]]:
        assert only_failed
        self.asked.append(task_ids)
        return [("send_invoices", -1), ("close_cycle", -1)]

    def is_at_work(self, _dag_id: str, _dag_run_id: str) -> bool:
        return False


@pytest.fixture
def airflow() -> FakeAirflow:
    return FakeAirflow()


@pytest.fixture
def month(november: November, tmp_path: Path, airflow: FakeAirflow) -> Iterator[Month]:
    with november.copy(tmp_path, scheduler=lambda _visitor: airflow, announce=lambda: None) as copied:
        _resend_ana(copied)
        yield copied


def _resend_ana(month: Month) -> None:
    """Asked for, and not sent yet."""
    resolution.resend(month.db, [month.delivery("ANA")], reason="lost", actor="test")


def test_the_months_page_leads_to_what_a_retry_would_do_and_one_button_does_it(
    month: Month, page: Browser, airflow: FakeAirflow
) -> None:
    assert f"{HERE}/retry" in page.see(HERE).text

    shown = page.see(f"{HERE}/retry").text
    assert "is tried once more" in shown or "are tried once more" in shown
    assert "It is on its way" in shown
    assert airflow.asked == []

    done = page.submit(f"{HERE}/retry", {})
    assert "It is tried once more in a moment" in done.text
    assert airflow.asked == [["approve_sending", "check_mail_server", "send_invoices", "close_cycle"]]


def test_who_may_only_look_sees_it_and_has_no_button(month: Month) -> None:
    shown = month.app.as_viewer("en").see(f"{HERE}/retry")
    assert shown.status_code == 200
    assert (
        "<button" not in shown.text[shown.text.index('id="to-retry"') : shown.text.index('id="left-alone"')]
    )


def test_who_may_read_amounts_alone_sees_no_address_in_it(month: Month) -> None:
    shown = month.app.as_accountant("en").see(f"{HERE}/retry").text
    assert "@" not in shown[shown.index("<h1") :].replace("@ ", "")


def test_by_the_json_api_it_is_as_the_command_line_prints_it(
    month: Month, page: Browser, airflow: FakeAirflow
) -> None:
    plan = page.ask("GET", f"{HERE}/retry").json()
    assert plan["dry_run"]
    assert plan["retry"]
    assert {each["state"] for each in plan["retry"]} == {"failed"}
    assert "under_way" in {each["reason"] for each in plan["left_alone"]}
    assert airflow.asked == []

    done = page.ask("POST", f"{HERE}/retry").json()
    assert not done["dry_run"]
    assert (list(done["cleared"].values()), done["requested"], done["airflow_told"]) == ([2], [], None)


def test_without_an_airflow_a_person_is_told_and_nothing_is_lost(november: November, tmp_path: Path) -> None:
    with november.copy(tmp_path) as month:
        refused = month.app.as_editor("en").submit(f"{HERE}/retry", {})
        assert refused.status_code == 503
        assert "there is no Airflow to tell" in refused.text
        assert "is tried once more" in refused.text or "are tried once more" in refused.text


def test_a_resend_has_the_words_of_then_unless_todays_are_chosen(month: Month, page: Browser) -> None:
    sent = month.db.execute(
        "SELECT id, settings_version_id FROM invoicing.delivery WHERE state = 'sent' ORDER BY id LIMIT 2"
    ).fetchall()
    before = sent[0]["settings_version_id"]
    month.db.execute("SELECT 1")
    page.ask("PATCH", "/settings", {"subject": "Hoy: {period}"})

    assert 'name="words" value="then" checked' in page.see(f"/deliveries/{sent[0]['id']}").text
    for row, words in zip(sent, ("then", "today"), strict=True):
        page.submit(f"/deliveries/{row['id']}/resend", {"reason": "lost", "words": words, "back": "delivery"})

    made = month.db.execute(
        "SELECT settings_version_id, keeps_words FROM invoicing.delivery WHERE purpose = 'resend' ORDER BY id"
    ).fetchall()
    assert [row["keeps_words"] for row in made] == [True, False]
    assert made[0]["settings_version_id"] == before
    assert made[1]["settings_version_id"] > before
