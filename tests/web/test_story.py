"""The whole story of a delivery on its page."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.month import Month, November


@pytest.fixture
def month(november: November, tmp_path: Path) -> Iterator[Month]:
    with november.copy(tmp_path) as copied:
        yield copied


@pytest.mark.parametrize("language", ["es", "en"])
def test_the_page_tells_all_of_it(month: Month, language: str) -> None:
    delivery = month.delivery("ANA")
    reader = month.app.as_viewer()

    page = reader.see(f"/deliveries/{delivery}/story?lang={language}")

    assert page.status_code == 200
    words = {
        "es": ("idéntico a lo que se transmitió", "el archivo es el que se emitió", "Quién tocó algo"),
        "en": ("the same as was transmitted", "the file is the one that was issued", "Who touched anything"),
    }[language]
    for word in (*words, "ANA-0", "send_invoices"):
        assert word in page.text
    assert f"/deliveries/{delivery}/story" in reader.see(f"/deliveries/{delivery}").text


def test_a_refused_one_has_the_relays_words(month: Month) -> None:
    page = month.app.as_viewer().see(f"/deliveries/{month.delivery('RITA')}/story")

    assert page.status_code == 200
    assert "550" in page.text


def test_it_is_there_as_json(month: Month) -> None:
    answer = month.app.as_viewer().see(f"/deliveries/{month.delivery('ANA')}/story.json")

    assert answer.status_code == 200
    document = answer.json()
    assert document["message"]["as_transmitted"] is True
    assert document["invoices"][0]["document_verified"] is True
    assert "attachment" in answer.headers["Content-Disposition"]


def test_what_is_not_sent_yet_has_a_story_too(month: Month) -> None:
    from invoicing.services.delivery import resolution

    (made,) = resolution.resend(month.db, [month.delivery("ANA")], reason="again", actor="test")

    page = month.app.as_viewer().see(f"/deliveries/{made}/story?lang=en")

    assert page.status_code == 200
    assert "not transmitted yet" in page.text


def test_a_delivery_that_there_is_not_has_none(month: Month) -> None:
    assert month.app.as_viewer().see("/deliveries/999999/story").status_code == 404
