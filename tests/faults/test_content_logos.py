"""A logo that is kept is a bitmap that an invoice was tried with; no other file gets that far, by whatever way."""

import base64
import io
import time

import pytest
from PIL import Image

from invoicing.domain.settings import Settings
from invoicing.rendering.sample import sample_invoice
from invoicing.services.agency.logo import LogoError, fit_logo, logo_uri, printable_logo
from invoicing.services.delivery.documents import agency_of
from support.logos import GOOD, HOSTILE, bitmap, nested_use, svg, uri


def picture_in(kept: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(kept.partition(",")[2])))


pytestmark = pytest.mark.faults


@pytest.mark.parametrize("name", GOOD)
@pytest.mark.one_in(2)
def test_a_sound_picture_is_kept_as_a_bitmap(name: str) -> None:
    content = GOOD[name]()
    kept = fit_logo(logo_uri(content))

    if name.startswith("svg"):
        assert kept.startswith("data:image/png;base64,")
        picture = picture_in(kept)
        assert picture.mode == "RGBA"
        assert max(picture.size) <= 800
        assert picture.width / picture.height == pytest.approx(3, rel=0.02)
        assert fit_logo(kept) == kept
    else:
        assert kept == logo_uri(content)
    assert Settings().validated({"agency_logo": kept}).agency_logo == kept


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.one_in(2)
def test_any_other_file_is_refused_with_its_reason(name: str) -> None:
    make, code = HOSTILE[name]
    started = time.monotonic()
    with pytest.raises(LogoError) as caught:
        fit_logo(logo_uri(make()))

    assert caught.value.code == code
    assert len(caught.value.in_words("es")) < 400
    assert time.monotonic() - started < 30


@pytest.mark.parametrize(
    ("given", "code"),
    [
        (uri(bitmap("JPEG"), "png"), "logo_kind_differs"),
        (uri(svg(), "png"), "logo_kind_differs"),
        (uri(bitmap(), "svg+xml"), "logo_kind_differs"),
        ("data:image/png;base64,====", "logo_not_decoded"),
        ("data:image/png;base64,iVBORw0KGgo", "logo_not_decoded"),
        ("data:image/gif;base64,R0lGOD", "logo_of_unknown_kind"),
        ("https://evil.example/logo.png", "logo_of_unknown_kind"),
    ],
)
def test_a_setting_that_is_not_what_it_says_is_refused(given: str, code: str) -> None:
    with pytest.raises(LogoError) as caught:
        fit_logo(given)

    assert caught.value.code == code


def test_a_drawing_gives_the_same_bytes_each_time() -> None:
    first = fit_logo(logo_uri(svg()))
    fit_logo.cache_clear()

    assert fit_logo(logo_uri(svg())) == first


def test_a_drawing_of_older_settings_is_drawn_when_it_is_used() -> None:
    kept = uri(b'<?xml version="1.0"?><!DOCTYPE svg>' + svg(), "svg+xml")

    assert agency_of(Settings(agency_logo=kept)).logo.startswith("data:image/png;base64,")


@pytest.mark.parametrize(
    "kept",
    [
        uri(nested_use(), "svg+xml"),
        uri(HOSTILE["png bomb"][0](), "png"),
        uri(b"<svg", "svg+xml"),
        uri(b"MZ", "png"),
        uri(b"\x89PNG\r\n\x1a\nx", "png"),
        "data:image/png;base64,=",
    ],
    ids=["unfolds", "bomb", "cut off", "no picture", "broken", "no base64"],
)
@pytest.mark.one_in(3)
def test_a_bomb_in_older_settings_costs_no_invoice_its_time(kept: str) -> None:
    settings = Settings(agency_logo=kept)
    assert agency_of(settings).logo == ""
    started = time.monotonic()
    for _ in range(100):
        assert agency_of(settings).logo == ""

    assert time.monotonic() - started < 1


def test_what_every_invoice_asks_costs_next_to_nothing() -> None:
    kept = logo_uri(bitmap(size=(1000, 300)))
    printable_logo(kept)
    started = time.process_time()
    for _ in range(1000):
        agency_of(Settings.model_construct(**(Settings().model_dump() | {"agency_logo": kept})))

    assert time.process_time() - started < 2
    assert sample_invoice().agency.logo
