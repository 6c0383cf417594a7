"""A delivery's message says exactly what was intended, in bytes that any relay carries."""

from dataclasses import replace
from datetime import UTC, datetime
from email import message_from_bytes, policy
from email.header import decode_header, make_header
from email.message import EmailMessage
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from invoicing.mail import message
from invoicing.mail.message import Attachment, Mailbox, OutgoingMail, UnsafeMessageError, build

PDF = b"%PDF-1.7\n" + bytes(range(256)) * 40 + b"\n%%EOF\n"

MAIL = OutgoingMail(
    message_id="<d-42.1@agencia.test>",
    date=datetime(2026, 11, 1, 6, 0, tzinfo=UTC),
    sender=Mailbox("Inmobiliaria Peñalolén", "pagos@agencia.test"),
    reply_to="cartera@agencia.test",
    to=("ana@peña.example", "luis@correo.example"),
    cc=("contador@correo.example",),
    subject="Facturas de noviembre de 2026 — Ana María Muñoz",
    text="Señora Ana María:\n\nAdjuntamos 2 facturas.\n.\nFrom now on\n",
    html="<!doctype html><html><body><p>Señora Ana María:</p></body></html>",
    attachments=(Attachment("FV-000001.pdf", PDF), Attachment("Factura señor Núñez.pdf", PDF + b"2")),
    delivery_id="42",
)


def read(content: bytes) -> EmailMessage:
    parsed = message_from_bytes(content, _class=EmailMessage, policy=policy.default)
    assert isinstance(parsed, EmailMessage)
    return parsed


def altered(**changes: Any) -> OutgoingMail:
    return replace(MAIL, **changes)


def test_the_headers_are_those_intended() -> None:
    parsed = read(build(MAIL))

    assert [(name, str(value)) for name, value in parsed.items() if name != "Content-Type"] == [
        ("Date", "Sun, 01 Nov 2026 06:00:00 +0000"),
        ("Message-ID", "<d-42.1@agencia.test>"),
        ("From", "Inmobiliaria Peñalolén <pagos@agencia.test>"),
        ("Reply-To", "cartera@agencia.test"),
        ("To", "ana@xn--pea-8ma.example, luis@correo.example"),
        ("Cc", "contador@correo.example"),
        ("Subject", "Facturas de noviembre de 2026 — Ana María Muñoz"),
        ("Auto-Submitted", "auto-generated"),
        ("X-Invoice-Delivery", "42"),
        ("MIME-Version", "1.0"),
    ]


def test_the_parts_are_those_intended() -> None:
    mixed = read(build(MAIL))

    assert mixed.get_content_type() == "multipart/mixed"
    alternative, *documents = mixed.iter_parts()
    assert [part.get_content_type() for part in alternative.iter_parts()] == ["text/plain", "text/html"]
    text, html = (part.get_content() for part in alternative.iter_parts())
    assert text.replace("\r\n", "\n") == MAIL.text
    assert html.removesuffix("\r\n") == MAIL.html
    assert [
        (part.get_content_type(), part.get_filename(), part.get_content_disposition(), part.get_content())
        for part in documents
    ] == [
        ("application/pdf", "FV-000001.pdf", "attachment", PDF),
        ("application/pdf", "Factura señor Núñez.pdf", "attachment", PDF + b"2"),
    ]


def test_a_file_name_that_is_not_ascii_is_written_as_rfc_2231_says() -> None:
    assert b"filename*=utf-8''Factura%20se%C3%B1or%20N%C3%BA%C3%B1ez.pdf" in build(MAIL)


def test_the_same_mail_is_the_same_bytes() -> None:
    assert build(MAIL) == build(MAIL)


@pytest.mark.parametrize(
    "mail",
    [
        MAIL,
        altered(text="ñ" * 5_000, html="<p>" + "x" * 5_000, subject="Señor " * 100),
        altered(to=tuple(f"inquilino-{number}@correo.example" for number in range(100))),
        altered(attachments=(Attachment("x" * 200 + "ñ.pdf", PDF),)),
        altered(attachments=()),
        altered(text="", html=""),
        altered(text="a\rb\nc\r\nd", html="a\rb\nc\r\nd"),
    ],
    ids=["usual", "long-lines", "many-recipients", "long-file-name", "no-attachment", "empty", "line-ends"],
)
def test_any_relay_can_carry_it(mail: OutgoingMail) -> None:
    content = build(mail)

    assert content.isascii()
    assert b"\0" not in content
    assert content.count(b"\n") == content.count(b"\r") == content.count(b"\r\n")
    assert content.endswith(b"\r\n")
    assert max(map(len, content.split(b"\r\n"))) <= 998
    header_block = content.partition(b"\r\n\r\n")[0]
    assert all(len(line) <= 78 for line in header_block.split(b"\r\n"))


def test_without_copies_or_an_address_for_answers_there_is_no_header_for_them() -> None:
    parsed = read(build(altered(cc=(), reply_to="")))

    assert "Cc" not in parsed
    assert "Reply-To" not in parsed
    assert "Bcc" not in parsed


def test_a_local_part_that_is_not_ascii_stays_readable_in_utf_8() -> None:
    content = build(altered(to=("josé@peña.example",)))

    assert "\r\nTo: josé@xn--pea-8ma.example\r\n".encode() in content


SMUGGLED = "=?utf-8?q?x=0D=0ABcc:_evil@x.test?="


@pytest.mark.parametrize(
    "mail",
    [
        altered(subject=f"Facturas {SMUGGLED}"),
        altered(subject=SMUGGLED),
        altered(sender=Mailbox(SMUGGLED, "pagos@agencia.test")),
        altered(sender=Mailbox(f"Ñ {SMUGGLED}", "pagos@agencia.test")),
        altered(sender=Mailbox('Ana" <evil@x.test>, "', "pagos@agencia.test")),
        altered(sender=Mailbox("Ana\\", "pagos@agencia.test")),
        altered(sender=Mailbox("Ana <evil@x.test>,", "pagos@agencia.test")),
        altered(sender=Mailbox("(comment", "pagos@agencia.test")),
    ],
    ids=range(8),
)
def test_what_looks_like_code_is_only_text(mail: OutgoingMail) -> None:
    parsed = read(build(mail))

    assert parsed.keys() == read(build(MAIL)).keys()
    [sender] = parsed["From"].addresses
    assert (sender.display_name, sender.addr_spec) == (mail.sender.name, mail.sender.address)
    assert str(parsed["Subject"]) == mail.subject
    assert b"\r\nBcc" not in build(mail)


@pytest.mark.parametrize(
    ("mail", "field"),
    [
        (altered(subject="Facturas\r\nBcc: evil@x.test"), "Subject"),
        (altered(subject="Facturas\x00"), "Subject"),
        (altered(subject="Facturas\u2028Bcc: evil@x.test"), "Subject"),
        (altered(subject="\ud800"), "Subject"),
        (altered(sender=Mailbox("Ana\nBcc: evil@x.test", "pagos@agencia.test")), "From"),
        (altered(sender=Mailbox("Ana", "pagos@agencia.test\r\nBcc: evil@x.test")), "From"),
        (altered(reply_to="a@x.test, b@x.test"), "Reply-To"),
        (altered(to=("a@x.test, b@x.test",)), "To"),
        (altered(to=()), "To"),
        (altered(cc=("a@x)b@y.test",)), "Cc"),
        (altered(message_id="<a@b>\r\nBcc: evil@x.test"), "Message-ID"),
        (altered(message_id="a@b"), "Message-ID"),
        (altered(delivery_id="1\r\nBcc: evil@x.test"), "X-Invoice-Delivery"),
        (altered(date=datetime(2026, 11, 1)), "Date"),  # noqa: DTZ001
        (altered(attachments=(Attachment("a\r\nb.pdf", PDF),)), "file name"),
        (altered(attachments=(Attachment("=?utf-8?q?x?=.pdf", PDF),)), "file name"),
    ],
    ids=range(16),
)
def test_what_cannot_be_written_is_refused_by_its_name(mail: OutgoingMail, field: str) -> None:
    with pytest.raises(UnsafeMessageError, match=field) as caught:
        build(mail)

    assert field in caught.value.field


@pytest.mark.parametrize(
    ("header", "field"),
    [
        ("Bcc: evil@x.test\r\n", "Bcc"),
        ("Subject: another\r\n", "Subject"),
        ("From: evil@x.test\r\n", "From"),
        ("\r\nbody\r\n", "header block"),
    ],
)
def test_a_header_nobody_meant_is_found_when_the_message_is_read_back(
    header: str, field: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if something above had let it through."""
    monkeypatch.setattr("invoicing.mail.message.format_datetime", lambda date: f"{date:%c}\r\n{header[:-2]}")

    with pytest.raises(UnsafeMessageError, match=field):
        build(MAIL)


@pytest.mark.parametrize(
    ("mail", "field"),
    [
        (altered(subject=SMUGGLED), "Subject"),
        (altered(sender=Mailbox("=?utf-8?q?Ana?=", "pagos@agencia.test")), "From"),
    ],
    ids=["subject", "name"],
)
def test_a_value_that_reads_back_as_another_is_found(
    mail: OutgoingMail, field: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(message, "_encode_text", lambda field, value: value)
    monkeypatch.setattr(message, "_encode_name", lambda field, value: value)

    with pytest.raises(UnsafeMessageError, match="would be read as") as caught:
        build(mail)

    assert caught.value.field == field


def test_an_attachment_that_reads_back_as_other_bytes_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    body = message._body

    def truncated(mail: OutgoingMail) -> Any:
        return body(
            replace(
                mail, attachments=(*mail.attachments[:-1], replace(mail.attachments[-1], content=PDF[:-1]))
            )
        )

    monkeypatch.setattr(message, "_body", truncated)

    with pytest.raises(UnsafeMessageError, match="other bytes"):
        build(MAIL)


LINES = st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"]), max_size=150)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=60)
@given(
    subject=LINES,
    name=LINES,
    filename=LINES.map(lambda text: text.replace("=?", "") + ".pdf"),
    text=st.text(),
)
def test_any_text_arrives_or_is_refused(subject: str, name: str, filename: str, text: str) -> None:
    mail = altered(
        subject=subject,
        sender=Mailbox(name, "pagos@agencia.test"),
        attachments=(Attachment(filename, PDF),),
        text=text.encode("utf-8", "ignore").decode(),
    )
    try:
        content = build(mail)
    except UnsafeMessageError:
        return
    parsed = read(content)
    raw = message_from_bytes(content, policy=policy.compat32)
    assert parsed.keys() == read(build(MAIL)).keys()
    assert "".join(str(make_header(decode_header(raw["Subject"]))).split()) == "".join(subject.split())
    assert [part.get_filename() for part in parsed.iter_attachments()] == [filename]
