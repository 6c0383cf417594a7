"""Holding, releasing, stopping and sending now from the pages and the JSON API."""

import html
from collections.abc import Callable

import pytest

from invoicing.services.delivery import holds
from support.database import contents
from support.month import NOVEMBER, Month
from support.visiting import Browser

HERE = "/cycles/2026-11"
DAN = f"{HERE}/tenants/DAN"
RITA = f"{HERE}/tenants/RITA"


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
            "seen_at": month.seen_at("DAN"),
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


def test_a_resend_that_was_held_is_told_to_airflow_with_the_release(month: Month, page: Browser) -> None:
    first = month.delivery("ANA")
    page.submit(f"/deliveries/{first}/resend", {"reason": "lost it", "back": f"{HERE}/tenants/ANA"})
    again = month.delivery("ANA")
    page.submit(f"{HERE}/tenants/ANA/hold", {"reason": "pays by hand"})
    assert (again > first, month.state(again)) == (True, "held")
    month.announced.clear()

    page.submit(f"{HERE}/tenants/ANA/release", {"reason": "agreed"})

    assert (month.state(again), len(month.announced)) == ("pending", 1)
    hold = {"period": "2026-11", "reason": "pays by hand"}
    page.ask("POST", "/tenants/ANA/hold", hold)
    released = page.ask("POST", "/tenants/ANA/release", hold).json()
    assert released == {"deliveries": [], "resumed": [again], "airflow_told": True}


def test_who_only_looks_sees_the_hold_and_no_button(month: Month, page: Browser) -> None:
    page.submit(f"{RITA}/hold", {"reason": "pays by hand"})
    viewer = month.app.as_viewer("en")
    seen = viewer.see(RITA).text
    assert "pays by hand" in seen
    assert "/release" not in seen
    assert '/send"' not in seen
    assert "/stop" not in viewer.see(HERE).text


def under_way(month: Month) -> None:
    """A run of the month has it, and is about to send it."""
    month.db.execute("UPDATE invoicing.cycle_run SET state = 'running', ended_at = NULL")
    month.db.execute(
        "UPDATE invoicing.delivery SET state = 'pending' WHERE id = %s", [month.delivery("RITA")]
    )


def held(month: Month) -> None:
    holds.hold(month.db, "RITA", NOVEMBER, reason="x", actor="eva")


def nothing(_: Month) -> None:
    pass


@pytest.mark.parametrize(
    ("before", "act", "status", "words"),
    [
        (nothing, "tenants/NADIE/hold", 404, {}),
        (
            nothing,
            "tenants/LUZ/hold",
            422,
            {"es": "no hay nada que retener", "en": "there is nothing to hold"},
        ),
        (held, "tenants/RITA/hold", 422, {"es": "eva ya retiene", "en": "by eva"}),
        (
            nothing,
            "tenants/RITA/release",
            422,
            {"es": "nadie retiene al tercero RITA", "en": "nobody holds tenant RITA"},
        ),
        (
            nothing,
            "resume",
            422,
            {"es": "nadie detuvo los envíos", "en": "nobody stopped the sending"},
        ),
        (
            under_way,
            "tenants/RITA/send",
            422,
            {"es": "está en camino", "en": "is on its way already"},
        ),
        (nothing, "approve", 422, {"es": "espera aprobación", "en": "waits for an approval"}),
    ],
)
def test_what_cannot_be_done_is_told_in_the_readers_language_and_changes_nothing(
    month: Month, before: Callable[[Month], None], act: str, status: int, words: dict[str, str]
) -> None:
    before(month)
    month.db.execute(
        "INSERT INTO invoicing.tenant (code, document_type, document_number, name, emails, auto_send)"
        " VALUES ('LUZ', 'CC', '1', 'Luz', '{luz@correo.example}', true)"
    )
    kept = contents(month.db)

    for language in ("es", "en"):
        told = month.app.as_editor(language).submit(f"{HERE}/{act}", {"reason": "x"})
        assert told.status_code == status
        assert words.get(language, "") in html.unescape(told.text)

    assert contents(month.db) == kept


@pytest.mark.parametrize("act", ["hold", "release", "send"])
def test_who_only_looks_may_not(month: Month, act: str) -> None:
    kept = contents(month.db)
    assert month.app.as_viewer().submit(f"{RITA}/{act}", {"reason": "x"}).status_code == 403
    assert contents(month.db) == kept
