"""Several invoices of a month corrected on its page: those that fit, what would come out, then all of it or nothing."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from invoicing.services.views import report
from support.month import NOVEMBER, Month, November
from support.visiting import Browser

HERE = f"/cycles/{NOVEMBER}/correct"


@pytest.fixture
def month(november: November, tmp_path: Path) -> Iterator[Month]:
    with november.copy(tmp_path) as copied:
        yield copied


def states(month: Month) -> dict[str, str]:
    return {row["lease"]: row["state"] for row in report.cycle_invoices(month.db, NOVEMBER)}


def confirmed(text: str) -> dict[str, str | list[str]]:
    """The fields of the form that confirms what is shown."""
    fields = dict(re.findall(r'name="(action|reason|seen|step)" value="([^"]*)"', text))
    return {**fields, "number": re.findall(r'name="number" value="([^"]+)"', text)}


def test_what_drifted_is_replaced_once_it_was_seen(month: Month, page: Browser) -> None:
    month.put_out_of_step()
    month.db.execute("UPDATE invoicing.lease SET rent = 900000 WHERE code = 'DAN-0'")
    assert f"{HERE}?only=drifted" in page.see(f"/cycles/{NOVEMBER}").text
    assert "ANA-0" in page.see(f"{HERE}?only=drifted").text
    assert "DAN-0" not in page.see(f"{HERE}?only=drifted").text
    before = states(month)

    seen = page.submit(HERE, {"action": "replace", "reason": "new rents"})

    # Ana's was sent, Dan's was not; all others would come out the same.
    assert seen.status_code == 200
    assert "2 invoices would change" in seen.text
    assert "5 stay as they are" in seen.text
    assert "COP 200,000" in seen.text.replace("\N{NO-BREAK SPACE}", " ")
    assert states(month) == before

    done = page.submit(HERE, confirmed(seen.text))

    assert "Corrected." in done.text
    shown = report.cycle_report(month.db, NOVEMBER)
    assert (shown["balanced"], shown["credits"]["count"], shown["drifted"]) == (True, 1, [])
    assert month.announced
    assert page.submit(HERE, confirmed(seen.text)).status_code == 422, "they are replaced already"


def test_what_changed_since_it_was_seen_is_not_done(month: Month, page: Browser) -> None:
    month.put_out_of_step()
    seen = page.submit(f"{HERE}?only=drifted", {"action": "replace", "reason": "new rents"})
    month.db.execute("UPDATE invoicing.lease SET rent = 1300000 WHERE code = 'ANA-0'")
    before = states(month)

    refused = page.submit(HERE, confirmed(seen.text))

    assert refused.status_code == 422
    assert "is not what you saw any more" in refused.text
    assert states(month) == before
    assert not month.announced


def test_by_filter_those_that_did_not_leave_are_voided(month: Month, page: Browser) -> None:
    seen = page.submit(f"{HERE}?only=unsent", {"action": "void", "reason": "twice"})
    page.submit(HERE, confirmed(seen.text))
    fell = {lease for lease, state in states(month).items() if state == "void"}
    assert {"CAM-0", "DAN-0", "EVA-0", "RITA-0"} <= fell
    assert not {"ANA-0", "BEA-0", "BEA-1"} & fell
    assert report.cycle_report(month.db, NOVEMBER)["balanced"]


@pytest.mark.parametrize(
    ("form", "message"),
    [
        ({"action": "burn", "reason": "x"}, "choose what to do"),
        ({"action": "void", "reason": " "}, "reason"),
        ({"step": "do", "action": "void", "reason": "x"}, "no invoice can be"),
        ({"step": "do", "action": "void", "reason": "x", "number": "FV-99"}, "FV-99"),
    ],
)
def test_what_makes_no_sense_is_said(month: Month, page: Browser, form: dict[str, str], message: str) -> None:
    before = states(month)
    answer = page.submit(HERE, form)
    assert answer.status_code in (404, 422)
    assert message in answer.text
    assert states(month) == before
