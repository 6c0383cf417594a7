"""What an invoice's PDF shows, and what a bad template or a hostile name cannot do to it."""

import re
import socket
import subprocess
import threading
import zlib
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from invoicing.rendering.document import InvoiceDocument, Line
from invoicing.rendering.errors import PartFaultError, RenderFailedError
from invoicing.rendering.fields import TemplateFields
from invoicing.rendering.invoice import InvoiceRenderer, check_system
from invoicing.rendering.sample import sample_invoice, sample_invoices
from invoicing.rendering.templates import (
    INVOICE_HTML,
    Part,
    environment,
    invoice_variables,
    load_shipped,
)
from support.rendering import pages_of, template_of


@pytest.fixture(scope="module")
def shipped() -> Iterator[InvoiceRenderer]:
    with InvoiceRenderer(load_shipped()) as renderer:
        yield renderer


def facts_of(pdf: bytes) -> dict[str, str]:
    printed = subprocess.run(["pdfinfo", "-isodates", "-"], input=pdf, capture_output=True, check=True)
    lines = (line.partition(":") for line in printed.stdout.decode().splitlines())
    return {name: value.strip() for name, _, value in lines}


def objects_of(pdf: bytes) -> bytes:
    """The file with its streams decompressed."""
    streams = re.findall(rb"stream\r?\n(.*?)\r?\nendstream", pdf, re.DOTALL)
    return pdf + b"".join(zlib.decompressobj().decompress(stream) for stream in streams if stream[:1] == b"x")


def with_lines(count: int) -> InvoiceDocument:
    lines = tuple(
        Line(
            "charge",
            f"Renglón {number} " + "de mantenimiento de zonas comunes " * (number % 3),
            Decimal(1000 * number),
        )
        for number in range(1, count + 1)
    )
    return replace(sample_invoice(), lines=lines)


def test_a_usual_invoice_is_one_page_with_everything_on_it(shipped: InvoiceRenderer) -> None:
    [page] = pages_of(shipped.render(sample_invoice()))

    for words in (
        "Factura",
        "FV-1042",
        "NIT 900.123.456-7",
        "Ferretería Núñez & Hijos Ltda.",
        "Carrera 15 # 88-64, local 3",
        "noviembre de 2026",
        "Canon de arrendamiento $ 4.200.000 19 % $ 798.000 $ 4.998.000",
        "Proporcional: 15 de 30 días",
        "-$ 100.000",
        "Subtotal $ 4.420.000",
        "Retención en la fuente 3,5 % de $ 4.200.000 -$ 147.000",
        "Retención de ICA 0,966 % de $ 4.200.000 -$ 40.572",
        "Total a pagar $ 4.931.884",
        "Cuatro millones novecientos treinta y un mil ochocientos ochenta y cuatro pesos m/cte",
        "6 de noviembre de 2026",
        "Cuenta de ahorros 000-000000-00",
        "Página 1 de 1",
    ):
        assert words in page.replace("\N{NO-BREAK SPACE}", " ").replace("N.º ", ""), words


def test_an_english_tenant_gets_an_english_invoice(shipped: InvoiceRenderer) -> None:
    pdf = shipped.render(sample_invoice("en"))
    [page] = pages_of(pdf)

    for words in (
        "Invoice",
        "Rent for November 2026",
        "Total due COP 4,931,884",
        "Prorated: 15 of 30 days",
        "Page 1 of 1",
    ):
        assert words in page, words
    assert b"/Lang (en)" in objects_of(pdf)


def test_an_invoice_without_period_property_or_agency_details_is_still_one(shipped: InvoiceRenderer) -> None:
    [page] = pages_of(shipped.render(sample_invoices()[2]))

    assert "US$ 85.000,50" in page
    assert "IVA" not in page
    assert "PAGUE HASTA" not in page.upper(), "it is void"
    assert "None" not in page


@pytest.mark.parametrize("count", [1, 2, 4, 12, 13, 14, 15, 16, 17, 40])
def test_pages_repeat_the_header_and_never_orphan_the_totals(shipped: InvoiceRenderer, count: int) -> None:
    pages = pages_of(shipped.render(with_lines(count)))

    text = " ".join(pages)
    assert [int(n) for n in re.findall(r"Renglón (\d+)", text)] == list(range(1, count + 1))
    for number, page in enumerate(pages, 1):
        assert f"Página {number} de {len(pages)}" in page
        if "Renglón" in page:
            assert "CONCEPTO" in page.upper()
    [page_of_totals] = [page for page in pages if "Son" in page or "SON" in page]
    beside = re.findall(r"Renglón (\d+)", page_of_totals)
    assert beside[-min(3, count) :] == [str(n) for n in range(max(1, count - 2), count + 1)]
    assert "Subtotal" in page_of_totals
    assert "Total a pagar" in page_of_totals


def test_forty_long_lines_take_three_pages(shipped: InvoiceRenderer) -> None:
    assert facts_of(shipped.render(with_lines(40)))["Pages"] in ("2", "3")


def test_the_same_document_gives_the_same_bytes_from_another_process(shipped: InvoiceRenderer) -> None:
    with InvoiceRenderer(load_shipped()) as other:
        assert other.render(sample_invoice()) == shipped.render(sample_invoice())


def test_the_file_carries_title_author_language_and_the_day_of_issue(shipped: InvoiceRenderer) -> None:
    pdf = shipped.render(sample_invoice())
    facts = facts_of(pdf)

    assert facts["Title"] == "Factura FV-1042 – Inmobiliaria de Muestra S.A.S."
    assert facts["Author"] == "Inmobiliaria de Muestra S.A.S."
    assert facts["CreationDate"].startswith("2026-11-01")
    assert facts["Tagged"] == "yes"
    assert b"/Lang (es-CO)" in objects_of(pdf)


@pytest.mark.parametrize(
    "name",
    [
        "<script>alert(1)</script><img src='file:///etc/passwd'>",
        "{{7*7}} {% for x in range(9) %}x{% endfor %}",
        "Ñandú " * 30,
        "W" * 120,
        "😀👩‍👩‍👧 Ltda.",
        "שלום עולם \u202egnirts lived\u202c",
        "A\x00B\x07C",
        "",
    ],
)
def test_a_hostile_name_is_printed_as_a_name(shipped: InvoiceRenderer, name: str) -> None:
    document = sample_invoice()
    [page] = pages_of(shipped.render(replace(document, tenant=replace(document.tenant, name=name))))

    assert "Total a pagar $ 4.931.884" in page.replace("\N{NO-BREAK SPACE}", " ")
    assert "root:" not in page
    assert "49" not in page.split("Facturado")[0] or "{{7*7}}" not in name
    for fragment in ("<script>alert(1)</script>", "{{7*7}}"):
        if fragment in name:
            assert fragment in page


def test_a_template_reads_nothing_outside_of_its_folder(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    (tmp_path / "secret.css").write_text("body::before { content: 'S3CRET' }")
    (folder / "own.css").write_text("body::before { content: 'OWNFILE' }")
    (folder / "link.css").symlink_to(tmp_path / "secret.css")
    sheets = "".join(
        f'<link rel="stylesheet" href="{href}">'
        for href in (
            "own.css",
            "../secret.css",
            "link.css",
            (tmp_path / "secret.css").as_uri(),
            "own.css/../../secret.css",
        )
    )
    with InvoiceRenderer(template_of(f"{sheets}<p>text</p>", folder)) as renderer:
        [page] = pages_of(renderer.render(sample_invoice()))

    assert "OWNFILE" in page
    assert "S3CRET" not in page


def test_a_template_opens_no_connection() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.5)
        url = f"http://127.0.0.1:{server.getsockname()[1]}/x.png"
        html = (
            f'<img src="{url}"><style>@import "{url}"; body {{ background: url({url}) }}</style><p>text</p>'
        )
        with InvoiceRenderer(template_of(html)) as renderer:
            [page] = pages_of(renderer.render(sample_invoice()))
        with pytest.raises(TimeoutError):
            server.accept()
    assert "text" in page


@pytest.mark.parametrize(
    "source",
    [
        "{{ ''.__class__ }}",
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ invoice.__init__.__globals__ }}",
        "{{ t.__globals__ }}",
        "{{ '{0.__class__}'.format(invoice) }}",
        "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
        "{% set x = invoice.lines.append(1) %}",
        "{{ self.__class__ }}",
        "{% include '/etc/passwd' %}",
        "{{ lipsum() }}",
        "{{ invoice.nothing }}",
    ],
)
def test_a_template_cannot_reach_outside_of_its_data(source: str) -> None:
    with pytest.raises(PartFaultError) as caught:
        Part(environment(), INVOICE_HTML, source).render(
            invoice_variables(sample_invoice(), TemplateFields())
        )

    assert str(caught.value).startswith("invoice.html")


def test_a_refused_template_names_the_invoice_the_part_and_the_line() -> None:
    template = template_of("<p>\n{{ ''.__class__ }}")
    with InvoiceRenderer(template) as renderer, pytest.raises(RenderFailedError) as caught:
        renderer.render(sample_invoice())

    assert str(caught.value).startswith(
        "invoice FV-1042 was not rendered: invoice.html, line 2: not allowed: "
    )


def test_the_child_does_not_see_the_parents_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__FERNET_KEY", "not-for-templates")
    with InvoiceRenderer(template_of("<p>x</p>")) as renderer:
        renderer.render(sample_invoice())
        environment = Path(f"/proc/{renderer._process.pid}/environ").read_bytes()

    assert b"not-for-templates" not in environment
    assert b"PYTHONPATH" in environment


def test_closing_ends_the_child_and_leaves_no_thread() -> None:
    threads = threading.active_count()
    with InvoiceRenderer(template_of("<p>x</p>")) as renderer:
        renderer.render(sample_invoice())
        pid = renderer._process.pid
        assert pid is not None

    assert not Path(f"/proc/{pid}").exists()
    assert threading.active_count() == threads


def test_this_machine_has_what_rendering_needs() -> None:
    assert check_system() == []


def test_a_machine_without_the_font_is_told_which_package_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    from invoicing.rendering import invoice

    monkeypatch.setitem(invoice.FONT_PACKAGES, "No Such Family", "fonts-none")

    assert check_system() == [
        "font No Such Family is missing, invoices will not look as designed: apt-get install fonts-none"
    ]
