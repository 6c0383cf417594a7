"""The documents: what they point to is there, and no picture is kept that nobody shows."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def links(document: Path) -> list[str]:
    """Targets of a document's links and pictures, those on the network left out."""
    text = document.read_text(encoding="utf-8")
    targets = re.findall(r"\]\(([^)\s]+)\)", text)
    return [target for target in targets if not re.match(r"[a-z]+:", target)]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_what_a_document_points_to_is_there(document: Path):
    for target in links(document):
        assert (document.parent / target.partition("#")[0]).exists(), target


def test_each_picture_that_is_kept_is_shown():
    kept = {path for path in (ROOT / "docs" / "pictures").rglob("*") if path.is_file()}
    shown = {(document.parent / target).resolve() for document in DOCUMENTS for target in links(document)}

    assert kept
    assert kept <= shown


def test_the_places_that_the_architecture_names_are_there():
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    table = text.partition("## Where do I change")[2].partition("## How to add")[0]
    places = re.findall(r"`([\w/.]+(?:\.\w+|/))`", table)

    assert len(places) > 12
    for place in places:
        assert (ROOT / place).exists() or (ROOT / "plugins" / "invoicing" / place).exists(), place
