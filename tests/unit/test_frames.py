"""Long texts on their way to a rendering process: once each, and whole."""

from dataclasses import replace

from invoicing.rendering.document import InvoiceDocument
from invoicing.rendering.frames import FrameReader, FrameWriter
from invoicing.rendering.sample import sample_invoice

LOGO = "data:image/png;base64," + "A" * 387_000


def with_logo(logo: str) -> InvoiceDocument:
    invoice = sample_invoice()
    return replace(invoice, agency=replace(invoice.agency, logo=logo))


def test_a_long_text_travels_once_and_is_the_same_object_ever_after() -> None:
    writer, reader = FrameWriter(), FrameReader()
    first, second = (writer.write(with_logo(LOGO)) for _ in range(2))

    read = [reader.read(first), reader.read(second)]

    assert read == [with_logo(LOGO)] * 2
    assert read[0].agency.logo is read[1].agency.logo
    assert len(first) > len(LOGO) > 100 * len(second)


def test_more_texts_than_are_remembered_arrive_all_the_same() -> None:
    """Also half a surrogate pair, which no encoding has."""
    writer, reader = FrameWriter(), FrameReader()
    documents = [with_logo(f"{number}\ud800{LOGO}") for number in [*range(12), *range(12)]]

    assert [reader.read(writer.write(each)) for each in documents] == documents
    # Neither end keeps what it was given without end.
    assert len(writer._told) == len(reader._told) < 12
